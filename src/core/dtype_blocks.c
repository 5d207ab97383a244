/* dtype_blocks.c - how WGSL reads GGUF's block formats (the layouts of ggml's block_q* structs, as its documentation of GGUF gives them).
 *
 * Every format keeps small whole numbers in groups of bytes, so a 32-bit word holds numbers of four neighbouring elements once or
 * several times over: load4 takes one of the times; load16 takes words whole and gives four quads, `near` and `far` elements apart.
 * In the texts: a is the byte where the operand begins, i the element, b the block's byte. Blocks of 18, 22, 34, 110 and 210 bytes
 * begin at even bytes, so their words may lie across two (${U}), MXFP4's of 17 at any; those of the others lie whole (${W}). Owns nothing. */
#include "core/dtype_blocks.h"

/* Four numbers of a word's bytes, as the low bits of 2^23 + byte, for conversions are dear; bit j of h to bit 8 j; the sixteen values of IQ4_NL for the nibbles in a word's bytes;
 * those of MXFP4, doubled (nibbles of sign, two bits of exponent, one of fraction: as an f32's, but the first two lack the leading one), and half its scale. */
static const char helpers[] =
    "fn low_bits(w: u32) -> vec4<f32> { return bitcast<vec4<f32>>(((vec4<u32>(w) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu)) | vec4<u32>(0x4b000000u)); }\n"
    "fn bytes(w: u32) -> vec4<f32> { return low_bits(w) - 8388608.0; }\n"
    "fn signed_bytes(w: u32) -> vec4<f32> { return low_bits(w ^ 0x80808080u) - 8388736.0; }\n"
    "fn spread_bits(h: u32) -> u32 { return ((h & 0xfu) * 0x204081u) & 0x01010101u; }\n"
    "fn iq4_values(w: u32) -> vec4<f32> {\n"
    "    let n = vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u);\n"
    "    let second = (n & vec4<u32>(4u)) != vec4<u32>();\n"
    "    let lower = select(vec4<u32>(0xbfad9881u), vec4<u32>(0xf6eaddcfu), second);\n"
    "    let upper = select(vec4<u32>(0x26190d01u), vec4<u32>(0x71594535u), second);\n"
    "    let four = select(lower, upper, (n & vec4<u32>(8u)) != vec4<u32>());\n"
    "    return vec4<f32>(bitcast<vec4<i32>>(four << (vec4<u32>(24u) - ((n & vec4<u32>(3u)) << vec4<u32>(3u)))) >> vec4<u32>(24u));\n"
    "}\n"
    "fn mxfp4_values(w: u32) -> vec4<f32> {\n"
    "    let n = vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u);\n"
    "    let v = bitcast<vec4<f32>>(((n & vec4<u32>(7u)) << vec4<u32>(22u)) + vec4<u32>(0x3f800000u));\n"
    "    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(select(v, v + v - 2.0, v < vec4<f32>(2.0))) | ((n & vec4<u32>(8u)) << vec4<u32>(28u)));\n"
    "}\n"
    "fn half_scale(e: u32) -> f32 { return bitcast<f32>(max(bitcast<i32>((e - 1u) << 23u), bitcast<i32>((e + 1u) << 21u))); }\n";
#define NIBBLES " & 0x0f0f0f0fu"

#define BLOCK(elements, size) "let b = a + i / " elements " * " size "; let e = i % " elements "; "
#define FORMAT(name, words_, near_, far_, head, four, sixteen) \
    const ry_dtype_text name = {.reg = "f32", .load4 = head four, .load16 = head sixteen, .words = words_, .words16 = words_, .near = near_, .far = far_, .helpers = helpers}

/* d, 16 bytes of two numbers each: byte k has those of elements k and k + 16. */
#define Q4_HEAD BLOCK("32u", "18u") "let d = ${H}(b); let q = b + 2u + e % 16u; "
FORMAT(dtype_wgsl_q4_0, 1, 4, 16, Q4_HEAD, "return d * (bytes((${U}(q) >> (e / 16u * 4u))" NIBBLES ") - 8.0);",
       "let v = ${U}(q); let w = ${U}(q + 4u); "
       "return mat4x4<f32>(d * (bytes(v" NIBBLES ") - 8.0), d * (bytes(w" NIBBLES ") - 8.0), d * (bytes((v >> 4u)" NIBBLES ") - 8.0), d * (bytes((w >> 4u)" NIBBLES ") - 8.0));");
FORMAT(dtype_wgsl_iq4_nl, 1, 4, 16, Q4_HEAD, "return d * iq4_values((${U}(q) >> (e / 16u * 4u))" NIBBLES ");",
       "let v = ${U}(q); let w = ${U}(q + 4u); "
       "return mat4x4<f32>(d * iq4_values(v" NIBBLES "), d * iq4_values(w" NIBBLES "), d * iq4_values((v >> 4u)" NIBBLES "), d * iq4_values((w >> 4u)" NIBBLES "));");
