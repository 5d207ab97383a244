/* test_tokenizers.c - ids, texts, spans and pairs of tokenizer.json files against what Hugging Face's library gave, for every text. */
#include "golden/folder.h"
#include "io/utf8.h"
#include "unit/cm.h"

static ry_json *texts; /* of the folder: strings.json */
static int folders;

static const char *text_of(size_t i, size_t *n) { return ry_json_as_text(ry_json_at(texts, i), n); }

static void same_ids(const char *name, size_t i, const ry_json *want, const int32_t *ids, size_t n) {
    if (ry_json_count(want) != n) fail_msg("%s, text %zu: %zu ids instead of %zu", name, i, n, ry_json_count(want));
    for (size_t k = 0; k < n; k++) {
        int64_t id = -1;
        ry_json_as_int(ry_json_at(want, k), &id);
        if (id != ids[k]) fail_msg("%s, text %zu: id %zu is %d instead of %lld", name, i, k, (int)ids[k], (long long)id);
    }
}

/* null stands for the text itself */
static void same_text(const char *name, size_t i, const ry_json *want, const char *got, size_t n) {
    size_t n_want;
    const char *s = ry_json_as_text(want, &n_want);
    if (!s) s = text_of(i, &n_want);
    if (n != n_want || memcmp(s, got, n)) fail_msg("%s, text %zu: \"%s\" instead of \"%s\"", name, i, got, s);
}

static void decoded(const ry_tokenizer *t, const char *name, size_t i, const int32_t *ids, size_t n, bool skip, const ry_json *want) {
    char *text;
    const char *part;
    size_t n_text, n_part;
    ry_text all = {0};
    ry_decoder *d;
    if (ry_json_kind_of(want) == RY_JSON_NONE) return;
    assert_ok(ry_decode(t, ids, n, skip, false, &text, &n_text));
    same_text(name, i, want, text, n_text);
    assert_ok(ry_decoder_open(&d, t, skip)); /* id by id: the same, and characters are whole */
    for (size_t k = 0; k <= n; k++) {
        assert_ok(k < n ? ry_decoder_next(d, ids[k], &part, &n_part) : ry_decoder_end(d, &part, &n_part));
        assert_int_equal(utf8_valid(part, n_part), n_part);
        ry_text_add(&all, part, n_part);
    }
    ry_text_add(&all, "", 0);
    same_text(name, i, want, all.at, all.n);
    ry_decoder_close(d);
    ry_text_free(&all);
    ry_free(text);
}

static void one_text(const ry_tokenizer *t, const char *name, size_t i, const ry_json *ref) {
    size_t n, n_ids, n_spans;
    const char *s = text_of(i, &n);
    int32_t *ids, *again;
    ry_span *spans;
    const ry_json *with = ry_json_at(ry_json_find(ref, "ids"), i), *without = ry_json_at(ry_json_find(ref, "ids_no_special"), i);
    bool plain = !ry_json_find(ref, "ids_no_special"); /* SentencePiece's own: ids without special tokens are all there is */
    if (!s || !with) return;
    if (ry_json_kind_of(without) != RY_JSON_ARRAY) without = with;
    if (!plain) {
        assert_ok(ry_encode(t, s, n, true, &ids, &n_ids));
        same_ids(name, i, with, ids, n_ids);
        ry_free(ids);
    }
    assert_ok(ry_encode(t, s, n, false, &ids, &n_ids));
    same_ids(name, i, without, ids, n_ids);
    assert_ok(ry_encode_spans(t, s, n, false, &again, &spans, &n_spans));
    same_ids(name, i, without, again, n_spans);
    for (size_t k = 0; k < n_spans; k++) assert_true(spans[k].begin <= spans[k].end && spans[k].end <= n);
    decoded(t, name, i, ids, n_ids, true, ry_json_at(ry_json_find(ref, plain ? "decoded" : "decoded_skip"), i));
    decoded(t, name, i, ids, n_ids, false, ry_json_at(ry_json_find(ref, "decoded_keep"), i));
    ry_free(ids);
    ry_free(again);
    ry_free(spans);
}

static void pairs(const ry_tokenizer *t, const char *name, const ry_json *list) {
    for (size_t i = 0; i < ry_json_count(list); i++) {
        const ry_json *p = ry_json_at(list, i);
        size_t n_a, n_b, n;
        const char *a = ry_json_as_text(ry_json_find(p, "a"), &n_a), *b = ry_json_as_text(ry_json_find(p, "b"), &n_b);
        int32_t *ids, *types;
        assert_ok(ry_encode_pair(t, a, n_a, b, n_b, true, &ids, &types, &n));
        same_ids(name, i, ry_json_find(p, "ids"), ids, n);
        same_ids(name, i, ry_json_find(p, "type_ids"), types, n);
        ry_free(ids);
        ry_free(types);
    }
}

static bool folder(void *ud, const char *name) {
    char path[1024], file[1100];
    ry_tokenizer *t, *back;
    ry_json *ref;
    snprintf(path, sizeof path, "%s/%s", (const char *)ud, name);
    snprintf(file, sizeof file, "%s/ref.json", path);
    if (os_kind(path) != OS_FOLDER) return true;
    if (os_kind(file) != OS_FILE) {
        os_list(path, folder, path); /* published/ and the like */
        return true;
    }
    assert_ok(ry_json_read(&ref, file, 0));
    if (ry_tokenizer_open(&t, path) != RY_OK) { /* published ones are not delivered */
        snprintf(file, sizeof file, "%s/tokenizer.json", path);
        if (os_kind(file) == OS_FILE) fail_msg("%s", ry_message());
        fprintf(stderr, "%s: no tokenizer here\n", name);
        ry_json_free(ref);
        return true;
    }
    assert_ok(ry_tokenizer_save(t, "tmp_tokenizers"));
    assert_ok(ry_tokenizer_open(&back, "tmp_tokenizers"));
    for (size_t i = 0; i < ry_json_count(texts); i++) {
        one_text(t, name, i, ref);
        one_text(back, name, i, ref);
    }
    pairs(t, name, ry_json_path(ref, "meta.pairs"));
    pairs(back, name, ry_json_path(ref, "meta.pairs"));
    ry_tokenizer_close(back);
    ry_tokenizer_close(t);
    ry_json_free(ref);
    folders++;
    return true;
}

static void all_folders(void **state) {
    (void)state;
    char root[1024], file[1100];
    if (!test_data(root, sizeof root, "hf/tokenizers")) skip();
    snprintf(file, sizeof file, "%s/strings.json", root);
    assert_ok(ry_json_read(&texts, file, 0));
    os_list(root, folder, root);
    ry_json_free(texts);
    assert_ok(os_remove_tree("tmp_tokenizers"));
    fprintf(stderr, "%d tokenizers\n", folders);
    assert_true(folders > 0);
    assert_int_equal(ry_mem_live(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_folders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
