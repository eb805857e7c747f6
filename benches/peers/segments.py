"""Segments of a table: the whole way to members, segments, profile and history, against export, scikit-learn and import
of the same tables with the same keys."""
import numpy as np
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from report import median, seconds

ROWS, COLUMNS, K, ITERATIONS, THREADS, ROUNDS = 1_000_000, 8, 8, 20, 2, 5
NAMES = [f"x{column}" for column in range(COLUMNS)]
HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
NULL = np.int32(-1)


def make(connection):
    """Rows around 12 centres that overlap, the same every time."""
    generator = np.random.default_rng(7)
    centres = generator.normal(scale=3, size=(12, COLUMNS))
    rows = centres[generator.integers(12, size=ROWS)] + generator.normal(size=(ROWS, COLUMNS)) * generator.uniform(0.5, 2, COLUMNS)
    connection.execute("DROP TABLE IF EXISTS points")
    connection.execute(f"CREATE TABLE points (id bigint PRIMARY KEY, {', '.join(f'{name} float8' for name in NAMES)})")
    write(connection, "points", [("q8", np.arange(1, ROWS + 1)), *(("q8f", rows[:, at]) for at in range(COLUMNS))])
    connection.execute("VACUUM ANALYZE points")


def packed(columns):
    """Rows as binary COPY has them: (kind, values), where a text is one for all rows, and None is NULL."""
    length = max(len(values) for kind, values in columns if kind.startswith("q") or kind == "i4")
    fields = [("count", ">i2")]
    for at, (kind, values) in enumerate(columns):
        fields.append((f"l{at}", ">i4"))
        wide = {"q8": ">i8", "q8f": ">f8", "i4": ">i4"}.get(kind) or (f"S{len(values)}" if values is not None else None)
        fields += [(f"v{at}", wide)] if wide else []
    rows = np.zeros(length, dtype=fields)
    rows["count"] = len(columns)
    for at, (kind, values) in enumerate(columns):
        if values is None:
            rows[f"l{at}"] = NULL
            continue
        rows[f"l{at}"] = rows.dtype[f"v{at}"].itemsize
        rows[f"v{at}"] = values
    return rows.tobytes()


def write(connection, table, *parts, columns=""):
    with connection.cursor().copy(f"COPY {table} {columns} FROM STDIN (FORMAT binary)") as copy:
        copy.write(HEAD)
        for part in parts:
            copy.write(packed(part))
        copy.write(b"\xff\xff")


def read(connection):
    """The quickest export that there is: binary COPY of rows of one size."""
    with connection.cursor().copy("COPY points TO STDOUT (FORMAT binary)") as copy:
        data = b"".join(copy)
    fields = [("count", ">i2"), ("l", ">i4"), ("id", ">i8")] + [part for name in NAMES for part in ((f"l{name}", ">i4"), (name, ">f8"))]
    rows = np.frombuffer(data, dtype=fields, offset=len(HEAD), count=ROWS)
    return rows["id"].astype(np.int64), np.column_stack([rows[name].astype(np.float64) for name in NAMES])


TABLES = """
    DROP TABLE IF EXISTS r_members, r_segments, r_profile, r_history;
    CREATE TABLE r_members (id bigint PRIMARY KEY, segment_id int, label text, distance float8, model_version int NOT NULL,
                            assigned_at timestamptz NOT NULL, reason text);
    CREATE TABLE r_segments (segment_id int PRIMARY KEY, label text NOT NULL, members bigint NOT NULL, share float8 NOT NULL,
                             mean_distance float8, model_version int NOT NULL, created_at timestamptz NOT NULL, retired_at timestamptz);
    CREATE TABLE r_profile (segment_id int, feature text, mean float8 NOT NULL, population_mean float8 NOT NULL, z float8 NOT NULL,
                            PRIMARY KEY (segment_id, feature));
    CREATE TABLE r_history (id bigint, segment_id int NOT NULL, previous_segment_id int, entered_at timestamptz, exited_at timestamptz,
                            PRIMARY KEY (id, entered_at))"""