/* One byte before them, the exponent of the scale. */
#define MXFP4_HEAD BLOCK("32u", "17u") "let d = half_scale(${B}(b)); let q = b + 1u + e % 16u; let k = q >> 2u; let r = (q & 3u) << 3u; "
#define ACROSS(low, high) "((" low " >> r) | ((" high " << 1u) << (31u - r)))"
FORMAT(dtype_wgsl_mxfp4, 1, 4, 16, MXFP4_HEAD, "return d * mxfp4_values((" ACROSS("${W}(k)", "${W}((q + 3u) >> 2u)") " >> (e / 16u * 4u))" NIBBLES ");",
       "let middle = ${W}(k + 1u); let v = " ACROSS("${W}(k)", "middle") "; let w = " ACROSS("middle", "${W}((q + 7u) >> 2u)") "; "
       "return mat4x4<f32>(d * mxfp4_values(v" NIBBLES "), d * mxfp4_values(w" NIBBLES "), d * mxfp4_values((v >> 4u)" NIBBLES "), d * mxfp4_values((w >> 4u)" NIBBLES "));");
/* d and m before them: x = d q + m. */
FORMAT(dtype_wgsl_q4_1, 1, 4, 16, BLOCK("32u", "20u") "let d = unpack2x16float(${W}(b >> 2u)); let q = (b + 4u + e % 16u) >> 2u; ",
       "return d.x * bytes((${W}(q) >> (e / 16u * 4u))" NIBBLES ") + d.y;",
       "let v = ${W}(q); let w = ${W}(q + 1u); "
       "return mat4x4<f32>(d.x * bytes(v" NIBBLES ") + d.y, d.x * bytes(w" NIBBLES ") + d.y, d.x * bytes((v >> 4u)" NIBBLES ") + d.y, d.x * bytes((w >> 4u)" NIBBLES ") + d.y);");
/* Between them the fifth bits of all 32 elements, in order. */
#define FIFTH(at) "(spread_bits(h >> (" at ")) << 4u)"
FORMAT(dtype_wgsl_q5_0, 1, 4, 16, BLOCK("32u", "22u") "let d = ${H}(b); let h = ${U}(b + 2u); let q = b + 6u + e % 16u; ",
       "return d * (bytes(((${U}(q) >> (e / 16u * 4u))" NIBBLES ") | " FIFTH("e") ") - 16.0);",
       "let v = ${U}(q); let w = ${U}(q + 4u); "
       "return mat4x4<f32>(d * (bytes((v" NIBBLES ") | " FIFTH("e") ") - 16.0), d * (bytes((w" NIBBLES ") | " FIFTH("e + 4u") ") - 16.0), "
       "d * (bytes(((v >> 4u)" NIBBLES ") | " FIFTH("e + 16u") ") - 16.0), d * (bytes(((w >> 4u)" NIBBLES ") | " FIFTH("e + 20u") ") - 16.0));");
FORMAT(dtype_wgsl_q5_1, 1, 4, 16,
       BLOCK("32u", "24u") "let d = unpack2x16float(${W}(b >> 2u)); let h = ${W}((b >> 2u) + 1u); let q = (b + 8u + e % 16u) >> 2u; ",
       "return d.x * bytes(((${W}(q) >> (e / 16u * 4u))" NIBBLES ") | " FIFTH("e") ") + d.y;",
       "let v = ${W}(q); let w = ${W}(q + 1u); "
       "return mat4x4<f32>(d.x * bytes((v" NIBBLES ") | " FIFTH("e") ") + d.y, d.x * bytes((w" NIBBLES ") | " FIFTH("e + 4u") ") + d.y, "
       "d.x * bytes(((v >> 4u)" NIBBLES ") | " FIFTH("e + 16u") ") + d.y, d.x * bytes(((w >> 4u)" NIBBLES ") | " FIFTH("e + 20u") ") + d.y);");
/* d, 32 signed bytes. */
FORMAT(dtype_wgsl_q8_0, 1, 4, 8, BLOCK("32u", "34u") "let d = ${H}(b); let q = b + 2u + e; ", "return d * signed_bytes(${U}(q));",
       "let k = q >> 2u; let odd = (q & 2u) != 0u; let w0 = ${W}(k); let w1 = ${W}(k + 1u); let w2 = ${W}(k + 2u); let w3 = ${W}(k + 3u); let w4 = ${W}((q + 14u) >> 2u); "
       "return mat4x4<f32>(d * signed_bytes(select(w0, (w0 >> 16u) | (w1 << 16u), odd)), d * signed_bytes(select(w1, (w1 >> 16u) | (w2 << 16u), odd)), "
       "d * signed_bytes(select(w2, (w2 >> 16u) | (w3 << 16u), odd)), d * signed_bytes(select(w3, (w3 >> 16u) | (w4 << 16u), odd)));");

