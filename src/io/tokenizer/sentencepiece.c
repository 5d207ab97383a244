/* sentencepiece.c - reads SentencePiece's .model files, a protobuf message (ModelProto), into a tokenizer.json and its lists.
 * Knows the file; what sentencepiece does with a text beyond Hugging Face's steps is in spm.c, told by "sentencepiece" objects in the
 * tree, which Hugging Face's library passes over.
 * Sources: src/sentencepiece_model.proto of github.com/google/sentencepiece; protobuf.dev/programming-guides/encoding. */
#include <math.h>
#include <stdlib.h>
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/steps.h"
#include "io/utf8.h"

/* ---- the wire format ---- */
typedef struct pb_reader {
    const unsigned char *at, *end;
    const char *what;
} pb_reader;

typedef struct pb_field {
    uint32_t number, wire;
    uint64_t value;             /* wire 0, 1, 5 */
    const unsigned char *bytes; /* wire 2 */
    size_t n;
} pb_field;

static ry_status pb_varint(pb_reader *r, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        unsigned c = *r->at++;
        *out |= (uint64_t)(c & 127) << shift;
        if (c < 128) return RY_OK;
    }
    RY_FAIL(RY_EFORMAT, "%s: not a SentencePiece model: a number of the protobuf message has no end", r->what);
}

/* The next field; *more is false at the end. Groups, which no version of the format has, are refused. */
static ry_status pb_next(pb_reader *r, pb_field *f, bool *more) {
    *more = r->at < r->end;
    if (!*more) return RY_OK;
    uint64_t tag;
    RY_TRY(pb_varint(r, &tag));
    *f = (pb_field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)tag & 7};
    if (tag >> 32 || !f->number) RY_FAIL(RY_EFORMAT, "%s: not a SentencePiece model: field 0 or beyond", r->what);
    size_t fixed = f->wire == 1 ? 8 : f->wire == 5 ? 4 : 0, left = (size_t)(r->end - r->at);
    if (f->wire == 0) return pb_varint(r, &f->value);
    if (f->wire == 2) {
        uint64_t n;
        RY_TRY(pb_varint(r, &n));
        left = (size_t)(r->end - r->at);
        if (n > left)
            RY_FAIL(RY_EFORMAT, "%s: cut off, or not a SentencePiece model: field %u has %llu bytes where %zu are left", r->what,
                    f->number, (unsigned long long)n, left);
        f->bytes = r->at;
        f->n = (size_t)n;
        r->at += f->n;
        return RY_OK;
    }
    if (!fixed) RY_FAIL(RY_EFORMAT, "%s: not a SentencePiece model: wire type %u", r->what, f->wire);
    if (left < fixed) RY_FAIL(RY_EFORMAT, "%s: cut off, or not a SentencePiece model", r->what);
    for (size_t i = 0; i < fixed; i++) f->value |= (uint64_t)r->at[i] << 8 * i;
    r->at += fixed;
    return RY_OK;
}

/* ---- the message ---- */
static float spm_float(uint64_t bits) {
    uint32_t b = (uint32_t)bits;
    float f;
    memcpy(&f, &b, 4);
    return f;
}

static ry_status spm_wire(const tok_spm_file *s, const pb_field *f, uint32_t wire, const char *name) {
    if (f->wire == wire) return RY_OK;
    RY_FAIL(RY_EFORMAT, "%s: not a SentencePiece model: %s has wire type %u, it should be %u", s->what, name, f->wire, wire);
}

static ry_status spm_read_piece(tok_spm_file *s, const pb_field *message) {
    pb_reader r = {message->bytes, message->bytes + message->n, s->what};
    pb_field f;
    tok_spm_piece *p = RY_PUSH(&s->pieces);
    if (!p) return RY_ENOMEM;
    size_t id = s->pieces.n - 1;
    p->type = SPM_NORMAL;
    for (bool more;;) {
        RY_TRY(pb_next(&r, &f, &more));
        if (!more) break;
        if (f.number == 1) {
            RY_TRY(spm_wire(s, &f, 2, "pieces.piece"));
            if (f.n > INT32_MAX) RY_FAIL(RY_EFORMAT, "%s: piece %zu is too long", s->what, id);
            p->text = (const char *)f.bytes;
            p->n = (uint32_t)f.n;
        } else if (f.number == 2) {
            RY_TRY(spm_wire(s, &f, 5, "pieces.score"));
            p->score = spm_float(f.value);
        } else if (f.number == 3) {
            RY_TRY(spm_wire(s, &f, 0, "pieces.type"));
            if (f.value < SPM_NORMAL || f.value > SPM_BYTE)
                RY_FAIL(RY_EFORMAT, "%s: piece %zu has the unknown type %llu", s->what, id, (unsigned long long)f.value);
            p->type = (int)f.value;
        }
    }
    return RY_OK;
}

