"""Valgrind watches a server while models are trained, served, damaged by errors and panics, and aggregates run."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from cluster import ROOT, Session
from models import beside, interactions, serving
from test_conformance import TRAINERS
from test_images import big
from test_segments import people

OURS = re.compile(r"/pg_persona\w*\.so$")

# Memory that is not there. Values that were never set count where the library itself looks at them.
BROKEN = {"InvalidRead", "InvalidWrite", "InvalidFree", "MismatchedFree", "InvalidJump", "Overlap", "InvalidMemPool", "FishyValue"}
UNSET = {"UninitCondition", "UninitValue"}

WRAPPER = """#!/bin/sh
exec valgrind --trace-children=yes --quiet --leak-check=no --num-callers=40 --error-limit=no --vgdb=no --child-silent-after-fork=no \\
  --suppressions={suppressions} --xml=yes --xml-file={directory}/valgrind.%p.xml {postgres} "$@"
"""

VALUES = {
    "stats": "SELECT persona.kurtosis(persona.stats_agg(x)), persona.z_score(persona.stats_agg(x), 3) FROM numbers",
    "columns": "SELECT persona.mean(persona.stats_agg(ARRAY[x, i, NULL]), 2) FROM numbers",
    "quantiles": "SELECT persona.quantile(persona.rollup(q), 0.7) FROM (SELECT persona.quantile_agg(x) AS q FROM numbers GROUP BY i % 3) p",
    "categories": "SELECT persona.psi(persona.category_agg(i::text), persona.category_agg((i % 9)::text)) FROM numbers",
    "rfm": "SELECT persona.monetary(persona.rfm_agg(now(), x, i % 7)) FROM numbers",
    "drift": "SELECT (persona.page_hinkley(x ORDER BY i)).value FROM numbers",
    "ks": "SELECT (persona.ks_test(persona.quantile_agg(x), persona.quantile_agg(x + 1))).statistic FROM numbers",
    "scalers": """SELECT persona.standard_scaler(x) OVER w, persona.min_max_scaler(x) OVER w, persona.max_abs_scaler(x) OVER w,
                  persona.robust_scaler(x) OVER w, persona.quantile_bucketize(x, 7) OVER w FROM numbers WINDOW w AS (PARTITION BY i % 3)""",
    "text": "SELECT persona.stats_agg(x)::text::persona.stats, persona.quantile_agg(x)::text::persona.quantiles, persona.category_agg(i::text)::text::persona.categories FROM numbers",
}

ERRORS = [
    "SELECT '\\x01ff'::persona.quantiles", "SELECT '{count: 1}'::persona.stats", "SELECT persona.stats_agg(x) FROM unnest('{1e308,-1e308}'::float8[]) x",
    "SELECT * FROM persona.recommend('nothing', 1)", "SELECT * FROM persona.recommend('m', 'x'::text)",
    "SELECT * FROM persona.recommend('m', 7, -1)", "SELECT * FROM persona.recommend('m', 7, options => '{\"no\": 1}')",
    "SELECT persona.assign('tiers', '{1}')", "SELECT persona.train_als('x', 'nothing', 'a', 'b')",
    "SELECT persona.train_als('x', 'events', 'user_id', 'item_id', factors => -4)", "SELECT persona.deploy('m', 99)",
    "SET LOCAL persona.max_memory = '1MB'; SELECT persona.train_als('x', 'many', 'user_id', 'item_id')",
]  # fmt: skip


# A library that writes behind what it allocated: what valgrind must find, or it looks at nothing.
PROBE = """
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(probe);
Datum probe(PG_FUNCTION_ARGS) { volatile char *p = malloc(8); p[8] = 1; free((void *) p); PG_RETURN_VOID(); }
"""


def probe(cluster, watched):
    """Runs the probe on the watched server."""
    source, library = cluster.directory / "probe.c", cluster.directory / "pg_persona_probe.so"
    source.write_text(PROBE)
    headers = cluster.command("pg_config", "--includedir-server").strip()
    subprocess.run(["cc", "-O0", "-shared", "-fPIC", f"-I{headers}", "-o", library, source], check=True)
    library.chmod(0o755)
    watched.run(f"CREATE FUNCTION probe() RETURNS void LANGUAGE c AS '{library}'; SELECT probe()")


class Patient(Session):
    """A session that waits longer than tests do: under valgrind all takes thirty times as long."""

    def wait(self, timeout=60):
        return super().wait(30 * timeout)


class Watched:
    """The server of a cluster, started again under valgrind."""

    def __init__(self, cluster):
        self.cluster, self.session = cluster, None
        suppressions = cluster.directory / "postgres.supp"
        shutil.copyfile(ROOT / "tests/harness/valgrind.supp", suppressions)
        self.wrapper = cluster.directory / "postgres"
        self.wrapper.write_text(WRAPPER.format(suppressions=suppressions, directory=cluster.directory, postgres=cluster.bindir / "postgres"))
        for path, mode in ((suppressions, 0o644), (self.wrapper, 0o755)):
            path.chmod(mode)

    def __enter__(self):
        for session in self.cluster.sessions:
            session.close()
        self.cluster.stop()
        self.cluster.command("pg_ctl", "start", "-w", "-s", "-t", "300", "-p", self.wrapper, "-D", self.cluster.data, "-l", self.cluster.log)
        self.session = self.connect()
        return self

    def connect(self):
        session = Patient(self.cluster.port, self.cluster.host, "postgres", "postgres")
        self.cluster.sessions.append(session)
        return session

    def __exit__(self, *_):
        for session in self.cluster.sessions:
            session.close()
        self.cluster.command("pg_ctl", "stop", "-w", "-s", "-t", "300", "-m", "fast", "-D", self.cluster.data)

    def run(self, sql):
        return self.session.run(sql)


def found(directory):
    """What valgrind says of the library: the kind, and the frames down to the first one of the library."""
    seen = []
    for path in sorted(Path(directory).glob("valgrind.*.xml")):
        text = path.read_text(errors="replace")
        # A process that is killed leaves its file unfinished.
        for error in re.findall(r"<error>.*?</error>", text, re.DOTALL):
            tree = ElementTree.fromstring(error)
            kind, frames = tree.findtext("kind"), tree.find("stack").findall("frame")
            ours = [index for index, frame in enumerate(frames) if OURS.search(frame.findtext("obj") or "")]
            if ours and (kind in BROKEN or (kind in UNSET and ours[0] == 0)):
                shown = [f"{frame.findtext('fn')} {frame.findtext('obj')}" for frame in frames[: ours[0] + 3]]
                seen.append((kind, tree.findtext("what") or tree.findtext("xwhat/text"), shown))
    return seen


def train_all(watched):
    """A version by every trainer, served in every way, updated or retrained, rolled back and dropped."""
    for trainer, ways in TRAINERS.items():
        for way in ways[:2] if trainer != "train_als" else ways:
            call = re.sub(r"iterations => \d+", "iterations => 2", way["call"])
            watched.run(f"""
                SELECT persona.{trainer}('m', 'events', 'user_id', 'item_id', value_column => 'weight', time_column => 'at', {call}, deploy => 'always')""")
            serve(watched, "m")
            watched.run("INSERT INTO events VALUES (7777, 'item-03', 1, '2024-02-01'), (7777, 'item-04', 1, '2024-02-01')")
            watched.run("SELECT persona.update_model('m')" if way.get("updates") else "SELECT persona.retrain('m')")
            serve(watched, "m", few=True)
            watched.run("DELETE FROM events WHERE user_id = 7777; SELECT persona.recommend_all('m', 3); SELECT persona.rollback('m'); SELECT persona.drop_model('m')")


def serve(watched, model, few=False):
    """What every serving function answers; what a kind of model cannot, it must say without harm."""
    for name, sql in list(serving(model).items())[: 4 if few else None]:
        answer(watched, sql)
    if not few:
        item = watched.session.value(f"SELECT item_id FROM {beside(model, '_recommend')}(7, 1)")
        answer(watched, f"SELECT * FROM persona.explain('{model}', 7, '{item}')")
        answer(watched, f"SELECT * FROM persona.recommend('{model}', 7, 5, fresh => true, options => '{{\"diversity\": 0.4}}')")


def answer(watched, sql):
    """Rows, or an error that is none of the library's mistakes (the log tells)."""
    watched.session.start(sql)
    try:
        watched.session.wait()
    except Exception as error:
        assert getattr(error, "sqlstate", "08006") not in ("08006",), (sql, error)