/* 256 elements: 16 bytes of scale and minimum (a nibble each) for 16 elements, 64 bytes of 2-bit numbers (byte 32 n + l: elements
 * 128 n + l + 32 j, j = 0 .. 3 from the lowest bits on), d and that of the minimums. */
#define TWOS " & 0x03030303u"
FORMAT(dtype_wgsl_q2_k, 1, 32, 64,
       BLOCK("256u", "84u") "let d = unpack2x16float(${W}((b + 80u) >> 2u)); let v = ${W}((b + 16u + e / 128u * 32u + e % 32u) >> 2u); ",
       "let s = ${B}(b + e / 16u); return d.x * f32(s & 15u) * bytes((v >> (e % 128u / 32u * 2u))" TWOS ") - d.y * f32(s >> 4u);",
       "let at = (b + e / 128u * 8u) >> 2u; let odd = e / 16u % 2u * 8u; let s = ${W}(at) >> odd; let t = ${W}(at + 1u) >> odd; "
       "return mat4x4<f32>(d.x * f32(s & 15u) * bytes(v" TWOS ") - d.y * f32((s >> 4u) & 15u), d.x * f32((s >> 16u) & 15u) * bytes((v >> 2u)" TWOS ") - d.y * f32((s >> 20u) & 15u), "
       "d.x * f32(t & 15u) * bytes((v >> 4u)" TWOS ") - d.y * f32((t >> 4u) & 15u), d.x * f32((t >> 16u) & 15u) * bytes((v >> 6u)" TWOS ") - d.y * f32((t >> 20u) & 15u));");
/* 32 bytes of third bits (bit 4 n + j; absent: 4 less), 64 of 2-bit numbers as above, 12 of 16 scales of 6 bits (less 32): four low bits of
 * scale s in nibble s / 8 of byte s % 8, the two others in byte 8 + s % 4 from bit 2 (s / 4) on; d. */
#define THIRD(shift, j) "(((v >> " shift ")" TWOS ") | (((m >> (h + " j ")) & 0x01010101u) << 2u))"
FORMAT(dtype_wgsl_q3_k, 1, 32, 64,
       BLOCK("256u", "110u") "let d = ${H}(b + 108u); let m = ${U}(b + e % 32u); let v = ${U}(b + 32u + e / 128u * 32u + e % 32u); let h = e / 128u * 4u; ",
       "let j = e % 128u / 32u; let s = e / 16u; let x = ((${B}(b + 96u + s % 8u) >> (s / 8u * 4u)) & 15u) | (((${B}(b + 104u + s % 4u) >> (s / 4u * 2u)) & 3u) << 4u); "
       "return d * (f32(x) - 32.0) * (bytes(" THIRD("(2u * j)", "j") ") - 4.0);",
       "let odd = e / 16u % 2u * 8u; let t = ${U}(b + 104u) >> h; "
       "let r = (((${U}(b + 96u) >> h)" NIBBLES ") | ((t" TWOS ") << 4u)) >> odd; let s = (((${U}(b + 100u) >> h)" NIBBLES ") | (((t >> 2u)" TWOS ") << 4u)) >> odd; "
       "return mat4x4<f32>(d * (f32(r & 63u) - 32.0) * (bytes(" THIRD("0u", "0u") ") - 4.0), d * (f32((r >> 16u) & 63u) - 32.0) * (bytes(" THIRD("2u", "1u") ") - 4.0), "
       "d * (f32(s & 63u) - 32.0) * (bytes(" THIRD("4u", "2u") ") - 4.0), d * (f32((s >> 16u) & 63u) - 32.0) * (bytes(" THIRD("6u", "3u") ") - 4.0));");
/* d and that of the minimums; 8 scales and minimums of 6 bits in 12 bytes: the first four in bytes 0 and 4 on; of the others four low bits
 * in bytes 8 on (minimums: high nibbles), two high bits above the first ones; then 128 bytes of nibbles: byte 32 c + l has elements
 * 64 c + l and 64 c + l + 32. scales: those of c's two in the low bytes. */
