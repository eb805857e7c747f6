"""Deterministic interactions: heavy-tailed users, Zipf items, groups of users who like the same items.

They come out of a generator of their own, are kept in target/ and go into Postgres by binary COPY.
"""
import os, struct
import numpy as np

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)

# name: users, items, rows, groups, whether every item gets a row
SIZES = {
    "inter_1m": (50_000, 10_000, 1_000_000, 30, False),
    "inter_10m": (500_000, 50_000, 10_000_000, 60, False),
    "inter_wide": (20_000, 100_000, 2_000_000, 60, True),
}


def generate(users, items, rows, groups, every_item, seed=4242):
    """`rows` distinct pairs in random order, with how often each came as the value; fewer if fewer were drawn."""
    random = np.random.default_rng(seed)
    popularity = (1.0 / np.arange(1, items + 1) ** 0.9)[random.permutation(items)]
    item_group, user_group = random.integers(0, groups, items), random.integers(0, groups, users)
    activity = random.lognormal(0, 1.1, users)
    drawn = int(rows * 1.55)
    user = np.searchsorted(np.cumsum(activity / activity.sum()), random.random(drawn)).clip(0, users - 1)
    item = np.empty(drawn, np.int64)
    anywhere = random.random(drawn) < 0.3
    everywhere = np.cumsum(popularity / popularity.sum())
    item[anywhere] = np.searchsorted(everywhere, random.random(anywhere.sum())).clip(0, items - 1)
    # Sorted by group once, so that each group is a slice.
    within = np.flatnonzero(~anywhere)
    within = within[np.argsort(user_group[user[within]], kind="stable")]
    edges = np.searchsorted(user_group[user[within]], np.arange(groups + 1))
    for group in range(groups):
        rows_of, own = within[edges[group]:edges[group + 1]], np.flatnonzero(item_group == group)
        shares = np.cumsum(popularity[own] / popularity[own].sum())
        item[rows_of] = own[np.searchsorted(shares, random.random(len(rows_of))).clip(0, len(own) - 1)]
    key, times = np.unique(user * items + item, return_counts=True)
    if len(key) > rows:
        chosen = random.permutation(len(key))[:rows]
    else:
        chosen = random.permutation(len(key))
    key, times = key[chosen], times[chosen]
    user, item = key // items, key % items
    if every_item:
        missing = np.setdiff1d(np.arange(items), item)
        user, item = np.append(user, random.integers(0, users, len(missing))), np.append(item, missing)
        times = np.append(times, np.ones(len(missing), times.dtype))
    return user.astype(np.int64), item.astype(np.int64), times.astype(np.float32)


def load(folder, name):
    """The (users, items, values) of a size, generated once; ids count from 1."""
    file = os.path.join(folder, f"{name}.npz")
    if not os.path.exists(file):
        os.makedirs(folder, exist_ok=True)
        user, item, value = generate(*SIZES[name])
        np.savez(file + ".new.npz", user=user + 1, item=item + 1, value=value)
        os.replace(file + ".new.npz", file)
    stored = np.load(file)
    return stored["user"], stored["item"], stored["value"]


def copy_in(connection, table, columns, types):
    """Columns of numbers into a table; types are numpy's, big-endian: ">i8", ">f4"."""
    fields = [("count", ">i2")]
    for position, kind in enumerate(types):
        fields += [(f"length{position}", ">i4"), (f"value{position}", kind)]
    layout = np.dtype(fields)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(SIGNATURE)
        for start in range(0, len(columns[0]), 500_000):
            pieces = [column[start:start + 500_000] for column in columns]
            block = np.empty(len(pieces[0]), layout)
            block["count"] = len(types)
            for position, (kind, piece) in enumerate(zip(types, pieces)):
                block[f"length{position}"] = np.dtype(kind).itemsize
                block[f"value{position}"] = piece
            copy.write(block.tobytes())
        copy.write(struct.pack(">h", -1))


def table(connection, folder, name):
    """The table of a size, made if it is not there; its columns."""
    columns = load(folder, name)
    if connection.execute("SELECT to_regclass(%s)", [name]).fetchone()[0] is None:
        connection.execute(f"CREATE TABLE {name} (user_id bigint NOT NULL, item_id bigint NOT NULL, value real NOT NULL)")
        copy_in(connection, name, columns, [">i8", ">i8", ">f4"])
        connection.execute(f"VACUUM (ANALYZE, FREEZE) {name}")
    return columns


def factors(connection, function, model, count, width):
    """The factors of a model by id, counted from 1; zeros where the model does not know an id."""
    query = f"COPY (SELECT i.id::bigint, i.factors FROM persona.{function}('{model}') AS i(id, factors, bias)) TO STDOUT (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        stored = b"".join(copy)
    element = np.dtype([("length", ">i4"), ("value", ">f4")])
    layout = np.dtype([("count", ">i2"), ("l0", ">i4"), ("id", ">i8"), ("l1", ">i4"), ("head", ">i4", (5,)), ("values", element, (width,))])
    rows = np.frombuffer(memoryview(stored)[len(SIGNATURE):-2], layout)
    matrix = np.zeros((count, width), np.float32)
    matrix[rows["id"] - 1] = rows["values"]["value"]
    return matrix
