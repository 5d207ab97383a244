/* prefixes.c - builds the trie of prefixes.h. */
#include "io/tokenizer/prefixes.h"

enum { PREFIXES_NODES = 1 << 24 }; /* so that node and byte are 32 bits */

static ry_status prefixes_grow(tok_prefixes *p) {
    size_t old = p->slots ? p->mask + 1 : 0, n = old ? 2 * old : 1024;
    uint64_t *slots = p->slots;
    if (!(p->slots = ry_mem_zalloc(ry_mem_size(n, sizeof *p->slots, 0)))) {
        p->slots = slots;
        return RY_ENOMEM;
    }
    p->mask = n - 1;
    for (size_t i = 0; i < old; i++)
        if (slots[i]) p->slots[tok_prefixes_slot(p, slots[i] >> 32)] = slots[i];
    ry_mem_free(slots);
    return RY_OK;
}

static ry_status prefixes_node(tok_prefixes *p) {
    if (p->ids.n == PREFIXES_NODES) RY_FAIL(RY_EUNSUPPORTED, "a vocabulary with more than %d prefixes", PREFIXES_NODES);
    int32_t *id = RY_PUSH(&p->ids);
    if (!id) return RY_ENOMEM;
    *id = -1;
    return 2 * p->ids.n > p->mask + 1 || !p->slots ? prefixes_grow(p) : RY_OK;
}

ry_status tok_prefixes_add(tok_prefixes *p, const char *text, size_t n, int32_t id) {
    if (!p->ids.n) RY_TRY(prefixes_node(p));
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t key = (uint64_t)node << 8 | (unsigned char)text[i];
        uint32_t child = tok_prefixes_step(p, node, text[i]);
        if (!child) {
            RY_TRY(prefixes_node(p));
            child = (uint32_t)p->ids.n - 1;
            p->slots[tok_prefixes_slot(p, key)] = key << 32 | child;
        }
        node = child;
    }
    p->ids.at[node] = id;
    return RY_OK;
}

void tok_prefixes_free(tok_prefixes *p) {
    ry_mem_free(p->slots);
    RY_VEC_FREE(&p->ids);
    *p = (tok_prefixes){0};
}
