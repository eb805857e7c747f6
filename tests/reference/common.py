"""What the comparisons share: the data, stored answers, and a table of figures in the database."""

import csv
import gzip
import json
import os
import subprocess

DATA = os.environ["SHARED_DATA"]
PSQL = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
QUIET = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}


def sql(script):
    """What a script prints, as rows of texts."""
    done = subprocess.run(PSQL, input=script, text=True, check=True, stdout=subprocess.PIPE, env=QUIET)
    return [line.split("|") for line in done.stdout.splitlines()]


def rows(name):
    with gzip.open(os.path.join(DATA, name), "rt", newline="") as file:
        return list(csv.DictReader(file))


def reference(name):
    with open(os.path.join(DATA, "reference", name)) as file:
        return json.load(file)


def load(table, columns, values):
    """Makes a table of rows of texts."""
    lines = "".join("\t".join(map(str, row)) + "\n" for row in values)
    sql(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({columns});\nCOPY {table} FROM stdin;\n{lines}\\.\n")


def figure(name, value, at_most):
    sql(f"INSERT INTO figures (name, value, at_most) VALUES ('{name}', {value}, {at_most});")


def off(got, expected):
    """How far a number is off, relative where it is large."""
    return abs(float(got) - expected) / max(1.0, abs(expected))


def purchases():
    """For each set of purchases its name and reference date, while the tables `purchases` and `answers` hold it."""
    # Cancelled orders, rows that are no purchase and rows without a customer are left out, as in the stored answers.
    load("lines", "customer_id text, at timestamp, quantity float8, price float8, order_id text",
         [[row[c] for c in ("CustomerID", "InvoiceDate", "Quantity", "UnitPrice", "InvoiceNo")]
          for row in rows("online-retail/transactions_even_and_null.csv.gz")])
    clean = sql("""SELECT customer_id, at, quantity * price, order_id FROM lines
                   WHERE customer_id <> '' AND order_id NOT LIKE 'C%' AND quantity > 0 AND price > 0;""")
    cdnow = [(row["customer_id"], row["date"], row["amount"], i) for i, row in enumerate(rows("cdnow/transactions.csv.gz"))]
    for name, bought, answers in (
        ("cdnow", cdnow, "cdnow/rfm_cdnow.csv.gz"),
        ("online_retail_even", clean, "online-retail/rfm_online_retail_even.csv.gz"),
    ):
        load("purchases", "customer_id bigint, at timestamp, amount float8, order_id text", bought)
        load("answers", "customer_id bigint, recency float8, orders bigint, days bigint, total float8",
             [list(row.values())[:5] for row in rows(answers)])
        yield name, reference(f"rfm_segmentation_{name}.json")["reference_date"]
