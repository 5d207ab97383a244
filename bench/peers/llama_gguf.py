"""llama_gguf.py - writes a GGUF file of a Llama's shape with random weights: what `rusty bench lm` and llama.cpp's `llama-bench` both read (numpy alone).

    python llama_gguf.py ../shapes/llama_1b.yaml f16|q8_0|q4_K OUT.gguf

Every matrix has the given type, norms are ones in f32, there is no vocabulary. A matrix repeats 4 MB of random numbers, the scales of its
blocks are one number: speed does not depend on them. Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""
import struct, sys
import numpy as np

shape, dtype, out = sys.argv[1:4]
c = {}
for line in open(shape):
    key, _, value = line.split("#")[0].partition(":")
    if value.strip():
        c[key.strip()] = value.strip() == "true" if value.strip() in ("true", "false") else int(value)
V, C, F, H, G = (c[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
head = C // H
rng = np.random.default_rng(0)


def block(n, size, scales, elements):
    """n random blocks of `size` bytes which begin with the given f16 scales: (GGUF's number of the type, file type, elements and bytes a block, bytes)."""
    b = rng.integers(0, 256, (n, size), np.uint8)
    b[:, : 2 * len(scales)] = np.frombuffer(np.array(scales, np.float16).tobytes(), np.uint8)
    return elements, size, b.reshape(-1)


number, file_type = {"f16": (1, 1), "q8_0": (8, 7), "q4_K": (12, 14)}[dtype]
elements, size, base = {
    "f16": lambda: (1, 2, (rng.standard_normal(1 << 21) * 0.02).astype(np.float16).view(np.uint8)),
    "q8_0": lambda: block(1 << 17, 34, [0.02 / 74], 32),
    "q4_K": lambda: block(1 << 15, 144, [0.02 / 150, 0.02 / 20], 256),
}[dtype]()

tensors = [("token_embd.weight", C, V)]
for i in range(c["num_hidden_layers"]):
    p = f"blk.{i}."
    tensors += [(p + "attn_norm.weight", C, 0), (p + "attn_q.weight", C, C), (p + "attn_k.weight", C, G * head), (p + "attn_v.weight", C, G * head), (p + "attn_output.weight", C, C)]
    tensors += [(p + "ffn_norm.weight", C, 0), (p + "ffn_gate.weight", C, F), (p + "ffn_up.weight", C, F), (p + "ffn_down.weight", F, C)]
tensors += [("output_norm.weight", C, 0)] + ([] if c.get("tie_word_embeddings") else [("output.weight", C, V)])

text = lambda s: struct.pack("<Q", len(s)) + s.encode()
u32 = lambda k, v: text(k) + struct.pack("<II", 4, v)
f32 = lambda k, v: text(k) + struct.pack("<If", 6, v)
word = lambda k, v: text(k) + struct.pack("<I", 8) + text(v)
keys = [word("general.architecture", "llama"), u32("general.file_type", file_type), word("tokenizer.ggml.model", "no_vocab")]
keys += [u32("llama.vocab_size", V), u32("llama.context_length", c["max_position_embeddings"]), u32("llama.embedding_length", C)]
keys += [u32("llama.block_count", c["num_hidden_layers"]), u32("llama.feed_forward_length", F), u32("llama.attention.head_count", H)]
keys += [u32("llama.attention.head_count_kv", G), f32("llama.attention.layer_norm_rms_epsilon", 1e-6), u32("llama.rope.dimension_count", head)]

infos, at = [], 0
for name, k, n in tensors:
    length = k * n // elements * size if n else 4 * k
    infos.append(text(name) + (struct.pack("<IQQ", 2, k, n) if n else struct.pack("<IQ", 1, k)) + struct.pack("<IQ", number if n else 0, at))
    at += (length + 31) & ~31
with open(out, "wb") as f:
    f.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + b"".join(infos))
    for name, k, n in tensors:
        f.write(bytes(-f.tell() % 32))
        left = k * n // elements * size if n else 0
        if not n:
            np.ones(k, np.float32).tofile(f)
        while left:
            left -= f.write(base[:left])