def test_long_valgrind(cluster):
    """No read or write outside of what was allocated, in trainings, serving, aggregates, errors, panics and cancels."""
    if not shutil.which("valgrind"):
        print("       skipped: valgrind is not installed", flush=True)
        return
    cluster.faults()
    cluster.expect("fault point ")
    with Watched(cluster) as watched:
        interactions(watched.session, rows=600)
        watched.run("""
            CREATE TABLE thirds AS SELECT DISTINCT user_id, user_id % 3 AS third FROM events;
            CREATE TABLE sorts AS SELECT DISTINCT item_id, right(item_id, 1) AS sort FROM events;
            CREATE TABLE numbers AS SELECT i, CASE WHEN i % 17 <> 0 THEN sin(i) * i END AS x FROM generate_series(1, 9000) i""")
        train_all(watched)
        for sql in VALUES.values():
            watched.run(sql)
        people(watched.session)
        watched.run("SELECT persona.train_kmeans('tiers', 'people', 'id', n_init => 2); SELECT persona.retrain('tiers', '{\"k\": 3}'); SELECT persona.rollback('tiers')")
        watched.run("SELECT persona.assign('tiers', ARRAY[a, b]) FROM people; SELECT * FROM persona.segment_distances('tiers', '{3,4}')")
        watched.run("SELECT persona.train_rfm('worth', 'events', 'user_id', 'at', 'weight'); SELECT persona.check()")
        # Mapped from a file, by this session and by another one; and what ends early.
        big(watched.session, users=20_011, factors=128)
        serve(watched, "for_you", few=True)
        watched.session = watched.connect()
        serve(watched, "for_you", few=True)
        watched.run("SELECT persona.attach('for_you'); CALL persona.work_queue(); INSERT INTO many VALUES (7, 'item-11', 1, now()); CALL persona.work_queue()")
        for sql in ERRORS:
            watched.run("BEGIN")
            watched.session.error(sql)
            watched.run("ROLLBACK")
        interrupted(watched)
        probe(cluster, watched)
    everything = found(cluster.directory)
    seen = [each for each in everything if "pg_persona_probe" not in str(each)]
    assert len(everything) - len(seen) == 1, "valgrind does not see the probe"
    kept = Path(tempfile.gettempdir()) / "test_long_valgrind.xml"
    shutil.rmtree(kept, ignore_errors=True)
    if seen:
        kept.mkdir()
        for path in cluster.directory.glob("valgrind.*.xml"):
            shutil.copy(path, kept)
    assert not seen, (len(seen), seen[:5], f"see {kept}")


def interrupted(watched):
    """Errors and panics within a training, also in a thread of it, and cancels of it."""
    retrain = "SELECT persona.retrain('tiers', '{\"k\": 4}')"
    for point in ("members", "version"):
        for what in ("error", "panic"):
            watched.run(f"SET persona.fault = '{point}:{what}'")
            watched.session.error(retrain)
            watched.run("RESET persona.fault")
    for timeout in (50, 200, 800, 2000):
        watched.run(f"SET statement_timeout = {timeout}")
        watched.session.start("SELECT persona.retrain('for_you')")
        try:
            watched.session.wait()
        except Exception as error:
            assert getattr(error, "sqlstate", None) == "57014", error
        watched.run("RESET statement_timeout")
    serve(watched, "for_you", few=True)
