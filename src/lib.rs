//! pg_persona: the glue between Postgres and the crate `algorithms`. Datum in, pure call, datum out.

mod api;
mod models;
mod pg;
mod recommenders;
mod segments;
mod source;
mod values;

::pgrx::pg_module_magic!(name, version);

/// Runs when Postgres loads the library.
#[pgrx::pg_guard]
extern "C-unwind" fn _PG_init() {
    pg::memory::prepare();
    pg::settings::register();
}
