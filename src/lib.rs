//! pg_persona: the glue between Postgres and `algorithms`.
::pgrx::pg_module_magic!(name, version);
