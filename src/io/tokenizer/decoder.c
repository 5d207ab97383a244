/* decoder.c - decoders: from the strings of the vocabulary to text.  Owns nothing.  Behaviour: Hugging Face's (decoders/). */
#include <string.h>
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/steps.h"

static bool starts_with(const char *s, size_t n, const char *with, size_t n_with) { return n >= n_with && !memcmp(s, with, n_with); }

/* ---- ByteLevel ---- */
void tok_add_mended(ry_text *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t good = utf8_valid(s + i, n - i);
        int32_t cp;
        ry_text_add(out, s + i, good);
        if ((i += good) == n) return;
        i += utf8_next(s + i, n - i, &cp);
        ry_text_add(out, "\xEF\xBF\xBD", 3);
    }
}

void tok_add_bytes(ry_text *out, const char *s, size_t n) {
    char bytes[64];
    size_t before = out->n, k = 0;
    int32_t cp;
    for (size_t i = 0; i < n;) {
        i += utf8_next(s + i, n - i, &cp);
        int32_t byte = bytelevel_byte(cp);
        if (byte < 0) {
            out->n = before;
            ry_text_add(out, s, n);
            return;
        }
        bytes[k++] = (char)(unsigned char)byte;
        if (k < sizeof bytes) continue;
        ry_text_add(out, bytes, k);
        k = 0;
    }
    ry_text_add(out, bytes, k);
}

static ry_status decode_bytelevel(const tok_step *s, const tok_strings *in, tok_strings *out) {
    (void)s;
    ry_text bytes = {0};
    for (size_t i = 0, begin = 0; i < in->ends.n; begin = in->ends.at[i++]) tok_add_bytes(&bytes, in->text.at + begin, in->ends.at[i] - begin);
    ry_status st = ry_text_status(&bytes);
    if (st == RY_OK && (in->raw || utf8_valid(bytes.at, bytes.n) == bytes.n)) {
        out->text = bytes;
        return tok_strings_end(out);
    }
    if (st == RY_OK) tok_add_mended(&out->text, bytes.at, bytes.n);
    ry_text_free(&bytes);
    return st == RY_OK ? tok_strings_end(out) : st;
}

