/* test_tokenizer_files.c - tokenizers in other formats than tokenizer.json against ids that others computed: SentencePiece models, tiktoken
 * files, GGUF metadata; and what is written into GGUF metadata, read again. Whatever folders are there are walked. */
#include "io/gguf_write.h"
#include "io/tokenizer/gguf_vocab.h"
#include "golden/folder.h"
#include "unit/cm.h"

enum { SHOWN = 5 };

typedef struct count {
    const char *name;
    int texts, wrong;
} count;

static void shown(count *c, size_t i, const char *what, const char *text) {
    if (c->wrong++ < SHOWN) print_error("%s, text %zu: %s differs: %.60s\n", c->name, i, what, text);
}

/* ids: a list, or the text of one. */
static bool same_ids(const ry_json *ids, const int32_t *got, size_t n) {
    ry_json *own = NULL;
    const char *text = ry_json_as_text(ids, NULL);
    if (text && ry_json_parse(&own, text, strlen(text), "ids", 0) == RY_OK) ids = own;
    bool same = ry_json_count(ids) == n;
    for (size_t i = 0; i < n && same; i++) {
        int64_t id;
        same = ry_json_as_int(ry_json_at(ids, i), &id) && id == got[i];
    }
    ry_json_free(own);
    return same;
}

static void check_text(count *c, const ry_tokenizer *t, size_t i, const char *text, size_t n, bool special, const ry_json *ids, const ry_json *decoded) {
    int32_t *got;
    size_t n_got, n_back, n_want = n;
    char *back;
    c->texts++;
    assert_ok(ry_encode(t, text, n, special, &got, &n_got));
    if (!same_ids(ids, got, n_got)) shown(c, i, "ids", text);
    if (decoded) {
        const char *want = ry_json_as_text(decoded, &n_want);
        if (!want) want = text, n_want = n;
        assert_ok(ry_decode(t, got, n_got, true, false, &back, &n_back));
        if (n_back != n_want || memcmp(back, want, n_want)) shown(c, i, "text", back);
        ry_free(back);
    }
    ry_free(got);
}

static void check_done(const count *c) {
    print_message("%s: %d texts, %d wrong\n", c->name, c->texts, c->wrong);
    assert_int_equal(c->wrong, 0);
}

/* Each text of a list, a string or {"text": ...}; decoded may be NULL, or hold null for "the text itself". */
static void check_list(const char *name, const ry_tokenizer *t, const ry_json *texts, bool special, const ry_json *ids, const ry_json *decoded) {
    count c = {name, 0, 0};
    assert_true(ry_json_count(ids) > 0 && ry_json_count(ids) <= ry_json_count(texts));
    for (size_t i = 0; i < ry_json_count(ids); i++) {
        size_t n;
        const ry_json *j = ry_json_at(texts, i);
        const char *text = ry_json_as_text(ry_json_find(j, "text") ? ry_json_find(j, "text") : j, &n);
        assert_non_null(text);
        check_text(&c, t, i, text, n, special, ry_json_at(ids, i), decoded ? ry_json_at(decoded, i) : NULL);
    }
    check_done(&c);
}

static ry_json *json_of(const char *folder, const char *name) {
    ry_json *j = NULL;
    char *path = os_join(folder, name);
    if (os_kind(path) == OS_FILE) assert_ok(ry_json_read(&j, path, 0));
    ry_mem_free(path);
    return j;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

/* ---- hf/tokenizers/NAME: tokenizer.model, ref.json; ids by sentencepiece ---- */
static bool spm_folder(void *ud, const char *name) {
    char *folder = os_join(ud, name), *path = os_join(folder, "tokenizer.model");
    ry_json *texts = json_of(ud, "strings.json"), *ref = json_of(folder, "ref.json");
    ry_tokenizer *t;
    if (os_kind(path) == OS_FILE && texts && ref) {
        assert_ok(ry_tokenizer_open(&t, path));
        check_list(path, t, texts, true, ry_json_find(ref, "ids"), ry_json_find(ref, "decoded"));
        ry_tokenizer_close(t);
    }
    ry_json_free(texts);
    ry_json_free(ref);
    ry_mem_free(path);
    ry_mem_free(folder);
    return true;
}

static void spm_models(void **state) {
    (void)state;
    char root[512];
    if (test_data(root, sizeof root, "hf/tokenizers")) assert_ok(os_list(root, spm_folder, root));
}

/* ---- tokenizers/reference_ids/NAME: texts.json; TOOL.json says for which files its ids are ---- */
/* A file of `names` ("a.model, b.gguf") that is there and is no tokenizer.json. */
static char *reference_file(const char *root, const char *names) {
    while (*names) {
        size_t n = strcspn(names, ",");
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)n, names);
        char *path = os_join(root, name);
        if (os_kind(path) == OS_FILE && !ends_with(name, ".json") && !ends_with(name, ".gguf")) return path;
        ry_mem_free(path);
        names += n + strspn(names + n, ", ");
    }
    return NULL;
}

