/* tokenizer.c - the public tokenizer: opening, saving, and what is the same for every kind.  Knows no kind but by its row. */
#include "io/tokenizer.h"
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "io/utf8.h"

static const tok_kind *const tok_kinds[] = {&tok_bytes, &tok_chars};

/* ---- reading ---- */
bool tok_has(const ry_json *root, const char *field, const char *type) {
    const ry_json *j = ry_json_path(root, field);
    if (!type) return !j;
    const char *is = ry_json_as_text(ry_json_find(j, "type"), NULL);
    return is && !strcmp(is, type);
}

const ry_json *tok_plain_vocab(const ry_json *root) {
    const ry_json *model = ry_json_path(root, "model"), *vocab = ry_json_path(model, "vocab"),
                  *merges = ry_json_path(model, "merges");
    static const char *const must_lack[] = {"normalizer", "post_processor", "truncation", "padding"};
    static const char *const model_lacks[] = {"unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                              "dropout"};
    if (!tok_has(root, "model", "BPE") && ry_json_path(model, "type")) return NULL;
    if (ry_json_kind_of(vocab) != RY_JSON_OBJECT || ry_json_kind_of(merges) != RY_JSON_ARRAY || ry_json_count(merges))
        return NULL;
    if (ry_json_count(ry_json_path(root, "added_tokens"))) return NULL;
    for (size_t i = 0; i < 4; i++)
        if (ry_json_path(root, must_lack[i]) || ry_json_path(model, model_lacks[i])) return NULL;
    bool fallback = false;
    return ry_json_as_bool(ry_json_path(model, "byte_fallback"), &fallback) && fallback ? NULL : vocab;
}

static ry_status tok_read(ry_tokenizer **out, const ry_json *root, const char *what) {
    ry_tokenizer *t = NULL;
    RY_TRY(ry_json_need_object(root, what));
    for (size_t i = 0; i < sizeof tok_kinds / sizeof *tok_kinds && !t; i++) RY_TRY(tok_kinds[i]->read(&t, root, what));
    if (t) {
        *out = t;
        return RY_OK;
    }
    const ry_json *model = ry_json_path(root, "model");
    const char *type = ry_json_as_text(ry_json_path(model, "type"), NULL);
    if (!model) RY_FAIL(RY_EFORMAT, "%s: model is missing: not a tokenizer.json", what);
    RY_FAIL(RY_EUNSUPPORTED,
            "%s: a tokenizer of type %s with %zu merges: this version reads only the byte and character tokenizers "
            "that Rusty "
            "saves; give token ids instead (--ids, or data in safetensors)",
            what, type ? type : "unknown", ry_json_count(ry_json_path(model, "merges")));
}

ry_status tok_open_json(ry_tokenizer **out, const char *text, size_t n, const char *what) {
    ry_json *root;
    RY_TRY(ry_json_parse(&root, text, n, what, 0));
    ry_status st = tok_read(out, root, what);
    ry_json_free(root);
    return st;
}

ry_status ry_tokenizer_open(ry_tokenizer **out, const char *path) {
    if (!out || !path) RY_FAIL(RY_EARG, "ry_tokenizer_open: out and path must be given");
    char *text, *in_folder = NULL;
    size_t n, len = strlen(path);
    if (os_kind(path) == OS_FOLDER) {
        if (!(in_folder = os_join(path, "tokenizer.json"))) return RY_ENOMEM;
        path = in_folder;
    } else if (len < 5 || strcmp(path + len - 5, ".json")) {
        RY_FAIL(RY_EUNSUPPORTED, "%s: this version reads tokenizers from a tokenizer.json or the folder that holds one",
                path);
    }
    ry_status st = os_file_read(path, &text, &n);
    if (st == RY_OK) {
        st = tok_open_json(out, text, n, path);
        ry_mem_free(text);
    }
    ry_mem_free(in_folder);
    return st;
}

void ry_tokenizer_close(ry_tokenizer *t) {
    if (t) t->kind->close(t);
}

int64_t ry_tokenizer_size(const ry_tokenizer *t) { return t->size; }

/* ---- using ---- */
ry_status ry_encode(const ry_tokenizer *t, const char *text, size_t n, bool add_special, int32_t **ids, size_t *n_ids) {
    if (!t || !ids || !n_ids || (n && !text))
        RY_FAIL(RY_EARG, "ry_encode: tokenizer, text, ids and n_ids must be given");
    int32_t *p = ry_mem_alloc(ry_mem_size(t->kind->room(t, n), sizeof *p, 0));
    if (!p) return RY_ENOMEM;
    size_t got;
    ry_status st = t->kind->encode(t, text, n, add_special, p, &got);
    if (st != RY_OK) {
        ry_mem_free(p);
        return st;
    }
    *ids = p;
    *n_ids = got;
    return RY_OK;
}

/* Every piece that is not UTF-8 becomes U+FFFD, as in Rust's from_utf8_lossy, which the reference uses. */
static void tok_mend(ry_text *out, const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        size_t good = utf8_valid(s + i, n - i);
        if (good) ry_text_add(out, s + i, good);
        i += good;
        if (i == n) return;
        int32_t cp;
        i += utf8_next(s + i, n - i, &cp);
        ry_text_add(out, "\xEF\xBF\xBD", 3);
    }
}

