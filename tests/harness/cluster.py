"""Throw-away PostgreSQL clusters and psql sessions, for tests that need several of either.

    with Cluster() as primary:
        one, two = primary.session(), primary.session()
        one.run("SELECT 1")                       # [('1',)]: rows of text, None for NULL; raises SqlError
        two.start("SELECT pg_sleep(5)")           # returns at once
        one.run(f"SELECT pg_cancel_backend({two.pid})")
        two.wait()                                # raises SqlError, .sqlstate == '57014'
        standby = primary.standby()
        primary.catch_up(standby)

As root the servers run as the user postgres; as anybody else, as that user. They listen on a Unix socket only.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from alarms import alarms

ROOT = Path(__file__).resolve().parents[2]

BINDIR = Path(
    subprocess.run(
        [os.environ.get("PG_CONFIG") or "pg_config", "--bindir"], check=True, text=True, capture_output=True
    ).stdout.strip()
)

SETTINGS = {
    "listen_addresses": "",
    # Processes are killed here, the machine is not: the page cache survives.
    "fsync": "off",
    "wal_level": "replica",
    "hot_standby": "on",
    "log_line_prefix": "%m [%p] %e ",
    "log_error_verbosity": "verbose",
    "deadlock_timeout": "200ms",
}


def alive(pid):
    """Whether a process runs; one that is dead and only not buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class SqlError(Exception):
    """The first error of a call: .sqlstate, .message (one line), .text (all that psql said)."""

    def __init__(self, text):
        found = re.search(r"(?:ERROR|FATAL|PANIC):  (\w{5}): (.*)", text)
        self.sqlstate = found[1] if found else "08006"
        self.message = found[2] if found else "connection lost"
        self.text = text
        super().__init__(f"{self.sqlstate} {self.message}")


