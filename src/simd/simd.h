/* simd.h - which instruction set runs.  Detected once by CPUID; RUSTY_SIMD=plain|avx2|avx512|neon forces a lower path,
 * RUSTY_SIMD_NO=amx,avx512_bf16,... takes single features away.  Knows instruction sets, no tensor. */
#ifndef RY_SIMD_SIMD_H
#define RY_SIMD_SIMD_H
#include <rusty.h>

typedef enum simd_path { SIMD_PLAIN, SIMD_AVX2, SIMD_AVX512, SIMD_NEON, SIMD_PATHS } simd_path;
enum { SIMD_AVX512_BF16 = 1, SIMD_AMX_BF16 = 2, SIMD_AVX512_VNNI = 4, SIMD_AVX_VNNI = 8 }; /* extras, each with a path of its own where used */

simd_path simd_best(void);            /* what this machine has, after RUSTY_SIMD */
simd_path simd_now(void);             /* what runs: simd_best unless simd_force said otherwise */
unsigned simd_extras(void);           /* bits above that pay here, or that simd_force chose; 0 on a lower path */
bool simd_has(simd_path p);
void simd_force(simd_path p, unsigned extras); /* tests and doctor: only what simd_has; not while a program runs */
const char *simd_name(simd_path p);
void simd_describe(char *buf, size_t n); /* "avx512f, avx512_bf16, amx_bf16" */

/* One table per path holds everything that differs: <thing>_<path>.c files are the same <thing>.inc compiled with other flags. */
#endif