/* ---- ByteFallback ---- */
static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* Rust's from_str_radix takes a sign before one digit. */
int tok_fallback_byte(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
    int high = s[3] == '+' ? 0 : hex_digit(s[3]), low = hex_digit(s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of bytes is one string: the characters, or a U+FFFD for each byte where it is not UTF-8. */
static ry_status fallback_flush(ry_text *run, tok_strings *out) {
    if (!run->n) return RY_OK;
    if (out->raw || utf8_valid(run->at, run->n) == run->n) {
        ry_text_add(&out->text, run->at, run->n);
        run->n = 0;
        return tok_strings_end(out);
    }
    for (; run->n; run->n--) {
        ry_text_add(&out->text, "\xEF\xBF\xBD", 3);
        RY_TRY(tok_strings_end(out));
    }
    return RY_OK;
}

static ry_status decode_fallback(const tok_step *s, const tok_strings *in, tok_strings *out) {
    (void)s;
    ry_text run = {0};
    ry_status st = RY_OK;
    for (size_t i = 0, begin = 0; i < in->ends.n && st == RY_OK; begin = in->ends.at[i++]) {
        const char *at = in->text.at + begin;
        size_t n = in->ends.at[i] - begin;
        int byte = tok_fallback_byte(at, n);
        if (byte >= 0) {
            char c = (char)(unsigned char)byte;
            ry_text_add(&run, &c, 1);
            st = ry_text_status(&run);
            continue;
        }
        RY_GO(st, done, fallback_flush(&run, out));
        ry_text_add(&out->text, at, n);
        st = tok_strings_end(out);
    }
    if (st == RY_OK) st = fallback_flush(&run, out);
done:
    ry_text_free(&run);
    return st;
}

/* ---- the others ---- */
static ry_status decode_fuse(const tok_step *s, const tok_strings *in, tok_strings *out) {
    (void)s;
    ry_text_add(&out->text, in->text.at, in->text.n);
    return tok_strings_end(out);
}


static void decode_metaspace(const tok_step *s, const char *in, size_t n_in, size_t i, size_t n, ry_text *out) {
    (void)n;
    for (size_t k = 0; k < n_in;) {
        if (!starts_with(in + k, n_in - k, s->text.at, s->text.n)) {
            ry_text_add(out, in + k++, 1);
            continue;
        }
        if (i || s->from == TOK_NEVER) ry_text_add(out, " ", 1);
        k += s->text.n;
    }
}

/* Appends in with every `what` replaced. */
static void add_replaced(ry_text *out, const char *in, size_t n, const char *what, const char *with) {
    size_t n_what = strlen(what);
    for (size_t k = 0; k < n;) {
        bool is = starts_with(in + k, n - k, what, n_what);
        if (is) ry_text_puts(out, with);
        else ry_text_add(out, in + k, 1);
        k += is ? n_what : 1;
    }
}

/* What WordPiece's cleanup takes away, in its order. */
static void clean_up(ry_text *t) {
    static const char *const pairs[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
                                           {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        ry_text next = {0};
        add_replaced(&next, t->at, t->n, pairs[i][0], pairs[i][1]);
        next.failed |= t->failed;
        ry_text_free(t);
        *t = next;
    }
}

static void add_cleaned(ry_text *out, ry_text *part, bool clean) {
    if (clean && part->n) clean_up(part);
    ry_text_add(out, part->at, part->n);
    out->failed |= part->failed;
    ry_text_free(part);
}

static ry_status read_wordpiece(tok_step *s, const ry_json *j, const char *what, const char *field) {
    ry_text_puts(&s->text, "##");
    s->on = true;
    RY_TRY(tok_step_text(&s->text, j, what, field, "prefix", false, false));
    return ry_json_bool(&s->on, j, what, "cleanup", false);
}

static void decode_wordpiece(const tok_step *s, const char *in, size_t n_in, size_t i, size_t n, ry_text *out) {
    (void)n;
    ry_text part = {0};
    bool inside = i && starts_with(in, n_in, s->text.at, s->text.n);
    if (i && !inside) ry_text_add(&part, " ", 1);
    if (inside) in += s->text.n, n_in -= s->text.n;
    ry_text_add(&part, in, n_in);
    add_cleaned(out, &part, s->on);
}

static ry_status read_bpe(tok_step *s, const ry_json *j, const char *what, const char *field) {
    ry_text_puts(&s->text, "</w>");
    return tok_step_text(&s->text, j, what, field, "suffix", false, false);
}

static void decode_bpe(const tok_step *s, const char *in, size_t n_in, size_t i, size_t n, ry_text *out) {
    if (s->text.n) add_replaced(out, in, n_in, s->text.at, i + 1 == n ? "" : " ");
    else ry_text_add(out, in, n_in);
}

static ry_status read_strip(tok_step *s, const ry_json *j, const char *what, const char *field) {
    RY_TRY(tok_step_text(&s->text, j, what, field, "content", true, true));
    RY_TRY(ry_json_int(&s->from, j, what, "start", 0, INT32_MAX, true));
    return ry_json_int(&s->to, j, what, "stop", 0, INT32_MAX, true);
}

static void decode_strip(const tok_step *s, const char *in, size_t n_in, size_t i, size_t n, ry_text *out) {
    (void)i, (void)n;
    for (int64_t k = 0; k < s->from && starts_with(in, n_in, s->text.at, s->text.n); k++) in += s->text.n, n_in -= s->text.n;
    for (int64_t k = 0; k < s->to && n_in >= s->text.n && !memcmp(in + n_in - s->text.n, s->text.at, s->text.n); k++) n_in -= s->text.n;
    ry_text_add(out, in, n_in);
}

static ry_status read_replace(tok_step *s, const ry_json *j, const char *what, const char *field) {
    RY_TRY(tok_step_text(&s->text, j, what, field, "content", true, false));
    return tok_pattern_read(&s->pattern, ry_json_find(j, "pattern"), what, field);
}

static ry_status decode_replace(const tok_step *s, const tok_strings *in, tok_strings *out) {
    for (size_t i = 0, begin = 0; i < in->ends.n; begin = in->ends.at[i++]) {
        tok_match m = {.pattern = s->pattern, .at = in->text.at + begin, .n = in->ends.at[i] - begin};
        size_t done = 0;
        for (bool found;;) {
            RY_TRY(tok_match_next(&m, &found));
            if (!found) break;
            ry_text_add(&out->text, m.at + done, m.begin - done);
            ry_text_add(&out->text, s->text.at, s->text.n);
            done = m.end;
        }
        ry_text_add(&out->text, m.at + done, m.n - done);
        RY_TRY(tok_strings_end(out));
    }
    return RY_OK;
}

static ry_status read_ctc(tok_step *s, const ry_json *j, const char *what, const char *field) {
    ry_text_puts(&s->text, "<pad>");
    ry_text_puts(&s->other, "|");
    s->on = true;
    RY_TRY(tok_step_text(&s->text, j, what, field, "pad_token", false, false));
    RY_TRY(tok_step_text(&s->other, j, what, field, "word_delimiter_token", false, false));
    return ry_json_bool(&s->on, j, what, "cleanup", false);
}

static ry_status decode_ctc(const tok_step *s, const tok_strings *in, tok_strings *out) {
    const char *last = NULL;
    size_t n_last = 0;
    for (size_t i = 0, begin = 0; i < in->ends.n; begin = in->ends.at[i++]) {
        const char *at = in->text.at + begin;
        size_t n = in->ends.at[i] - begin;
        bool again = last && n == n_last && !memcmp(at, last, n);
        last = at;
        n_last = n;
        if (again) continue;
        ry_text part = {0}, clean = {0};
        if (s->text.n) add_replaced(&part, at, n, s->text.at, "");
        else ry_text_add(&part, at, n);
        if (s->on && part.n) clean_up(&part);
        if (s->on && s->other.n) add_replaced(&clean, part.at, part.n, s->other.at, " ");
        else ry_text_add(&clean, part.at, part.n);
        size_t got = clean.n;
        ry_text_add(&out->text, clean.at, clean.n);
        out->text.failed |= part.failed || clean.failed;
        ry_text_free(&part);
        ry_text_free(&clean);
        if (got) RY_TRY(tok_strings_end(out));
    }
    return ry_text_status(&out->text);
}

const tok_step_kind tok_decoders[] = {
    {.name = "ByteLevel", .decode_all = decode_bytelevel},
    {.name = "ByteFallback", .decode_all = decode_fallback},
    {.name = "Fuse", .decode_all = decode_fuse},
    {.name = "Metaspace", .read = tok_metaspace_read, .decode = decode_metaspace},
    {.name = "WordPiece", .read = read_wordpiece, .decode = decode_wordpiece},
    {.name = "BPEDecoder", .read = read_bpe, .decode = decode_bpe},
    {.name = "Strip", .read = read_strip, .decode = decode_strip},
    {.name = "Replace", .read = read_replace, .decode_all = decode_replace},
    {.name = "CTC", .read = read_ctc, .decode_all = decode_ctc},
    {.name = "Sequence", .read = tok_spm_read_decoder, .decode_all = tok_spm_decode},
    {.name = NULL},
};

tok_decoder_nature tok_decoder_is(const tok_step *s) {
    if (s->kind->decode_all == decode_bytelevel) return TOK_IS_BYTES;
    if (s->kind->decode_all == decode_fallback || s->kind->decode_all == tok_spm_decode) return TOK_IS_RUNS;
    if (s->kind->decode_all == decode_fuse) return TOK_IS_FUSE;
    if (s->kind->decode_all == decode_ctc) return TOK_IS_LATE;
    return s->kind->decode == decode_strip ? TOK_IS_STRIP : TOK_IS_OTHER;
}
