//! What a model makes beside the registry, as the caller: the view that is the model, and the typed functions.

use pgrx::{Spi, Uuid, pg_sys};

use super::identity::{self, Place};
use super::registry::models;
use crate::pg::access::Identity;
use crate::pg::error::{Code, Result, fail};
use crate::pg::names::{literal, qualified_name, shown};
use crate::pg::snapshot::Snapshot;
use crate::pg::sql::execute;

/// Makes the view of a new model; its oid.
pub(crate) fn create_view(place: &Place, model_id: Uuid, kind: &str) -> Result<pg_sys::Oid> {
    let name = place.beside("");
    execute(&format!(
        "CREATE VIEW {name} AS SELECT * FROM persona.model_facts({}::pg_catalog.uuid)",
        literal(&model_id.to_string())
    ))?;
    execute(&format!(
        "COMMENT ON VIEW {name} IS {}",
        literal(&format!(
            "{kind} of pg_persona: its owner trains and drops it, SELECT on it is the right to be served"
        ))
    ))?;
    match identity::lookup(&name)? {
        Some(named) => Ok(named.relation),
        None => Err(fail(Code::ERRCODE_UNDEFINED_TABLE, format!("could not find the view {name} just made"))),
    }
}

/// 42P07 where the name of a table that a model makes beside its view is taken.
pub(crate) fn check_free(name: &str) -> Result<()> {
    let Some(found) = identity::lookup(name)? else { return Ok(()) };
    let left = models::left_with(found.relation)?.into_iter().filter_map(qualified_name);
    let left: Vec<String> = left.collect();
    let error = fail(Code::ERRCODE_DUPLICATE_TABLE, format!("relation {} already exists", shown(name)));
    Err(match left.as_slice() {
        [] => error
            .set_detail("The model makes a table of this name beside its view.")
            .set_hint("Rename or drop it."),
        tables => error
            .set_detail("It is left of a model whose view was dropped by hand.")
            .set_hint(format!("DROP TABLE {};", tables.join(", "))),
    })
}

/// Lets those read a new table beside a model who may be served by it.
pub(crate) fn copy_grants(view: pg_sys::Oid, table: &str) -> Result<()> {
    let _path = Identity::pinned_path();
    let readers = Spi::connect(|client| {
        let query = format!(
            "SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
             FROM pg_class c CROSS JOIN aclexplode(c.relacl) a
             WHERE c.oid = {} AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner",
            view.to_u32()
        );
        let found = client.select(&query, None, &[])?;
        found.map(|row| row.get::<String>(1)).collect::<pgrx::spi::Result<Vec<_>>>()
    });
    let readers = readers.map_err(|error| {
        fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the catalog: {error}"))
    })?;
    readers
        .into_iter()
        .flatten()
        .try_for_each(|reader| execute(&format!("GRANT SELECT ON {table} TO {reader}")))
}

/// Has deferrable constraints of tables beside a model checked with each statement, until the transaction ends, where the
/// owner's work is done on behalf of somebody else. At its end they would run as somebody else, so Postgres refuses them.
pub(crate) fn check_at_once(tables: &[pg_sys::Oid]) -> Result<()> {
    // SAFETY: reads the state of this process.
    if tables.is_empty() || !unsafe { pg_sys::InSecurityRestrictedOperation() } {
        return Ok(());
    }
    let tables: Vec<String> = tables.iter().map(|table| table.to_u32().to_string()).collect();
    let names = {
        let _path = Identity::pinned_path();
        let _snapshot = Snapshot::latest();
        let query = format!(
            "SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
             FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
             WHERE c.condeferrable AND (c.conrelid IN ({0}) OR c.confrelid IN ({0}))",
            tables.join(", ")
        );
        Spi::connect(|client| client.select(&query, None, &[])?.first().get_one::<String>())
    };
    let names = names.map_err(|error| {
        fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the catalog: {error}"))
    })?;
    names.map_or(Ok(()), |names| execute(&format!("SET CONSTRAINTS {names} IMMEDIATE")))
}
