#!/usr/bin/env python3
"""Compares the values layer with scikit-learn, numpy, scipy, pandas and river: their stored answers on public data sets.

Loads the sets into the database, asks in SQL, and writes a row of `figures` for each comparison.
"""

import csv

from common import figure, load, off, purchases, reference, rows, sql


def scalers():
    stored = reference("preprocess_and_static_drift.json")
    columns = {
        "cdnow_amount": [(i, row["amount"]) for i, row in enumerate(rows("cdnow/transactions.csv.gz"))],
        "online_retail_even_monetary_total": [
            (row["customer_id"], row["monetary_total"]) for row in rows("online-retail/rfm_online_retail_even.csv.gz")
        ],
        "wine_alcohol": [(i, row["alcohol"]) for i, row in enumerate(rows("wine/wine.csv.gz"))],
        "wine_proline": [(i, row["proline"]) for i, row in enumerate(rows("wine/wine.csv.gz"))],
    }
    for name, values in columns.items():
        load("scaled", "id bigint, x float8", values)
        answer = stored["scaling_" + name]
        got = sql(
            """SELECT id, persona.min_max_scaler(x) OVER (), persona.standard_scaler(x) OVER (),
                      persona.robust_scaler(x) OVER (), persona.max_abs_scaler(x) OVER (),
                      persona.z_score((SELECT persona.stats_agg(x) FROM scaled), x)
               FROM scaled ORDER BY id;"""
        )
        by_id = {row[0]: row[1:] for row in got}
        fields = ("minmax", "zscore_ddof0", "robust_median_iqr", "maxabs", "zscore_ddof1")
        worst = max(
            off(by_id[str(row["id"])][place], row[field]) for row in answer["rows"] for place, field in enumerate(fields)
        )
        figure(f"scalers on {name} beside scikit-learn: rows", worst, 1e-12)
        # Sums of absolute values over all rows: no row is far off.
        worst = max(
            off(sum(abs(float(row[place])) for row in by_id.values()) / len(got), answer["column_abs_sums"][field] / len(got))
            for place, field in enumerate(fields)
        )
        figure(f"scalers on {name} beside scikit-learn: sums", worst, 1e-12)
        figures = ("n", "min", "max", "mean", "std_ddof0", "std_ddof1", "skew_biased", "kurtosis_excess_biased")
        stats = sql(
            """SELECT persona.num_vals(s), persona.min(s), persona.max(s), persona.mean(s), persona.stddev_pop(s),
                      persona.stddev(s), persona.skewness(s), persona.kurtosis(s)
               FROM (SELECT persona.stats_agg(x) AS s FROM scaled) AS q;"""
        )[0]
        worst = max(off(got, answer[field]) for got, field in zip(stats, figures, strict=True))
        figure(f"stats_agg on {name} beside scipy", worst, 1e-11)
        q = sql(
            """SELECT persona.quantile(q, 0.25), persona.quantile(q, 0.5), persona.quantile(q, 0.75), persona.rank_error(q)
               FROM (SELECT persona.quantile_agg(x) AS q FROM scaled) AS q;"""
        )[0]
        if float(q[3]) == 0:
            worst = max(off(got, answer[field]) for got, field in zip(q, ("q1_linear", "median", "q3_linear")))
            figure(f"quantiles of {name} beside numpy", worst, 1e-14)
        else:
            beyond = 0.0
            for p, got in zip((0.25, 0.5, 0.75), q):
                below, to = map(float, sql(f"SELECT avg((x < {got})::int), avg((x <= {got})::int) FROM scaled;")[0])
                beyond = max(beyond, below - p, p - to)
            figure(f"quantiles of {name}: share off, in units of its bound", beyond / float(q[3]), 1)


def customers():
    """Recency, frequency and monetary value of each customer; an order of cdnow is a row."""
    for name, as_of in purchases():
        differ, customers_off, total = sql(
            f"""SELECT count(*) FILTER (WHERE persona.recency_days(r, date '{as_of}') IS DISTINCT FROM recency
                                           OR persona.frequency(r) IS DISTINCT FROM orders
                                           OR persona.frequency(d) IS DISTINCT FROM days),
                       (SELECT count(*) FROM answers) - count(*), max(abs(persona.monetary(r) - total))
                FROM (SELECT customer_id, persona.rfm_agg(at::date, amount, order_id) AS r,
                             persona.rfm_agg(at AT TIME ZONE 'UTC', amount, at::date) AS d
                      FROM purchases GROUP BY customer_id) AS q FULL JOIN answers USING (customer_id);"""
        )[0]
        figure(f"rfm_agg on {name}: customers that differ", int(differ) + abs(int(customers_off)), 0)
        # The stored totals are rounded to cents.
        figure(f"rfm_agg on {name}: totals", total, 0.005001)


DETECTORS = {
    "PageHinkley(min_instances=30,delta=.005,threshold=50,alpha=.9999,mode=both)": "(x)",
    "PageHinkley(threshold=10,delta=.05)": "(x, 30, 0.05, 10, 0.9999, 'both')",
    "PageHinkley(threshold=20,delta=.1,mode=up)": "(x, 30, 0.1, 20, 0.9999, 'up')",
}


