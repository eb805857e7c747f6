//! Reading the interactions of users and items, and what is known of either.

pub(crate) mod batch;
pub(crate) mod content;
pub(crate) mod receiver;
