"""Recommenders on one million interactions: each training, and each answer for many, in turn with its rival's.

ROUNDS in the environment: how many turns of each (3), of which the medians are shown.
"""
import os, struct
import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

import data
from report import median, seconds

NAME, FACTORS, THREADS, ITERATIONS, BPR_EPOCHS, K, EASE_ITEMS = "inter_1m", 64, 2, 15, 10, 10, 2000


def als(use_cg, iterations=ITERATIONS):
    return AlternatingLeastSquares(factors=FACTORS, regularization=0.1, alpha=1.0, iterations=iterations, use_cg=use_cg, num_threads=THREADS,
                                   use_gpu=False, calculate_training_loss=False, random_state=0, dtype=np.float32)


def export(connection, shape):
    """The rows of the table as the matrix of confidences, by binary COPY."""
    with connection.cursor() as cursor, cursor.copy(f"COPY {NAME} (user_id, item_id, value) TO STDOUT (FORMAT binary)") as copy:
        stored = b"".join(copy)
    layout = np.dtype([("count", ">i2"), ("l0", ">i4"), ("user", ">i8"), ("l1", ">i4"), ("item", ">i8"), ("l2", ">i4"), ("value", ">f4")])
    rows = np.frombuffer(memoryview(stored)[len(data.SIGNATURE):-2], layout)
    where = (rows["user"] - 1).astype(np.int32), (rows["item"] - 1).astype(np.int32)
    return sparse.csr_matrix((1 + 10 * rows["value"].astype(np.float32), where), shape=shape)


