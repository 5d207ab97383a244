"""hf_tokenizers.py - the peer of bench/tokenizer.c: Hugging Face's tokenizers on one thread, the best of three, by processor time.

    python hf_tokenizers.py tokenizer.json TEXT
"""
import os, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer


def best(fn, runs=3):
    least = 1e9
    for _ in range(runs):
        begin = time.process_time()
        result = fn()
        least = min(least, time.process_time() - begin)
    return least, result


opened, t = best(lambda: Tokenizer.from_file(sys.argv[1]))
t.no_truncation()
text = open(sys.argv[2], encoding="utf8", newline="").read()
mb = len(text.encode()) / 1e6
lines = text.splitlines(keepends=True)
whole, e = best(lambda: t.encode(text, add_special_tokens=False))
batch, _ = best(lambda: t.encode_batch_fast(lines, add_special_tokens=False))
back, _ = best(lambda: t.decode(e.ids, skip_special_tokens=False))
print(f"open {opened * 1e3:.0f} ms; {mb:.1f} MB, {len(e.ids)} ids: whole {mb / whole:.2f} MB/s; {len(lines)} lines {mb / batch:.2f} MB/s; decode {mb / back:.1f} MB/s")
