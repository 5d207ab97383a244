/* tokenizer_chars.c - the tokenizer whose ids are the code points of a text, in their order.  Owns its two tables.
 *
 * In tokenizer.json it is a BPE without merges over the characters. A character that it does not know is an error here, where
 * Hugging Face's library leaves it out without a word. */
#include "io/tokenizer.h"
#include <string.h>
#include "base/mem.h"
#include "io/utf8.h"

enum { CHARS_PAGE = 256, CHARS_PAGES = 0x110000 / CHARS_PAGE };

typedef struct chars_tokenizer {
    ry_tokenizer base;
    int32_t *cp;                /* [size] id -> code point */
    int32_t *page[CHARS_PAGES]; /* code point -> id, or -1; pages of 256, NULL where none is known */
} chars_tokenizer;

static void chars_close(ry_tokenizer *base) {
    chars_tokenizer *t = (chars_tokenizer *)base;
    for (int i = 0; i < CHARS_PAGES; i++) ry_mem_free(t->page[i]);
    ry_mem_free(t->cp);
    ry_mem_free(t);
}

static chars_tokenizer *chars_new(size_t size) {
    chars_tokenizer *t = ry_mem_zalloc(sizeof *t);
    int32_t *cp = ry_mem_alloc(ry_mem_size(size, sizeof *cp, 0));
    if (!t || !cp) {
        ry_mem_free(t);
        ry_mem_free(cp);
        return NULL;
    }
    memset(cp, 0xFF, size * sizeof *cp); /* -1: no character yet */
    t->base = (ry_tokenizer){&tok_chars, (int64_t)size};
    t->cp = cp;
    return t;
}

static ry_status chars_add(chars_tokenizer *t, int32_t cp, int32_t id) {
    int32_t **page = &t->page[cp / CHARS_PAGE];
    if (!*page) {
        if (!(*page = ry_mem_alloc(CHARS_PAGE * sizeof **page))) return RY_ENOMEM;
        memset(*page, 0xFF, CHARS_PAGE * sizeof **page);
    }
    (*page)[cp % CHARS_PAGE] = id;
    t->cp[id] = cp;
    return RY_OK;
}

static int32_t chars_id(const chars_tokenizer *t, int32_t cp) {
    const int32_t *page = t->page[cp / CHARS_PAGE];
    return page ? page[cp % CHARS_PAGE] : -1;
}

/* Marks the code points of text; the number of different ones. */
static ry_status chars_collect(unsigned char *seen, const char *text, size_t n, size_t *count) {
    *count = 0;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = utf8_next(text + i, n - i, &cp);
        if (cp < 0)
            RY_FAIL(RY_EARG, "the text is not UTF-8 at byte %zu: it has no characters; use the bytes tokenizer", i);
        if (cp == 0)
            RY_FAIL(RY_EARG, "the text holds a NUL at byte %zu, which no vocabulary takes; use the bytes tokenizer", i);
        unsigned char bit = (unsigned char)(1u << cp % 8);
        *count += !(seen[cp / 8] & bit);
        seen[cp / 8] |= bit;
        i += len;
    }
    return RY_OK;
}

ry_status ry_tokenizer_chars(ry_tokenizer **out, const char *text, size_t n) {
    if (!out || !text || !n) RY_FAIL(RY_EARG, "ry_tokenizer_chars: a text that is not empty must be given");
    unsigned char *seen = ry_mem_zalloc(0x110000 / 8);
    if (!seen) return RY_ENOMEM;
    size_t count;
    chars_tokenizer *t = NULL;
    ry_status st = chars_collect(seen, text, n, &count);
    if (st == RY_OK && !(t = chars_new(count))) st = RY_ENOMEM;
    int32_t id = 0;
    for (int32_t cp = 0; cp < 0x110000 && st == RY_OK; cp++)
        if (seen[cp / 8] >> cp % 8 & 1) st = chars_add(t, cp, id++);
    ry_mem_free(seen);
    if (st != RY_OK) {
        if (t) chars_close(&t->base);
        return st;
    }
    *out = &t->base;
    return RY_OK;
}

