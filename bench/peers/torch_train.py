"""torch_train.py - the peer of `rusty train` and `rusty bench train`: the same Llama in PyTorch, random token ids, forward + backward + clip + AdamW.

    python torch_train.py --shape ../shapes/llama_7m.yaml --batch 4 --seq 256 [--dtype bf16] [--threads 2] [--steps 8] [--device cuda] [--compile]

Prints one JSON line: median tokens per second over the steps after warm-up, peak resident bytes, last loss.
"""
import argparse, json, resource, statistics, time
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, f, h, g = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"]
        self.h, self.g, self.dh = h, g, d // h
        self.n1, self.n2 = nn.RMSNorm(d, 1e-6), nn.RMSNorm(d, 1e-6)
        self.q, self.k, self.v = nn.Linear(d, d, bias=False), nn.Linear(d, g * self.dh, bias=False), nn.Linear(d, g * self.dh, bias=False)
        self.o, self.gate, self.up, self.down = nn.Linear(d, d, bias=False), nn.Linear(d, f, bias=False), nn.Linear(d, f, bias=False), nn.Linear(f, d, bias=False)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        y = self.n1(x)
        q, k, v = (w(y).view(b, t, n, self.dh).transpose(1, 2) for w, n in ((self.q, self.h), (self.k, self.g), (self.v, self.g)))
        turn = lambda z: z * cos + torch.cat((-z[..., self.dh // 2:], z[..., : self.dh // 2]), -1) * sin
        a = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True, enable_gqa=self.g != self.h)
        x = x + self.o(a.transpose(1, 2).reshape(b, t, -1))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
        self.norm = nn.RMSNorm(c["hidden_size"], 1e-6)
        self.dh = c["hidden_size"] // c["num_attention_heads"]
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, targets):
        t = ids.shape[1]
        f = torch.outer(torch.arange(t, dtype=torch.float32, device=ids.device), 10000.0 ** (-torch.arange(0, self.dh, 2, device=ids.device) / self.dh))
        cos, sin = torch.cat((f, f), -1).cos(), torch.cat((f, f), -1).sin()
        x = self.embed(ids)
        for b in self.blocks:
            x = b(x, cos, sin)
        return F.cross_entropy((self.norm(x) @ self.embed.weight.t()).flatten(0, 1).float(), targets.flatten())


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--shape", required=True)
    a.add_argument("--batch", type=int, default=1)
    a.add_argument("--seq", type=int, default=256)
    a.add_argument("--dtype", default="f32")
    a.add_argument("--threads", type=int, default=0)
    a.add_argument("--steps", type=int, default=8)
    a.add_argument("--device", default="cpu")
    a.add_argument("--compile", action="store_true")
    a.add_argument("--data", help="safetensors file with input_ids [N,T]; else random ids")
    o = a.parse_args()
    if o.threads:
        torch.set_num_threads(o.threads)
    c = {}
    for line in open(o.shape):
        if ":" in line and not line.startswith("#"):
            k, v = line.split(":")
            c[k.strip()] = v.strip() == "true" if v.strip() in ("true", "false") else float(v) if "." in v else int(v)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    cuda = o.device != "cpu"
    m = Llama(c).to(o.device)
    opt = torch.optim.AdamW(m.parameters(), lr=1e-4, weight_decay=0.01, fused=cuda)
    run = torch.compile(m) if o.compile else m
    ids = torch.randint(0, c["vocab_size"], (o.steps, o.batch, o.seq))
    if o.data:
        from safetensors.torch import load_file
        ids = load_file(o.data)["input_ids"].long()[: o.steps * o.batch].view(o.steps, o.batch, -1)
    ids = ids.to(o.device)
    times = []
    for step in range(o.steps):
        start = time.perf_counter()
        with torch.autocast(o.device, torch.bfloat16, enabled=o.dtype == "bf16"):
            loss = run(ids[step], F.pad(ids[step, :, 1:], (0, 1), value=-100))
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    tokens = ids[0, :, 1:].numel()  # targets, as rusty counts them
    print(json.dumps({"tok_per_s": tokens / statistics.median(times[2:]), "loss": loss.item(), "peak_bytes": torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      "ms_first": times[0] * 1e3,
                      "params": sum(p.numel() for p in m.parameters()), "threads": torch.get_num_threads()}))


main()
