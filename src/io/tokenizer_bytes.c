/* tokenizer_bytes.c - the tokenizer whose id is the byte.  Owns nothing.
 *
 * In tokenizer.json it is a byte-level BPE without merges: each byte stands in the vocabulary as the character that GPT-2's
 * encoder gives it (github.com/openai/gpt-2, src/encoder.py: printable bytes are themselves, the others follow from U+0100). */
#include "io/tokenizer.h"
#include "base/mem.h"
#include "io/utf8.h"

static bool bytes_printable(int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; }

/* The 0-terminated UTF-8 of each byte's character. */
static void bytes_names(char name[256][5]) {
    int32_t next = 256;
    for (int b = 0; b < 256; b++) name[b][utf8_put(name[b], bytes_printable(b) ? b : next++)] = 0;
}

ry_status ry_tokenizer_bytes(ry_tokenizer **out) {
    ry_tokenizer *t = ry_mem_zalloc(sizeof *t);
    if (!t) return RY_ENOMEM;
    *t = (ry_tokenizer){&tok_bytes, 256};
    *out = t;
    return RY_OK;
}

static ry_status bytes_read(ry_tokenizer **out, const ry_json *root, const char *what) {
    (void)what;
    const ry_json *vocab = tok_plain_vocab(root);
    bool prefix = true; /* ByteLevel's own default */
    if (!vocab || ry_json_count(vocab) != 256 || !tok_has(root, "pre_tokenizer", "ByteLevel") ||
        !tok_has(root, "decoder", "ByteLevel"))
        return RY_OK;
    if (!ry_json_as_bool(ry_json_path(root, "pre_tokenizer.add_prefix_space"), &prefix) || prefix) return RY_OK;
    char name[256][5];
    bytes_names(name);
    for (int b = 0; b < 256; b++) {
        int64_t id;
        if (!ry_json_as_int(ry_json_find(vocab, name[b]), &id) || id != b) return RY_OK;
    }
    return ry_tokenizer_bytes(out);
}

static size_t bytes_room(const ry_tokenizer *t, size_t n) {
    (void)t;
    return n;
}

static ry_status bytes_encode(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t *ids,
                              size_t *n_ids) {
    (void)t, (void)add_special;
    for (size_t i = 0; i < n; i++) ids[i] = (unsigned char)text[i];
    *n_ids = n;
    return RY_OK;
}

static void bytes_decode(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, ry_text *out) {
    (void)t, (void)skip_special;
    for (size_t i = 0; i < n; i++) {
        char c = (char)(unsigned char)ids[i];
        if (ids[i] >= 0 && ids[i] < 256) ry_text_add(out, &c, 1);
    }
}

/* ByteLevel as a pre-tokenizer and as a decoder. use_regex would cut words, which without merges changes nothing but time. */
static ry_json *bytes_level(void) {
    ry_json *j = ry_json_new_object();
    ry_status st = ry_json_put(j, "type", ry_json_new_text("ByteLevel"));
    static const char *const falses[] = {"add_prefix_space", "trim_offsets", "use_regex"};
    for (size_t i = 0; i < 3 && st == RY_OK; i++) st = ry_json_put(j, falses[i], ry_json_new_bool(false));
    if (st == RY_OK) return j;
    ry_json_free(j);
    return NULL;
}

static ry_status bytes_write(const ry_tokenizer *t, ry_json *root) {
    (void)t;
    char name[256][5];
    bytes_names(name);
    RY_TRY(ry_json_put(root, "pre_tokenizer", bytes_level()));
    RY_TRY(ry_json_put(root, "decoder", bytes_level()));
    ry_json *vocab = ry_json_new_object();
    ry_status st = vocab ? RY_OK : RY_ENOMEM;
    for (int b = 0; b < 256 && st == RY_OK; b++) st = ry_json_put(vocab, name[b], ry_json_new_int(b));
    if (st != RY_OK) {
        ry_json_free(vocab);
        return st;
    }
    return tok_put_plain_model(root, vocab);
}

static void bytes_close(ry_tokenizer *t) { ry_mem_free(t); }

const tok_kind tok_bytes = {
    .name = "bytes",
    .read = bytes_read,
    .close = bytes_close,
    .room = bytes_room,
    .encode = bytes_encode,
    .decode = bytes_decode,
    .write = bytes_write,
};
