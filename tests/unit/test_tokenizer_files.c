/* test_tokenizer_files.c - tokenizers of other formats and of our own making: what they give, wrong files, and every allocation failing. */
#include "unit/io_help.h"

#include "io/tokenizer/foreign.h"
#include "io/tokenizer/gguf_vocab.h"
#include "unit/gguf_make.h"
#include "unit/spm_make.h"

static void check(const ry_tokenizer *t, const char *text, size_t n, const int32_t *want) {
    int32_t *ids;
    size_t got;
    assert_ok(ry_encode(t, text, strlen(text), false, &ids, &got));
    if (got != n) print_error("\"%s\": %zu ids, expected %zu\n", text, got, n);
    assert_int_equal(got, n);
    if (n) assert_memory_equal(ids, want, n * sizeof *ids);
    ry_free(ids);
}
#define IDS(t, text, ...) \
    check(t, text, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

static void decodes(const ry_tokenizer *t, const char *want, size_t n, const int32_t *ids) {
    char *text;
    assert_ok(ry_decode(t, ids, n, true, false, &text, NULL));
    assert_string_equal(text, want);
    ry_free(text);
}
#define TEXT(t, want, ...) \
    decodes(t, want, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

/* ids of spm_make.h's pieces: 0 <unk> 1 <s> 2 </s> 3 [X] 4 _a 5 ab 6 bc (unused) 7 abc 8 _ 9 a 10 b 11 c 12 d */
static void spm(ry_tokenizer **t, int i) {
    make_spm m;
    ms_small(&m, i);
    assert_ok(tok_open_sentencepiece(t, m.at, m.n, NULL, "small.model"));
}

static void test_sentencepiece_bpe(void **state) {
    (void)state;
    ry_tokenizer *t;
    spm(&t, 0);
    IDS(t, "a", 4);
    IDS(t, "d  ab ", 8, 12, 4, 10);  /* one space between, none behind */
    IDS(t, "dabc", 8, 12, 7);        /* ab joins first; bc is unused */
    IDS(t, "dbc", 8, 12, 10, 11);    /* bc falls back into its halves */
    IDS(t, "d[X]c", 8, 12, 3, 11);   /* no merge touches a user-defined piece */
    IDS(t, "[X]", 8, 3);
    IDS(t, "<s>", 8, 0);             /* a control piece stands for no text; unknown characters are one */
    IDS(t, "dx\xC3\xA9""d", 8, 12, 0, 12);
    TEXT(t, "a \xE2\x81\x87 b", 4, 0, 10);
    TEXT(t, "d ab", 8, 12, 4, 10);
    ry_tokenizer_close(t);
}

static void test_sentencepiece_others(void **state) {
    (void)state;
    ry_tokenizer *t;
    spm(&t, 1); /* Unigram: scores -1 _a, -2 ab, -4 abc, -5 _, -6 a, -7 b, -8 c, -9 d */
    IDS(t, "dabc", 8, 12, 7);
    IDS(t, "dbc", 8, 12, 10, 11);
    IDS(t, "a[X]bz", 4, 3, 10, 0);
    ry_tokenizer_close(t);
    spm(&t, 2);
    IDS(t, "abc[X]", 8, 9, 10, 11, 3);
    ry_tokenizer_close(t);
    spm(&t, 3); /* bytes from id 4 on; spaces as they are */
    IDS(t, "a  \xC3\xA9", 260, 264, 264, 4 + 0xC3, 4 + 0xA9);
    TEXT(t, "a  \xC3\xA9", 260, 264, 264, 4 + 0xC3, 4 + 0xA9);
    TEXT(t, "\xEF\xBF\xBD" "a", 4 + 0xC3, 265);
    ry_tokenizer_close(t);
}

/* In a model's folder special tokens are found and added; saved and opened again it gives the same. */
static void test_sentencepiece_folder(void **state) {
    (void)state;
    make_spm m;
    ry_tokenizer *t;
    int32_t *ids;
    size_t n;
    ms_small(&m, 0);
    fresh_folder("spm_folder");
    write_file("spm_folder/tokenizer.model", m.at, m.n);
    write_text("spm_folder/tokenizer_config.json", "{\"tokenizer_class\":\"LlamaTokenizer\",\"add_bos_token\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}");
    for (int i = 0; i < 2; i++) {
        assert_ok(ry_tokenizer_open(&t, "spm_folder"));
        assert_ok(ry_encode(t, "a</s>d", 6, true, &ids, &n));
        assert_int_equal(n, 5);
        assert_memory_equal(ids, ((int32_t[]){1, 4, 2, 8, 12}), 20);
        assert_int_equal(ry_token_special(t, RY_EOS), 2);
        ry_free(ids);
        assert_ok(ry_tokenizer_save(t, "spm_folder"));
        ry_tokenizer_close(t);
    }
    assert_ok(ry_tokenizer_open(&t, "spm_folder/tokenizer.model")); /* the file by itself: as sentencepiece */
    IDS(t, "</s>", 8, 0);
    ry_tokenizer_close(t);
}

static void refused(const make_spm *m, size_t n, ry_status st, const char *word) {
    ry_tokenizer *t = NULL;
    assert_is(st, tok_open_sentencepiece(&t, m->at, n, NULL, "bad.model"));
    assert_says("bad.model", word);
    assert_null(t);
}

static void test_sentencepiece_wrong(void **state) {
    (void)state;
    make_spm m;
    ms_small(&m, 0);
    refused(&m, 0, RY_EFORMAT, "no pieces");
    refused(&m, m.n - 3, RY_EFORMAT, "cut off");
    ms_piece(&m, "<other>", 0, 2);
    refused(&m, m.n, RY_EFORMAT, "both of type UNKNOWN");
    ms_small(&m, 0);
    ms_piece(&m, "<0x41>", 0, 6);
    refused(&m, m.n, RY_EFORMAT, "byte_fallback is not set");
    m.n = 0;
    ms_piece(&m, "a", 0, 0);
    refused(&m, m.n, RY_EFORMAT, "UNKNOWN");
    ms_piece(&m, "<unk>", 0, 2);
    ms_specs(&m, 3, false, true, true);
    refused(&m, m.n, RY_EUNSUPPORTED, "WORD");
    ms_small(&m, 3);
    ms_specs(&m, 2, false, true, true);
    refused(&m, m.n, RY_EFORMAT, "byte_fallback is not set");
    ms_small(&m, 0);
    ms_piece(&m, "\xFF", 0, 0);
    refused(&m, m.n, RY_EFORMAT, "UTF-8");
    ms_small(&m, 0);
    ms_piece(&m, "q", (float)1e39, 0);
    refused(&m, m.n, RY_EFORMAT, "finite");
    ms_small(&m, 0);
    ms_piece(&m, "a", 0, 0);
    refused(&m, m.n, RY_EFORMAT, "stands twice");
    ms_small(&m, 0);
    ms_int(&m, 1, 5);
    refused(&m, m.n, RY_EFORMAT, "wire type");
    ms_small(&m, 0);
    make_spm n = {.n = 0};
    ms_text(&n, 2, "\x10\x00\x00\x00" "abcdefgh", 12);
    ms_text(&m, 3, n.at, n.n);
    refused(&m, m.n, RY_EFORMAT, "precompiled_charsmap");
}

/* ---- tiktoken, tekken.json, vocab.json ---- */
static void tiktoken_wrong(const char *text, ry_status st, const char *word) {
    ry_tokenizer *t;
    assert_is(st, tok_open_tiktoken(&t, text, strlen(text), NULL, "x.tiktoken"));
    assert_says("x.tiktoken", word);
}

static void test_tiktoken(void **state) {
    (void)state;
    ry_tokenizer *t;
    fresh_folder("tik");
    write_text("tik/x.tiktoken", "YQ== 0\nYg== 1\nYWI= 2\nIGFi 5\nIA== 3\r\nIGE 4 \n");
    assert_is(RY_EFORMAT, ry_tokenizer_open(&t, "tik"));
    assert_says("x.tiktoken:6");
    write_text("tik/x.tiktoken", "YQ== 0\nYg== 1\nYWI= 2\nIGFi 5\nIA== 3\r\nIGE= 4\n");
    assert_is(RY_EUNSUPPORTED, ry_tokenizer_open(&t, "tik"));
    assert_says("6 ranks", "tokenizer.json");
    write_text("tik/tokenizer_config.json", "{\"tokenizer_class\":\"QWenTokenizer\",\"eos_token\":\"<end>\","
                                            "\"added_tokens_decoder\":{\"6\":{\"content\":\"<end>\",\"special\":true}}}");
    assert_ok(ry_tokenizer_open(&t, "tik"));
    IDS(t, "ab ab<end>b a", 2, 5, 6, 1, 4);
    TEXT(t, "ab b", 2, 6, 3, 1);
    assert_int_equal(ry_token_special(t, RY_EOS), 6);
    ry_tokenizer_close(t);
    write_text("tik/x.tiktoken", "YQ== 0\nYg== 0\n");
    assert_is(RY_EFORMAT, ry_tokenizer_open(&t, "tik"));
    assert_says("x.tiktoken", "same id");
    tiktoken_wrong("YQ== 0\n!!! 1\n", RY_EFORMAT, ":2: not a line");
    tiktoken_wrong("YQ== 99999999999\n", RY_EFORMAT, ":1: not a line");
}

static void test_tekken(void **state) {
    (void)state;
    ry_tokenizer *t;
    static const char good[] = "{\"config\":{\"pattern\":\" ?\\\\p{L}+|\\\\s+\",\"default_vocab_size\":6,\"default_num_special_tokens\":3},\"vocab\":["
                               "{\"rank\":0,\"token_bytes\":\"YQ==\"},{\"rank\":1,\"token_bytes\":\"Yg==\"},{\"rank\":2,\"token_bytes\":\"YWI=\"},"
                               "{\"rank\":3,\"token_bytes\":\"YmI=\"}]}";
    fresh_folder("tek");
    write_text("tek/tekken.json", good);
    assert_ok(ry_tokenizer_open(&t, "tek"));
    IDS(t, "ab</s>bb", 5, 2, 4, 4); /* the fourth word is beyond the vocabulary */
    assert_int_equal(ry_tokenizer_size(t), 6);
    ry_tokenizer_close(t);
    write_text("tek/tekken.json", "{\"config\":{\"pattern\":\"a\",\"default_vocab_size\":2,\"default_num_special_tokens\":3},\"vocab\":[]}");
    assert_is(RY_EFORMAT, ry_tokenizer_open(&t, "tek"));
    assert_says("default_num_special_tokens");
}

static void test_vocab_and_merges(void **state) {
    (void)state;
    ry_tokenizer *t;
    fresh_folder("pair");
    assert_is(RY_ENOENT, ry_tokenizer_open(&t, "pair"));
    assert_says("pair", "no tokenizer");
    write_text("pair/vocab.json", "{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"<|endoftext|>\":4}");
    write_text("pair/merges.txt", "#version: 0.2\na b\n");
    assert_ok(ry_tokenizer_open(&t, "pair"));
    IDS(t, "ab a<|endoftext|>", 2, 3, 0, 4);
    ry_tokenizer_close(t);
    write_text("pair/merges.txt", "a b\nab\n");
    assert_is(RY_EFORMAT, ry_tokenizer_open(&t, "pair"));
    assert_says("merges.txt:2");
}

/* ---- GGUF ---- */
static void gguf_small(make_gguf *m, const char *model, const char *pre, bool scores) {
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a", "b", "ab", "[X]"};
    static const int types[] = {2, 3, 3, 1, 1, 1, 4};
    mk_head(m, 3, 0, 6);
    mk_string(m, "tokenizer.ggml.model", model);
    mk_string(m, "tokenizer.ggml.pre", pre);
    mk_key(m, "tokenizer.ggml.tokens", GGUF_ARRAY);
    mk_int(m, GGUF_TEXT, 4);
    mk_int(m, 7, 8);
    for (int i = 0; i < 7; i++) mk_text(m, tokens[i]);
    mk_key(m, "tokenizer.ggml.token_type", GGUF_ARRAY);
    mk_int(m, GGUF_I32, 4);
    mk_int(m, scores ? 7 : 6, 8);
    for (int i = 0; i < (scores ? 7 : 6); i++) mk_int(m, (uint64_t)types[i], 4);
    mk_key(m, "tokenizer.ggml.merges", GGUF_ARRAY);
    mk_int(m, GGUF_TEXT, 4);
    mk_int(m, 1, 8);
    mk_text(m, "a b");
    mk_value(m, "tokenizer.ggml.eos_token_id", GGUF_U32, 2, 4);
}

static void gguf_refused(const char *model, const char *pre, bool scores, ry_status st, const char *word) {
    make_gguf m;
    gguf_file *f;
    ry_tokenizer *t;
    gguf_small(&m, model, pre, scores);
    assert_ok(gguf_open_memory(&f, m.at, m.n, "x.gguf"));
    assert_is(st, tok_open_gguf(&t, f));
    assert_says("x.gguf", word);
    gguf_close(f);
}

/* A padding id of -1, as some converters write it: there is none, for the chat template too. */
static void test_gguf_padding(void **state) {
    (void)state;
    make_gguf m;
    ry_template *t;
    ry_tokenizer *tok;
    char *text;
    size_t n;
    gguf_small(&m, "gpt2", "llama-bpe", true);
    m.at[16] += 2; /* values */
    mk_value(&m, "tokenizer.ggml.padding_token_id", GGUF_U32, UINT32_MAX, 4);
    mk_string(&m, "tokenizer.chat_template", "{{ eos_token }} {{ pad_token is defined }}");
    write_file("padding.gguf", m.at, m.n);
    assert_ok(ry_tokenizer_open(&tok, "padding.gguf"));
    assert_int_equal(ry_token_special(tok, RY_PAD), -1);
    assert_ok(ry_template_open(&t, "padding.gguf"));
    assert_ok(ry_template_render(t, &(ry_template_args){.messages = "[]"}, &text, &n, NULL, NULL));
    assert_string_equal(text, "</s> False");
    ry_free(text);
    ry_template_close(t);
    ry_tokenizer_close(tok);
}

static void test_gguf(void **state) {
    (void)state;
    make_gguf m;
    gguf_file *f;
    ry_tokenizer *t;
    gguf_small(&m, "gpt2", "llama-bpe", true);
    assert_ok(gguf_open_memory(&f, m.at, m.n, "x.gguf"));
    assert_ok(tok_open_gguf(&t, f));
    gguf_close(f);
    IDS(t, "abb[X]</s>a", 5, 4, 6, 2, 3);
    assert_int_equal(ry_token_special(t, RY_EOS), 2);
    gguf_meta out = {0};
    assert_ok(tok_put_gguf(&out, t, 9, "{{ messages }}"));
    assert_ok(gguf_write("vocab.gguf", &out, 0, NULL, NULL, NULL));
    assert_is(RY_EARG, tok_put_gguf(&out, t, 3, NULL));
    gguf_meta_free(&out);
    ry_tokenizer_close(t);
    assert_ok(ry_tokenizer_open(&t, "vocab.gguf"));
    IDS(t, "abb[X]</s>a", 5, 4, 6, 2, 3);
    assert_int_equal(ry_tokenizer_size(t), 9);
    ry_tokenizer_close(t);
    mk_head(&m, 3, 0, 0);
    assert_ok(gguf_open_memory(&f, m.at, m.n, "x.gguf"));
    assert_is(RY_ENOENT, tok_open_gguf(&t, f)); /* a model all the same, for prompts of ids */
    assert_says("x.gguf", "no tokenizer in this file");
    gguf_close(f);
    gguf_refused("gpt2", "never-heard-of", true, RY_EUNSUPPORTED, "never-heard-of");
    gguf_refused("rwkv", "", true, RY_EUNSUPPORTED, "rwkv");
    gguf_refused("gpt2", "gpt-2", false, RY_EFORMAT, "token_type");
}

/* ---- training ---- */
static void test_train(void **state) {
    (void)state;
    /* by Hugging Face's BpeTrainer, from a file of this text */
    static const char text[] = "aaaa aaa aa abab abab\nbaba the then there\nthe\tcat\r\nthat caff\xC3\xA8 caff\xC3\xA8 123 1234\n\n\nab aaaa";
    static const char *const want[][2] = {{"a", "a"}, {"a", "b"}, {"t", "h"}, {"th", "e"}, {"c", "a"}, {"\xC4\xA0", "aa"}, {"\xC4\xA0", "the"}, {"1", "2"},
                                          {"f", "f"}, {"\xC3\x83", "\xC2\xA8"}, {"\xC4\xA0", "ab"}, {"\xC4\xA0", "ca"}, {"\xC4\xA0", "12"}};
    static const char *const special[] = {"<e>", NULL};
    ry_tokenizer_train_options o = {.vocab = 257 + 13, .special = special};
    const char *texts[] = {text};
    size_t n[] = {sizeof text - 1};
    ry_tokenizer *t;
    assert_ok(ry_tokenizer_train(&t, 1, texts, n, &o));
    assert_int_equal(ry_tokenizer_size(t), 270);
    assert_int_equal(ry_token_id(t, "<e>"), 0);
    assert_int_equal(ry_token_id(t, "!"), 1);
    for (size_t i = 0; i < 13; i++) {
        char joined[16];
        snprintf(joined, sizeof joined, "%s%s", want[i][0], want[i][1]);
        assert_int_equal(ry_token_id(t, joined), (int)(257 + i));
    }
    ry_tokenizer_close(t);
    o.vocab = 4096; /* more than there are pairs */
    assert_ok(ry_tokenizer_train(&t, 1, texts, n, &o));
    assert_int_equal(ry_tokenizer_size(t), 287);
    ry_tokenizer_close(t);
    o.vocab = 100;
    assert_is(RY_EARG, ry_tokenizer_train(&t, 1, texts, n, &o));
    o.vocab = 0;
    o.pattern = "(";
    assert_is(RY_EUNSUPPORTED, ry_tokenizer_train(&t, 1, texts, n, &o));
    o.pattern = NULL;
    texts[0] = "a\xFF";
    n[0] = 2;
    assert_is(RY_EFORMAT, ry_tokenizer_train(&t, 1, texts, n, &o));
    int stop = 1;
    o.stop = &stop;
    texts[0] = text;
    n[0] = sizeof text - 1;
    assert_ok(ry_tokenizer_train(&t, 1, texts, n, &o)); /* done before it looks */
    ry_tokenizer_close(t);
    assert_ok(ry_tokenizer_train(&t, 0, NULL, NULL, NULL));
    assert_int_equal(ry_tokenizer_size(t), 256);
    ry_tokenizer_close(t);
}

/* ---- memory ---- */
typedef struct job {
    make_spm spm;
    make_gguf gguf;
    int kind;
} job;

static ry_status work(void *ud) {
    const job *j = ud;
    static const char text[] = "abc [X]ab bc d";
    static const ry_tokenizer_train_options o = {.vocab = 260};
    const char *texts[] = {"ab ab abc bc"};
    size_t bytes[] = {12}, n;
    ry_tokenizer *t;
    int32_t *ids;
    char *back;
    gguf_file *f;
    ry_status st;
    if (j->kind == 0) st = tok_open_sentencepiece(&t, j->spm.at, j->spm.n, NULL, "x");
    else if (j->kind == 1) st = ry_tokenizer_train(&t, 1, texts, bytes, &o);
    else if ((st = gguf_open_memory(&f, j->gguf.at, j->gguf.n, "x")) == RY_OK) {
        st = tok_open_gguf(&t, f);
        gguf_close(f);
    }
    if (st != RY_OK) return st;
    st = ry_encode(t, text, sizeof text - 1, true, &ids, &n);
    if (st == RY_OK) {
        st = ry_decode(t, ids, n, true, false, &back, NULL);
        ry_free(ids);
        if (st == RY_OK) ry_free(back);
    }
    if (st == RY_OK && j->kind == 2) {
        gguf_meta m = {0};
        st = tok_put_gguf(&m, t, 0, NULL);
        if (st == RY_OK) st = ry_text_status(&m.bytes);
        gguf_meta_free(&m);
    }
    ry_tokenizer_close(t);
    return st;
}

static void test_memory(void **state) {
    (void)state;
    job j = {.kind = 0};
    for (int i = 0; i < 3; i++) {
        ms_small(&j.spm, i);
        sweep_allocations(work, &j);
    }
    j.kind = 1;
    sweep_allocations(work, &j);
    j.kind = 2;
    gguf_small(&j.gguf, "gpt2", "gpt-2", true);
    sweep_allocations(work, &j);
    gguf_small(&j.gguf, "llama", "default", true);
    sweep_allocations(work, &j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentencepiece_bpe),   cmocka_unit_test(test_sentencepiece_others), cmocka_unit_test(test_sentencepiece_folder),
        cmocka_unit_test(test_sentencepiece_wrong), cmocka_unit_test(test_tiktoken),             cmocka_unit_test(test_tekken),
        cmocka_unit_test(test_vocab_and_merges),    cmocka_unit_test(test_gguf),                 cmocka_unit_test(test_train),
        cmocka_unit_test(test_gguf_padding),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
