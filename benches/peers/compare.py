"""Runs each measurement of pg_persona in turn with its rival's and prints one table. Called by benches/peers/run."""
import logging, os, re, subprocess, sys, tempfile, time
import numpy as np
import psycopg
import scipy.sparse as sparse
from implicit.als import AlternatingLeastSquares
from implicit.cpu.als import calculate_loss

import data
import recommenders
import segments
from report import Memory, Report, busy, machine, median, seconds

logging.disable(logging.WARNING)
FACTORS, THREADS, REGULARIZATION, ALPHA = 64, 2, 0.1, 10.0
folder, wanted = sys.argv[1], sys.argv[2:]
report = Report()


def connect():
    """A connection that keeps what the server tells it."""
    connection = psycopg.connect("", autocommit=True)
    connection.messages = []
    connection.add_notice_handler(lambda notice: connection.messages.append(notice.message_primary))
    connection.execute("SET client_min_messages = notice")
    connection.execute(f"SET persona.max_memory = '16GB'; SET persona.max_threads = {THREADS}; SET persona.\"verbose\" = on")
    return connection


def note(text):
    print(text, flush=True)


def train(connection, model, table, factors, iterations, solver="cg"):
    """One training without a holdout, as a statement of its own; the seconds it took and its phases."""
    connection.execute("CHECKPOINT")
    connection.messages.clear()
    statement = (f"SELECT version FROM persona.train_als('{model}', '{table}', 'user_id', 'item_id', 'value', factors => {factors}, "
                 f"iterations => {iterations}, regularization => {REGULARIZATION}, alpha => {ALPHA}, holdout => 'none', "
                 f"deploy => 'always', options => '{{\"threads\": {THREADS}, \"keep_versions\": 1, \"solver\": \"{solver}\"}}')")
    took, version = seconds(lambda: connection.execute(statement).fetchone()[0])
    log = connection.execute("SELECT phase, iteration, loss, seconds FROM persona.training_log WHERE model = %s AND version = %s",
                             [model, version]).fetchall()
    phases = {phase: length for phase, iteration, _, length in log if iteration is None}
    losses = [loss for phase, iteration, loss, _ in log if phase == "fit" and iteration is not None]
    return took, phases, losses


def phases_line(runs):
    names = list(runs[0])
    return ", ".join(f"{name} {median([run[name] for run in runs]):.3f}" for name in names)


def confidences(columns, users, items):
    """1 + alpha * value, as the rival wants it."""
    user, item, value = columns
    where = (user - 1).astype(np.int32), (item - 1).astype(np.int32)
    matrix = sparse.csr_matrix((value * np.float32(ALPHA) + np.float32(1), where), shape=(users, items))
    matrix.sort_indices()
    return matrix


def rival_model(weights, factors, iterations, use_cg=True):
    """A model of `implicit` that is ready for its bare fit."""
    model = AlternatingLeastSquares(factors=factors, regularization=REGULARIZATION, alpha=1.0, iterations=iterations, use_cg=use_cg,
                                    num_threads=THREADS, use_gpu=False, calculate_training_loss=False, random_state=0, dtype=np.float32)
    users, items = weights.shape
    model.user_factors = np.random.default_rng(1).standard_normal((users, factors)).astype(np.float32) * np.float32(0.01)
    model.item_factors = np.random.default_rng(2).standard_normal((items, factors)).astype(np.float32) * np.float32(0.01)
    return model


def rival_memory(name):
    """Bytes that `implicit` holds at most in a fit, the matrix that it is given included, in a process of its own."""
    command = [sys.executable, os.path.abspath(__file__), folder, "--memory", name]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(answer.stdout)


def print_memory(name):
    before = Memory().now()
    users, items, *_ = data.SIZES[name]
    weights = confidences(data.load(folder, name), users, items)
    rival = rival_model(weights, FACTORS, 1)
    with Memory() as memory:
        rival.fit(weights, show_progress=False)
    print(memory.peak - before)


def exact_loss(weights, users, items):
    """What `calculate_loss` computes, in 64 bits."""
    users, items = users.astype(np.float64), items.astype(np.float64)
    total = float(np.sum((users.T @ users) * (items.T @ items)))
    total += REGULARIZATION * float(np.sum(users ** 2) + np.sum(items ** 2))
    for row in range(0, weights.shape[0], 10_000):
        part = weights[row:row + 10_000].tocoo()
        scores = np.einsum("ij,ij->i", users[row + part.row], items[part.col])
        weight = part.data.astype(np.float64)
        total += float(np.sum(weight * (1 - scores) ** 2 - scores ** 2))
    return total / (float(weights.data.sum(dtype=np.float64)) + np.prod(weights.shape, dtype=np.float64) - weights.nnz)


