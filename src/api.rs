//! Every function of the library that SQL may bind, with the types that it expects. `make check-api` compares
//! this list with pg_proc: a difference would be memory-unsafe.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::call::{Call, datum, enter};
use crate::error::Result;
use crate::{als, deploy, evaluate, identity, images, lifecycle, progress, recommend};

/// A function as the library declares it.
struct Signature {
    symbol: &'static str,
    arguments: &'static str,
    result: &'static str,
}

macro_rules! sql_functions {
    ($($symbol:ident ( $arguments:literal ) -> $result:literal = $body:path;)*) => {
        const SIGNATURES: &[Signature] = &[$(
            Signature { symbol: stringify!($symbol), arguments: $arguments, result: $result },
        )*];
        $(
            mod $symbol {
                use super::*;

                #[unsafe(no_mangle)]
                #[pg_guard]
                unsafe extern "C-unwind" fn $symbol(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
                    enter(fcinfo, $body)
                }

                #[unsafe(export_name = concat!("pg_finfo_", stringify!($symbol)))]
                extern "C" fn info() -> &'static pg_sys::Pg_finfo_record {
                    const RECORD: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
                    &RECORD
                }
            }
        )*
    };
}

sql_functions! {
    persona_relation_in("cstring") -> "persona_internal.relation" = identity::relation_in;
    persona_relation_out("persona_internal.relation") -> "cstring" = identity::relation_out;
    persona_library_functions("") -> "SETOF record" = library_functions;

    persona_model_of("oid") -> "uuid" = identity::model_of;
    persona_model_facts("uuid") -> "SETOF record" = recommend::model_facts;
    persona_deploy("text, integer") -> "void" = deploy::deploy;
    persona_rollback("text") -> "integer" = deploy::rollback;
    persona_prewarm("text") -> "bigint" = images::prewarm;
    persona_retrain("text, jsonb") -> "persona.training_result" = lifecycle::retrain;
    persona_alter_model("text, regclass, jsonb") -> "void" = lifecycle::alter_model;
    persona_drop_model("text") -> "void" = lifecycle::drop_model;
    persona_grant_model("text, name") -> "void" = lifecycle::grant_model;
    persona_revoke_model("text, name") -> "void" = lifecycle::revoke_model;
    persona_training_progress("") -> "SETOF record" = progress::training_progress;

    persona_train_als(
        "text, regclass, name, name, name, name, text, integer, double precision, double precision, integer, text, text, bigint, jsonb"
    ) -> "persona.training_result" = als::train_als;
    persona_evaluate("text, integer, integer, jsonb") -> "SETOF persona.evaluation" = evaluate::evaluate;

    persona_recommend("text, anycompatible, integer, text[], text[], boolean, boolean, jsonb")
        -> "SETOF persona.recommendation" = recommend::recommend;
    persona_recommend_as("text, anycompatible, anyelement, integer, text[], text[], boolean, boolean, jsonb")
        -> "SETOF record" = recommend::recommend_as;
    persona_typed_recommend("regclass, anycompatible, integer, anyarray, anyarray")
        -> "SETOF record" = recommend::typed_recommend;
    persona_recommend_for_users("text, text[], integer, jsonb")
        -> "SETOF persona.user_recommendation" = recommend::recommend_for_users;
    persona_recommend_for_items("text, text[], integer, jsonb")
        -> "SETOF persona.recommendation" = recommend::recommend_for_items;
    persona_typed_recommend_for_items("regclass, anyarray, integer") -> "SETOF record"
        = recommend::typed_recommend_for_items;
    persona_similar_items("text, anycompatible, integer, jsonb") -> "SETOF persona.recommendation"
        = recommend::similar_items;
    persona_typed_similar_items("regclass, anyelement, integer") -> "SETOF record" = recommend::typed_similar_items;
    persona_similar_users("text, anycompatible, integer, jsonb") -> "SETOF persona.similar_user"
        = recommend::similar_users;
    persona_popular_items("text, integer, jsonb") -> "SETOF persona.recommendation" = recommend::popular_items;
    persona_score("text, anycompatible, text") -> "real" = recommend::score;
    persona_score_typed("text, anycompatible, anyelement") -> "real" = recommend::score;
    persona_item_factors("text") -> "SETOF persona.factor" = recommend::item_factors;
    persona_user_factors("text") -> "SETOF persona.factor" = recommend::user_factors;
}

/// `persona_internal.library_functions()`: this list as rows (symbol, arguments, result).
fn library_functions(call: &Call) -> Result<Option<pg_sys::Datum>> {
    let mut rows = call.rows()?;
    for each in SIGNATURES {
        rows.push(&[datum(each.symbol), datum(each.arguments), datum(each.result)])?;
    }
    Ok(None)
}
