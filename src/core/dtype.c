/* dtype.c - one row a dtype, and the functions that read those rows.  Storage types live here and in simd/rows.h, nowhere else. */
#include "core/dtype_blocks.h"
#include "simd/rows.h"
#include <string.h>

/* ---- how WGSL reads and writes them (see ry_dtype_text); f16_bits and bf16_bits stand in src/ops/_prelude.wgsl ---- */

#define QUADS "let k = e >> 2u; let l = (e + far) >> 2u; return mat4x4<f32>(bitcast<vec4<f32>>(${W4}(k)), bitcast<vec4<f32>>(${W4}(k + 1u)), bitcast<vec4<f32>>(${W4}(l)), bitcast<vec4<f32>>(${W4}(l + 1u)));"
static const ry_dtype_text wgsl_f32 = {"f32", "return bitcast<f32>(${W}(e));", "return bitcast<vec4<f32>>(${W4}(e >> 2u));", "${P}(e, bitcast<u32>(v));",
                                       "${P4}(e >> 2u, bitcast<vec4<u32>>(v));", .words = 4, .load16 = QUADS, .words16 = 4, .near = 4};
#define HALF_STORE(bits) "${M}(e >> 1u, 0xffffu << ((e & 1u) << 4u), " bits "(v) << ((e & 1u) << 4u));"
#define HALF_STORE4(bits) "${P2}(e >> 2u, vec2<u32>(" bits "(v.x) | " bits "(v.y) << 16u, " bits "(v.z) | " bits "(v.w) << 16u));"
#define TWO_HALVES(a, b) "vec4<f32>(unpack2x16float(" a "), unpack2x16float(" b "))"
static const ry_dtype_text wgsl_f16 = {"f32", "return unpack2x16float(${W}(e >> 1u) >> ((e & 1u) << 4u)).x;",
                                       "return vec4<f32>(unpack2x16float(${W2}(e >> 2u).x), unpack2x16float(${W2}(e >> 2u).y));",
                                       HALF_STORE("f16_bits"), HALF_STORE4("f16_bits"), .words = 2,
    .load16 = "let v = ${W4}(e >> 3u); let w = ${W4}((e + far) >> 3u); return mat4x4<f32>(" TWO_HALVES("v.x", "v.y") ", " TWO_HALVES("v.z", "v.w") ", " TWO_HALVES("w.x", "w.y") ", " TWO_HALVES("w.z", "w.w") ");", .words16 = 4, .near = 4};
#define TWO_WIDE(v) "bitcast<vec4<f32>>((" v " << vec4<u32>(16u, 0u, 16u, 0u)) & vec4<u32>(0xffff0000u))"
static const ry_dtype_text wgsl_bf16 = {
    "f32", "return bitcast<f32>((${W}(e >> 1u) >> ((e & 1u) << 4u)) << 16u);",
    "return bitcast<vec4<f32>>((${W2}(e >> 2u).xxyy << vec4<u32>(16u, 0u, 16u, 0u)) & vec4<u32>(0xffff0000u));",
    HALF_STORE("bf16_bits"), HALF_STORE4("bf16_bits"), .words = 2,
    .load16 = "let v = ${W4}(e >> 3u); let w = ${W4}((e + far) >> 3u); return mat4x4<f32>(" TWO_WIDE("v.xxyy") ", " TWO_WIDE("v.zzww") ", " TWO_WIDE("w.xxyy") ", " TWO_WIDE("w.zzww") ");", .words16 = 4, .near = 4};
static const ry_dtype_text wgsl_i32 = {"i32", "return bitcast<i32>(${W}(e));", "return bitcast<vec4<i32>>(${W4}(e >> 2u));", "${P}(e, bitcast<u32>(v));",
                                       "${P4}(e >> 2u, bitcast<vec4<u32>>(v));", .words = 4};
/* i64 in registers of 32 bits, for ids and counts: what does not fit reads as -1, which is no index. */
#define NARROW(w) "select(-1, bitcast<i32>(" w ".x), " w ".y == bitcast<u32>(bitcast<i32>(" w ".x) >> 31u))"
static const ry_dtype_text wgsl_i64 = {
    "i32", "let w = ${W2}(e); return " NARROW("w") ";",
    "let a = ${W2}(e); let b = ${W2}(e + 1u); let c = ${W2}(e + 2u); let d = ${W2}(e + 3u); return vec4<i32>(" NARROW("a") ", " NARROW("b") ", " NARROW(
        "c") ", " NARROW("d") ");",
    "${P2}(e, vec2<u32>(bitcast<u32>(v), bitcast<u32>(v >> 31u)));",
    "let s = v >> vec4<u32>(31u); ${P4}(e >> 1u, bitcast<vec4<u32>>(vec4<i32>(v.x, s.x, v.y, s.y))); ${P4}((e >> 1u) + 1u, bitcast<vec4<u32>>(vec4<i32>(v.z, s.z, v.w, s.w)));",
    .words = 4};
