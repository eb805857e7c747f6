"""Times, memory and the table at the end."""
import os, statistics, threading, time


def median(values):
    return statistics.median(values)


def seconds(action):
    """How long an action takes, and its answer."""
    begun = time.perf_counter()
    answer = action()
    return time.perf_counter() - begun, answer


def busy():
    """Seconds that the cores of the machine were at work, since it started."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


class Memory:
    """The most private memory (RssAnon: without shared buffers) of a process while the block runs, beyond what it had."""

    def __init__(self, pid="self"):
        self.file, self.peak = f"/proc/{pid}/status", 0

    def now(self):
        with open(self.file) as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

    def watch(self):
        while not self.over.wait(0.01):
            self.peak = max(self.peak, self.now())

    def __enter__(self):
        self.start = self.peak = self.now()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.peak = max(self.peak, self.now())

    @property
    def grown(self):
        return self.peak - self.start


def machine(connection):
    """What the figures depend on."""
    with open("/proc/cpuinfo") as file:
        lines = [line.split(":", 1) for line in file if ":" in line]
    model = next((value.strip() for name, value in lines if name.startswith("model name")), "unknown")
    flags = next((value.split() for name, value in lines if name.startswith("flags")), [])
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) >> 20
    wide = next((name for name in ("avx512f", "avx2", "sse4_2") if name in flags), "none")
    print(f"machine: {model}, {os.cpu_count()} cores, {wide}, {memory} GB, load {' '.join(f'{x:.2f}' for x in os.getloadavg())}")
    names = ("server_version", "shared_buffers", "max_wal_size", "fsync", "jit", "persona.max_threads")
    connection.execute("LOAD 'pg_persona'")
    print("server:  " + ", ".join(f"{name} {connection.execute(f'SHOW {name}').fetchone()[0]}" for name in names))


class Report:
    """Lines of the table: what, ours, the rival's, the ratio or figure that has a bar, the bar."""

    def __init__(self):
        self.rows = []

    def line(self, what, ours, theirs="", figure=None, bar=None, unit="x", digits=3):
        met = "" if bar is None else ("met" if figure <= bar else "NOT MET")
        shown = "" if figure is None else f"{figure:.{digits}f} {unit}"
        limit = "" if bar is None else f"<= {bar:g} {unit}"
        self.rows.append((what, ours, theirs, shown, limit, met))

    def show(self):
        rows = [("measurement", "ours", "rival", "figure", "bar", ""), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        print()
        for position, row in enumerate(rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
            if position == 0:
                print("  ".join("-" * width for width in widths))
