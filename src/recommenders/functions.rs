//! The typed functions beside a recommender: made, published in other schemas, and found again.

use pgrx::Spi;
use pgrx::pg_sys;

use crate::models::identity::Place;
use crate::pg::access::Identity;
use crate::pg::error::{Code, Result, fail};
use crate::pg::ids::{type_name, type_title};
use crate::pg::names::literal;
use crate::pg::sql::execute;

/// A typed function of a recommender. The model stands in it as a constant of type regclass, which follows RENAME and
/// SET SCHEMA.
pub(crate) struct TypedFunction {
    pub(crate) suffix: &'static str,
    /// As they are declared.
    pub(crate) arguments: String,
    /// Their types alone.
    pub(crate) types: String,
    /// What its rows come from.
    pub(crate) source: String,
    pub(crate) comment: String,
}

/// What a function for these items answers, and how it is called.
pub(crate) fn result_of(item: &str) -> String {
    format!(
        "RETURNS TABLE(item_id {item}, score real, rank int, source text)
         LANGUAGE sql STABLE PARALLEL SAFE ROWS 10"
    )
}

/// The typed functions of the recommender at a place, for ids of these types.
pub(crate) fn functions_beside(place: &Place, user: &str, item: &str) -> [TypedFunction; 3] {
    let model = format!("{}::pg_catalog.regclass", literal(&place.beside("")));
    [
        TypedFunction {
            suffix: "_recommend",
            arguments: format!(
                "user_id {user} DEFAULT NULL, k int DEFAULT 10, exclude {item}[] DEFAULT NULL, candidates {item}[] DEFAULT NULL"
            ),
            types: format!("{user}, int, {item}[], {item}[]"),
            source: format!("persona._recommend({model}, user_id, k, exclude, candidates)"),
            comment:
                "The best k items for a user, best first; popular ones for a user who is unknown or NULL."
                    .into(),
        },
        TypedFunction {
            suffix: "_similar_items",
            arguments: format!("item_id {item}, k int DEFAULT 10"),
            types: format!("{item}, int"),
            // $1: the argument shares its name with a result column.
            source: format!("persona._similar_items({model}, $1, k)"),
            comment: "The k items nearest to an item by cosine of their factors.".into(),
        },
        TypedFunction {
            suffix: "_recommend_for_items",
            arguments: format!("items {item}[], k int DEFAULT 10"),
            types: format!("{item}[], int"),
            source: format!("persona._recommend_for_items({model}, items, k)"),
            comment: "The best k items for somebody who has exactly the given ones.".into(),
        },
    ]
}

/// Makes the typed functions beside a recommender.
pub(crate) fn create_recommender_functions(
    place: &Place,
    user: pg_sys::Oid,
    item: pg_sys::Oid,
) -> Result<()> {
    let (user, item) = (type_name(user), type_name(item));
    for function in functions_beside(place, &user, &item) {
        let TypedFunction { suffix, arguments, types, source, comment } = function;
        let name = place.beside(suffix);
        execute(&format!(
            "CREATE FUNCTION {name}({arguments}) {}
             BEGIN ATOMIC SELECT r.item_id, r.score, r.rank, r.source FROM {source} AS r; END",
            result_of(&item)
        ))?;
        execute(&format!("COMMENT ON FUNCTION {name}({types}) IS {}", literal(&comment)))?;
    }
    Ok(())
}

/// The end of the comment of a published function. It is how such a function is told from one that somebody wrote, which
/// is never replaced or dropped: the comment survives a dump.
pub(crate) const PUBLISHED: &str = " Published by persona.publish().";

/// What stands under the name of a function to publish.
pub(crate) enum Published {
    Nothing,
    /// One function, published from this model before; with the rights of its owner?
    Ours {
        security_definer: bool,
    },
    Other,
}

/// What functions of a name there are in a schema.
pub(crate) fn published(relation: pg_sys::Oid, schema: &str, name: &str) -> Result<Published> {
    let found = {
        let _path = Identity::pinned_path();
        let query = format!(
            "SELECT p.oid::pg_catalog.regprocedure::text,
                    coalesce(pg_catalog.obj_description(p.oid, 'pg_proc') LIKE '%' || {}, false),
                    p.prosecdef
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname = {} AND p.proname = {}",
            literal(PUBLISHED),
            literal(schema),
            literal(name)
        );
        let found = Spi::connect(|client| {
            let rows = client.select(&query, None, &[])?;
            rows.map(|row| Ok((row.get::<String>(1)?, row.get::<bool>(2)?, row.get::<bool>(3)?)))
                .collect::<pgrx::spi::Result<Vec<_>>>()
        });
        found.map_err(|error| {
            fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the catalog: {error}"))
        })?
    };
    match found.as_slice() {
        [] => Ok(Published::Nothing),
        [(Some(function), Some(true), definer)] if functions(relation)?.contains(function) => {
            Ok(Published::Ours { security_definer: *definer == Some(true) })
        }
        _ => Ok(Published::Other),
    }
}

/// The typed functions of a model by qualified name, found by what they depend on: its view and a serving
/// function of the library; published ones are among them. What belongs to somebody else than the view is not the model's.
pub(crate) fn functions(relation: pg_sys::Oid) -> Result<Vec<String>> {
    let _path = Identity::pinned_path();
    let failed = |error| fail(Code::ERRCODE_INTERNAL_ERROR, format!("could not read the catalog: {error}"));
    Spi::connect(|client| {
        let found = client.select(
            &format!(
                "SELECT p.oid::pg_catalog.regprocedure::text
                 FROM pg_catalog.pg_proc p
                 WHERE p.proname ~ '_(recommend|similar_items|recommend_for_items|recommend_own)$'
                   AND (NOT p.prosecdef OR pg_catalog.obj_description(p.oid, 'pg_proc') LIKE '%' || {1})
                   AND p.proowner = (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = {0})
                   AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                               WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                                 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = {0})
                   AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                               JOIN pg_catalog.pg_proc s ON s.oid = d.refobjid
                               JOIN pg_catalog.pg_namespace n ON n.oid = s.pronamespace
                               WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                                 AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                                 AND n.nspname = 'persona'
                                 AND s.proname IN ('_recommend', '_similar_items', '_recommend_for_items'))
                 ORDER BY 1",
                relation.to_u32(),
                literal(PUBLISHED)
            ),
            None,
            &[],
        )?;
        found
            .map(|row| Ok(row.get::<String>(1)?.unwrap_or_default()))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(failed)
}

/// Whether typed functions, named as `functions` does, are those of these id types.
pub(crate) fn fit(functions: &[String], user: pg_sys::Oid, item: pg_sys::Oid) -> bool {
    let _path = Identity::pinned_path();
    let (user, item) = (type_title(user), type_title(item));
    let arguments = format!("({user},integer,{item}[],{item}[])");
    functions.iter().any(|function| {
        // A name that needs quotes ends with one.
        let name = function.strip_suffix(&arguments).map(|name| name.strip_suffix('"').unwrap_or(name));
        name.is_some_and(|name| name.ends_with("_recommend"))
    })
}
