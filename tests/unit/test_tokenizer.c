/* test_tokenizer.c - bytes and characters: ids, text again, the saved tokenizer.json; files that are refused, by field. */
#include "io/tokenizer/tok.h"
#include "io/utf8.h"
#include "unit/io_help.h"

static void ids_are(const ry_tokenizer *t, const char *text, size_t n, const int32_t *want, size_t n_want) {
    int32_t *ids;
    size_t n_ids;
    assert_ok(ry_encode(t, text, n, true, &ids, &n_ids));
    assert_int_equal(n_ids, n_want);
    if (n_want) assert_memory_equal(ids, want, n_want * sizeof *want);
    ry_free(ids);
}

static void text_is(const ry_tokenizer *t, const int32_t *ids, size_t n, bool raw, const char *want, size_t n_want) {
    char *text;
    size_t n_text;
    assert_ok(ry_decode(t, ids, n, true, raw, &text, &n_text));
    assert_int_equal(n_text, n_want);
    assert_memory_equal(text, want, n_want + 1); /* 0-terminated */
    ry_free(text);
}

static void utf8(void **state) {
    (void)state;
    int32_t cp;
    for (int32_t c = 0; c < 0x110000; c++) { /* all code points there and back; surrogates are none */
        char s[4];
        if (c >= 0xD800 && c < 0xE000) continue;
        size_t n = utf8_put(s, c);
        assert_int_equal(utf8_next(s, n, &cp), n);
        assert_int_equal(cp, c);
        assert_int_equal(utf8_next(s, n - (n > 1), &cp), n > 1 ? n - 1 : 1);
        assert_int_equal(cp, n > 1 ? -1 : c);
    }
    static const struct {
        const char *s;
        size_t n;
    } bad[] = {{"\x80", 1},         {"\xC0\x80", 1},         {"\xC1\xBF", 1},         {"\xE0\x9F\x80", 1},
               {"\xED\xA0\x80", 1}, {"\xF0\x8F\x80\x80", 1}, {"\xF4\x90\x80\x80", 1}, {"\xF5\x80\x80\x80", 1},
               {"\xFF", 1},         {"\xE2\x82\x41", 2},     {"\xF0\x9F\x98\x41", 3}, {"\xE2\x41", 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(utf8_next(bad[i].s, strlen(bad[i].s), &cp), bad[i].n);
        assert_int_equal(cp, -1);
    }
    assert_int_equal(utf8_valid("ab\xC3\xA9\xFFz", 6), 4);
}

static void check_bytes(const ry_tokenizer *t) {
    char all[256];
    int32_t want[256];
    for (int b = 0; b < 256; b++) all[b] = (char)(unsigned char)b, want[b] = b;
    assert_int_equal(ry_tokenizer_size(t), 256);
    ids_are(t, all, 256, want, 256);
    ids_are(t, NULL, 0, NULL, 0);
    all[128] = 0;
    text_is(t, want, 128, false, all, 128);
    all[128] = (char)128;
    char *text;
    size_t n;
    assert_ok(ry_decode(t, want, 256, true, true, &text, &n));
    assert_int_equal(n, 256);
    assert_memory_equal(text, all, 256);
    ry_free(text);
    /* one U+FFFD for each piece that cannot be: a lone lead, a cut character of 3, and then a good one */
    text_is(t, (int32_t[]){'a', 0xE2, 0x82, 'b', 0xFF, 0xF0, 0x9F, 0x98, 0xC3, 0xA9}, 10, false,
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA9",
            13);
    text_is(t, (int32_t[]){'a', -1, 256, 1000, 'b'}, 5, false, "ab", 2);
    text_is(t, NULL, 0, false, "", 0);
}

static void bytes(void **state) {
    (void)state;
    ry_tokenizer *t, *back;
    assert_ok(ry_tokenizer_bytes(&t));
    check_bytes(t);
    fresh_folder("tmp_tok");
    assert_ok(ry_tokenizer_save(t, "tmp_tok/deep/er"));
    assert_ok(ry_tokenizer_open(&back, "tmp_tok/deep/er"));
    check_bytes(back);
    ry_tokenizer_close(back);
    assert_ok(ry_tokenizer_open(&back, "tmp_tok/deep/er/tokenizer.json"));
    ry_tokenizer_close(back);
    assert_int_equal(os_kind("tmp_tok/deep/er/tokenizer_config.json"), OS_FILE);
    ry_tokenizer_close(t);
    ry_tokenizer_close(NULL);
    assert_ok(os_remove_tree("tmp_tok"));
}

/* "a b\n", e acute, a CJK sign, an emoji: sorted by code point */
static const char sample[] = "b a\xF0\x9F\x98\x80\n\xE6\xBC\xA2\xC3\xA9 a";

static void check_chars(const ry_tokenizer *t) {
    assert_int_equal(ry_tokenizer_size(t), 7);
    static const int32_t want[] = {3, 1, 2, 6, 0, 5, 4, 1, 2};
    ids_are(t, sample, sizeof sample - 1, want, 9);
    text_is(t, want, 9, false, sample, sizeof sample - 1);
    text_is(t, (int32_t[]){-1, 7, 2}, 3, false, "a", 1);
}

static void chars(void **state) {
    (void)state;
    ry_tokenizer *t, *back;
    int32_t *ids;
    size_t n;
    assert_ok(ry_tokenizer_chars(&t, sample, sizeof sample - 1));
    check_chars(t);
    assert_is(RY_EARG, ry_encode(t, "abZ", 3, true, &ids, &n));
    assert_says("U+005A at byte 2", "vocabulary of 7");
    assert_is(RY_EARG, ry_encode(t, "a\xC3", 2, true, &ids, &n));
    assert_says("UTF-8 at byte 1");
    fresh_folder("tmp_tok");
    assert_ok(ry_tokenizer_save(t, "tmp_tok"));
    assert_ok(ry_tokenizer_open(&back, "tmp_tok"));
    check_chars(back);
    ids_are(back, "aZb", 3, (int32_t[]){2, 3}, 2); /* as Hugging Face's: left out */
    ry_tokenizer_close(back);
    ry_tokenizer_close(t);
    assert_is(RY_EARG, ry_tokenizer_chars(&t, "", 0));
    assert_is(RY_EARG, ry_tokenizer_chars(&t, "a\xFF", 2));
    assert_says("byte 1", "bytes tokenizer");
    assert_ok(ry_tokenizer_chars(&t, "a\0b", 3));
    ids_are(t, "b\0", 2, (int32_t[]){2, 0}, 2);
    ry_tokenizer_close(t);
    assert_ok(os_remove_tree("tmp_tok"));
}

#define CHARS_JSON(vocab) \
    "{\"pre_tokenizer\":null,\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":" vocab ",\"merges\":[]}}"

static void reads(const char *json, ry_status want, const char *word) {
    ry_tokenizer *t = NULL;
    size_t held = ry_mem_live();
    assert_is(want, tok_open_json(&t, json, strlen(json), "tokenizer.json"));
    if (want != RY_OK) assert_says("tokenizer.json", word);
    ry_tokenizer_close(t);
    assert_int_equal(ry_mem_live(), held);
}

static void other_files(void **state) {
    (void)state;
    reads(CHARS_JSON("{\"a\":1,\"\\u00e9\":0}"), RY_OK, "");
    reads(CHARS_JSON("{\"a\":1,\"\\u0000\":0}"), RY_OK, "");
    reads(CHARS_JSON("{\"ab\":0}"), RY_OK, "");
    reads(CHARS_JSON("{}"), RY_OK, "");
    reads(CHARS_JSON("{\"a\":1,\"b\":1}"), RY_EFORMAT, "model.vocab: \"a\" and \"b\" have the same id 1");
    reads(CHARS_JSON("{\"a\":-1}"), RY_EFORMAT, "an id must be an integer from 0");
    reads(CHARS_JSON("{\"a\":0.5}"), RY_EFORMAT, "an id must be an integer from 0");
    reads(CHARS_JSON("{\"a\":2147483647}"), RY_EFORMAT, "from 0 to");
    reads(CHARS_JSON("{\"a\":0,\"a\":1}"), RY_EFORMAT, "twice");
    reads("{\"model\":{\"type\":\"BPE\",\"vocab\":[[\"a\", 0]]}}", RY_EFORMAT, "model.vocab must be an object");
    reads(CHARS_JSON("{\"a\""), RY_EFORMAT, ":");
    reads("{}", RY_EFORMAT, "model is missing");
    reads("[]", RY_EFORMAT, "object");
    reads("{\"model\":7}", RY_EFORMAT, "model is missing");
    reads("{\"model\":{\"type\":\"Hash\",\"vocab\":{}}}", RY_EUNSUPPORTED, "model.type is \"Hash\"");
    reads("{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", RY_EFORMAT, "model.vocab must be");
    reads("{\"model\":{\"vocab\":{},\"vocab\":{},\"merges\":[]}}", RY_EFORMAT, "twice");
    static const struct {
        const char *merges, *word;
    } merges[] = {{"[[\"a\",\"a\"]]", "model.merges[0]: \"aa\" is not in model.vocab"},
                  {"[\"a b\"]", "\"b\" is not in model.vocab"},
                  {"[\"a\"]", "two texts"},
                  {"[\"a a a\"]", "two texts"},
                  {"[[\"a\"]]", "two texts"},
                  {"[[]]", "two texts"},
                  {"[[\"a\",\"a\",\"a\"]]", "two texts"},
                  {"[1]", "a string"}};
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        char json[256];
        snprintf(json, sizeof json, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":%s}}", merges[i].merges);
        reads(json, RY_EFORMAT, merges[i].word);
    }
#define WITH(field) "{" field ",\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"
    static const struct {
        const char *json;
        ry_status want;
        const char *word;
    } fields[] = {
        {WITH("\"normalizer\":{\"type\":\"Rot13\"}"), RY_EUNSUPPORTED, "normalizer.type is \"Rot13\""},
        {WITH("\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"x\"}]}"), RY_EUNSUPPORTED, "normalizer.normalizers[1].type"},
        {WITH("\"normalizer\":7"), RY_EFORMAT, "normalizer must be"},
        {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{},\"content\":\"\"}"), RY_EFORMAT, "normalizer.pattern"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Sequence\"}"), RY_EFORMAT, "pretokenizers must be a list"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}"), RY_EUNSUPPORTED, "regular expression"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Odd\"}"), RY_EFORMAT, "behavior"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"), RY_EFORMAT, "pre_tokenizer.replacement must be one character"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}],\"pair\":[]}"), RY_EFORMAT, "lacks \"x\""},
        {WITH("\"post_processor\":{\"type\":\"Odd\"}"), RY_EUNSUPPORTED, "post_processor.type"},
        {WITH("\"decoder\":{\"type\":\"Odd\"}"), RY_EUNSUPPORTED, "decoder.type"},
        {WITH("\"added_tokens\":[{\"content\":1}]"), RY_EFORMAT, "added_tokens[0].content"},
        {WITH("\"added_tokens\":[{\"content\":\"b\",\"special\":1}]"), RY_EFORMAT, "added_tokens[0].special"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) reads(fields[i].json, fields[i].want, fields[i].word);
    ry_tokenizer *t;
    assert_is(RY_ENOENT, ry_tokenizer_open(&t, "nowhere/tokenizer.json"));
}