def compare_als(connection, name, iterations, rounds, bars):
    """A table to a served model against the bare fit of `implicit` on a matrix in memory."""
    users, items, *_ = data.SIZES[name]
    columns = data.table(connection, folder, name)
    weights = confidences(columns, users, items)
    model, someone = f"peers_{name}", int(columns[0][0])
    question = f"SELECT count(*) FROM persona.recommend('{model}', {someone}, 10)"
    # The first round warms up and measures memory; watching it takes time, so this round's times do not count.
    with Memory(connection.info.backend_pid) as memory:
        train(connection, model, name, FACTORS, iterations)
    peak_ours, peak_theirs = memory.grown, rival_memory(name)
    ours, theirs, first, fresh, phases, rest = [], [], [], [], [], []
    for _ in range(rounds):
        rival = rival_model(weights, FACTORS, iterations)
        theirs.append(seconds(lambda: rival.fit(weights, show_progress=False))[0])
        # A first version each time, its view and functions included.
        connection.execute(f"SELECT persona.drop_model('{model}')")
        took, parts, losses = train(connection, model, name, FACTORS, iterations)
        first.append(seconds(lambda: connection.execute(question).fetchone())[0])
        with connect() as new:
            fresh.append(seconds(lambda: new.execute(question).fetchone())[0])
        ours.append(took + first[-1])
        phases.append(parts)
        rest.append(took - sum(parts.values()))
        note(f"  ours {ours[-1]:.3f} s (fit {parts['fit']:.3f}), implicit's fit {theirs[-1]:.3f} s, ratio {ours[-1] / theirs[-1]:.3f}")
    stored = connection.execute(f"SELECT bytes FROM {model}").fetchone()[0]
    note(f"  phases: {phases_line(phases)}, rest and commit {median(rest):.3f}, first recommend {median(first):.3f} "
         f"(in a new session {median(fresh):.3f}); the version takes {stored / 1e6:.1f} MB")

    def line(what, format, mine, yours, figure, bar=None, digits=3):
        report.line(f"ALS {name[6:]} x {FACTORS}, {iterations} iterations: {what}", format(mine), format(yours), figure, bar, digits=digits)

    def clock(times):
        return f"{median(times):.3f} s"

    def ratio(times):
        return median([mine / yours for mine, yours in zip(times, theirs)])

    fits = [each["fit"] for each in phases]
    line("table to served model / bare fit", clock, ours, theirs, ratio(ours), bars.get("time"))
    line("the fit alone", clock, fits, theirs, ratio(fits), 0.4)
    line("peak of private memory", lambda peak: f"{peak / 1e6:.0f} MB", peak_ours, peak_theirs, peak_ours / peak_theirs, 1.2)
    mine = (data.factors(connection, "user_factors", model, users, FACTORS),
            data.factors(connection, "item_factors", model, items, FACTORS))
    yours = rival.user_factors, rival.item_factors
    a, b = (calculate_loss(weights, *pair, REGULARIZATION, THREADS) for pair in (mine, yours))
    line("loss by calculate_loss", "{:.7f}".format, a, b, a / b, bars.get("loss"), digits=5)
    a, b = exact_loss(weights, *mine), exact_loss(weights, *yours)
    line("loss in 64 bits", "{:.7f}".format, a, b, a / b, bars.get("loss"), digits=5)
    # Ours is the sum, theirs the mean over the confidences of all pairs.
    pairs = float(weights.data.sum(dtype=np.float64)) + users * items - weights.nnz
    note(f"  the loss in our training_log divides by that in 64 bits to {losses[-1] / pairs / a:.6f}")
    connection.execute(f"SELECT persona.drop_model('{model}')")


def measure_als(connection):
    compare_als(connection, "inter_1m", 15, 5, {"time": 1.0, "loss": 1.001})


def measure_als10m(connection):
    compare_als(connection, "inter_10m", 2, 3, {})
    compare_exact(connection, "inter_10m")
    compare_growth(connection)
    measure_update(connection)