typedef struct reference_folder {
    const char *root;
    char *folder;
    ry_json *texts;
} reference_folder;

static bool reference_ids(void *ud, const char *name) {
    reference_folder *r = ud;
    ry_json *ref = json_of(r->folder, name);
    const char *names = ry_json_as_text(ry_json_path(ref, "tokenizer"), NULL);
    char *path = names ? reference_file(r->root, names) : NULL;
    ry_tokenizer *t;
    if (path) {
        assert_ok(ry_tokenizer_open(&t, path));
        check_list(path, t, r->texts, false, ry_json_find(ref, "ids"), NULL);
        ry_tokenizer_close(t);
    }
    ry_mem_free(path);
    ry_json_free(ref);
    return true;
}

static bool reference_part(void *ud, const char *name) {
    char *ids = os_join(ud, "reference_ids");
    reference_folder r = {ud, os_join(ids, name), NULL};
    if ((r.texts = json_of(r.folder, "texts.json"))) assert_ok(os_list(r.folder, reference_ids, &r));
    ry_json_free(r.texts);
    ry_mem_free(r.folder);
    ry_mem_free(ids);
    return true;
}

static void published(void **state) {
    (void)state;
    char root[512], ids[560];
    if (!test_data(root, sizeof root, "tokenizers") || !test_data(ids, sizeof ids, "tokenizers/reference_ids")) return;
    assert_ok(os_list(ids, reference_part, root));
}

/* ---- GGUF: what is written and read again gives the same ids ---- */
static void write_and_read(const ry_tokenizer *t, ry_tokenizer **back) {
    gguf_meta m = {0};
    gguf_file *f;
    gguf_put_text(&m, "general.architecture", "llama", 5);
    assert_ok(tok_put_gguf(&m, t, ry_tokenizer_size(t) + 3, NULL));
    assert_ok(gguf_write("written.gguf", &m, 0, NULL, NULL, NULL));
    gguf_meta_free(&m);
    assert_ok(gguf_open(&f, "written.gguf"));
    assert_ok(tok_open_gguf(back, f));
    gguf_close(f);
}

/* tokenizers/llama.cpp-vocab/NAME.gguf, with texts in NAME.gguf.inp and a line of ids for each in NAME.gguf.out */
static bool vocab_gguf(void *ud, const char *name) {
    static const char cut[] = "\n__ggml_vocab_test__\n";
    char *path = os_join(ud, name), in_path[600], out_path[600], *in, *out, *line;
    size_t n_in, n_out;
    snprintf(in_path, sizeof in_path, "%s.inp", path);
    snprintf(out_path, sizeof out_path, "%s.out", path);
    if (ends_with(name, ".gguf") && os_kind(in_path) == OS_FILE && os_kind(out_path) == OS_FILE) {
        ry_tokenizer *t, *back;
        count c = {name, 0, 0};
        assert_ok(ry_tokenizer_open(&t, path));
        write_and_read(t, &back);
        assert_ok(os_file_read(in_path, &in, &n_in));
        assert_ok(os_file_read(out_path, &out, &n_out));
        line = out;
        for (char *s = in, *end; s && line < out + n_out; s = end ? end + strlen(cut) : NULL) {
            ry_text ids = {0};
            if ((end = strstr(s, cut))) *end = 0;
            size_t len = strcspn(line, "\n");
            ry_text_puts(&ids, "[");
            for (size_t i = 0; i < len; i++) { /* " 1 2 3" */
                bool digit = line[i] >= '0' && line[i] <= '9';
                if (digit && i && line[i - 1] == ' ' && ids.n > 1) ry_text_puts(&ids, ",");
                if (digit) ry_text_add(&ids, line + i, 1);
            }
            ry_text_puts(&ids, "]");
            ry_json *j = ry_json_new_text(ids.at);
            check_text(&c, t, (size_t)c.texts, s, strlen(s), false, j, NULL);
            check_text(&c, back, (size_t)c.texts, s, strlen(s), false, j, NULL);
            ry_json_free(j);
            ry_text_free(&ids);
            line += len + (line[len] == '\n');
        }
        check_done(&c);
        ry_mem_free(in);
        ry_mem_free(out);
        ry_tokenizer_close(t);
        ry_tokenizer_close(back);
    }
    ry_mem_free(path);
    return true;
}

