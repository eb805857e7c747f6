//! Removing what a model keeps no longer: images, and the facts of versions long past. Nothing here looks at more rows
//! than it removes.

use pgrx::{Spi, Uuid, pg_sys};

use super::scan::{Scan, Seen};
use super::uuid_key;
use super::write::{as_registry_owner, run, unreadable};
use crate::models::images;
use crate::pg::access::set_local;
use crate::pg::error::Result;
use crate::pg::sql::argument;

/// What is removed of a deployment log: lines of versions up to `last`, before the line `before`, `most` of them.
pub(crate) struct History {
    pub(crate) last: i32,
    pub(crate) before: i64,
    pub(crate) most: usize,
}

/// Deletes the newest `most` images of a model that are stored and not among `kept`; how many.
pub(crate) fn images(model_id: Uuid, kept: &[Uuid], most: usize) -> Result<usize> {
    as_registry_owner(|| {
        // The table of pieces has a page a row, and statistics may be older than either: no plan may read them whole.
        set_local("enable_seqscan", "off");
        let (versions, image_ids): (Vec<i32>, Vec<Uuid>) =
            superfluous(model_id, kept, most)?.into_iter().unzip();
        if versions.is_empty() {
            return Ok(0);
        }
        run(
            "UPDATE persona_internal.version SET stored = false WHERE model_id OPERATOR(pg_catalog.=) $1
               AND version OPERATOR(pg_catalog.=) ANY ($2)",
            &[argument(model_id), argument(versions)],
        )?;
        run(
            "WITH gone AS (DELETE FROM persona_internal.chunk WHERE image_id OPERATOR(pg_catalog.=) ANY ($1)
               RETURNING image_id)
             INSERT INTO persona_internal.reclaim
             SELECT DISTINCT pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8, image_id, 0 FROM gone",
            &[argument(image_ids.clone())],
        )?;
        let count = image_ids.len();
        images::forget_at_commit(image_ids);
        Ok(count)
    })
}

/// Versions that are stored, newest first, and their images.
fn superfluous(model_id: Uuid, kept: &[Uuid], most: usize) -> Result<Vec<(i32, Uuid)>> {
    let found = Spi::connect_mut(|client| {
        let found = client.update(
            "SELECT version, image_id FROM persona_internal.version
             WHERE model_id OPERATOR(pg_catalog.=) $1 AND stored AND NOT image_id OPERATOR(pg_catalog.=) ANY ($2)
             ORDER BY version DESC LIMIT $3",
            None,
            &[argument(model_id), argument(kept.to_vec()), argument(most as i64)],
        )?;
        found
            .map(|row| Ok(row.get::<i32>(1)?.zip(row.get::<Uuid>(2)?)))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    });
    Ok(found.map_err(unreadable)?.into_iter().flatten().collect())
}

/// Removes the facts of the versions from `first` to `last` but those of `kept`, and of those whose images are stored; how
/// many versions.
pub(crate) fn versions(model_id: Uuid, first: i32, last: i32, kept: &[i32]) -> Result<usize> {
    as_registry_owner(|| {
        set_local("enable_seqscan", "off");
        let range = || [argument(model_id), argument(first), argument(last), argument(kept.to_vec())];
        for table in ["metric", "training_log"] {
            run(
                &format!(
                    "DELETE FROM persona_internal.{table} t WHERE t.model_id OPERATOR(pg_catalog.=) $1
                       AND t.version BETWEEN $2 AND $3 AND NOT t.version OPERATOR(pg_catalog.=) ANY ($4)
                       AND NOT EXISTS (SELECT FROM persona_internal.version v
                                       WHERE v.model_id OPERATOR(pg_catalog.=) t.model_id
                                         AND v.version OPERATOR(pg_catalog.=) t.version AND v.stored)"
                ),
                &range(),
            )?;
        }
        run(
            "WITH gone AS (DELETE FROM persona_internal.version WHERE model_id OPERATOR(pg_catalog.=) $1
               AND version BETWEEN $2 AND $3 AND NOT version OPERATOR(pg_catalog.=) ANY ($4) AND NOT stored
               RETURNING 1)
             SELECT FROM gone",
            &range(),
        )
        .map(|count| count as usize)
    })
}

/// Removes the oldest lines of a deployment log.
pub(crate) fn deployments(model_id: Uuid, of: &History) -> Result<()> {
    let mut scan =
        Scan::start("deployment", "deployment_pkey", Seen::Latest, &[uuid_key(2, model_id)], false)?;
    let mut until = None;
    for _ in 0..of.most {
        let Some(row) = scan.next() else { break };
        let (line, version): (i64, i32) = (row.expect(1)?, row.expect(3)?);
        if version > of.last || line >= of.before {
            break;
        }
        until = Some(line);
        crate::pg::memory::interrupts();
    }
    drop(scan);
    let Some(until) = until else { return Ok(()) };
    as_registry_owner(|| {
        set_local("enable_seqscan", "off");
        run(
            "DELETE FROM persona_internal.deployment WHERE model_id OPERATOR(pg_catalog.=) $1
               AND deployment_id OPERATOR(pg_catalog.<=) $2",
            &[argument(model_id), argument(until)],
        )?;
        Ok(())
    })
}

/// The views of the models that a role owns, or is a member of the owner of.
pub(crate) fn views_of(role: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    as_registry_owner(|| {
        let found = Spi::connect_mut(|client| {
            let found = client.update(
                "SELECT c.oid FROM persona_internal.model m
                 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) m.relation::pg_catalog.oid
                 WHERE pg_catalog.pg_has_role($1, c.relowner, 'USAGE') ORDER BY c.oid",
                None,
                &[argument(role)],
            )?;
            found.map(|row| row.get::<pg_sys::Oid>(1)).collect::<pgrx::spi::Result<Vec<_>>>()
        });
        Ok(found.map_err(unreadable)?.into_iter().flatten().collect())
    })
}
