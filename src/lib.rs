//! pg_persona: the glue between Postgres and the crates of mathematics. Datum in, pure call, datum out.

mod access;
mod als;
mod api;
mod arrays;
mod attach;
mod automatic;
mod body;
mod call;
mod deploy;
mod ease;
mod error;
mod evaluate;
mod fault;
mod identity;
mod ids;
mod images;
mod interval;
mod json;
mod lifecycle;
mod locks;
mod memory;
mod model;
mod neighbours;
mod notice;
mod options;
mod outputs;
mod popularity;
mod procedures;
mod progress;
mod prune;
mod publish;
mod queue;
mod recommend;
mod registry;
mod segments;
mod settings;
mod sgd;
mod snapshot;
mod source;
mod spec;
mod sql;
mod subtransaction;
mod train;
mod trainers;
mod tune;
mod update;
mod values;
mod work;

::pgrx::pg_module_magic!(name, version);

/// Runs when Postgres loads the library.
#[pgrx::pg_guard]
extern "C-unwind" fn _PG_init() {
    memory::prepare();
    settings::register();
}