/* Fields of trainer_spec (2) and normalizer_spec (3) that change what a text gives. */
static ry_status spm_read_spec(tok_spm_file *s, const pb_field *message, bool trainer) {
    pb_reader r = {message->bytes, message->bytes + message->n, s->what};
    pb_field f;
    for (bool more;;) {
        RY_TRY(pb_next(&r, &f, &more));
        if (!more) return RY_OK;
        bool *flag = trainer ? (f.number == 24 ? &s->as_suffix : f.number == 35 ? &s->byte_fallback : NULL)
                             : (f.number == 3   ? &s->dummy_prefix
                                : f.number == 4 ? &s->remove_extra
                                : f.number == 5 ? &s->escape
                                                : NULL);
        tok_spm_text *text = trainer ? (f.number == 44   ? &s->unk_surface
                                    : f.number == 46 ? &s->bos
                                    : f.number == 47 ? &s->eos
                                                     : NULL)
                                 : (f.number == 2 ? &s->charsmap : NULL);
        if (flag) {
            RY_TRY(spm_wire(s, &f, 0, trainer ? "trainer_spec" : "normalizer_spec"));
            *flag = f.value != 0;
        } else if (text) {
            RY_TRY(spm_wire(s, &f, 2, trainer ? "trainer_spec" : "normalizer_spec"));
            *text = (tok_spm_text){(const char *)f.bytes, f.n};
        } else if (trainer && f.number == 3) {
            RY_TRY(spm_wire(s, &f, 0, "trainer_spec.model_type"));
            s->model_type = f.value;
        }
    }
}

static ry_status spm_check_piece(tok_spm_file *s, size_t i) {
    const tok_spm_piece *p = &s->pieces.at[i];
    if (!p->n) RY_FAIL(RY_EFORMAT, "%s: piece %zu is empty", s->what, i);
    if (utf8_valid(p->text, p->n) != p->n) RY_FAIL(RY_EFORMAT, "%s: piece %zu is not UTF-8", s->what, i);
    if (!isfinite(p->score)) RY_FAIL(RY_EFORMAT, "%s: the score of piece %zu is not a finite number", s->what, i);
    if (p->type == SPM_UNKNOWN && s->unk >= 0)
        RY_FAIL(RY_EFORMAT, "%s: pieces %d and %zu are both of type UNKNOWN", s->what, (int)s->unk, i);
    if (p->type == SPM_UNKNOWN) s->unk = (int32_t)i;
    return RY_OK;
}

static ry_status spm_check(tok_spm_file *s) {
    if (!s->pieces.n) RY_FAIL(RY_EFORMAT, "%s: not a SentencePiece model: it holds no pieces", s->what);
    if (s->pieces.n > INT32_MAX / 2) RY_FAIL(RY_EFORMAT, "%s: %zu pieces are more than ids can number", s->what, s->pieces.n);
    s->unk = -1;
    for (size_t i = 0; i < s->pieces.n; i++) RY_TRY(spm_check_piece(s, i));
    if (s->unk < 0) RY_FAIL(RY_EFORMAT, "%s: no piece is of type UNKNOWN", s->what);
    if (s->model_type == SPM_WORD)
        RY_FAIL(RY_EUNSUPPORTED, "%s: a SentencePiece model of type WORD; BPE, UNIGRAM and CHAR are read", s->what);
    if (s->model_type < SPM_UNIGRAM || s->model_type > SPM_CHAR)
        RY_FAIL(RY_EFORMAT, "%s: trainer_spec.model_type is %llu, it must be 1 to 4", s->what, (unsigned long long)s->model_type);
    bool found[256] = {false};
    int bytes = 0;
    for (size_t i = 0; i < s->pieces.n; i++) {
        const tok_spm_piece *p = &s->pieces.at[i];
        if (p->type != SPM_BYTE) continue;
        int b = tok_fallback_byte(p->text, p->n);
        if (b < 0 || !s->byte_fallback)
            RY_FAIL(RY_EFORMAT, "%s: piece %zu (\"%.*s\") is of type BYTE, %s", s->what, i, (int)(p->n < 40 ? p->n : 40), p->text,
                    b < 0 ? "its text should be like <0x0A>" : "but trainer_spec.byte_fallback is not set");
        bytes += !found[b];
        found[b] = true;
    }
    if (s->byte_fallback && bytes < 256)
        RY_FAIL(RY_EFORMAT, "%s: trainer_spec.byte_fallback is set, but %d of the 256 byte pieces are missing", s->what, 256 - bytes);
    return RY_OK;
}

