/* fuzz_tokenizer.c - any bytes as a tokenizer.json: no crash, no leak, no hang; a tokenizer that opens takes any text and any ids, gives
 * the same text id by id as at once, and what it saves opens again and gives the same ids. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "io/tokenizer/tok.h"

static void stream(const ry_tokenizer *t, const int32_t *ids, size_t n, bool skip) {
    ry_decoder *d;
    ry_text all = {0};
    const char *part;
    char *text;
    size_t n_part, n_text;
    must(ry_decoder_open(&d, t, skip) == RY_OK);
    if (ry_decode(t, ids, n, skip, false, &text, &n_text) != RY_OK) { /* a pattern that takes too long */
        ry_decoder_close(d);
        return;
    }
    bool whole = true;
    for (size_t i = 0; i < n && whole; i++) {
        if (ry_decoder_next(d, ids[i], &part, &n_part) != RY_OK) whole = false;
        else ry_text_add(&all, part, n_part);
    }
    if (whole && ry_decoder_end(d, &part, &n_part) == RY_OK) {
        ry_text_add(&all, part, n_part);
        must(all.n == n_text && !memcmp(all.at ? all.at : "", text, n_text));
    }
    ry_free(text);
    ry_text_free(&all);
    ry_decoder_close(d);
}

static void use(const ry_tokenizer *t, const ry_tokenizer *again, const char *text, size_t n) {
    int32_t *ids = NULL, *more = NULL, odd[] = {-1, 0, 1, 2, 0, 255, 256, INT32_MAX, INT32_MIN};
    ry_span *spans = NULL;
    size_t n_ids, n_more;
    if (ry_encode(t, text, n, true, &ids, &n_ids) == RY_OK) {
        must(ry_encode(again, text, n, true, &more, &n_more) == RY_OK && n_more == n_ids && !memcmp(ids, more, n_ids * sizeof *ids));
        ry_free(more);
        must(ry_encode_spans(t, text, n, true, &more, &spans, &n_more) == RY_OK && n_more == n_ids &&
             !memcmp(ids, more, n_ids * sizeof *ids));
        for (size_t i = 0; i < n_more; i++) must(spans[i].begin <= n && spans[i].end <= n);
        ry_free(more);
        ry_free(spans);
        stream(t, ids, n_ids, false);
        ry_free(ids);
    }
    if (ry_encode_pair(t, text, n, "a b", 3, true, &ids, &more, &n_ids) == RY_OK) {
        ry_free(ids);
        ry_free(more);
    }
    stream(t, odd, sizeof odd / sizeof *odd, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ry_tokenizer *t, *again;
    if (tok_open_json(&t, (const char *)data, size, "fuzz.json") == RY_OK) {
        ry_text saved = {0};
        must(tok_write_json(t, &saved) == RY_OK);
        must(tok_open_json(&again, saved.at, saved.n, "saved.json") == RY_OK);
        use(t, again, (const char *)data, size < 4096 ? size : 4096);
        static const char text[] = "a b <x>  \xE2\x96\x81 \xC3\xA9 0x1 \xFF";
        use(t, again, text, sizeof text - 1);
        ry_text_free(&saved);
        ry_tokenizer_close(again);
        ry_tokenizer_close(t);
    }
    must(ry_mem_live() == 0);
    return 0;
}

#define BPE(settings, vocab, merges) "\"model\":{\"type\":\"BPE\"," settings "\"vocab\":{" vocab "},\"merges\":[" merges "]}}"
#define ADDED(flag)                                                                                                          \
    "{\"added_tokens\":[{\"id\":9,\"content\":\"<x>\",\"" flag "\":true,\"normalized\":false},{\"content\":\"B\",\"special\":true}],"

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const seeds[] = {
        "{\"decoder\":{\"type\":\"Fuse\"}," BPE("", "\"a\":0,\" \":2,\"b\":1,\"\\u00e9\":3", ""),
        "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true},\"decoder\":{\"type\":\"ByteLevel\"},"
        "\"post_processor\":{\"type\":\"ByteLevel\"}," BPE("\"ignore_merges\":true,", "\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3", "\"a b\""),
        ADDED("lstrip") "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":\"Lowercase\"},{\"type\":"
                        "\"Strip\",\"strip_left\":true,\"strip_right\":true},{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},{\"type\":"
                        "\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},\"decoder\":{\"type\":\"Sequence\","
                        "\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":"
                        "\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}," BPE(
                            "\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"u\",",
                            "\"u\":0,\"\\u2581\":1,\"a\":2,\"\\u2581a\":3,\"<0xC3>\":4,\"<0xA9>\":5", "[\"\\u2581\",\"a\"]"),
        ADDED("rstrip") "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+(?!\\\\S)|"
                        "\\\\w{1,3}+|[^\\\\s[a-c]]\"},\"behavior\":\"MergedWithNext\",\"invert\":true},{\"type\":\"Digits\",\"individual_digits\":"
                        "false},{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"},{\"type\":\"Punctuation\"},{\"type\":"
                        "\"ByteLevel\"}]},\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"B\",1],\"cls\":[\"B\",1]}," BPE(
                            "\"continuing_subword_prefix\":\"#\",\"end_of_word_suffix\":\"$\",",
                            "\"a\":0,\"#b\":1,\"ab\":2,\"#x$\":3", "[\"a\",\"#b\"]"),
        ADDED("single_word") "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                             "\"decoder\":{\"type\":\"WordPiece\"},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[\"$A\",{"
                             "\"SpecialToken\":{\"id\":\"B\",\"type_id\":0}}],\"pair\":[\"$A\",\"B:1\",\"$B:1\"],\"special_tokens\":{\"B\":{"
                             "\"ids\":[1,0]}}}," BPE("", "\"a\":0,\"b\":1", ""),
        "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1.5],[\"b\",-2]],\"unk_id\":0}}",
        "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"a\",\"vocab\":{\"a\":0,\"##b\":1}}}",
    };
    return seed_of(seeds, sizeof seeds / sizeof *seeds, i, buf, cap);
}