def streams():
    """Every stream with stored alarms, as (name, values, {detector: positions from 0})."""
    stored = reference("drift_and_streaming.json")
    synthetic = {}
    for row in rows("drift-streams/synthetic_streams.csv.gz"):
        synthetic.setdefault(row["stream"], []).append(float(row["value"]))
    for name, answer in stored["synthetic_streams"].items():
        yield name, synthetic[name], answer["detections_0_based_index"]
    for name, answer in stored["real_annotated"].items():
        column = answer["column_used(last numeric)"]
        values = [float(row[column]) for row in rows(f"change-points/{name}.csv.gz")]
        mean = sum(values) / len(values)
        deviation = (sum((x - mean) ** 2 for x in values) / len(values)) ** 0.5
        yield name, [(x - mean) / deviation for x in values], answer["detections"]
    for name, answer in stored["prequential"].items():
        errors = [float(row["error"]) for row in rows(f"drift-streams/{name}_hoeffding_error_stream.csv.gz")]
        yield name + "_errors", errors, answer["drift_on_hoeffding_error_stream"]


def alarms():
    compared = differ = 0
    for name, values, answers in streams():
        load("stream", "t bigint, x float8", enumerate(values, 1))
        for detector, arguments in DETECTORS.items():
            if detector not in answers:
                continue
            got = sql(
                f"""SELECT t - 1 FROM (SELECT t, persona.page_hinkley{arguments} OVER (ORDER BY t ROWS UNBOUNDED PRECEDING) AS d
                                       FROM stream) AS q WHERE (d).drift ORDER BY t;"""
            )
            whole = sql(f"SELECT (d).drifts, (d).last_position - 1 FROM (SELECT persona.page_hinkley{arguments[:-1]} ORDER BY t) AS d FROM stream) AS q;")[0]
            expected = [str(position) for position in answers[detector]]
            same = [row[0] for row in got] == expected
            same = same and whole == [str(len(expected)), expected[-1] if expected else ""]
            compared += 1
            differ += not same
            if not same:
                print(f"{name}, {detector}: {[row[0] for row in got]} instead of {expected}")
    sql(f"INSERT INTO figures (name, value, at_least) VALUES ('page_hinkley: streams compared with river', {compared}, 30);")
    figure("page_hinkley: streams that differ from river", differ, 0)


def drift():
    stored = reference("preprocess_and_static_drift.json")
    elec = rows("elec/elec.csv.gz")
    adult = {part: rows(f"adult/{part}.csv.gz") for part in ("train", "test")}
    half = len(elec) // 2
    pairs = {f"elec_{c}_first_half_vs_second": ([r[c] for r in elec[:half]], [r[c] for r in elec[half:]])
             for c in ("nswprice", "nswdemand", "vicprice", "transfer")}
    demand = [r["nswdemand"] for r in elec]
    pairs["elec_nswdemand_odd_vs_even_rows(no drift)"] = (demand[1::2], demand[0::2])
    pairs["adult_age_train_vs_test(no drift)"] = ([r["age"] for r in adult["train"]], [r["age"] for r in adult["test"]])
    for name, (a, b) in pairs.items():
        load("pair", "is_reference bool, x float8", [("t", x) for x in a] + [("f", x) for x in b])
        answer = stored["drift_pairs"][name]
        psi, d, p, error = map(float, sql(
            """SELECT persona.psi(a, b), (persona.ks_test(a, b)).*, persona.rank_error(a) + persona.rank_error(b)
               FROM (SELECT persona.quantile_agg(x) FILTER (WHERE is_reference) AS a,
                            persona.quantile_agg(x) FILTER (WHERE NOT is_reference) AS b FROM pair) AS q;"""
        )[0])
        figure(f"ks_test on {name}: statistic, in units of its bound", abs(d - answer["ks_D"]) / error, 1)
        # A bin of a tenth that is off by the error moves its term by about that much.
        slack = error * (10 * answer["psi_10_ref_deciles_eps1e-4"] + 1)
        figure(f"psi on {name}: in units of what the ranks allow", abs(psi - answer["psi_10_ref_deciles_eps1e-4"]) / slack, 1)
    for name, a, b in (
        ("adult_education_train_vs_test", [r["education"] for r in adult["train"]], [r["education"] for r in adult["test"]]),
        ("adult_occupation_male_vs_female", [r["occupation"] for r in adult["train"] if r["sex"] == "Male"],
         [r["occupation"] for r in adult["train"] if r["sex"] == "Female"]),
    ):
        load("kinds", "is_reference bool, kind text", [("t", x) for x in a] + [("f", x) for x in b])
        psi = sql("""SELECT persona.psi(persona.category_agg(kind) FILTER (WHERE is_reference),
                                        persona.category_agg(kind) FILTER (WHERE NOT is_reference)) FROM kinds;""")[0][0]
        figure(f"psi of categories on {name}", abs(float(psi) - stored["psi_categorical"][name]), 1e-12)


sql("CREATE EXTENSION IF NOT EXISTS pg_persona;")
scalers()
customers()
alarms()
drift()