static ry_status spm_parse(tok_spm_file *s, const void *data, size_t n) {
    pb_reader r = {data, (const unsigned char *)data + n, s->what};
    pb_field f;
    for (bool more;;) {
        RY_TRY(pb_next(&r, &f, &more));
        if (!more) return RY_OK;
        if (f.number < 1 || f.number > 3) continue;
        RY_TRY(spm_wire(s, &f, 2, f.number == 1 ? "pieces" : f.number == 2 ? "trainer_spec" : "normalizer_spec"));
        RY_TRY(f.number == 1 ? spm_read_piece(s, &f) : spm_read_spec(s, &f, f.number == 2));
    }
}

/* ---- the lists ---- */
/* The pieces as Unigram takes them. A user-defined one gets sentencepiece's bonus, by which it is nearly always chosen. */
static ry_status spm_words(const tok_spm_file *s, tok_lists *l, bool raw_user) {
    l->has_vocab = true;
    l->has_merges = s->model_type != SPM_UNIGRAM;
    l->may_repeat = s->model_type == SPM_UNIGRAM;
    for (size_t i = 0; i < s->pieces.n; i++) {
        const tok_spm_piece *p = &s->pieces.at[i];
        bool bonus = p->type == SPM_USER && !raw_user && s->model_type == SPM_UNIGRAM;
        RY_TRY(tok_add_word(l, p->text, p->n, (int32_t)i, bonus ? (double)(float)(0.1 * ((double)p->n - 1)) : (double)p->score));
    }
    return RY_OK;
}

/* SentencePiece's BPE joins two parts where their text is a piece, the best score first. */
static ry_status spm_merges(const tok_spm_file *s, tok_lists *l) {
    tok_lists words = {0};
    ry_status st = RY_OK;
    for (size_t i = 0; i < s->pieces.n && st == RY_OK; i++) {
        const tok_spm_piece *p = &s->pieces.at[i];
        if (p->type == SPM_NORMAL || p->type == SPM_UNUSED) st = tok_add_word(&words, p->text, p->n, (int32_t)i, p->score);
    }
    if (st == RY_OK) st = tok_lists_index(&words, s->what);
    if (st == RY_OK) st = tok_add_halves(l, &words, s->what);
    tok_lists_free(&words);
    return st;
}

/* ---- the tree ---- */
static const char *spm_bool(bool v) { return v ? "true" : "false"; }

static void spm_put_ids(ry_text *t, const tok_spm_file *s, const char *name, unsigned types) {
    ry_text_printf(t, "\"%s\":[", name);
    const char *comma = "";
    for (size_t i = 0; i < s->pieces.n; i++)
        if (types >> s->pieces.at[i].type & 1) ry_text_printf(t, "%s%zu", comma, i), comma = ",";
    ry_text_puts(t, "]");
}

static void spm_put_texts(ry_text *t, const tok_spm_file *s, const char *name, int type) {
    ry_text_printf(t, "\"%s\":[", name);
    const char *comma = "";
    for (size_t i = 0; i < s->pieces.n; i++) {
        if (s->pieces.at[i].type != type) continue;
        ry_text_puts(t, comma);
        ry_text_json(t, s->pieces.at[i].text, s->pieces.at[i].n);
        comma = ",";
    }
    ry_text_puts(t, "]");
}

