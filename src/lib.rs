//! pg_persona: the glue between Postgres and the crates of mathematics. Datum in, pure call, datum out.

mod api;
mod models;
mod pg;
mod recommenders;
mod segments;
mod source;
mod values;

::pgrx::pg_module_magic!(name, version);

/// The kinds of models, a wing's beside each other.
static KINDS: [&dyn models::kind::Kind; 3] =
    [&recommenders::kind::Recommenders, &segments::kind::CLUSTERS, &segments::kind::CUSTOMERS];

/// Runs when Postgres loads the library.
#[pgrx::pg_guard]
extern "C-unwind" fn _PG_init() {
    pg::memory::prepare();
    pg::settings::register();
    models::kind::install(&KINDS);
}
