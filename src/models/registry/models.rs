//! Writing the registry: models and what stands beside them.

use pgrx::JsonB;
use pgrx::Spi;
use pgrx::Uuid;
use pgrx::pg_sys;

use super::scan::Seen;
use super::write::{as_registry_owner, run, unreadable};
use super::{Output, prune, queue};
use crate::pg::error::Result;
use crate::pg::sql::argument;

/// Adds a model.
pub(crate) fn insert_model(
    model_id: Uuid,
    relation: pg_sys::Oid,
    name: &str,
    kind: &str,
    spec: JsonB,
) -> Result<()> {
    as_registry_owner(|| {
        run(
            "INSERT INTO persona_internal.model VALUES ($1, $2, $3, $4, $5, pg_catalog.now())",
            &[
                argument(model_id),
                argument(relation),
                argument(name.to_string()),
                argument(kind.to_string()),
                argument(spec),
            ],
        )?;
        Ok(())
    })
}

/// Notes the tables of a model.
pub(crate) fn insert_outputs(model_id: Uuid, outputs: &[(Output, pg_sys::Oid)]) -> Result<()> {
    as_registry_owner(|| {
        for (output, relation) in outputs {
            run(
                "INSERT INTO persona_internal.output VALUES ($1, $2, $3)
                 ON CONFLICT (model_id, word) DO UPDATE SET relation = excluded.relation",
                &[argument(model_id), argument(output.word().to_string()), argument(*relation)],
            )?;
        }
        Ok(())
    })
}

/// Notes the label that somebody gave to a segment, in place of any before; `None` removes it.
pub(crate) fn set_label(model_id: Uuid, segment_id: i32, label: Option<&str>) -> Result<()> {
    as_registry_owner(|| {
        match label {
            Some(label) => run(
                "INSERT INTO persona_internal.label VALUES ($1, $2, $3)
                 ON CONFLICT (model_id, segment_id) DO UPDATE SET label = excluded.label",
                &[argument(model_id), argument(segment_id), argument(label.to_string())],
            )?,
            None => run(
                "DELETE FROM persona_internal.label
                 WHERE model_id OPERATOR(pg_catalog.=) $1 AND segment_id OPERATOR(pg_catalog.=) $2",
                &[argument(model_id), argument(segment_id)],
            )?,
        };
        Ok(())
    })
}

/// Notes a model's present name and spec. `reads` are the settings that say where its rows come from.
pub(crate) fn update_model(model_id: Uuid, name: &str, spec: JsonB, reads: &[&str]) -> Result<()> {
    let attached = !super::attached(model_id, Seen::Latest)?.is_empty();
    as_registry_owner(|| {
        let differs = reads.iter().map(|key| {
            format!(
                "spec OPERATOR(pg_catalog.->>) '{key}' IS DISTINCT FROM $2 OPERATOR(pg_catalog.->>) '{key}'"
            )
        });
        let moved = format!(
            "SELECT FROM persona_internal.model WHERE model_id OPERATOR(pg_catalog.=) $1 AND ({})",
            differs.collect::<Vec<_>>().join(" OR ")
        );
        if run(&moved, &[argument(model_id), argument(JsonB(spec.0.clone()))])? > 0 {
            // Neither its times nor its queue tell what another source has that a version has not seen. What is not stored
            // never goes live.
            run(
                "UPDATE persona_internal.version SET hyperparameters = hyperparameters OPERATOR(pg_catalog.-) 'newest_time'
                 WHERE model_id OPERATOR(pg_catalog.=) $1 AND stored",
                &[argument(model_id)],
            )?;
            if attached {
                queue::append(model_id, None)?;
            }
        }
        run(
            "UPDATE persona_internal.model SET last_name = $2, spec = $3 WHERE model_id OPERATOR(pg_catalog.=) $1",
            &[argument(model_id), argument(name.to_string()), argument(spec)],
        )?;
        Ok(())
    })
}

/// Removes a model with all it has.
pub(crate) fn delete_model(model_id: Uuid) -> Result<()> {
    delete_contents(model_id)?;
    as_registry_owner(|| {
        for table in ["output", "model"] {
            run(
                &format!("DELETE FROM persona_internal.{table} WHERE model_id OPERATOR(pg_catalog.=) $1"),
                &[argument(model_id)],
            )?;
        }
        Ok(())
    })
}

/// Removes what a model has but the note of its tables.
fn delete_contents(model_id: Uuid) -> Result<()> {
    prune::images(model_id, &[], i32::MAX as usize)?;
    as_registry_owner(|| {
        for table in ["version", "deployment", "metric", "training_log", "label", "attachment", "queue"] {
            run(
                &format!("DELETE FROM persona_internal.{table} WHERE model_id OPERATOR(pg_catalog.=) $1"),
                &[argument(model_id)],
            )?;
        }
        Ok(())
    })
}

/// Removes the models whose view somebody dropped by hand, or that a restore left without one. What it knows of tables stays
/// for as long as these do: `persona.check()` tells of them.
pub(crate) fn sweep() -> Result<()> {
    let orphans: Vec<Uuid> = as_registry_owner(|| {
        Spi::connect_mut(|client| {
            let found = client.update(
                "SELECT model_id FROM persona_internal.model m
                 WHERE NOT EXISTS
                   (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) m.relation::pg_catalog.oid)
                 FOR UPDATE SKIP LOCKED",
                None,
                &[],
            )?;
            found.map(|row| row.get::<Uuid>(1)).collect::<pgrx::spi::Result<Vec<_>>>()
        })
        .map_err(unreadable)
        .map(|ids| ids.into_iter().flatten().collect())
    })?;
    orphans.into_iter().try_for_each(|model_id| {
        delete_contents(model_id)?;
        as_registry_owner(|| {
            for statement in [
                "DELETE FROM persona_internal.output o WHERE o.model_id OPERATOR(pg_catalog.=) $1
                 AND NOT EXISTS
                   (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) o.relation::pg_catalog.oid)",
                "DELETE FROM persona_internal.model m WHERE m.model_id OPERATOR(pg_catalog.=) $1
                 AND NOT EXISTS
                   (SELECT FROM persona_internal.output o WHERE o.model_id OPERATOR(pg_catalog.=) m.model_id)",
            ] {
                run(statement, &[argument(model_id)])?;
            }
            Ok(())
        })
    })
}

/// The tables that are left of a model without a view, if this is one of them.
pub(crate) fn left_with(relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    as_registry_owner(|| {
        Spi::connect(|client| {
            let found = client.select(
                "SELECT c.oid FROM persona_internal.output mine
                 JOIN persona_internal.model m USING (model_id) JOIN persona_internal.output o USING (model_id)
                 JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) o.relation::pg_catalog.oid
                 WHERE mine.relation::pg_catalog.oid OPERATOR(pg_catalog.=) $1
                   AND NOT EXISTS
                     (SELECT FROM pg_catalog.pg_class v WHERE v.oid OPERATOR(pg_catalog.=) m.relation::pg_catalog.oid)
                 ORDER BY o.word",
                None,
                &[argument(relation)],
            )?;
            found.map(|row| row.get::<pg_sys::Oid>(1)).collect::<pgrx::spi::Result<Vec<_>>>()
        })
        .map_err(unreadable)
        .map(|tables| tables.into_iter().flatten().collect())
    })
}