static bool spm_has_space(const tok_spm_piece *p) { /* U+2581, which stands only in normalised text */
    for (size_t i = 0; i + 3 <= p->n; i++)
        if (!memcmp(p->text + i, "\xE2\x96\x81", 3)) return true;
    return false;
}

static void spm_put_added(ry_text *t, const tok_spm_file *s, bool special, bool raw_user) {
    /* with other normalizers the token itself would change, and Hugging Face's library stops in some cases */
    bool plain = !s->charsmap.n && !s->dummy_prefix && !s->remove_extra;
    const char *comma = "";
    ry_text_puts(t, "\"added_tokens\":[");
    for (size_t i = 0; i < s->pieces.n; i++) {
        const tok_spm_piece *p = &s->pieces.at[i];
        bool control = p->type == SPM_CONTROL || (p->type == SPM_UNKNOWN && special);
        if (!control && p->type != SPM_USER) continue;
        ry_text_printf(t, "%s{\"id\":%zu,\"content\":", comma, i);
        ry_text_json(t, p->text, p->n);
        bool found = control ? special : raw_user;
        ry_text_printf(t, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":%s,\"special\":%s%s}",
                       spm_bool(!control && !raw_user && plain && spm_has_space(p)), spm_bool(control), found ? "" : ",\"sentencepiece\":true");
        comma = ",";
    }
    ry_text_puts(t, "],");
}