static void vocab_files(void **state) {
    (void)state;
    char root[512];
    if (test_data(root, sizeof root, "tokenizers/llama.cpp-vocab")) assert_ok(os_list(root, vocab_gguf, root));
}

/* hf/gguf/NAME: tokenizer_ref.json holds Hugging Face's ids of hf/tokenizers/strings.json; any model's file has the tokenizer */
typedef struct model_folder {
    const char *root;
    char *folder;
    ry_json *ref, *texts;
    bool done;
} model_folder;

static bool model_gguf(void *ud, const char *name) {
    model_folder *m = ud;
    char *path = os_join(m->folder, name);
    ry_tokenizer *t, *back;
    if (ends_with(name, ".gguf") && !ends_with(name, ".lora.gguf")) {
        assert_ok(ry_tokenizer_open(&t, path));
        check_list(path, t, m->texts, true, ry_json_find(m->ref, "ids"), NULL);
        write_and_read(t, &back);
        check_list("written again", back, m->texts, true, ry_json_find(m->ref, "ids"), NULL);
        ry_tokenizer_close(back);
        ry_tokenizer_close(t);
        m->done = true;
    }
    ry_mem_free(path);
    return !m->done;
}

static bool model_gguf_folder(void *ud, const char *name) {
    char *root = os_join(ud, "gguf"), *strings = os_join(ud, "tokenizers");
    model_folder m = {.root = ud, .folder = os_join(root, name)};
    m.ref = json_of(m.folder, "tokenizer_ref.json");
    m.texts = json_of(strings, "strings.json");
    if (m.ref && m.texts) assert_ok(os_list(m.folder, model_gguf, &m));
    ry_json_free(m.ref);
    ry_json_free(m.texts);
    ry_mem_free(m.folder);
    ry_mem_free(strings);
    ry_mem_free(root);
    return true;
}

static void model_files(void **state) {
    (void)state;
    char root[512], folder[512];
    if (test_data(root, sizeof root, "hf") && test_data(folder, sizeof folder, "hf/gguf")) assert_ok(os_list(folder, model_gguf_folder, root));
}

/* hf/tokenizers/NAME/tokenizer.json: what GGUF can say of it is written and read again */
static bool export_folder(void *ud, const char *name) {
    char *folder = os_join(ud, name), *path = os_join(folder, "tokenizer.json");
    ry_json *texts = json_of(ud, "strings.json");
    ry_tokenizer *t, *back;
    if (os_kind(path) == OS_FILE && texts) {
        gguf_meta m = {0};
        assert_ok(ry_tokenizer_open(&t, folder));
        ry_status st = tok_put_gguf(&m, t, 0, NULL);
        gguf_meta_free(&m);
        if (st == RY_EUNSUPPORTED) print_message("%s: %s\n", name, ry_message());
        else assert_ok(st);
        count c = {name, 0, 0};
        if (st == RY_OK) write_and_read(t, &back);
        for (size_t i = 0; i < ry_json_count(texts) && st == RY_OK; i++) {
            size_t n, n_a, n_b;
            int32_t *a, *b;
            const char *text = ry_json_as_text(ry_json_at(texts, i), &n);
            assert_ok(ry_encode(t, text, n, true, &a, &n_a));
            assert_ok(ry_encode(back, text, n, true, &b, &n_b));
            c.texts++;
            if (n_a != n_b || memcmp(a, b, n_a * sizeof *a)) c.wrong++;
            ry_free(a);
            ry_free(b);
        }
        print_message("%s: %d of %d texts differ after export\n", name, c.wrong, c.texts);
        if (st == RY_OK) ry_tokenizer_close(back);
        ry_tokenizer_close(t);
    }
    ry_json_free(texts);
    ry_mem_free(path);
    ry_mem_free(folder);
    return true;
}

static void exported(void **state) {
    (void)state;
    char root[512];
    if (test_data(root, sizeof root, "hf/tokenizers")) assert_ok(os_list(root, export_folder, root));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(spm_models), cmocka_unit_test(published), cmocka_unit_test(vocab_files),
                                       cmocka_unit_test(model_files), cmocka_unit_test(exported)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
