"""torch_matmul.py - the peer of `rusty bench matmul`: torch.mm on random data, medians, one JSON line a size.

    python torch_matmul.py --sizes 512,1024,2048,4096 [--dtype bf16] [--layout NN|NT|TN] [--threads 2]
"""
import argparse, json, statistics, time
import torch

a = argparse.ArgumentParser()
a.add_argument("--sizes", default="512,1024,2048,4096")
a.add_argument("--dtype", default="f32")
a.add_argument("--layout", default="NN")
a.add_argument("--threads", type=int, default=0)
o = a.parse_args()
if o.threads:
    torch.set_num_threads(o.threads)
t = {"f32": torch.float32, "bf16": torch.bfloat16}[o.dtype]
for n in map(int, o.sizes.split(",")):
    x, y = torch.randn(n, n).to(t), torch.randn(n, n).to(t)
    x = x.t() if o.layout[0] == "T" else x
    y = y.t() if o.layout[1] == "T" else y
    out = torch.empty(n, n, dtype=t)
    times, until = [], time.perf_counter() + max(1.0, 8 * n**3 * 2 / 150e9)
    torch.mm(x, y, out=out)
    while time.perf_counter() < until or len(times) < 5:
        s = time.perf_counter()
        torch.mm(x, y, out=out)
        times.append(time.perf_counter() - s)
    ms = statistics.median(times) * 1e3
    print(json.dumps({"peer": "torch " + torch.__version__, "dtype": o.dtype, "layout": o.layout, "n": n, "ms": ms, "gflops": 2 * n**3 / ms * 1e-6}))