/* Masked, for the library extends the sign when it makes an i64 of a u32. */
static const ry_dtype_text wide_i64 = {
    "i64", "let w = ${W2}(e); return (i64(w.x) & 4294967295li) | (i64(w.y) << 32u);",
    "let a = ${W4}(e >> 1u); let b = ${W4}((e >> 1u) + 1u); return (vec4<i64>(vec4<u32>(a.xz, b.xz)) & vec4<i64>(4294967295li)) | (vec4<i64>(vec4<u32>(a.yw, b.yw)) << vec4<u32>(32u));",
    "${P2}(e, vec2<u32>(u32(v & 4294967295li), u32((v >> 32u) & 4294967295li)));",
    "let l = vec4<u32>(v & vec4<i64>(4294967295li)); let h = vec4<u32>((v >> vec4<u32>(32u)) & vec4<i64>(4294967295li)); "
    "${P4}(e >> 1u, vec4<u32>(l.x, h.x, l.y, h.y)); ${P4}((e >> 1u) + 1u, vec4<u32>(l.z, h.z, l.w, h.w));",
    .words = 4};
#define BYTE_STORE(bits) "${M}(e >> 2u, 0xffu << ((e & 3u) << 3u), (" bits " & 0xffu) << ((e & 3u) << 3u));"
#define BYTE_STORE4(of)                                                                                                                    \
    "${P}(e >> 2u, (" of "(v.x) & 0xffu) | (" of "(v.y) & 0xffu) << 8u | (" of "(v.z) & 0xffu) << 16u | (" of "(v.w) & 0xffu) << 24u);"
static const ry_dtype_text wgsl_i8 = {
    "i32", "return extractBits(bitcast<i32>(${W}(e >> 2u)), (e & 3u) << 3u, 8u);",
    "let w = bitcast<i32>(${W}(e >> 2u)); return vec4<i32>(w << 24u, w << 16u, w << 8u, w) >> vec4<u32>(24u);", BYTE_STORE("u32(v)"), BYTE_STORE4("u32"), .words = 1};
static const ry_dtype_text wgsl_u8 = {"i32", "return i32(extractBits(${W}(e >> 2u), (e & 3u) << 3u, 8u));",
                                      "return vec4<i32>((vec4<u32>(${W}(e >> 2u)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu));",
                                      BYTE_STORE("u32(v)"), BYTE_STORE4("u32"), .words = 1};
static const ry_dtype_text wgsl_bool = {"bool", "return extractBits(${W}(e >> 2u), (e & 3u) << 3u, 8u) != 0u;",
                                        "return ((vec4<u32>(${W}(e >> 2u)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu)) != vec4<u32>();",
                                        BYTE_STORE("u32(v)"), BYTE_STORE4("u32"), .words = 1};
static const ry_dtype_text raw_1 = {"u32", "return extractBits(${W}(e >> 2u), (e & 3u) << 3u, 8u);",
                                    "return (vec4<u32>(${W}(e >> 2u)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);",
                                    BYTE_STORE("v"), "${P}(e >> 2u, v.x | v.y << 8u | v.z << 16u | v.w << 24u);", .words = 1};
static const ry_dtype_text raw_2 = {"u32", "return extractBits(${W}(e >> 1u), (e & 1u) << 4u, 16u);",
                                    "let w = ${W2}(e >> 2u); return vec4<u32>(w.x & 0xffffu, w.x >> 16u, w.y & 0xffffu, w.y >> 16u);",
                                    "${M}(e >> 1u, 0xffffu << ((e & 1u) << 4u), v << ((e & 1u) << 4u));",
                                    "${P2}(e >> 2u, vec2<u32>(v.x | v.y << 16u, v.z | v.w << 16u));", .words = 2};
static const ry_dtype_text raw_4 = {"u32", "return ${W}(e);", "return ${W4}(e >> 2u);", "${P}(e, v);", "${P4}(e >> 2u, v);", .words = 4};

