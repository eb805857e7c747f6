#!/usr/bin/env python3
"""Compares trained segments with stored answers: RFM row by row and by its quantiles, k-means with scikit-learn."""

import json

from common import figure, load, off, purchases, reference, rows, sql

MEASURES = {"recency_days": "recency_days", "frequency": "frequency_orders", "monetary": "monetary_total"}


def rfm():
    for name, as_of in purchases():
        sql(f"""CREATE OR REPLACE VIEW bought AS SELECT customer_id, at::date AS day, amount, order_id FROM purchases;
                SELECT persona.train_rfm('{name}', 'bought', 'customer_id', 'day', 'amount', 'order_id', as_of => '{as_of} 00:00+00');""")
        differ, missing, total = sql(
            f"""SELECT count(*) FILTER (WHERE (m.recency_days, m.frequency) IS DISTINCT FROM (a.recency, a.orders)),
                       count(*) FILTER (WHERE m.customer_id IS NULL OR a.customer_id IS NULL OR segment_id IS NULL),
                       max(abs(m.monetary - a.total))
                FROM {name}_members m FULL JOIN answers a USING (customer_id);"""
        )[0]
        figure(f"train_rfm on {name}: customers that differ", int(differ) + int(missing), 0)
        # The stored totals are rounded to cents.
        figure(f"train_rfm on {name}: totals", total, 0.005001)
        used = json.loads(sql(f"SELECT hyperparameters FROM persona.versions WHERE model = '{name}';")[0][0])
        edges = reference(f"rfm_segmentation_{name}.json")["quintile_edges_linear"]
        worst = max(off(got, expected) for ours, theirs in MEASURES.items()
                    for got, expected in zip(used["cut_points"][ours], edges[theirs], strict=True))
        figure(f"train_rfm on {name}: cut points beside numpy", worst, 1e-12)
        wrong = sql(
            f"""SELECT count(*) FROM {name}_members
                WHERE r_score <> 1 + (SELECT count(*) FROM unnest('{{{",".join(map(str, edges["recency_days"]))}}}'::float8[]) e WHERE recency_days <= e)
                   OR f_score <> 1 + (SELECT count(*) FROM unnest('{{{",".join(map(str, edges["frequency_orders"]))}}}'::float8[]) e WHERE frequency > e);"""
        )[0][0]
        figure(f"train_rfm on {name}: scores that do not follow the edges", wrong, 0)
        sql(f"SELECT persona.drop_model('{name}'); DROP VIEW bought;")


def kmeans():
    for name, file, bar, near in (
        ("cdnow", "cdnow/rfm_zfeatures_cdnow.csv.gz", 1.001, 0.002),
        # Fewer rows have more optima: ten starts are within a hundredth of the best of thirty, and inertias that differ
        # in the sixth digit have silhouettes that differ in the third.
        ("online_retail_even", "online-retail/rfm_zfeatures_online_retail_even.csv.gz", 1.01, 0.003),
    ):
        load("features", "customer_id bigint, z_recency float8, z_log_freq float8, z_log_money float8",
             [list(row.values()) for row in rows(file)])
        for k, stored in reference(f"rfm_segmentation_{name}.json")["segmentation"]["kmeans"].items():
            sql(f"SELECT persona.train_kmeans('by_z', 'features', 'customer_id', k => {k}, scaling => 'none');")
            got = dict(sql(f"SELECT metric, value FROM persona.metrics WHERE model = 'by_z' AND is_live AND k = {k};"))
            figure(f"k-means on {name}, k {k}: inertia beside the best of scikit-learn", float(got["inertia"]) / stored["inertia_best"], bar)
            figure(f"k-means on {name}, k {k}: silhouette", abs(float(got["silhouette"]) - stored["silhouette"]), near)
            # The tables say the same as the fit.
            total, rows_, sizes = sql(
                """SELECT sum(distance ^ 2), count(*), (SELECT sum(members) FROM by_z_segments) FROM by_z_members
                   WHERE segment_id IS NOT NULL;"""
            )[0]
            figure(f"k-means on {name}, k {k}: inertia of the members", off(total, float(got["inertia"])), 1e-6)
            figure(f"k-means on {name}, k {k}: members that segments do not count", int(rows_) - int(sizes), 0)
        sql("SELECT persona.drop_model('by_z');")


rfm()
kmeans()
