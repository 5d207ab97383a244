/* halves.h - one f16 or bf16 value to float and back, without branches, so that loops over them become vector code.
 * Rounds to nearest even; NaN stays NaN (quiet).  Knows no loop. */
#ifndef RY_SIMD_HALVES_H
#define RY_SIMD_HALVES_H
#include "simd/vmath.h"

VM_FN float half_f16_get(uint16_t h) {
    uint32_t mag = (uint32_t)(h & 0x7fffu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    float small = (float)(int32_t)(h & 0x7fffu) * 0x1p-24f;                /* subnormal: exact */
    uint32_t big = mag + (mag >= 0x0f800000u ? 0x70000000u : 0x38000000u); /* infinity and NaN keep a full exponent */
    big |= mag > 0x0f800000u ? 0x00400000u : 0u;
    return vm_float((mag < 0x00800000u ? vm_bits(small) : big) | sign);
}

VM_FN uint16_t half_f16_set(float x) {
    uint32_t u = vm_bits(x), sign = u >> 16 & 0x8000u, mag = u & 0x7fffffffu;
    uint32_t normal = (mag - 0x38000000u + 0xfffu + (mag >> 13 & 1u)) >> 13;
    uint32_t small = vm_bits(vm_float(mag) + 0.5f) - 0x3f000000u; /* the sum rounds to units of 2^-24 */
    uint32_t y = mag < 0x38800000u ? small : normal;
    y = mag >= 0x477ff000u ? 0x7c00u : y; /* 65520 and more */
    y = mag > 0x7f800000u ? 0x7e00u | (mag >> 13 & 0x3ffu) : y;
    return (uint16_t)(y | sign);
}

VM_FN float half_bf16_get(uint16_t h) { return vm_float((uint32_t)h << 16); }

VM_FN uint16_t half_bf16_set(float x) {
    uint32_t u = vm_bits(x), y = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? u >> 16 | 0x40u : y);
}
#endif