def compare_exact(connection, name):
    """One iteration of the exact solver on each side: a second would take as long."""
    users, items, *_ = data.SIZES[name]
    weights = confidences(data.load(folder, name), users, items)
    times = []
    for _ in range(2):
        rival = rival_model(weights, FACTORS, 1, use_cg=False)
        theirs = seconds(lambda: rival.fit(weights, show_progress=False))[0]
        times.append((train(connection, "peers_exact", name, FACTORS, 1, "cholesky")[1]["fit"], theirs))
        connection.execute("SELECT persona.drop_model('peers_exact')")
    mine, theirs = (median(side) for side in zip(*times))
    report.line(f"ALS {name[6:]} x {FACTORS}, cholesky, 1 iteration: the fit alone", f"{mine:.3f} s", f"{theirs:.3f} s",
                median([a / b for a, b in times]), 0.25)


def compare_growth(connection):
    """An iteration of tenfold rows, users and items against ten: without what comes before the first."""
    data.table(connection, folder, "inter_1m")
    per_row = {}
    for name in ("inter_1m", "inter_10m"):
        took = []
        for _ in range(3):
            train(connection, "peers_growth", name, FACTORS, 4)
            ends = connection.execute("SELECT seconds FROM persona.training_log WHERE model = 'peers_growth' AND phase = 'fit' AND iteration > 0 "
                                      "AND version = (SELECT max(version) FROM persona.versions WHERE model = 'peers_growth') ORDER BY iteration").fetchall()
            took.append((ends[-1][0] - ends[0][0]) / (len(ends) - 1))
            connection.execute("SELECT persona.drop_model('peers_growth')")
        per_row[name] = median(took) / data.SIZES[name][2] * 1e9
    small, large = per_row["inter_1m"], per_row["inter_10m"]
    report.line("ALS x 64: an iteration per interaction, of 10M / of 1M", f"{large:.1f} ns", f"{small:.1f} ns", large / small)


def measure_update(connection):
    """10,000 new rows, half of them of new users, beside 10 million."""
    users, items, rows, *_ = data.SIZES["inter_10m"]
    connection.execute("CREATE TABLE peers_live AS SELECT *, '2023-01-01'::timestamptz + (user_id * 37 + item_id * 13) % 31000000 * '1 second'::interval AS at "
                       "FROM inter_10m")
    for column in ("at", "user_id"):
        connection.execute(f"CREATE INDEX ON peers_live ({column})")
    connection.execute("VACUUM ANALYZE peers_live")
    connection.execute(f"SELECT version FROM persona.train_als('peers_update', 'peers_live', 'user_id', 'item_id', 'value', 'at', factors => {FACTORS}, "
                       f"iterations => 2, alpha => {ALPHA}, holdout => 'none')")
    took = []
    for day in range(2, 5):
        connection.execute(f"INSERT INTO peers_live SELECT CASE WHEN n % 2 = 0 THEN {users} + {day} * 10000 + n % 1000 ELSE 1 + n * 7919 % {users} END, "
                           f"1 + n * 31 % {items}, 1, '2024-01-0{day}' FROM generate_series(1::bigint, 10000) AS n")
        connection.execute("CHECKPOINT")
        took.append(seconds(lambda: connection.execute("SELECT * FROM persona.update_model('peers_update')").fetchone())[0])
        note(f"  update_model {took[-1]:.3f} s: " + ", ".join(f"{phase} {length:.3f}" for phase, length in connection.execute(
            "SELECT phase, seconds FROM persona.training_log WHERE model = 'peers_update' AND iteration IS NULL "
            "AND version = (SELECT max(version) FROM persona.versions WHERE model = 'peers_update')")))
    # The first of them has no older version to delete.
    report.line("10,000 new rows of 10M: update_model", f"{median(took):.3f} s", "", median(took), 3, unit="s")
    connection.execute("SELECT persona.drop_model('peers_update')")
    connection.execute("DROP TABLE peers_live")