#define SCALES(w) "let c = e / 64u; let first = c < 2u; let turn = c % 2u * 16u; let d = unpack2x16float(" w "(b >> 2u)); " \
    "let w1 = " w "((b >> 2u) + 1u); let w2 = " w "((b >> 2u) + 2u); let w3 = " w "((b >> 2u) + 3u); " \
    "let s = select((w3" NIBBLES ") | ((w1 >> 2u) & 0x30303030u), w1 & 0x3f3f3f3fu, first) >> turn; " \
    "let m = select(((w3 >> 4u)" NIBBLES ") | ((w2 >> 2u) & 0x30303030u), w2 & 0x3f3f3f3fu, first) >> turn; "
#define ONE_OF_TWO "let second = e / 32u % 2u; let x = f32((s >> (8u * second)) & 63u); let y = f32((m >> (8u * second)) & 63u); "
#define TWO "let s0 = d.x * f32(s & 63u); let m0 = d.y * f32(m & 63u); let s1 = d.x * f32((s >> 8u) & 63u); let m1 = d.y * f32((m >> 8u) & 63u); "
FORMAT(dtype_wgsl_q4_k, 1, 4, 32, BLOCK("256u", "144u") SCALES("${W}") "let q = (b + 16u + c * 32u + e % 32u) >> 2u; ",
       ONE_OF_TWO "return d.x * x * bytes((${W}(q) >> (4u * second))" NIBBLES ") - d.y * y;",
       TWO "let v = ${W}(q); let w = ${W}(q + 1u); "
       "return mat4x4<f32>(s0 * bytes(v" NIBBLES ") - m0, s0 * bytes(w" NIBBLES ") - m0, s1 * bytes((v >> 4u)" NIBBLES ") - m1, s1 * bytes((w >> 4u)" NIBBLES ") - m1);");
/* The same, with 32 bytes of fifth bits before the nibbles: bits 2 c and 2 c + 1 of byte l. */
#define BIT(h, at) "(((" h " >> (" at ")) & 0x01010101u) << 4u)"
FORMAT(dtype_wgsl_q5_k, 1, 4, 32, BLOCK("256u", "176u") SCALES("${W}") "let q = (b + 48u + c * 32u + e % 32u) >> 2u; let h = ${W}((b + 16u + e % 32u) >> 2u); ",
       ONE_OF_TWO "return d.x * x * bytes(((${W}(q) >> (4u * second))" NIBBLES ") | " BIT("h", "2u * c + second") ") - d.y * y;",
       TWO "let v = ${W}(q); let w = ${W}(q + 1u); let k = ${W}((b + 20u + e % 32u) >> 2u); "
       "return mat4x4<f32>(s0 * bytes((v" NIBBLES ") | " BIT("h", "2u * c") ") - m0, s0 * bytes((w" NIBBLES ") | " BIT("k", "2u * c") ") - m0, "
       "s1 * bytes(((v >> 4u)" NIBBLES ") | " BIT("h", "2u * c + 1u") ") - m1, s1 * bytes(((w >> 4u)" NIBBLES ") | " BIT("k", "2u * c + 1u") ") - m1);");
/* 128 bytes of nibbles, 64 of two high bits, 16 signed scales, d. Element 128 n + 32 k + l: nibble k / 2 of byte 64 n + 32 (k % 2) + l,
 * bits 2 k of byte 32 n + l; less 32. */
#define HIGH(shift) "(((h >> " shift ")" TWOS ") << 4u)"
#define SIGNED(w, byte) "f32(bitcast<i32>(" w " << (24u - " byte ")) >> 24u)"
FORMAT(dtype_wgsl_q6_k, 1, 32, 64, BLOCK("256u", "210u") "let d = ${H}(b + 208u); let z = e / 128u; let q = b + 64u * z + e % 32u; let h = ${U}(b + 128u + 32u * z + e % 32u); ",
       "let k = e % 128u / 32u; let s = ${B}(b + 192u + e / 16u); "
       "return d * " SIGNED("s", "0u") " * (bytes(((${U}(q + k % 2u * 32u) >> (k / 2u * 4u))" NIBBLES ") | " HIGH("(2u * k)") ") - 32.0);",
       "let v = ${U}(q); let w = ${U}(q + 32u); let odd = e / 16u % 2u * 8u; let r = ${U}(b + 192u + 8u * z) >> odd; let s = ${U}(b + 196u + 8u * z) >> odd; "
       "return mat4x4<f32>(d * " SIGNED("r", "0u") " * (bytes((v" NIBBLES ") | " HIGH("0u") ") - 32.0), d * " SIGNED("r", "16u") " * (bytes((w" NIBBLES ") | " HIGH("2u") ") - 32.0), "
       "d * " SIGNED("s", "0u") " * (bytes(((v >> 4u)" NIBBLES ") | " HIGH("4u") ") - 32.0), d * " SIGNED("s", "16u") " * (bytes(((w >> 4u)" NIBBLES ") | " HIGH("6u") ") - 32.0));");