/* Hugging Face's steps come as near as they can; "sentencepiece" says it exactly, for spm.c. */
static void spm_put_normalizer(ry_text *t, const tok_spm_file *s, bool first_only, int user) {
    const char *space = s->escape ? "\xE2\x96\x81" : " ";
    ry_text_printf(t,
                   "\"normalizer\":{\"type\":\"Sequence\",\"sentencepiece\":{\"add_dummy_prefix\":%s,\"remove_extra_whitespaces\":%s,"
                   "\"escape_whitespaces\":%s,\"treat_whitespace_as_suffix\":%s,\"first_only\":%s,",
                   spm_bool(s->dummy_prefix), spm_bool(s->remove_extra), spm_bool(s->escape), spm_bool(s->as_suffix), spm_bool(first_only));
    spm_put_texts(t, s, "user_defined", user);
    ry_text_puts(t, "},\"normalizers\":[");
    if (s->charsmap.n) {
        ry_text_puts(t, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
        tok_base64_add(t, s->charsmap.at, s->charsmap.n);
        ry_text_puts(t, "\"},");
    }
    if (s->remove_extra)
        ry_text_puts(t, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"^ +| +$|(?<= ) +\"},\"content\":\"\"},");
    if (s->dummy_prefix && !s->as_suffix) ry_text_printf(t, "{\"type\":\"Prepend\",\"prepend\":\"%s\"},", space);
    if (s->dummy_prefix && s->as_suffix)
        ry_text_printf(t, "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(?<=.)$\"},\"content\":\"%s\"},", space);
    ry_text_printf(t, "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"%s\"}]},", space);
}

static void spm_put_template(ry_text *t, const tok_spm_file *s, const tok_beside *b) {
    const tok_spm_text *text[2] = {&s->bos, &s->eos};
    int64_t id[2] = {-1, -1};
    for (size_t i = 0; i < s->pieces.n; i++)
        for (int k = 0; k < 2; k++)
            if (s->pieces.at[i].type == SPM_CONTROL && s->pieces.at[i].n == text[k]->n &&
                !memcmp(s->pieces.at[i].text, text[k]->at, text[k]->n))
                id[k] = (int64_t)i;
    tok_put_template(t, b && b->add_bos && id[0] >= 0 ? s->bos.at : NULL, s->bos.n, id[0],
                     b && b->add_eos && id[1] >= 0 ? s->eos.at : NULL, s->eos.n, id[1]);
}

static void spm_put_decoder(ry_text *t, const tok_spm_file *s, bool special) {
    ry_text_printf(t,
                   "\"decoder\":{\"type\":\"Sequence\",\"sentencepiece\":{\"strip_one\":%s,\"strip_all\":%s,\"byte_fallback\":%s",
                   spm_bool(s->dummy_prefix && !s->remove_extra), spm_bool(s->remove_extra), spm_bool(s->byte_fallback));
    if (!special) {
        ry_text_puts(t, ",\"unk\":");
        ry_text_json(t, s->pieces.at[s->unk].text, s->pieces.at[s->unk].n);
        ry_text_puts(t, ",\"unk_surface\":");
        ry_text_json(t, s->unk_surface.at, s->unk_surface.n);
    }
    ry_text_puts(t, "},\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},"
                    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}");
    if (s->dummy_prefix || s->remove_extra) ry_text_puts(t, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    ry_text_puts(t, "]},");
}

static void spm_put_model(ry_text *t, const tok_spm_file *s, int user) {
    bool unigram = s->model_type == SPM_UNIGRAM;
    ry_text_printf(t, "\"model\":{\"type\":\"%s\",\"byte_fallback\":%s,", unigram ? "Unigram" : "BPE", spm_bool(s->byte_fallback));
    if (unigram) {
        ry_text_printf(t, "\"unk_id\":%d,", (int)s->unk);
    } else {
        ry_text_puts(t, "\"dropout\":null,\"unk_token\":");
        ry_text_json(t, s->pieces.at[s->unk].text, s->pieces.at[s->unk].n);
        ry_text_puts(t, ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,\"ignore_merges\":false,");
    }
    ry_text_puts(t, "\"sentencepiece\":{");
    spm_put_ids(t, s, "hidden", 1u << SPM_UNKNOWN | 1u << SPM_CONTROL | 1u << SPM_BYTE | (user ? 0 : 1u << SPM_USER));
    ry_text_puts(t, ",");
    spm_put_ids(t, s, "unused", 1u << SPM_UNUSED);
    ry_text_puts(t, ",");
    spm_put_ids(t, s, "user_defined", user ? 1u << user : 0);
    ry_text_puts(t, "}}}");
}

static ry_status spm_tree(ry_json **out, const tok_spm_file *s, const tok_beside *b) {
    ry_text t = {0};
    bool special = b && b->special, raw_user = b && b->raw_user;
    int user = raw_user ? 0 : SPM_USER; /* the type of pieces that sentencepiece itself finds; 0: none */
    ry_text_puts(&t, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    spm_put_added(&t, s, special, raw_user);
    spm_put_normalizer(&t, s, b && b->first_only, user);
    ry_text_puts(&t, "\"pre_tokenizer\":null,");
    spm_put_template(&t, s, b);
    spm_put_decoder(&t, s, special);
    spm_put_model(&t, s, user);
    ry_status st = ry_text_status(&t);
    if (st == RY_OK) st = ry_json_parse(out, t.at, t.n, s->what, 0);
    ry_text_free(&t);
    return st;
}

ry_status tok_open_spm(ry_tokenizer **out, tok_spm_file *s, const tok_beside *b) {
    tok_lists lists = {0};
    tok_charsmap map;
    ry_json *tree = NULL;
    RY_TRY(spm_check(s));
    if (s->charsmap.n) RY_TRY(tok_charsmap_open(&map, s->charsmap.at, s->charsmap.n, s->what));
    ry_status st = spm_words(s, &lists, b && b->raw_user);
    if (st == RY_OK && s->model_type == SPM_BPE) st = spm_merges(s, &lists);
    if (st == RY_OK) st = spm_tree(&tree, s, b);
    if (st == RY_OK) return tok_open_parts(out, tree, &lists, s->what);
    tok_lists_free(&lists);
    return st;
}

ry_status tok_open_sentencepiece(ry_tokenizer **out, const void *data, size_t n, const tok_beside *b, const char *what) {
    tok_spm_file s = {
        .model_type = SPM_UNIGRAM,
        .dummy_prefix = true,
        .remove_extra = true,
        .escape = true,
        .unk_surface = {" \xE2\x81\x87 ", 5},
        .bos = {"<s>", 3},
        .eos = {"</s>", 4},
        .what = what,
    };
    ry_status st = spm_parse(&s, data, n);
    if (st == RY_OK) st = tok_open_spm(out, &s, b);
    RY_VEC_FREE(&s.pieces);
    return st;
}