class Session:
    """A psql process that stays connected. One statement a call; `text` of notices in .notices."""

    NULL = "\x05"
    MARK = "\x06end\x06"

    def __init__(self, port, host, user, database):
        self.process = subprocess.Popen(
            [BINDIR / "psql", "-X", "-q", "-A", "-t", "-0", "-F", "\x1f", "-P", f"null={self.NULL}"]
            + ["-v", "VERBOSITY=verbose", "-h", host, "-p", str(port), "-U", user, "-d", database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.notices = ""
        self._readers = []
        try:
            self.pid = int(self.value("SELECT pg_backend_pid()"))
        except Exception:
            self.close()
            raise

    def start(self, sql):
        """Sends a statement, does not wait for it."""
        assert not self._readers, "the session is still busy"
        streams = (self.process.stdout, self.process.stderr)
        self._readers = [_Reader(stream, self.MARK) for stream in streams]
        try:
            # The semicolon ends what the caller left open; \warn marks the end of stderr, which is a pipe of its own.
            self.process.stdin.write(f"{sql}\n;\n\\echo {self.MARK}\n\\warn {self.MARK}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the readers see the end of file

    def busy(self):
        """Whether the statement started last has not ended yet."""
        return any(reader.thread.is_alive() for reader in self._readers)

    def wait(self, timeout=60):
        """The rows of the statement started last."""
        deadline = time.monotonic() + timeout
        for reader in self._readers:
            reader.thread.join(max(0, deadline - time.monotonic()))
        if self.busy():
            raise TimeoutError(f"no answer within {timeout} s")
        (out, err), self._readers = self._readers, []
        self.notices = err.text
        if not err.complete or re.search(r"^(ERROR|FATAL|PANIC):  ", err.text, re.MULTILINE):
            raise SqlError(err.text)
        rows = out.text.split("\0")[:-1]
        return [tuple(None if v == self.NULL else v for v in row.split("\x1f")) for row in rows]

    def run(self, sql, timeout=60):
        """Runs a statement: its rows, or SqlError."""
        self.start(sql)
        return self.wait(timeout)

    def value(self, sql, timeout=60):
        """The one value of a statement that returns one."""
        ((value,),) = self.run(sql, timeout)
        return value

    def error(self, sql, timeout=60):
        """The SqlError of a statement that must fail."""
        try:
            rows = self.run(sql, timeout)
        except SqlError as error:
            return error
        raise AssertionError(f"no error but {rows} from: {sql}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass


class _Reader:
    """Reads a stream up to a line with the mark, in a thread, so that neither pipe can fill up and block psql."""

    def __init__(self, stream, mark):
        self.text, self.complete = "", False
        self.thread = threading.Thread(target=self._read, args=(stream, mark), daemon=True)
        self.thread.start()

    def _read(self, stream, mark):
        pieces = []
        for line in stream:
            if line.endswith(mark + "\n"):
                pieces.append(line[: -len(mark) - 1])
                self.complete = True
                break
            pieces.append(line)
        self.text = "".join(pieces)


class Cluster:
    """A server with its own data directory below /tmp (socket paths must be short)."""

    def __init__(self, settings=None, source=None):
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self.directory = Path(tempfile.mkdtemp(prefix="pg_persona."))
        self.data, self.log = self.directory / "data", self.directory / "log"
        self.host, self.port = str(self.directory), 5432
        self.standbys, self.sessions, self.expected = [], [], []
        # Variables that the next start gives the server beside those of the test.
        self.environment = {}
        self.bindir = BINDIR
        if os.getuid() == 0:
            shutil.chown(self.directory, self.user)
        if source is None:
            self.command("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-k")
            self.configure({**SETTINGS, **(settings or {})})
        else:
            self.command("pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast", *source.address())
            self.configure(settings or {})
        self.start()

    def address(self):
        """Options of the client programs."""
        return ["-h", self.host, "-p", str(self.port), "-U", "postgres"]

    def command(self, program, *arguments):
        """Runs a program of this PostgreSQL as the server's user; raises with what it printed."""
        become = ["runuser", "-u", self.user, "--"] if os.getuid() == 0 else []
        # Servers answer as those of users do: a developer's RUST_BACKTRACE would fill every DETAIL.
        locale = {**os.environ, "LC_ALL": "C.UTF-8", "RUST_BACKTRACE": "0", **self.environment}
        done = subprocess.run(
            [*become, self.bindir / program, *arguments],
            cwd=self.directory, env=locale, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode:
            log = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
            raise RuntimeError(f"{program} failed:\n{done.stdout}\n{log}")
        return done.stdout

    def configure(self, settings):
        """Appends to postgresql.conf; counts from the next start or reload."""
        lines = {"unix_socket_directories": self.host, "port": self.port, **settings}
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in lines.items())

    def start(self):
        # A server that inherits our pipes would keep them open; pg_ctl's log file is its own.
        self.command("pg_ctl", "start", "-w", "-s", "-D", self.data, "-l", self.log)

    def stop(self, mode="fast"):
        """'immediate' is a crash: no checkpoint, recovery at the next start."""
        self.command("pg_ctl", "stop", "-w", "-s", "-m", mode, "-D", self.data)

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def promote(self):
        self.command("pg_ctl", "promote", "-w", "-s", "-D", self.data)

    def kill(self, session):
        """Kills a session's backend with SIGKILL, as the out-of-memory killer would, and waits for the recovery."""
        os.kill(session.pid, 9)
        self.recovered(session.pid)

    def recovered(self, pid):
        """Waits until the server has noticed the end of a killed backend and accepts connections again."""
        self.expect("terminated by signal 9")
        noticed = f"(PID {pid}) was terminated by signal"
        for _ in range(600):
            time.sleep(0.05)
            if noticed not in self.log.read_text(errors="replace"):
                continue
            try:
                return self.session().close()
            except SqlError:
                pass
        raise TimeoutError("the server did not come back")

    def lose_power(self):
        """Ends every process at once, without a word to any: what a power failure leaves of a server."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = [int(pid) for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
        # Stopped first: nobody sees another one die and tidies up.
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in (postmaster, *children):
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
        while any(alive(pid) for pid in (postmaster, *children)):
            time.sleep(0.01)
        # After a real one their process ids are free again; here the dead may not be buried yet.
        (self.data / "postmaster.pid").unlink()
        (self.directory / f".s.PGSQL.{self.port}.lock").unlink()

    def faults(self, database="postgres"):
        """Makes the extension in a database, bound to the library with fault points (`make fault`)."""
        library = self.directory / "pg_persona_fault.so"
        if not library.exists():
            major = (self.data / "PG_VERSION").read_text().strip()
            shutil.copyfile(ROOT / "target" / "stage" / major / "fault" / "pg_persona.so", library)
            library.chmod(0o755)
        # This session has the installed library: the next ones load the other in its place.
        session = self.session(database)
        session.run("CREATE EXTENSION IF NOT EXISTS pg_persona")
        bound = session.run(f"UPDATE pg_proc SET probin = '{library}' WHERE probin = '$libdir/pg_persona' RETURNING proname")
        assert bound, "nothing was bound to the library with fault points"
        session.close()

    def session(self, database="postgres", user="postgres"):
        session = Session(self.port, self.host, user, database)
        self.sessions.append(session)
        return session

    def database(self, name):
        """A new UTF8 database and a session in it."""
        self.session().run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return self.session(name)

    def standby(self, settings=None):
        """A streaming hot standby, removed together with this cluster."""
        standby = Cluster(settings, source=self)
        self.standbys.append(standby)
        return standby

    def catch_up(self, standby, timeout=60):
        """Waits until the standby has replayed all that this server has written."""
        with_commits = self.session().value("SELECT pg_current_wal_flush_lsn()")
        watch = standby.session()
        deadline = time.monotonic() + timeout
        while watch.value(f"SELECT pg_last_wal_replay_lsn() >= '{with_commits}'") != "t":
            if time.monotonic() > deadline:
                raise TimeoutError("the standby does not catch up")
            time.sleep(0.02)

    def expect(self, text):
        """Log lines with this text are no alarm: the test provokes them."""
        self.expected.append(text)

    def alarms(self):
        """Lines of the log, and of the standbys' logs, that no test may leave."""
        return alarms(self.log, self.expected) + [line for standby in self.standbys for line in standby.alarms()]

    def remove(self):
        for standby in self.standbys:
            standby.remove()
        for session in self.sessions:
            session.close()
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
