#!/usr/bin/env python3
"""K-means of scikit-learn and faiss on what `cargo bench -p segments --bench kmeans -- write=FOLDER` left: the same rows,
start centroids and number of iterations. Usage: kmeans.py FOLDER"""

import sys
import time
import warnings

import faiss
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

warnings.filterwarnings("ignore")
RUNS, ITERATIONS = 5, 20


def fastest(run):
    times, work = [], []
    for _ in range(RUNS):
        begun, used = time.perf_counter(), time.process_time()
        result = run()
        times.append(time.perf_counter() - begun)
        work.append(time.process_time() - used)
    return min(times), min(work), result


for columns in (8, 32):
    rows = np.fromfile(f"{sys.argv[1]}/rows_{columns}.f32", np.float32).reshape(-1, columns)
    for k in (8, 64):
        start = rows[:k].copy()

        def scikit():
            return KMeans(k, init=start, n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd").fit(rows).inertia_

        def vectors():
            model = faiss.Kmeans(
                columns, k, niter=ITERATIONS, nredo=1, max_points_per_centroid=10**9, min_points_per_centroid=1
            )
            model.train(rows, init_centroids=start)
            return float(model.index.search(rows, 1)[0].sum(dtype=np.float64))

        for threads in (1, 2):
            with threadpool_limits(threads):
                faiss.omp_set_num_threads(threads)
                for name, run in (("scikit-learn lloyd", scikit), ("faiss", vectors)):
                    seconds, work, inertia = fastest(run)
                    each, work = seconds * 1e3 / ITERATIONS, work * 1e3 / ITERATIONS
                    print(
                        f"{len(rows)} x {columns}, k {k}, {threads} threads, {name}: "
                        f"fit {seconds:.4f} s, {each:.2f} ms an iteration (processor {work:.2f}), inertia {inertia:.0f}",
                        flush=True,
                    )
