"""openblas_matmul.py - the peer of `rusty bench matmul`: numpy.dot on OpenBLAS, medians, one JSON line a size.

    python openblas_matmul.py --sizes 512,1024,2048 [--layout NN|NT|TN] [--threads 2]

The core type that OpenBLAS chose stands in each line: on a machine with AVX-512 it must be SkylakeX or newer, else set OPENBLAS_CORETYPE.
"""
import argparse, ctypes, glob, json, os, statistics, time

a = argparse.ArgumentParser()
a.add_argument("--sizes", default="512,1024,2048")
a.add_argument("--layout", default="NN")
a.add_argument("--threads", type=int, default=0)
o = a.parse_args()
if o.threads:
    os.environ["OPENBLAS_NUM_THREADS"] = str(o.threads)
import numpy as np

core = "unknown"
for path in glob.glob(os.path.join(os.path.dirname(np.__file__), "..", "numpy.libs", "*openblas*")):
    name = getattr(ctypes.CDLL(path), "scipy_openblas_get_corename64_", None)
    if name:
        name.restype = ctypes.c_char_p
        core = name().decode()
rng = np.random.default_rng(0)
for n in map(int, o.sizes.split(",")):
    x, y = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    x = x.T if o.layout[0] == "T" else x
    y = y.T if o.layout[1] == "T" else y
    out = np.empty((n, n), np.float32)
    times, until = [], time.perf_counter() + max(1.0, 8 * n**3 * 2 / 150e9)
    np.dot(x, y, out=out)
    while time.perf_counter() < until or len(times) < 5:
        s = time.perf_counter()
        np.dot(x, y, out=out)
        times.append(time.perf_counter() - s)
    ms = statistics.median(times) * 1e3
    print(json.dumps({"peer": "openblas " + core, "layout": o.layout, "n": n, "ms": ms, "gflops": 2 * n**3 / ms * 1e-6}))
