#!/bin/sh
# train.sh - training speed of rusty beside PyTorch eager, in turn, on the same random token ids.
#   bench/train.sh SHAPE BATCH SEQ DTYPE STEPS ROUNDS      (RUSTY: the program; PYTHON: one with torch, numpy and safetensors)
# Prints one line a round: tokens/s of both and the ratio; then the medians. Peak bytes: of the allocator (rusty), resident (torch).
set -e
shape=$1 batch=$2 seq=$3 dtype=$4 steps=$5 rounds=$6
here=$(cd "$(dirname "$0")" && pwd)
rusty=${RUSTY:-$here/../build/release/rusty} python=${PYTHON:-python3}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"$python" - "$here/shapes/$shape.yaml" "$tmp/ids.safetensors" "$batch" "$seq" "$steps" <<'PY'
import re, sys, numpy as np
from safetensors.numpy import save_file
shape, out, batch, seq, steps = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
vocab = int(re.search(r"^vocab_size: (\d+)", open(shape).read(), re.M).group(1))
save_file({"input_ids": np.random.default_rng(0).integers(0, vocab, (batch * steps, seq), dtype=np.int32)}, out)
PY
for i in $(seq "$rounds"); do
    "$rusty" train --threads "${THREADS:-2}" --config "$here/shapes/$shape.yaml" --data "$tmp/ids.safetensors" -o "$tmp/out" --overwrite --no-shuffle --iters "$steps" -b "$batch" \
        --lr 1e-4 --schedule constant --precision "$dtype" --json > "$tmp/r.jsonl"
    "$python" "$here/peers/torch_train.py" --threads "${THREADS:-2}" --shape "$here/shapes/$shape.yaml" --batch "$batch" --seq "$seq" --dtype "$dtype" --steps "$steps" --data "$tmp/ids.safetensors" > "$tmp/t.json"
    "$python" - "$tmp" "$i" <<'PY'
import json, statistics, sys
r = [json.loads(x) for x in open(sys.argv[1] + "/r.jsonl")]
t = json.load(open(sys.argv[1] + "/t.json"))
ours = statistics.median(x["tok_per_s"] for x in r[2:])
print(json.dumps({"round": int(sys.argv[2]), "rusty": round(ours, 1), "torch": round(t["tok_per_s"], 1), "ratio": round(ours / t["tok_per_s"], 3),
                  "rusty_peak_mb": r[-1]["peak_bytes"] // 10**6, "torch_rss_mb": t["peak_bytes"] // 10**6, "ms": r[-1]["ms"]}))
PY
done | tee "$tmp/all.jsonl"
"$python" -c "
import json, statistics, sys
x = [json.loads(l) for l in open('$tmp/all.jsonl')]
print('median: rusty %.1f torch %.1f ratio %.3f' % tuple(statistics.median(r[k] for r in x) for k in ('rusty', 'torch', 'ratio')))"
