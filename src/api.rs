//! Every function of the library that SQL may bind, with the types that it expects. `make check-api` compares
//! this list with pg_proc: a difference would be memory-unsafe.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::models::{
    attach, body, deploy, evaluate, identity, images, lifecycle, progress, prune, queue, registry, tune,
    update,
};
use crate::pg::call::{Answer, Call, datum, enter};
use crate::pg::procedures;
use crate::recommenders::{als, automatic, ease, item_knn, popularity, publish, serve, sgd};
use crate::segments::{self, kmeans, rfm};
use crate::values::{self, fixed_io, flat_io};

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

    persona_only_library("") -> "trigger" = registry::closed::only_library;
    persona_model_of("oid") -> "uuid" = body::model_of;
    persona_model_facts("uuid") -> "SETOF record" = serve::model_facts;
    persona_deploy("text, integer") -> "void" = deploy::deploy;
    persona_rollback("text") -> "integer" = deploy::rollback;
    persona_prewarm("text") -> "bigint" = images::prewarm;
    persona_prune("text, integer") -> "SETOF persona.prune_result" = prune::prune;
    persona_retrain("text, jsonb") -> "persona.training_result" = lifecycle::retrain;
    persona_update_model("text, jsonb") -> "persona.training_result" = update::update_model;
    persona_alter_model("text, regclass, jsonb") -> "void" = lifecycle::alter_model;
    persona_drop_model("text") -> "void" = lifecycle::drop_model;
    persona_grant_model("text, name") -> "void" = lifecycle::grant_model;
    persona_revoke_model("text, name") -> "void" = lifecycle::revoke_model;
    persona_publish("text, name, boolean") -> "void" = publish::publish;
    persona_publish_own("text, name, text, text") -> "void" = publish::publish_own;
    persona_training_progress("") -> "SETOF record" = progress::training_progress;

    persona_outside_block("text") -> "void" = procedures::outside_block;
    persona_attach("text, jsonb") -> "void" = attach::attach;
    persona_detach("text") -> "void" = attach::detach;

    persona_tune_begin("text, integer, text, jsonb, integer, text, bigint, jsonb") -> "regclass" = tune::begin;
    persona_tune_next("regclass, integer, text") -> "integer" = tune::begin_trial;
    persona_tune_measure("regclass, integer") -> "void" = tune::measure;
    persona_tune_finish("regclass, text") -> "persona.training_result" = tune::finish;
    persona_queue_changes("") -> "trigger" = queue::queue_changes;

    persona_train_als(
        "text, regclass, name, name, name, name, text, integer, double precision, double precision, integer, text, text, bigint, jsonb"
    ) -> "persona.training_result" = als::train_als;
    persona_train_bpr(
        "text, regclass, name, name, name, name, integer, double precision, double precision, integer, text, text, bigint, jsonb"
    ) -> "persona.training_result" = sgd::train_bpr;
    persona_train_sgd(
        "text, regclass, name, name, name, name, text, text, integer, double precision, double precision, integer, text, text, bigint, jsonb"
    ) -> "persona.training_result" = sgd::train_sgd;
    persona_train_ease(
        "text, regclass, name, name, name, name, double precision, text, text, bigint, jsonb"
    ) -> "persona.training_result" = ease::train_ease;
    persona_train_item_knn(
        "text, regclass, name, name, name, name, text, integer, text, text, bigint, jsonb"
    ) -> "persona.training_result" = item_knn::train_item_knn;
    persona_train_popularity(
        "text, regclass, name, name, name, name, double precision, text, text, bigint, jsonb"
    ) -> "persona.training_result" = popularity::train_popularity;
    persona_train_recommender("text, regclass, name, name, name, name, interval, text, bigint, jsonb")
        -> "persona.training_result" = automatic::train_recommender;
    persona_evaluate("text, integer, integer, jsonb") -> "SETOF persona.evaluation" = evaluate::evaluate;

    persona_recommend("text, anycompatible, integer, text[], text[], boolean, boolean, jsonb")
        -> "SETOF persona.recommendation" = serve::recommend;
    persona_recommend_as("text, anycompatible, anyelement, integer, text[], text[], boolean, boolean, jsonb")
        -> "SETOF record" = serve::recommend_as;
    persona_typed_recommend("regclass, anycompatible, integer, anyarray, anyarray")
        -> "SETOF record" = serve::typed_recommend;
    persona_recommend_all("text, integer") -> "bigint" = serve::all::recommend_all;
    persona_recommend_all_rows("regclass, integer, anyarray, anycompatiblearray") -> "SETOF record"
        = serve::all::rows;
    persona_recommend_for_users("text, text[], integer, jsonb")
        -> "SETOF persona.user_recommendation" = serve::recommend_for_users;
    persona_recommend_for_items("text, text[], integer, jsonb")
        -> "SETOF persona.recommendation" = serve::recommend_for_items;
    persona_typed_recommend_for_items("regclass, anyarray, integer") -> "SETOF record"
        = serve::typed_recommend_for_items;
    persona_similar_items("text, anycompatible, integer, jsonb") -> "SETOF persona.recommendation"
        = serve::similar_items;
    persona_typed_similar_items("regclass, anyelement, integer") -> "SETOF record" = serve::typed_similar_items;
    persona_similar_users("text, anycompatible, integer, jsonb") -> "SETOF persona.similar_user"
        = serve::similar_users;
    persona_popular_items("text, integer, jsonb") -> "SETOF persona.recommendation" = serve::popular_items;
    persona_score("text, anycompatible, text") -> "real" = serve::score;
    persona_score_typed("text, anycompatible, anyelement") -> "real" = serve::score;
    persona_explain("text, anycompatible, text, jsonb") -> "SETOF persona.explanation"
        = serve::explain::explain;
    persona_explain_typed("text, anycompatible, anyelement, jsonb") -> "SETOF persona.explanation"
        = serve::explain::explain;
    persona_item_factors("text") -> "SETOF persona.factor" = serve::item_factors;
    persona_user_factors("text") -> "SETOF persona.factor" = serve::user_factors;

    persona_train_kmeans(
        "text, regclass, name, name[], integer, text, integer, integer, double precision, text, text, bigint, text, jsonb"
    ) -> "persona.training_result" = kmeans::train_kmeans;
    persona_train_rfm("text, regclass, name, name, name, name, timestamp with time zone, integer, text, jsonb")
        -> "persona.training_result" = rfm::train_rfm;
    persona_assign("text, double precision[]") -> "integer" = segments::assign;
    persona_assign_row("text, jsonb") -> "integer" = segments::assign_row;
    persona_segment_distances("text, double precision[]") -> "SETOF persona.segment_distance"
        = segments::segment_distances;
    persona_label_segment("text, integer, text") -> "void" = segments::label_segment;
    persona_place("double precision[]") -> "double precision[]" = segments::place;

    persona_stats_in("cstring") -> "persona.stats" = fixed_io::input::<fixed_io::Stats>;
    persona_stats_out("persona.stats") -> "cstring" = fixed_io::output::<fixed_io::Stats>;
    persona_stats_recv("internal") -> "persona.stats" = fixed_io::receive::<fixed_io::Stats>;
    persona_stats_send("persona.stats") -> "bytea" = fixed_io::send::<fixed_io::Stats>;
    persona_stats_accum("persona.stats, double precision") -> "persona.stats" = values::stats_accum;
    persona_stats_combine("persona.stats, persona.stats") -> "persona.stats" = values::stats_combine;
    persona_stats_final("persona.stats") -> "persona.stats" = values::stats_final;
    persona_stats_num_vals("persona.stats") -> "bigint" = values::stats_num_vals;
    persona_stats_mean("persona.stats") -> "double precision" = values::stats_mean;
    persona_stats_variance("persona.stats") -> "double precision" = values::stats_variance;
    persona_stats_variance_pop("persona.stats") -> "double precision" = values::stats_variance_pop;
    persona_stats_stddev("persona.stats") -> "double precision" = values::stats_stddev;
    persona_stats_stddev_pop("persona.stats") -> "double precision" = values::stats_stddev_pop;
    persona_stats_skewness("persona.stats") -> "double precision" = values::stats_skewness;
    persona_stats_kurtosis("persona.stats") -> "double precision" = values::stats_kurtosis;
    persona_stats_min("persona.stats") -> "double precision" = values::stats_min;
    persona_stats_max("persona.stats") -> "double precision" = values::stats_max;
    persona_stats_z_score("persona.stats, double precision") -> "double precision" = values::stats_z_score;
    persona_stats_min_max_scale("persona.stats, double precision") -> "double precision"
        = values::stats_min_max_scale;

    persona_column_stats_in("cstring") -> "persona.column_stats" = flat_io::input::<flat_io::ColumnStats>;
    persona_column_stats_out("persona.column_stats") -> "cstring" = flat_io::output::<flat_io::ColumnStats>;
    persona_column_stats_recv("internal") -> "persona.column_stats" = flat_io::receive::<flat_io::ColumnStats>;
    persona_column_stats_send("persona.column_stats") -> "bytea" = flat_io::send::<flat_io::ColumnStats>;
    persona_column_stats_accum("persona.column_stats, double precision[]") -> "persona.column_stats"
        = values::column_stats_accum;
    persona_column_stats_combine("persona.column_stats, persona.column_stats") -> "persona.column_stats"
        = values::column_stats_combine;
    persona_column_stats_final("persona.column_stats") -> "persona.column_stats" = values::column_stats_final;
    persona_column_stats_num_columns("persona.column_stats") -> "integer" = values::column_stats_num_columns;
    persona_column_stats_of("persona.column_stats, integer") -> "persona.stats" = values::column_stats_of;

    persona_standard_scaler("double precision") -> "double precision" = values::standard_scaler;
    persona_min_max_scaler("double precision") -> "double precision" = values::min_max_scaler;
    persona_max_abs_scaler("double precision") -> "double precision" = values::max_abs_scaler;
    persona_robust_scaler("double precision") -> "double precision" = values::robust_scaler;
    persona_quantile_bucketize("double precision, integer") -> "integer" = values::quantile_bucketize;

    persona_rfm_in("cstring") -> "persona.rfm" = fixed_io::input::<fixed_io::Rfm>;
    persona_rfm_out("persona.rfm") -> "cstring" = fixed_io::output::<fixed_io::Rfm>;
    persona_rfm_recv("internal") -> "persona.rfm" = fixed_io::receive::<fixed_io::Rfm>;
    persona_rfm_send("persona.rfm") -> "bytea" = fixed_io::send::<fixed_io::Rfm>;
    persona_rfm_accum("persona.rfm, timestamp with time zone, double precision") -> "persona.rfm"
        = values::rfm_accum;
    persona_rfm_accum_date("persona.rfm, date, double precision") -> "persona.rfm" = values::rfm_accum_date;
    persona_rfm_combine("persona.rfm, persona.rfm") -> "persona.rfm" = values::rfm_combine;
    persona_rfm_final("persona.rfm") -> "persona.rfm" = values::rfm_final;
    persona_rfm_orders_in("cstring") -> "persona_internal.rfm_orders" = flat_io::input::<flat_io::Orders>;
    persona_rfm_orders_out("persona_internal.rfm_orders") -> "cstring" = flat_io::output::<flat_io::Orders>;
    persona_rfm_orders_recv("internal") -> "persona_internal.rfm_orders" = flat_io::receive::<flat_io::Orders>;
    persona_rfm_orders_send("persona_internal.rfm_orders") -> "bytea" = flat_io::send::<flat_io::Orders>;
    persona_rfm_orders_accum(
        "persona_internal.rfm_orders, timestamp with time zone, double precision, anyelement"
    ) -> "persona_internal.rfm_orders" = values::orders_accum;
    persona_rfm_orders_accum_date("persona_internal.rfm_orders, date, double precision, anyelement")
        -> "persona_internal.rfm_orders" = values::orders_accum_date;
    persona_rfm_orders_combine("persona_internal.rfm_orders, persona_internal.rfm_orders")
        -> "persona_internal.rfm_orders" = values::orders_combine;
    persona_rfm_orders_final("persona_internal.rfm_orders") -> "persona.rfm" = values::orders_final;
    persona_rfm_frequency("persona.rfm") -> "bigint" = values::rfm_frequency;
    persona_rfm_monetary("persona.rfm") -> "double precision" = values::rfm_monetary;
    persona_rfm_first_at("persona.rfm") -> "timestamp with time zone" = values::rfm_first_at;
    persona_rfm_last_at("persona.rfm") -> "timestamp with time zone" = values::rfm_last_at;
    persona_rfm_recency_days("persona.rfm, timestamp with time zone") -> "double precision"
        = values::rfm_recency_days;
    persona_rfm_recency_days_date("persona.rfm, date") -> "double precision" = values::rfm_recency_days_date;
    persona_rfm_age_days("persona.rfm, timestamp with time zone") -> "double precision" = values::rfm_age_days;
    persona_rfm_age_days_date("persona.rfm, date") -> "double precision" = values::rfm_age_days_date;

    persona_page_hinkley_accum("double precision[], double precision") -> "double precision[]"
        = values::page_hinkley_accum_defaults;
    persona_page_hinkley_accum_with(
        "double precision[], double precision, integer, double precision, double precision, double precision, text"
    ) -> "double precision[]" = values::page_hinkley_accum;
    persona_page_hinkley_final("double precision[]") -> "persona.detection" = values::page_hinkley_final;

    persona_quantiles_in("cstring") -> "persona.quantiles" = flat_io::input::<flat_io::Quantiles>;
    persona_quantiles_out("persona.quantiles") -> "cstring" = flat_io::output::<flat_io::Quantiles>;
    persona_quantiles_recv("internal") -> "persona.quantiles" = flat_io::receive::<flat_io::Quantiles>;
    persona_quantiles_send("persona.quantiles") -> "bytea" = flat_io::send::<flat_io::Quantiles>;
    persona_quantiles_accum("persona.quantiles, double precision") -> "persona.quantiles" = values::quantiles_accum;
    persona_quantiles_combine("persona.quantiles, persona.quantiles") -> "persona.quantiles"
        = values::quantiles_combine;
    persona_quantiles_final("persona.quantiles") -> "persona.quantiles" = values::quantiles_final;
    persona_quantiles_num_vals("persona.quantiles") -> "bigint" = values::quantiles_num_vals;
    persona_quantiles_rank_error("persona.quantiles") -> "double precision" = values::quantiles_rank_error;
    persona_quantiles_quantile("persona.quantiles, double precision") -> "double precision"
        = values::quantiles_quantile;
    persona_quantiles_robust_scale("persona.quantiles, double precision") -> "double precision"
        = values::quantiles_robust_scale;
    persona_quantiles_psi("persona.quantiles, persona.quantiles, integer") -> "double precision"
        = values::quantiles_psi;
    persona_quantiles_ks_test("persona.quantiles, persona.quantiles") -> "persona.test_result"
        = values::quantiles_ks_test;

    persona_categories_in("cstring") -> "persona.categories" = flat_io::input::<flat_io::Categories>;
    persona_categories_out("persona.categories") -> "cstring" = flat_io::output::<flat_io::Categories>;
    persona_categories_recv("internal") -> "persona.categories" = flat_io::receive::<flat_io::Categories>;
    persona_categories_send("persona.categories") -> "bytea" = flat_io::send::<flat_io::Categories>;
    persona_categories_accum("persona.categories, text") -> "persona.categories" = values::categories_accum;
    persona_categories_combine("persona.categories, persona.categories") -> "persona.categories"
        = values::categories_combine;
    persona_categories_final("persona.categories") -> "persona.categories" = values::categories_final;
    persona_categories_num_vals("persona.categories") -> "bigint" = values::categories_num_vals;
    persona_categories_psi("persona.categories, persona.categories") -> "double precision" = values::categories_psi;
}

/// `persona_internal.library_functions()`: this list as rows (symbol, arguments, result).
fn library_functions(call: &Call) -> Answer {
    let mut rows = call.rows()?;
    for each in SIGNATURES {
        rows.push(&[datum(each.symbol), datum(each.arguments), datum(each.result)])?;
    }
    Ok(None)
}