def rival(connection, clock):
    """Export, fit and import; the seconds of each go to `clock`."""
    took, (ids, rows) = seconds(lambda: read(connection))
    clock["export"].append(took)

    def fit():
        with threadpool_limits(THREADS):
            scaler = StandardScaler().fit(rows)
            scaled = scaler.transform(rows)
            model = KMeans(K, init="k-means++", n_init=1, max_iter=ITERATIONS, tol=0, random_state=1).fit(scaled)
            distances = np.sqrt(((scaled - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1))
        return scaler, model, distances

    took, (scaler, model, distances) = seconds(fit)
    clock["fit"].append(took)

    def load():
        now = np.int64(800_000_000_000_000)
        with connection.transaction():
            members, history = [], []
            for segment in range(K):
                of = np.flatnonzero(model.labels_ == segment)
                number = np.int32(segment + 1)
                members.append([("q8", ids[of]), ("i4", np.full(len(of), number)), ("text", f"segment {number}".encode()),
                                ("q8f", distances[of]), ("i4", np.ones(len(of), np.int32)), ("q8", np.full(len(of), now)), ("text", None)])
                history.append([("q8", ids[of]), ("i4", np.full(len(of), number)), ("text", None), ("q8", np.full(len(of), now)), ("text", None)])
                mean = rows[of].mean(axis=0)
                connection.execute("INSERT INTO r_segments VALUES (%s, %s, %s, %s, %s, 1, now(), NULL)",
                                   [int(number), f"segment {number}", len(of), len(of) / ROWS, float(distances[of].mean())])
                for at, name in enumerate(NAMES):
                    connection.execute("INSERT INTO r_profile VALUES (%s, %s, %s, %s, %s)",
                                       [int(number), name, float(mean[at]), float(scaler.mean_[at]),
                                        float((mean[at] - scaler.mean_[at]) / scaler.scale_[at])])
            write(connection, "r_members", *members)
            write(connection, "r_history", *history)

    clock["import"].append(seconds(load)[0])
    return model.inertia_


def compare(connection, report, note):
    make(connection)
    statement = (f"SELECT version FROM persona.train_kmeans('peers_segments', 'points', 'id', k => {K}, n_init => 1, "
                 f"max_iterations => {ITERATIONS}, tolerance => 0, seed => 1)")
    ours, whole, clock = [], [], {"export": [], "fit": [], "import": []}
    for round in range(ROUNDS + 1):
        connection.execute(TABLES)
        connection.execute("CHECKPOINT")
        took, theirs = seconds(lambda: rival(connection, clock))
        connection.execute("CHECKPOINT")
        mine = seconds(lambda: connection.execute(statement))[0]
        phases = connection.execute("SELECT phase, seconds FROM persona.training_log WHERE model = 'peers_segments' AND iteration IS NULL").fetchall()
        inertia = connection.execute("SELECT value FROM persona.metrics WHERE model = 'peers_segments' AND metric = 'inertia'").fetchone()[0]
        same = connection.execute("SELECT count(*) FROM peers_segments_members").fetchone()[0], \
            connection.execute("SELECT count(*) FROM peers_segments_history").fetchone()[0]
        assert same == (ROWS, ROWS)
        if round < ROUNDS:
            connection.execute("SELECT persona.drop_model('peers_segments')")
        if round == 0:
            clock = {part: [] for part in clock}
            continue
        ours.append(mine)
        whole.append(took)
        note(f"  ours {mine:.3f} s ({', '.join(f'{phase} {length:.3f}' for phase, length in phases)}), theirs {took:.3f} s "
             f"({', '.join(f'{part} {times[-1]:.3f}' for part, times in clock.items())}), ratio {mine / took:.3f}")
    report.line(f"k-means {ROWS} x {COLUMNS}, k {K}: table to tables / export, scikit-learn, import", f"{median(ours):.3f} s",
                f"{median(whole):.3f} s", median([a / b for a, b in zip(ours, whole)]), 1.2)
    report.line("k-means: inertia from one start", f"{inertia:.0f}", f"{theirs:.0f}", inertia / theirs)
    again = seconds(lambda: connection.execute("SELECT version FROM persona.retrain('peers_segments')"))[0]
    note(f"  the same again, nothing to change: {again:.3f} s")
    connection.execute("UPDATE points SET x0 = x0 + 1 WHERE id % 100 = 0")
    again = seconds(lambda: connection.execute("SELECT version FROM persona.retrain('peers_segments')"))[0]
    note(f"  1 % of the rows moved, all distances changed: {again:.3f} s")
    connection.execute("SELECT persona.drop_model('peers_segments'); DROP TABLE r_members, r_segments, r_profile, r_history, points")