static ry_status chars_fill(chars_tokenizer *t, const ry_json *vocab, const char *what) {
    for (ry_json_it it = ry_json_first(vocab); it.value; it = ry_json_next(vocab, it)) {
        int64_t id;
        int32_t cp;
        if (!ry_json_as_int(it.value, &id) || id < 0 || id >= t->base.size || t->cp[id] >= 0)
            RY_FAIL(RY_EFORMAT, "%s: model.vocab: the id of \"%s\" must be an integer of its own from 0 to %lld", what,
                    it.key, (long long)t->base.size - 1);
        utf8_next(it.key, strlen(it.key), &cp);
        RY_TRY(chars_add(t, cp, (int32_t)id));
    }
    return RY_OK;
}

static ry_status chars_read(ry_tokenizer **out, const ry_json *root, const char *what) {
    const ry_json *vocab = tok_plain_vocab(root);
    if (!vocab || !ry_json_count(vocab) || !tok_has(root, "pre_tokenizer", NULL) || !tok_has(root, "decoder", "Fuse"))
        return RY_OK;
    for (ry_json_it it = ry_json_first(vocab); it.value; it = ry_json_next(vocab, it)) {
        int32_t cp;
        size_t n = strlen(it.key);
        if (!n || utf8_next(it.key, n, &cp) != n) return RY_OK; /* not one character each */
    }
    chars_tokenizer *t = chars_new(ry_json_count(vocab));
    if (!t) return RY_ENOMEM;
    ry_status st = chars_fill(t, vocab, what);
    if (st != RY_OK) {
        chars_close(&t->base);
        return st;
    }
    *out = &t->base;
    return RY_OK;
}

static size_t chars_room(const ry_tokenizer *t, size_t n) {
    (void)t;
    return n;
}

static ry_status chars_encode(const ry_tokenizer *base, const char *text, size_t n, bool add_special, int32_t *ids,
                              size_t *n_ids) {
    const chars_tokenizer *t = (const chars_tokenizer *)base;
    (void)add_special;
    size_t k = 0;
    for (size_t i = 0, len; i < n; i += len) {
        int32_t cp;
        len = utf8_next(text + i, n - i, &cp);
        if (cp < 0) RY_FAIL(RY_EARG, "the text is not UTF-8 at byte %zu", i);
        if ((ids[k] = chars_id(t, cp)) < 0)
            RY_FAIL(RY_EARG,
                    "the text's character U+%04X at byte %zu is not in the tokenizer's vocabulary of %lld characters",
                    (unsigned)cp, i, (long long)t->base.size);
        k++;
    }
    *n_ids = k;
    return RY_OK;
}

static void chars_decode(const ry_tokenizer *base, const int32_t *ids, size_t n, bool skip_special, ry_text *out) {
    const chars_tokenizer *t = (const chars_tokenizer *)base;
    (void)skip_special;
    for (size_t i = 0; i < n; i++) {
        char c[4];
        if (ids[i] >= 0 && ids[i] < t->base.size) ry_text_add(out, c, utf8_put(c, t->cp[ids[i]]));
    }
}

static ry_status chars_write(const ry_tokenizer *base, ry_json *root) {
    const chars_tokenizer *t = (const chars_tokenizer *)base;
    ry_json *vocab = ry_json_new_object(), *decoder = ry_json_new_object();
    ry_status st = ry_json_put(decoder, "type", ry_json_new_text("Fuse"));
    for (int32_t id = 0; id < t->base.size && st == RY_OK; id++) {
        char c[5];
        c[utf8_put(c, t->cp[id])] = 0;
        st = ry_json_put(vocab, c, ry_json_new_int(id));
    }
    if (st == RY_OK) st = ry_json_put(root, "pre_tokenizer", ry_json_new_null());
    if (st != RY_OK) {
        ry_json_free(vocab);
        ry_json_free(decoder);
        return st;
    }
    st = ry_json_put(root, "decoder", decoder);
    if (st != RY_OK) {
        ry_json_free(vocab);
        return st;
    }
    return tok_put_plain_model(root, vocab);
}

const tok_kind tok_chars = {
    .name = "chars",
    .read = chars_read,
    .close = chars_close,
    .room = chars_room,
    .encode = chars_encode,
    .decode = chars_decode,
    .write = chars_write,
};