def measure_read(connection):
    """Reading and sorting rows against counting them."""
    data.table(connection, folder, "inter_10m")
    connection.execute("SET max_parallel_workers_per_gather = 0")
    statement = "SELECT count(user_id), count(item_id), sum(value) FROM inter_10m"
    connection.execute(statement)
    scans, interpreted, parts, bytes_a_row = [], [], [], []
    for _ in range(5):
        scans.append(seconds(lambda: connection.execute(statement).fetchone())[0])
        connection.execute("SET jit = off")
        interpreted.append(seconds(lambda: connection.execute(statement).fetchone())[0])
        connection.execute("RESET jit")
        _, phases, _ = train(connection, "peers_read", "inter_10m", 1, 1)
        parts.append(phases)
        for message in connection.messages:
            if found := re.fullmatch(r"(\d+) rows, .* peak (\d+) MB", message):
                bytes_a_row.append(int(found[2]) * 2 ** 20 / int(found[1]))
        note(f"  read {phases['read']:.3f} s, sort {phases['sort']:.3f} s, scan {scans[-1]:.3f} s (without JIT {interpreted[-1]:.3f})")
    both = [each["read"] + each["sort"] for each in parts]
    ratios = [a / b for a, b in zip(both, scans)]
    read = [each["read"] for each in parts]
    report.line("reading 10M rows: read + sort / count, count, sum", f"{median(both):.3f} s", f"{median(scans):.3f} s", median(ratios), 2.5)
    report.line("reading 10M rows: read alone", f"{median(read):.3f} s", f"{median(scans):.3f} s",
                median([a / b for a, b in zip(read, scans)]))
    report.line("reading 10M rows: peak of memory taken", f"{median(bytes_a_row):.1f} B a row")
    connection.execute("SELECT persona.drop_model('peers_read')")
    connection.execute("RESET max_parallel_workers_per_gather")


def measure_recommend(connection):
    """1,000 recommendations from 100,000 items in one statement."""
    name, model, calls = "inter_wide", "peers_wide", 1000
    users, items, *_ = data.SIZES[name]
    columns = data.table(connection, folder, name)
    train(connection, model, name, FACTORS, 2)
    weights = confidences(columns, users, items)
    rival = rival_model(weights, FACTORS, 1)
    rival.user_factors = data.factors(connection, "user_factors", model, users, FACTORS)
    rival.item_factors = data.factors(connection, "item_factors", model, items, FACTORS)
    who = np.unique(columns[0])[:calls]
    rows = [weights[user - 1] for user in who]
    connection.execute("CREATE TEMP TABLE who AS SELECT id, n FROM unnest(%s::bigint[]) WITH ORDINALITY AS w(id, n)", [who.tolist()])
    statements = {
        "recommend": f"SELECT count(*) FROM who, LATERAL persona.recommend('{model}', who.id, 10)",
        "typed": f"SELECT count(*) FROM who, LATERAL {model}_recommend(who.id, 10)",
    }
    times = {key: [] for key in (*statements, "implicit")}
    for statement in statements.values():
        connection.execute(statement)
    for _ in range(5):
        for key, statement in statements.items():
            took, found = seconds(lambda: connection.execute(statement).fetchone()[0])
            assert found == calls * 10, found
            times[key].append(took / calls * 1000)
        took, answers = seconds(lambda: [rival.recommend(user - 1, row, N=10) for user, row in zip(who, rows)])
        times["implicit"].append(took / calls * 1000)
        note("  " + ", ".join(f"{key} {values[-1]:.4f} ms" for key, values in times.items()))
    theirs = median(times["implicit"])
    for key, label in (("recommend", "persona.recommend"), ("typed", "typed function")):
        took = median(times[key])
        report.line(f"10 of 100,000 items, {label}", f"{took:.4f} ms", f"{theirs:.4f} ms", took, 0.5, unit="ms", digits=4)
    found = connection.execute(f"SELECT who.n, array_agg(r.item_id::int - 1) FROM who, "
                               f"LATERAL persona.recommend('{model}', who.id, 10) r GROUP BY 1").fetchall()
    same = sum(len(set(mine) & set(answers[n - 1][0].tolist())) for n, mine in found) / (calls * 10)
    note(f"  items in common with implicit's recommend: {same:.2%}")
    connection.execute(f"SELECT persona.drop_model('{model}')")


# A call: its name in the table, the statement, the bar. User 1 is unknown to the model and gets the popular item;
# user 2 has seen the one item that there is.
CALLS = [
    ("SELECT 1", "SELECT 1", None),
    ("persona.recommend", "SELECT * FROM persona.recommend('peers_one', 1::bigint, 10)", 30),
    ("persona.recommend, by factors", "SELECT * FROM persona.recommend('peers_one', 2::bigint, 10, remove_seen => false)", 30),
    ("typed function", "SELECT * FROM peers_one_recommend(1, 10)", 30),
    ("persona.score", "SELECT persona.score('peers_one', 2::bigint, 1::bigint)", None),
    ("generate_series", "SELECT * FROM generate_series(1, 1)", None),
]


