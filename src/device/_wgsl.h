/* _wgsl.h - from a node and its launch to the WGSL text of its kernels.  Knows the language; no vendor's interface, no formula. */
#ifndef RY_DEVICE_WGSL_H
#define RY_DEVICE_WGSL_H
#include "core/launch.h"

/* One word of a dispatch's uniforms. Words are laid out in this order, each 4 bytes. */
typedef enum wgsl_word_kind { WGSL_GROUPS, WGSL_GRID, WGSL_ROUND, WGSL_AT, WGSL_VALUE, WGSL_CUT_FROM, WGSL_CUT_LENGTH, WGSL_PART_FROM, WGSL_PART_TO } wgsl_word_kind;
typedef struct wgsl_word {
    uint8_t kind;    /* the dispatch's groups; groups in a row of the grid; the round; where operand `of` begins; launch value `of`; the cut; the dispatch's part */
    uint8_t of;
} wgsl_word;
enum { WGSL_MAX_WORDS = 10 + RY_OPERANDS + RY_MAX_UNIFORM };

typedef struct wgsl_kernel {
    int binding[RY_OPERANDS];        /* in: by operand, -1: none. Binding b is @binding(b + 1); 0 is the uniforms */
    int n_binding;                   /* in */
    uint32_t read_only;              /* in: by binding: nothing writes it */
    uint32_t aligned;                /* in: RY_USES_* of operands that begin at a multiple of 4 elements of their binding */
    int n_word;                      /* out */
    wgsl_word word[WGSL_MAX_WORDS];  /* out */
} wgsl_kernel;
ry_status wgsl_module(ry_text *out, wgsl_kernel *k, const ry_node *n, const ry_variant *v, const ry_launch *l);
static inline bool wgsl_letter(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static inline bool wgsl_name_part(char c) { return wgsl_letter(c) || (c >= '0' && c <= '9'); }
/* The text with functions that read storages written out where they are called (_inline.c). */
ry_status wgsl_inline(ry_text *out, const char *text);
uint32_t wgsl_word_bits(const ry_launch_value *u); /* f32 or u32, as the uniform holds it */
#endif
