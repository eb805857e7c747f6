//! Where the members of a model come from: SQL whose rows are an id and its features, for the training and for the
//! statement that places them. Ids never leave the server.

use pgrx::pg_sys;

use crate::pg::error::{Code, Result, fail};
use crate::pg::ids::base_type;
use crate::pg::names::{literal, quote};
use crate::source::{Column, Feature, Source};

/// Names of the measures of an RFM model.
pub(super) const MEASURES: [&str; 3] = ["recency_days", "frequency", "monetary"];

/// The source of the members.
pub(super) struct Members {
    /// SELECT whose columns are `id`, `f1`, `f2`, …: each feature as `double precision`.
    base: String,
    features: usize,
    rfm: bool,
}

impl Members {
    /// Each row of a relation, with columns of it as features.
    pub(super) fn rows(source: &Source, id: &Column, features: &[Feature]) -> Members {
        let list: Vec<String> =
            (1..).zip(features).map(|(at, feature)| format!("{} AS f{at}", feature.expression)).collect();
        let base = format!("SELECT {} AS id, {} FROM {}", quote(&id.name), list.join(", "), source.name);
        Members { base, features: features.len(), rfm: false }
    }

    /// Each customer of a relation of purchases, with recency at a reference time, frequency and monetary value.
    pub(super) fn customers(purchases: &Purchases, as_of: &str) -> Members {
        let order = if purchases.order.is_some() { ", t.order_id" } else { "" };
        let as_of = format!("{}::timestamptz", literal(as_of));
        // A refund is no purchase, but it lowers the total.
        let base = format!(
            "SELECT g.id, persona.recency_days(g.r, {as_of}) AS f1, persona.frequency(g.r)::float8 AS f2,
                    persona.monetary(g.r) + coalesce(g.refunds, 0) AS f3
             FROM (SELECT t.id,
                          persona.rfm_agg(t.at, t.amount{order}) FILTER (WHERE t.usable AND t.at <= {as_of} AND t.amount >= 0) AS r,
                          sum(t.amount) FILTER (WHERE t.usable AND t.at <= {as_of} AND t.amount < 0) AS refunds
                   FROM ({}) t GROUP BY t.id) g",
            purchases.rows()
        );
        Members { base, features: MEASURES.len(), rfm: true }
    }

    pub(super) fn is_rfm(&self) -> bool {
        self.rfm
    }

    pub(super) fn features(&self) -> usize {
        self.features
    }

    /// SELECT of the features alone. A row without an id has a NULL among them.
    pub(super) fn matrix(&self) -> String {
        let rest: String = (2..=self.features).map(|at| format!(", b.f{at}")).collect();
        format!("SELECT CASE WHEN b.id IS NOT NULL THEN b.f1 END{rest} FROM ({}) b", self.base)
    }

    /// SELECT of id, segment_id, distance and reason, for RFM also of its columns; `reasons` is SQL of the texts.
    pub(super) fn placed(&self, reasons: &str) -> String {
        let features: Vec<String> = (1..=self.features).map(|at| format!("b.f{at}")).collect();
        // The function is volatile, so it is called once a row however often its result is used.
        let rows = format!(
            "SELECT b.id, {0}, persona._place(ARRAY[{0}]) AS p FROM ({1}) b WHERE b.id IS NOT NULL",
            features.join(", "),
            self.base
        );
        let (distance, extras) = if self.rfm {
            let scores = "CASE WHEN q.p[1] > 0 THEN q.p[2] END::int AS r_score, q.p[3]::int AS f_score, q.p[4]::int AS m_score";
            (
                "NULL::float8",
                format!(", q.f1 AS recency_days, q.f2::bigint AS frequency, q.f3 AS monetary, {scores}"),
            )
        } else {
            ("CASE WHEN q.p[1] > 0 THEN q.p[2] END", String::new())
        };
        format!(
            "SELECT q.id, nullif(q.p[1], 0)::int AS segment_id, {distance} AS distance,
                    ({reasons}::text[])[CASE WHEN q.p[1] = 0 THEN q.p[2]::int END] AS reason{extras}
             FROM ({rows}) q"
        )
    }
}

