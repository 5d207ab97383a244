/* prefixes.h - a set of texts with ids, searched byte by byte: a trie in one hash table of (node, byte) -> node.  Owns its table.
 * Its root is node 0. Built in linear time, each step is about one access to memory. */
#ifndef RY_IO_TOKENIZER_PREFIXES_H
#define RY_IO_TOKENIZER_PREFIXES_H
#include "base/mem.h"

typedef struct tok_prefixes { /* zero-init, and seed from who opens it: the order of slots is nobody's to choose */
    uint64_t *slots;          /* node << 40 | byte << 32 | child; child 0: empty */
    size_t mask;
    uint64_t seed;
    RY_VEC(int32_t) ids; /* of each node: the id of the text that ends there, or -1 */
} tok_prefixes;

/* A text that is there already gets the new id. EUNSUPPORTED beyond 2^24 nodes (bytes of different texts). */
ry_status tok_prefixes_add(tok_prefixes *p, const char *text, size_t n, int32_t id);
void tok_prefixes_free(tok_prefixes *p);

static inline size_t tok_prefixes_slot(const tok_prefixes *p, uint64_t key) {
    uint64_t h = (key ^ p->seed) * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h >> 32) & p->mask;
    while (p->slots[i] && p->slots[i] >> 32 != key) i = (i + 1) & p->mask;
    return i;
}

/* The node behind `node` and this byte; 0: none. */
static inline uint32_t tok_prefixes_step(const tok_prefixes *p, uint32_t node, char byte) {
    return (uint32_t)p->slots[tok_prefixes_slot(p, (uint64_t)node << 8 | (unsigned char)byte)];
}
#endif