def store(connection, table, factors):
    """Factors into a table (id, factors) with its key, by binary COPY."""
    element = np.dtype([("length", ">i4"), ("value", ">f4")])
    layout = np.dtype([("count", ">i2"), ("l0", ">i4"), ("id", ">i8"), ("l1", ">i4"), ("head", ">i4", (5,)), ("values", element, (FACTORS,))])
    rows = np.zeros(len(factors), layout)
    rows["count"], rows["l0"], rows["id"], rows["l1"] = 2, 8, np.arange(1, len(factors) + 1), 20 + 8 * FACTORS
    # One dimension, no nulls, of float4 (oid 700), from 1 on.
    rows["head"], rows["values"]["length"], rows["values"]["value"] = (1, 0, 700, FACTORS, 1), 4, factors
    connection.execute(f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (id bigint, factors real[])")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(data.SIGNATURE + rows.tobytes() + struct.pack(">h", -1))
    connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")


class Ours:
    """Trainings by SQL, without a holdout."""

    def __init__(self, connection):
        self.connection = connection

    def train(self, trainer, model, arguments="", options="", table=NAME, value=", 'value'"):
        """Seconds of the whole call and of its phase `fit`; the model before it is dropped."""
        if self.connection.execute("SELECT to_regclass(%s)", [model]).fetchone()[0]:
            self.connection.execute("SELECT persona.drop_model(%s)", [model])
        self.connection.execute("CHECKPOINT")
        statement = (f"SELECT version FROM persona.train_{trainer}('{model}', '{table}', 'user_id', 'item_id'{value}, holdout => 'none', "
                     f"deploy => 'always'{arguments}, options => '{{\"threads\": {THREADS}{options}}}')")
        took, version = seconds(lambda: self.connection.execute(statement).fetchone()[0])
        fit = self.connection.execute("SELECT seconds FROM persona.training_log WHERE model = %s AND version = %s AND phase = 'fit' "
                                      "AND iteration IS NULL", [model, version]).fetchone()[0]
        return took, fit

    def ask(self, statement):
        return seconds(lambda: self.connection.execute(statement).fetchone()[0])[0]


def compare(connection, report, note, folder):
    rounds = int(os.environ.get("ROUNDS", 3))
    columns, ours = data.table(connection, folder, NAME), Ours(connection)
    shape = data.SIZES[NAME][:2]
    weights, half = export(connection, shape), f"{NAME}_few_items"
    connection.execute(f"CREATE TABLE {half} AS SELECT * FROM {NAME} WHERE item_id <= {EASE_ITEMS}")
    few = sparse.csr_matrix((weights[:, :EASE_ITEMS] > 0).astype(np.float64))
    likes = sparse.csr_matrix((weights > 0).astype(np.float32))
    everyone = np.arange(shape[0])

    def side_by_side(what, mine, yours, bar=None):
        """Both in turn: the machine may be busy. The median of the ratios of a turn is held against the bar."""
        times = [(mine(), yours()) for _ in range(rounds)]
        ratio = median([a / b for a, b in times])
        note(f"  {what}: {', '.join(f'{a:.3f} / {b:.3f}' for a, b in times)} s, ratio {ratio:.3f}")
        report.line(what, *(f"{median(side):.4f} s" for side in zip(*times)), ratio, bar)

    model = als(True)

    def round_trip():
        matrix = export(connection, shape)
        rival = als(True)
        rival.fit(matrix, show_progress=False)
        store(connection, "peers_users", rival.user_factors)
        store(connection, "peers_items", rival.item_factors)

    settings = f", factors => {FACTORS}, regularization => 0.1, alpha => 10, iterations => "
    side_by_side("ALS: table to served / export, fit, import", lambda: ours.train("als", "peers_als", f"{settings}{ITERATIONS}")[0],
                 lambda: seconds(round_trip)[0], 0.5)
    # An iteration takes as long as any other: the exact solver needs no more of them to be measured.
    for solver, iterations, bar in (("cholesky", 3, 0.25), ("cg", ITERATIONS, 0.4)):
        side_by_side(f"ALS, {solver}, {iterations} iterations: fit / fit",
                     lambda: ours.train("als", "peers_als", f"{settings}{iterations}", f', "solver": "{solver}"')[1],
                     lambda: seconds(lambda: als(solver == "cg", iterations).fit(weights, show_progress=False))[0], bar)

    model.user_factors, model.item_factors = (
        data.factors(connection, function, "peers_als", count, FACTORS) for function, count in zip(("user_factors", "item_factors"), shape))
    side_by_side(f"{K} of {shape[1]} items for {shape[0]} users",
                 lambda: ours.ask(f"SELECT count(*) FROM persona._recommend_all('peers_als'::regclass, {K}, NULL::bigint[], NULL::bigint[])"),
                 lambda: seconds(lambda: model.recommend(everyone, likes, N=K))[0], 0.25)

    basket = np.unique(columns[1])[::50][:100].tolist()
    statement = f"SELECT count(*) FROM persona.recommend_for_items('peers_als', '{{{','.join(map(str, basket))}}}')"
    new = sparse.csr_matrix((np.full(len(basket), 11, np.float32), ([0] * len(basket), np.array(basket) - 1)), shape=(1, shape[1]))
    folds = [(ours.ask(statement), seconds(lambda: model.recommend(0, new, N=K, recalculate_user=True))[0]) for _ in range(200)]
    a, b = (median(side) * 1000 for side in zip(*folds))
    report.line(f"somebody of {len(basket)} items: folded in and recommended to", f"{a:.3f} ms", f"{b:.3f} ms", a, 1, unit="ms")

    settings = f", factors => {FACTORS}, iterations => {BPR_EPOCHS}"
    bpr = dict(factors=FACTORS, iterations=BPR_EPOCHS, num_threads=THREADS, use_gpu=False, random_state=0)
    side_by_side(f"BPR: {BPR_EPOCHS} epochs", lambda: ours.train("bpr", "peers_bpr", settings, value="")[1],
                 lambda: seconds(lambda: BayesianPersonalizedRanking(**bpr).fit(likes, show_progress=False))[0], 1)
    side_by_side("item neighbours, cosine", lambda: ours.train("item_knn", "peers_knn", value="")[1],
                 lambda: seconds(lambda: CosineRecommender(K=20, num_threads=THREADS).fit(likes, show_progress=False))[0], 1)

    def closed_form():
        """Steck, "Embarrassingly shallow autoencoders" (2019), equation 8."""
        with threadpool_limits(THREADS):
            gram = (few.T @ few).toarray()
            gram[np.diag_indices_from(gram)] += 500
            inverse = linalg.inv(gram, overwrite_a=True, check_finite=False)
            weights = inverse / -np.diag(inverse)
            np.fill_diagonal(weights, 0)

    side_by_side(f"EASE, {EASE_ITEMS} items", lambda: ours.train("ease", "peers_ease", ", regularization => 500", table=half, value="")[1],
                 lambda: seconds(closed_form)[0], 1)
    for name in ("als", "bpr", "knn", "ease"):
        connection.execute(f"SELECT persona.drop_model('peers_{name}')")
    connection.execute(f"DROP TABLE {half}, peers_users, peers_items")