static const ry_dtype_info rows[RY_DTYPE_COUNT] = {
    [RY_NONE] = {.name = "none", .gguf = -1, .block = 1},
    [RY_F32] = {.name = "f32", .safetensors = "F32", .gguf = 0, .kind = RY_KIND_FLOAT, .block = 1, .bytes = 4, .bits = 24, .wgsl = &wgsl_f32, .raw = &raw_4},
    [RY_F16] = {.name = "f16", .safetensors = "F16", .gguf = 1, .kind = RY_KIND_FLOAT, .block = 1, .bytes = 2, .bits = 11, .wgsl = &wgsl_f16, .raw = &raw_2},
    [RY_BF16] = {.name = "bf16", .safetensors = "BF16", .gguf = 30, .kind = RY_KIND_FLOAT, .block = 1, .bytes = 2, .bits = 8, .wgsl = &wgsl_bf16, .raw = &raw_2},
    [RY_F64] = {.name = "f64", .safetensors = "F64", .gguf = 28, .kind = RY_KIND_FLOAT, .block = 1, .bytes = 8, .bits = 53},
    [RY_I8] = {.name = "i8", .safetensors = "I8", .gguf = 24, .kind = RY_KIND_INT, .block = 1, .bytes = 1, .bits = 7, .wgsl = &wgsl_i8, .raw = &raw_1},
    [RY_U8] = {.name = "u8", .safetensors = "U8", .gguf = -1, .kind = RY_KIND_INT, .block = 1, .bytes = 1, .bits = 8, .wgsl = &wgsl_u8, .raw = &raw_1},
    [RY_I32] = {.name = "i32", .safetensors = "I32", .gguf = 26, .kind = RY_KIND_INT, .block = 1, .bytes = 4, .bits = 31, .wgsl = &wgsl_i32, .raw = &raw_4},
    [RY_I64] = {.name = "i64", .safetensors = "I64", .gguf = 27, .kind = RY_KIND_INT, .block = 1, .bytes = 8, .bits = 63, .wgsl = &wgsl_i64, .wide = &wide_i64, .raw = &raw_4},
    [RY_BOOL] = {.name = "bool", .safetensors = "BOOL", .gguf = -1, .kind = RY_KIND_BOOL, .block = 1, .bytes = 1, .bits = 1, .wgsl = &wgsl_bool, .raw = &raw_1},
    [RY_Q4_0] = {.name = "q4_0", .gguf = 2, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 18, .bits = 4, .wgsl = &dtype_wgsl_q4_0, .raw = &raw_2},
    [RY_Q4_1] = {.name = "q4_1", .gguf = 3, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 20, .bits = 4, .wgsl = &dtype_wgsl_q4_1, .raw = &raw_4},
    [RY_Q5_0] = {.name = "q5_0", .gguf = 6, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 22, .bits = 5, .wgsl = &dtype_wgsl_q5_0, .raw = &raw_2},
    [RY_Q5_1] = {.name = "q5_1", .gguf = 7, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 24, .bits = 5, .wgsl = &dtype_wgsl_q5_1, .raw = &raw_4},
    [RY_Q8_0] = {.name = "q8_0", .gguf = 8, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 34, .bits = 7, .wgsl = &dtype_wgsl_q8_0, .raw = &raw_2},
    [RY_IQ4_NL] = {.name = "iq4_nl", .gguf = 20, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 18, .bits = 4, .wgsl = &dtype_wgsl_iq4_nl, .raw = &raw_2},
    [RY_MXFP4] = {.name = "mxfp4", .gguf = 39, .kind = RY_KIND_BLOCK, .block = 32, .bytes = 17, .bits = 3, .wgsl = &dtype_wgsl_mxfp4, .raw = &raw_1},
    [RY_Q2_K] = {.name = "q2_K", .gguf = 10, .kind = RY_KIND_BLOCK, .block = 256, .bytes = 84, .bits = 2, .wgsl = &dtype_wgsl_q2_k, .raw = &raw_4},
    [RY_Q3_K] = {.name = "q3_K", .gguf = 11, .kind = RY_KIND_BLOCK, .block = 256, .bytes = 110, .bits = 3, .wgsl = &dtype_wgsl_q3_k, .raw = &raw_2},
    [RY_Q4_K] = {.name = "q4_K", .gguf = 12, .kind = RY_KIND_BLOCK, .block = 256, .bytes = 144, .bits = 4, .wgsl = &dtype_wgsl_q4_k, .raw = &raw_4},
    [RY_Q5_K] = {.name = "q5_K", .gguf = 13, .kind = RY_KIND_BLOCK, .block = 256, .bytes = 176, .bits = 5, .wgsl = &dtype_wgsl_q5_k, .raw = &raw_4},
    [RY_Q6_K] = {.name = "q6_K", .gguf = 14, .kind = RY_KIND_BLOCK, .block = 256, .bytes = 210, .bits = 6, .wgsl = &dtype_wgsl_q6_k, .raw = &raw_2},
};