ry_status ry_decode(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, bool raw, char **text,
                    size_t *n_text) {
    if (!t || !text || (n && !ids)) RY_FAIL(RY_EARG, "ry_decode: tokenizer, ids and text must be given");
    ry_text bytes = {0}, mended = {0};
    t->kind->decode(t, ids, n, skip_special, &bytes);
    ry_text *result = &bytes;
    if (!raw && !bytes.failed && utf8_valid(bytes.at, bytes.n) != bytes.n) {
        tok_mend(&mended, bytes.at, bytes.n);
        result = &mended;
    }
    ry_text_add(result, "", 0); /* so that there is a terminator */
    ry_status st = ry_text_status(result);
    if (st == RY_OK) {
        *text = result->at;
        if (n_text) *n_text = result->n;
        *result = (ry_text){0};
    }
    ry_text_free(&bytes);
    ry_text_free(&mended);
    return st;
}

/* ---- saving ---- */
ry_status tok_put_plain_model(ry_json *root, ry_json *vocab) {
    ry_json *model = ry_json_new_object();
    ry_status st = vocab ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) st = ry_json_put(model, "type", ry_json_new_text("BPE"));
    static const char *const nulls[] = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"};
    static const char *const falses[] = {"fuse_unk", "byte_fallback", "ignore_merges"};
    for (size_t i = 0; i < 4 && st == RY_OK; i++) st = ry_json_put(model, nulls[i], ry_json_new_null());
    for (size_t i = 0; i < 3 && st == RY_OK; i++) st = ry_json_put(model, falses[i], ry_json_new_bool(false));
    if (st != RY_OK) {
        ry_json_free(vocab);
    } else {
        st = ry_json_put(model, "vocab", vocab);
    }
    if (st == RY_OK) st = ry_json_put(model, "merges", ry_json_new_array());
    if (st != RY_OK) {
        ry_json_free(model);
        return st;
    }
    return ry_json_put(root, "model", model);
}

static ry_status tok_write(const ry_tokenizer *t, ry_json *root) {
    RY_TRY(ry_json_put(root, "version", ry_json_new_text("1.0")));
    RY_TRY(ry_json_put(root, "truncation", ry_json_new_null()));
    RY_TRY(ry_json_put(root, "padding", ry_json_new_null()));
    RY_TRY(ry_json_put(root, "added_tokens", ry_json_new_array()));
    RY_TRY(ry_json_put(root, "normalizer", ry_json_new_null()));
    RY_TRY(ry_json_put(root, "post_processor", ry_json_new_null()));
    return t->kind->write(t, root);
}

static ry_status tok_write_config(const ry_tokenizer *t, ry_json *root) {
    (void)t;
    RY_TRY(ry_json_put(root, "tokenizer_class", ry_json_new_text("PreTrainedTokenizerFast")));
    return ry_json_put(root, "clean_up_tokenization_spaces", ry_json_new_bool(false));
}

static ry_status tok_save(const ry_tokenizer *t, const char *folder, const char *name,
                          ry_status (*fill)(const ry_tokenizer *, ry_json *)) {
    ry_json *root = ry_json_new_object();
    char *path = os_join(folder, name);
    ry_status st = root && path ? fill(t, root) : RY_ENOMEM;
    if (st == RY_OK) st = ry_json_save(root, path);
    ry_mem_free(path);
    ry_json_free(root);
    return st;
}

ry_status ry_tokenizer_save(const ry_tokenizer *t, const char *folder) {
    if (!t || !folder) RY_FAIL(RY_EARG, "ry_tokenizer_save: tokenizer and folder must be given");
    RY_TRY(os_mkdirs(folder));
    RY_TRY(tok_save(t, folder, "tokenizer.json", tok_write));
    return tok_save(t, folder, "tokenizer_config.json", tok_write_config);
}
