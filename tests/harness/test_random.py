"""Random SQL over the functions, views and tables of the extension, made by SQLsmith."""

import shutil
import subprocess

from models import extension, interactions, same, serving, train


def test_long_random_queries(cluster):
    """Queries that nobody would write end in an answer or an error, never in an internal one, and hurt no model."""
    assert shutil.which("sqlsmith"), "install the package sqlsmith"
    session = cluster.session()
    extension(session)
    interactions(session)
    train(session)
    train(session, factors=12)
    # Internal errors of the server's own functions, which SQLsmith finds as well.
    cluster.expect("cannot advance OID counter anymore")
    cluster.expect("failed to find conversion function")
    session.run("ALTER SYSTEM SET statement_timeout = '2s'; SELECT pg_reload_conf()")
    before = {name: session.run(sql) for name, sql in serving().items()}
    for seed in (1, 2, 3):
        done = subprocess.run(
            ["sqlsmith", f"--seed={seed}", "--max-queries=4000", "--exclude-catalog",
             f"--target=host={cluster.host} port={cluster.port} user=postgres dbname=postgres"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=600,
        )  # fmt: skip
        assert "connection" not in done.stderr.lower(), done.stderr[-1000:]
    called = [line for line in cluster.log.read_text(errors="replace").splitlines() if "persona" in line]
    print(f"       {len(called)} lines of the log name the extension", flush=True)
    assert len(called) > 1000
    assert session.run("SELECT count(*) FROM persona.models") == [("1",)]
    same({name: session.run(sql) for name, sql in serving().items()}, before)