static ry_status save_and_open(void *ud) {
    ry_tokenizer *t = NULL, *back = NULL;
    ry_status st = ud ? ry_tokenizer_chars(&t, ud, strlen(ud)) : ry_tokenizer_bytes(&t);
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n = 0;
    if (st == RY_OK) st = ry_tokenizer_save(t, "tmp_tok");
    if (st == RY_OK) st = ry_tokenizer_open(&back, "tmp_tok");
    if (st == RY_OK) st = ry_encode(back, sample, sizeof sample - 1, false, &ids, &n);
    if (st == RY_OK) st = ry_decode(back, ids, n - 1, false, false, &text, &n);
    ry_free(ids);
    ry_free(text);
    ry_tokenizer_close(t);
    ry_tokenizer_close(back);
    return st;
}

/* Too many allocations in a vocabulary of 256 to fail each: the reader's are the same ones 256 times. */
static void allocations(void **state) {
    (void)state;
    fresh_folder("tmp_tok");
    char text[sizeof sample];
    memcpy(text, sample, sizeof sample);
    sweep_allocations(save_and_open, text);
    for (long n = 1; n < 4000; n = n < 40 ? n + 1 : n + 37) {
        failing f = {.refuse = n};
        size_t held = ry_mem_live();
        ry_alloc_set(failing_alloc, &f);
        ry_status st = save_and_open(NULL);
        ry_alloc_set(NULL, NULL);
        assert_int_equal(ry_mem_live(), held);
        assert_is(f.refused ? RY_ENOMEM : RY_OK, st);
    }
    assert_ok(os_remove_tree("tmp_tok"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8),        cmocka_unit_test(bytes),       cmocka_unit_test(chars),
        cmocka_unit_test(other_files), cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
