/* spm_make.h - SentencePiece models piece by piece, also wrong ones, for tests.  Header of tests only. */
#ifndef TEST_SPM_MAKE_H
#define TEST_SPM_MAKE_H
#include "base/text.h"
#include <stdio.h>
#include <string.h>

typedef struct make_spm { unsigned char at[16384]; size_t n; } make_spm;

static inline void ms_bytes(make_spm *m, const void *p, size_t n) {
    if (n > sizeof m->at - m->n) n = sizeof m->at - m->n;
    if (n) memcpy(m->at + m->n, p, n);
    m->n += n;
}
static inline void ms_varint(make_spm *m, uint64_t v) {
    for (; v >= 128; v >>= 7) ms_bytes(m, &(unsigned char){(unsigned char)(v | 128)}, 1);
    ms_bytes(m, &(unsigned char){(unsigned char)v}, 1);
}
static inline void ms_int(make_spm *m, int field, uint64_t v) {
    ms_varint(m, (uint64_t)field << 3);
    ms_varint(m, v);
}
static inline void ms_text(make_spm *m, int field, const void *s, size_t n) {
    ms_varint(m, (uint64_t)field << 3 | 2);
    ms_varint(m, n);
    ms_bytes(m, s, n);
}
/* type 0: not said (normal) */
static inline void ms_piece(make_spm *m, const char *text, float score, int type) {
    make_spm p = {.n = 0};
    unsigned char b[4];
    uint32_t bits;
    memcpy(&bits, &score, 4);
    for (int i = 0; i < 4; i++) b[i] = (unsigned char)(bits >> 8 * i);
    ms_text(&p, 1, text, strlen(text));
    ms_varint(&p, 2 << 3 | 5);
    ms_bytes(&p, b, 4);
    if (type) ms_int(&p, 3, (uint64_t)type);
    ms_text(m, 1, p.at, p.n);
}
/* trainer_spec: model_type (1 unigram, 2 BPE, 3 word, 4 char), byte_fallback; normalizer_spec: dummy prefix, extra spaces removed. */
static inline void ms_specs(make_spm *m, int model_type, bool byte_fallback, bool prefix, bool extra) {
    make_spm t = {.n = 0}, n = {.n = 0};
    ms_int(&t, 3, (uint64_t)model_type);
    ms_int(&t, 35, byte_fallback);
    ms_text(m, 2, t.at, t.n);
    ms_int(&n, 3, prefix);
    ms_int(&n, 4, extra);
    ms_text(m, 3, n.at, n.n);
}
/* Small models of every kind of piece: i = 0 BPE, 1 Unigram, 2 characters; 3: BPE with bytes. */
static inline void ms_small(make_spm *m, int i) {
    m->n = 0;
    ms_piece(m, "<unk>", 0, 2);
    ms_piece(m, "<s>", 0, 3);
    ms_piece(m, "</s>", 0, 3);
    ms_piece(m, "[X]", 0, 4);
    if (i == 3)
        for (int b = 0; b < 256; b++) {
            char name[8];
            snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
            ms_piece(m, name, 0, 6);
        }
    static const char *const pieces[] = {("\xE2\x96\x81" "a"), "ab", "bc", "abc", "\xE2\x96\x81", "a", "b", "c", "d"};
    for (int k = 0; k < 9; k++) ms_piece(m, pieces[k], (float)-k - 1, k == 2 ? 5 : 0);
    ms_specs(m, i == 1 ? 1 : i == 2 ? 4 : 2, i == 3, true, i != 3);
}
#endif
