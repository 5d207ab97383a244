"""torch_gpu.py - the peer of `rusty bench matmul` and `rusty bench ops` on a GPU: PyTorch (cuBLAS, TF32 off) by CUDA graphs, medians, random data.

    python torch_gpu.py [--sizes 512,1024,2048,4096,8192]

Prints JSON lines: TFLOPS of products in f32 by layout, and of odd shapes; GB/s of row kernels, bytes read and written once.
"""
import argparse, json, statistics
import torch
import torch.nn.functional as F


def graph_ms(fn, least=0.015):
    """Milliseconds of one call: a CUDA graph of many calls, the median of five replays."""
    for _ in range(3):
        fn()
    torch.cuda.synchronize()
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record(); fn(); b.record(); torch.cuda.synchronize()
    n = max(1, min(200, int(least * 1e3 / max(a.elapsed_time(b), 1e-3))))
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        for _ in range(n):
            fn()
    times = []
    for _ in range(6):
        a.record(); g.replay(); b.record(); torch.cuda.synchronize()
        times.append(a.elapsed_time(b) / n)
    return statistics.median(times[1:])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--sizes", default="512,1024,2048,4096,8192")
    o = p.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    d = "cuda"
    x = torch.randn(8192, 8192, device=d)
    for _ in range(20):  # from idle the clock is low
        x @ x
    torch.cuda.synchronize()
    shapes = [(n, n, n) for n in map(int, o.sizes.split(","))]
    shapes += [(1000, 1000, 1000), (4000, 4000, 4000), (4096, 768, 768), (4096, 3072, 768), (4096, 768, 3072), (4096, 50304, 768)]
    for m, n, k in shapes:
        for layout in ("NN", "NT", "TN"):
            a = torch.rand(*((k, m) if layout[0] == "T" else (m, k)), device=d) * 2 - 1
            b = torch.rand(*((n, k) if layout[1] == "T" else (k, n)), device=d) * 2 - 1
            a, b, c = a.t() if layout[0] == "T" else a, b.t() if layout[1] == "T" else b, torch.empty(m, n, device=d)
            ms = graph_ms(lambda: torch.mm(a, b, out=c))
            print(json.dumps({"bench": "matmul", "layout": layout, "m": m, "n": n, "k": k, "ms": ms, "tflops": 2e-9 * m * n * k / ms}), flush=True)
    r = torch.randn(65536, 2048, device=d)
    s, out, w = torch.randn_like(r), torch.empty_like(r), torch.randn(2048, device=d)
    gb = r.numel() * 4e-9
    for name, fn, moved in (("copy", lambda: out.copy_(r), 2), ("add", lambda: torch.add(r, s, out=out), 3), ("silu", lambda: F.silu(r), 2),
                            ("softmax", lambda: torch.softmax(r, -1), 2), ("rms_norm", lambda: F.rms_norm(r, (2048,), w, 1e-5), 2)):
        ms = graph_ms(fn)
        print(json.dumps({"bench": "ops", "op": name, "ms": ms, "gbps": moved * gb / ms * 1e3}), flush=True)


main()
