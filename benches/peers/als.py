"""Trains the `implicit` library and this crate's benchmark in turn on the same interactions and prints the ratio of times.

    python -m venv venv && venv/bin/pip install implicit
    venv/bin/python benches/peers/als.py [factors] [rounds] [cg|cholesky] [iterations]

Both use 2 threads, 3 steps of conjugate gradients or exact solutions, 15 iterations, lambda 0.1 and confidence 1 + 10 * value, from normally distributed
start factors of deviation 0.01. Data reach `implicit` as the confidences themselves, so that the bare `fit` is timed.
"""
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import logging, re, statistics, subprocess, sys, tempfile, time
import numpy as np
import scipy.sparse as sparse
from implicit.als import AlternatingLeastSquares
from implicit.cpu.als import calculate_loss

logging.disable(logging.WARNING)
factors = int(sys.argv[1]) if len(sys.argv) > 1 else 64
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
solver = sys.argv[3] if len(sys.argv) > 3 else "cg"
users, items, threads, iterations = 50_000, 10_000, 2, int(sys.argv[4]) if len(sys.argv) > 4 else 15
root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def ours(*words):
    command = ["cargo", "bench", "-q", "-p", "recommenders", "--bench", "als"]
    if "CARGO_TARGET_DIR" in os.environ:
        command += ["--target-dir", os.environ["CARGO_TARGET_DIR"]]
    command += ["--", f"factors={factors}", f"threads={threads}", f"iterations={iterations}", "runs=1", f"solver={solver}", *words]
    text = subprocess.run(command, cwd=os.path.join(root, "crates", "recommenders"), check=True, capture_output=True, text=True).stdout
    seconds, loss = re.search(r"fit ([\d.]+) s .*?loss ([\d.]+)", text).groups()
    return float(seconds), float(loss)


with tempfile.TemporaryDirectory() as folder:
    ours(f"write={folder}")
    indptr = np.fromfile(f"{folder}/offsets.u64", np.uint64).astype(np.int32)
    indices = np.fromfile(f"{folder}/indices.u32", np.uint32).astype(np.int32)
    values = np.fromfile(f"{folder}/values.f32", np.float32)
confidence = sparse.csr_matrix((1 + 10 * values, indices, indptr), shape=(users, items))
start_users = np.random.default_rng(1).standard_normal((users, factors)).astype(np.float32) * 0.01
start_items = np.random.default_rng(2).standard_normal((items, factors)).astype(np.float32) * 0.01


def theirs():
    model = AlternatingLeastSquares(
        factors=factors, regularization=0.1, alpha=1.0, iterations=iterations, use_cg=solver == "cg", num_threads=threads, use_gpu=False,
        calculate_training_loss=False, random_state=0, dtype=np.float32)
    model.user_factors, model.item_factors = start_users.copy(), start_items.copy()
    begun = time.perf_counter()
    model.fit(confidence, show_progress=False)
    seconds = time.perf_counter() - begun
    # Its loss is the mean over all pairs weighted by confidence; undo the division.
    loss = calculate_loss(confidence, model.user_factors, model.item_factors, 0.1, threads)
    return seconds, loss * (confidence.sum() + users * items - confidence.nnz)


ratios = []
for _ in range(rounds):
    a, b = theirs(), ours()
    ratios.append(b[0] / a[0])
    print(f"implicit {a[0]:.3f} s loss {a[1]:.0f}   pg_persona {b[0]:.3f} s loss {b[1]:.0f}   ratio {ratios[-1]:.3f}", flush=True)
print(f"median ratio of times at {factors} factors: {statistics.median(ratios):.3f}")