const ry_dtype_info *ry_dtype_row(ry_dtype t) {
    return &rows[(unsigned)t < RY_DTYPE_COUNT ? t : RY_NONE];
}

int ry_raw_units(ry_dtype t) {
    int bytes = ry_dtype_row(t)->bytes;
    return bytes % 4 == 0 ? bytes / 4 : bytes % 2 == 0 ? bytes / 2 : bytes;
}

const char *ry_dtype_name(ry_dtype t) { return ry_dtype_row(t)->name; }

ry_dtype ry_dtype_from_safetensors(const char *name) {
    for (int t = RY_NONE + 1; t < RY_DTYPE_COUNT; t++)
        if (rows[t].safetensors && !strcmp(rows[t].safetensors, name)) return (ry_dtype)t;
    return RY_NONE;
}

size_t ry_bytes_of(ry_dtype t, int64_t n) {
    const ry_dtype_info *r = ry_dtype_row(t);
    return (size_t)n / (size_t)r->block * (size_t)r->bytes;
}

ry_status ry_spec_bytes(size_t *out, const ry_spec *s) {
    const ry_dtype_info *r = ry_dtype_row(s->dtype);
    int64_t n = ry_numel(s);
    if (!r->bytes) RY_FAIL(RY_EARG, "a tensor needs a dtype");
    if (n < 0) RY_FAIL(RY_EARG, "shape %s has a negative or too large size", ry_show(s).s);
    if (r->block > 1 && n && (s->rank < 1 || s->dim[s->rank - 1] % r->block))
        RY_FAIL(RY_ESHAPE, "%s: the last dim of %s must be a multiple of %d", r->name, ry_show(s).s, r->block);
    n /= r->block;
    if (n > INT64_MAX / r->bytes || (uint64_t)n > SIZE_MAX / (size_t)r->bytes)
        RY_FAIL(RY_EARG, "shape %s needs more bytes than can be counted", ry_show(s).s);
    *out = (size_t)n * (size_t)r->bytes;
    return RY_OK;
}

ry_dtype ry_promote(const ry_spec *const *s, int n) {
    /* Kind decides first (bool < int < float); within the kind, operands with dims decide before scalars. */
    ry_kind kind = RY_KIND_BOOL;
    for (int i = 0; i < n; i++)
        if (ry_dtype_row(s[i]->dtype)->kind > kind) kind = ry_dtype_row(s[i]->dtype)->kind;
    ry_dtype out = RY_NONE;
    for (int scalars = 0; scalars < 2 && out == RY_NONE; scalars++)
        for (int i = 0; i < n; i++) {
            ry_dtype t = s[i]->dtype;
            if ((s[i]->rank == 0) != (scalars == 1) || ry_dtype_row(t)->kind != kind) continue;
            const ry_dtype_info *a = ry_dtype_row(out), *b = ry_dtype_row(t);
            if (out == RY_NONE) out = t;
            else if ((out == RY_F16 && t == RY_BF16) || (out == RY_BF16 && t == RY_F16)) out = RY_F32;
            else if ((out == RY_I8 && t == RY_U8) || (out == RY_U8 && t == RY_I8)) out = RY_I32;
            else if (b->bytes > a->bytes) out = t;
        }
    return out;
}

const float *ry_load_row(const void *data, ry_dtype t, int64_t i, int64_t n, float *buf) {
    if (t == RY_F32) return (const float *)data + i;
    simd_rows()->to_f32(buf, (const char *)data + ry_bytes_of(t, i), t, n);
    return buf;
}

void ry_store_row(void *data, ry_dtype t, int64_t i, int64_t n, const float *x) {
    if (t == RY_F32) {
        if (x != (float *)data + i) memcpy((float *)data + i, x, (size_t)n * sizeof(float));
        return;
    }
    simd_rows()->from_f32((char *)data + ry_bytes_of(t, i), x, t, n);
}

int64_t ry_load_index(const void *data, ry_dtype t, int64_t i) {
    int64_t wide;
    int32_t word;
    switch (t) { /* copied: what a host feeds lies anywhere */
    case RY_I64: return memcpy(&wide, (const char *)data + 8 * i, sizeof wide), wide;
    case RY_I32: return memcpy(&word, (const char *)data + 4 * i, sizeof word), word;
    case RY_I8: return ((const int8_t *)data)[i];
    default: return ((const uint8_t *)data)[i]; /* u8, bool */
    }
}