/// A relation of purchases.
pub(super) struct Purchases {
    source: String,
    id: Column,
    time: Column,
    amount: Column,
    order: Option<Column>,
}

impl Purchases {
    /// Finds the columns and checks their types; 42703, 0A000.
    pub(super) fn open(
        source: &Source,
        [id, time, amount]: [&str; 3],
        order: Option<&str>,
    ) -> Result<Purchases> {
        let column = |name: &str| source.column(name).cloned();
        let (id, time, amount) = (column(id)?, column(time)?, column(amount)?);
        id.id_class()?;
        if time_expression(&time).is_none() {
            return Err(time.wrong_type("times", "timestamptz, timestamp and date"));
        }
        let numeric = [
            pg_sys::INT2OID,
            pg_sys::INT4OID,
            pg_sys::INT8OID,
            pg_sys::FLOAT4OID,
            pg_sys::FLOAT8OID,
            pg_sys::NUMERICOID,
        ];
        if !numeric.contains(&base_type(amount.type_oid)) {
            return Err(
                amount.wrong_type("amounts", "smallint, integer, bigint, real, double precision and numeric")
            );
        }
        let order = order.map(column).transpose()?;
        let names = [Some(&id), Some(&time), Some(&amount), order.as_ref()];
        let names: Vec<&str> = names.into_iter().flatten().map(|column| column.name.as_str()).collect();
        if let Some(twice) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return Err(fail(
                Code::ERRCODE_DUPLICATE_COLUMN,
                format!("column \"{}\" is named twice", names[twice]),
            ));
        }
        Ok(Purchases { source: source.name.clone(), id, time, amount, order })
    }

    pub(super) fn id(&self) -> &Column {
        &self.id
    }

    /// SELECT of id, at, amount, order_id where there is one, and whether the row counts.
    fn rows(&self) -> String {
        let at = time_expression(&self.time).unwrap_or_default();
        let amount = format!("{}::float8", quote(&self.amount.name));
        let (order, has_order) = match &self.order {
            Some(order) => {
                let order = quote(&order.name);
                (format!(", {order} AS order_id"), format!(" AND {order} IS NOT NULL"))
            }
            None => Default::default(),
        };
        format!(
            "SELECT {id} AS id, {at} AS at, {amount} AS amount{order},
                    {id} IS NOT NULL AND isfinite({at}) AND {amount} NOT IN ('NaN', 'Infinity', '-Infinity'){has_order} AS usable
             FROM {}",
            self.source,
            id = quote(&self.id.name),
        )
    }

    /// SELECT of the number of rows, of those that count up to the reference time, and that time in UTC, ISO 8601: the
    /// newest where `as_of` (SQL of a timestamptz) is NULL.
    pub(super) fn summary(&self, as_of: &str) -> String {
        format!(
            "SELECT count(*), count(*) FILTER (WHERE t.usable AND (t.at <= {as_of}) IS NOT FALSE),
                    {}
             FROM ({}) t",
            iso(&format!("timezone('UTC', coalesce({as_of}, max(t.at) FILTER (WHERE t.usable)))")),
            self.rows()
        )
    }
}

/// SQL of a text in ISO 8601 of a timestamp in UTC, which reads the same whatever the settings of the session.
pub(super) fn iso(timestamp: &str) -> String {
    // to_char leaves the era out.
    format!(
        "to_char({timestamp}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00\"')
           || CASE WHEN {timestamp} < '0001-01-01'::timestamp THEN ' BC' ELSE '' END"
    )
}

/// A time as a timestamptz: days, and times without a zone, are those of UTC, whatever the zone of the session.
fn time_expression(column: &Column) -> Option<String> {
    let name = quote(&column.name);
    match base_type(column.type_oid) {
        pg_sys::TIMESTAMPTZOID => Some(format!("{name}::timestamptz")),
        pg_sys::TIMESTAMPOID | pg_sys::DATEOID => Some(format!("timezone('UTC', {name}::timestamp)")),
        _ => None,
    }
}
