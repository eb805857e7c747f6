//! What the library takes from Postgres and gives to it: calls, errors, rights, memory, settings, threads. It knows no model.

pub(crate) mod access;
pub(crate) mod arrays;
pub(crate) mod call;
pub(crate) mod error;
pub(crate) mod fault;
pub(crate) mod ids;
pub(crate) mod interval;
pub(crate) mod json;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod notice;
pub(crate) mod options;
pub(crate) mod procedures;
pub(crate) mod settings;
pub(crate) mod snapshot;
pub(crate) mod sql;
pub(crate) mod subtransaction;
pub(crate) mod work;
