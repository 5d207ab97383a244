"""torch_gpt_char.py - nanoGPT's CPU setting in PyTorch eager: a GPT-2-style model on the characters of a text (tiny Shakespeare).

    python torch_gpt_char.py --text tinyshakespeare.txt [--iters 2000] [--threads 2]

4 layers, 4 heads, 128 wide, block 64, batch 12, no dropout, AdamW 1e-3 -> 1e-4 cosine with 100 steps of warm-up, betas 0.9 / 0.99,
decay 0.1 on matrices, clip 1. Prints wall seconds of training and the loss on the last tenth of the text, every window.
"""
import argparse, json, math, time
import torch
import torch.nn.functional as F
from torch import nn

a = argparse.ArgumentParser()
a.add_argument("--text", required=True)
a.add_argument("--iters", type=int, default=2000)
a.add_argument("--threads", type=int, default=0)
o = a.parse_args()
if o.threads:
    torch.set_num_threads(o.threads)
torch.manual_seed(1337)
text = open(o.text).read()
chars = sorted(set(text))
data = torch.tensor([chars.index(c) for c in text])
cut = int(0.9 * len(data))
train, held = data[:cut], data[cut:]
L, H, C, T, B = 4, 4, 128, 64, 12


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(C, bias=False), nn.LayerNorm(C, bias=False)
        self.qkv, self.o = nn.Linear(C, 3 * C, bias=False), nn.Linear(C, C, bias=False)
        self.up, self.down = nn.Linear(C, 4 * C, bias=False), nn.Linear(4 * C, C, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (z.view(b, t, H, C // H).transpose(1, 2) for z in self.qkv(self.n1(x)).split(C, 2))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, C))
        return x + self.down(F.gelu(self.up(self.n2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(len(chars), C), nn.Embedding(T, C)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(L)), nn.LayerNorm(C, bias=False)
        for n, p in self.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * L) if n.endswith(("o.weight", "down.weight")) else 0.02)

    def forward(self, ids, targets):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        for b in self.blocks:
            x = b(x)
        return F.cross_entropy((self.norm(x) @ self.tok.weight.t()).flatten(0, 1), targets.flatten())


m = GPT()
opt = torch.optim.AdamW([{"params": [p for p in m.parameters() if p.dim() > 1], "weight_decay": 0.1},
                         {"params": [p for p in m.parameters() if p.dim() < 2], "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.99))
start = time.perf_counter()
for step in range(o.iters):
    lr = 1e-3 * step / 100 if step < 100 else 1e-4 + 0.5 * 9e-4 * (1 + math.cos(math.pi * (step - 100) / (o.iters - 100)))
    for g in opt.param_groups:
        g["lr"] = lr
    at = torch.randint(len(train) - T - 1, (B,))
    x = torch.stack([train[i : i + T + 1] for i in at])
    loss = m(x[:, :-1], x[:, 1:])
    loss.backward()
    nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    opt.step()
    opt.zero_grad(set_to_none=True)
wall = time.perf_counter() - start
with torch.no_grad():
    n = (len(held) - 1) // T
    x, y = held[: n * T].view(n, T), held[1 : n * T + 1].view(n, T)
    val = sum(m(x[i : i + 64], y[i : i + 64]).item() * len(x[i : i + 64]) for i in range(0, n, 64)) / n
print(json.dumps({"peer": "torch " + torch.__version__, "iters": o.iters, "seconds": round(wall, 2), "train_loss": round(loss.item(), 4), "held_out_loss": round(val, 4)}))