def measure_call(connection):
    """Single prepared calls to a model of one item, above the same for SELECT 1."""
    connection.execute("DROP TABLE IF EXISTS peers_source")
    connection.execute("CREATE TABLE peers_source AS SELECT 2::bigint AS user_id, 1::bigint AS item_id, 1::real AS value")
    train(connection, "peers_one", "peers_source", 16, 1)
    connection.execute("VACUUM ANALYZE")
    # Turn by turn, call by call: waking the other process takes from 15 to 60 us as the machine pleases, for minutes.
    times = {name: [] for name, *_ in CALLS}
    with psycopg.connect("", autocommit=True) as fast:
        cursor = fast.cursor()
        for turn in range(5500):
            for name, statement, _ in CALLS:
                begun = time.perf_counter_ns()
                cursor.execute(statement, prepare=True).fetchall()
                if turn >= 500:
                    times[name].append((time.perf_counter_ns() - begun) / 1000)
    summarize("psycopg", times)
    with tempfile.TemporaryDirectory() as scripts:
        command = ["pgbench", "-M", "prepared", "-n", "-l", "-t", str(10_000 * len(CALLS))]
        for position, (_, statement, _) in enumerate(CALLS):
            with open(os.path.join(scripts, f"{position}.sql"), "w") as script:
                script.write(statement + ";\n")
            command += ["-f", script.name]
        subprocess.run(command, check=True, capture_output=True, cwd=scripts)
        # client, number, time in us, script, …
        (file,) = (name for name in os.listdir(scripts) if name.startswith("pgbench_log"))
        log = np.loadtxt(os.path.join(scripts, file), usecols=(2, 3), dtype=np.int64)[500:]
    summarize("pgbench", {name: log[log[:, 1] == position, 0] for position, (name, *_) in enumerate(CALLS)})
    # The same without a statement of its own: what is left is the function.
    times = {"persona.recommend": [], "typed function": [], "nothing": []}
    inside = {
        "nothing": "SELECT count(*) FROM generate_series(1, 10000) g, LATERAL generate_series(1, 1 + g * 0)",
        "persona.recommend": "SELECT count(*) FROM generate_series(1, 10000) g, LATERAL persona.recommend('peers_one', g, 10)",
        "typed function": "SELECT count(*) FROM generate_series(1, 10000) g, LATERAL peers_one_recommend(g, 10)",
    }
    connection.execute("SET jit = off")
    for _ in range(5):
        for name, statement in inside.items():
            times[name].append(seconds(lambda: connection.execute(statement).fetchone())[0] / 10000 * 1e6)
    note("  in one statement: " + ", ".join(f"{name} {median(values):.1f} us" for name, values in times.items()))
    connection.execute("RESET jit")
    connection.execute("SELECT persona.drop_model('peers_one')")


def middle(values):
    """The mean of the middle half: finer than a median of whole microseconds, blind to outliers as it is."""
    values = np.sort(np.asarray(values, float))
    return float(values[len(values) // 4:len(values) * 3 // 4].mean())


def summarize(client, times):
    base = middle(times["SELECT 1"])
    for name, _, bar in CALLS[1:]:
        took = middle(times[name])
        report.line(f"one call, {client}: {name} above SELECT 1", f"{took:.1f} us", f"{base:.1f} us", took - base, bar,
                    unit="us", digits=1)
    note(f"  {client}: " + ", ".join(f"{name} {middle(values):.1f} us" for name, values in times.items()))


def measure_segments(connection):
    """A table to its segments, members and history, with every row of every table."""
    segments.compare(connection, report, note)


def measure_recommenders(connection):
    """Every recommender, its training and its answers for many."""
    recommenders.compare(connection, report, note, folder)


MEASUREMENTS = {"als": measure_als, "recommenders": measure_recommenders, "segments": measure_segments, "read": measure_read, "recommend": measure_recommend, "call": measure_call, "als10m": measure_als10m}


def main():
    if wanted[:1] == ["--memory"]:
        return print_memory(wanted[1])
    unknown = [name for name in wanted if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"unknown measurement {unknown[0]}: {', '.join(MEASUREMENTS)}")
    connection = psycopg.connect("", autocommit=True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_persona")
    connection.execute("ALTER SYSTEM SET autovacuum = off")
    connection.execute("SELECT pg_reload_conf()")
    machine(connection)
    connection.close()
    begun, worked = time.perf_counter(), busy()
    for name, measure in MEASUREMENTS.items():
        if name in wanted or not wanted:
            note(f"{name}: {measure.__doc__ or compare_als.__doc__}")
            with connect() as connection:
                measure(connection)
    report.show()
    took = time.perf_counter() - begun
    print(f"\n{took:.0f} s, {(busy() - worked) / took:.2f} cores busy; all figures are medians; load at the end {os.getloadavg()[0]:.2f}")


main()
