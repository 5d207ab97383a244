/* dataset.c - rows of token ids with the targets to learn: windows of text, or the rows of a safetensors file.  Owns the ids of a
 * text and the mapping of a file.  Never shuffles (train does) and knows no vocabulary (the model checks the ids).
 *
 * Text is one run of ids, cut into windows of T = seq_len that begin every `stride` ids.
 *   stride == T: position t predicts id t + 1, the last one the first id of the next window: no id but the very first is lost.
 *   stride <  T: only ids that no earlier window held count, each with the window's earlier ids before it: Hugging Face's way of
 *                measuring perplexity (transformers, docs/source/en/perplexity.md).
 * A last window that is not full is padded with id 0, which nothing predicts and (causally) nobody sees. */
#include <string.h>
#include "base/mem.h"
#include "base/os.h"
#include "base/status.h"

enum { DATA_TEXT_LEN = 256, DATA_IGNORE = -100 };

struct ry_data {
    int64_t rows, len;
    /* text */
    int32_t *ids;    /* the whole run, or NULL */
    int64_t from, n; /* the part in use */
    int64_t stride;
    /* safetensors */
    ry_tensor_file *file;
    const unsigned char *input, *labels; /* [N,T]; labels == input where the file has none */
    int64_t first, width;                /* first row in use, T of the file */
    bool wide_input, wide_labels;        /* int64, else int32 */
};

/* The part of n items that the options ask for: [*from, *from + *count). */
static ry_status data_part(const ry_data_options *o, int64_t n, int64_t *from, int64_t *count) {
    if (!(o->hold_out >= 0 && o->hold_out < 1))
        RY_FAIL(RY_EARG, "data: hold_out must be from 0 to below 1, it is %g", o->hold_out);
    if (o->held_part && o->hold_out == 0) RY_FAIL(RY_EARG, "data: held_part needs a hold_out above 0");
    int64_t kept = o->hold_out > 0 ? (int64_t)((double)n * (1 - o->hold_out)) : n;
    *from = o->held_part ? kept : 0;
    *count = o->held_part ? n - kept : kept;
    return RY_OK;
}

/* ---- text ---- */
static ry_status data_fill_text(ry_data *d, const char *text, size_t n, const ry_tokenizer *t,
                                const ry_data_options *o) {
    size_t n_ids;
    d->len = o->seq_len ? o->seq_len : DATA_TEXT_LEN;
    d->stride = o->stride ? o->stride : d->len;
    if (d->len < 1 || d->len > INT32_MAX)
        RY_FAIL(RY_EARG, "data: seq_len must be from 1 to %d, it is %lld", INT32_MAX, (long long)d->len);
    if (d->stride < 1 || d->stride > d->len)
        RY_FAIL(RY_EARG, "data: stride must be from 1 to seq_len (%lld), it is %lld", (long long)d->len,
                (long long)d->stride);
    RY_TRY(ry_encode(t, text, n, false, &d->ids, &n_ids));
    RY_TRY(data_part(o, (int64_t)n_ids, &d->from, &d->n));
    if (d->n < 2)
        RY_FAIL(RY_EARG, "data: %lld tokens are too few to predict any: at least 2 are needed", (long long)d->n);
    if (d->stride == d->len) {
        d->rows = (d->n - 1 + d->len - 1) / d->len;
    } else {
        d->rows = d->n <= d->len ? 1 : 1 + (d->n - d->len + d->stride - 1) / d->stride;
    }
    return RY_OK;
}

static void data_text_row(const ry_data *d, int64_t i, int32_t *ids, int32_t *targets) {
    const int32_t *run = d->ids + d->from;
    int64_t begin = i * d->stride, end = begin + d->len; /* may lie beyond n */
    bool overlaps = d->stride < d->len;
    int64_t fresh = overlaps && i ? begin - d->stride + d->len : 0; /* the first id that counts */
    int64_t stop = overlaps && end < d->n ? end : d->n;             /* ids from here on are nobody's target */
    for (int64_t t = 0; t < d->len; t++) {
        int64_t at = begin + t, next = at + 1;
        ids[t] = at < d->n ? run[at] : 0;
        targets[t] = next >= fresh && next < stop ? run[next] : DATA_IGNORE;
    }
}

ry_status ry_data_text(ry_data **out, const char *text, size_t n, const ry_tokenizer *t, const ry_data_options *o) {
    static const ry_data_options defaults;
    if (!out || (n && !text)) RY_FAIL(RY_EARG, "ry_data_text: out and text must be given");
    if (!t)
        RY_FAIL(RY_EARG,
                "data: text needs a tokenizer (--tokenizer bytes or chars, or a model folder with a tokenizer.json)");
    ry_data *d = ry_mem_zalloc(sizeof *d);
    if (!d) return RY_ENOMEM;
    ry_status st = data_fill_text(d, text, n, t, o ? o : &defaults);
    if (st != RY_OK) {
        ry_data_close(d);
        return st;
    }
    *out = d;
    return RY_OK;
}

/* ---- safetensors ---- */
static int64_t data_at(const unsigned char *p, bool wide, int64_t i) { /* the file need not be aligned */
    int64_t v64;
    int32_t v32;
    if (wide) {
        memcpy(&v64, p + 8 * i, 8);
        return v64;
    }
    memcpy(&v32, p + 4 * i, 4);
    return v32;
}

/* Tensor `name`, which must be [N,T] of int32 or int64. */
static ry_status data_ids(const ry_tensor_file *f, const char *path, const char *name, ry_spec *s,
                          const unsigned char **p, bool *wide) {
    const void *data;
    ry_status st = ry_tensor_file_find(f, name, s, &data);
    if (st != RY_OK) return st;
    if (s->dtype != RY_I32 && s->dtype != RY_I64)
        RY_FAIL(RY_EDTYPE, "%s: %s is %s, it must be int32 or int64", path, name, ry_dtype_name(s->dtype));
    if (s->rank != 2) RY_FAIL(RY_ESHAPE, "%s: %s has %d dimensions, it must be [rows, tokens]", path, name, s->rank);
    *p = data;
    *wide = s->dtype == RY_I64;
    return RY_OK;
}

/* All of them must be int32; found now rather than in the middle of a night's training. */
static ry_status data_check_range(const char *path, const char *name, const unsigned char *p, int64_t rows,
                                  int64_t width) {
    for (int64_t i = 0; i < rows * width; i++) {
        int64_t v = data_at(p, true, i);
        if (v < INT32_MIN || v > INT32_MAX)
            RY_FAIL(RY_EFORMAT, "%s: %s[%lld,%lld] is %lld: no token id of 32 bits", path, name, (long long)(i / width),
                    (long long)(i % width), (long long)v);
    }
    return RY_OK;
}

static ry_status data_fill_file(ry_data *d, const char *path, const ry_data_options *o) {
    ry_spec ids, labels;
    RY_TRY(ry_tensor_file_open(&d->file, path));
    RY_TRY(data_ids(d->file, path, "input_ids", &ids, &d->input, &d->wide_input));
    ry_status st = data_ids(d->file, path, "labels", &labels, &d->labels, &d->wide_labels);
    if (st == RY_ENOENT) {
        d->labels = d->input;
        d->wide_labels = d->wide_input;
    } else if (st != RY_OK) {
        return st;
    } else if (labels.dim[0] != ids.dim[0] || labels.dim[1] != ids.dim[1]) {
        RY_FAIL(RY_ESHAPE, "%s: labels is [%lld,%lld], input_ids is [%lld,%lld]: they must be equal", path,
                (long long)labels.dim[0], (long long)labels.dim[1], (long long)ids.dim[0], (long long)ids.dim[1]);
    }
    int64_t n = ids.dim[0];
    d->width = ids.dim[1];
    if (n < 1 || d->width < 1)
        RY_FAIL(RY_ESHAPE, "%s: input_ids is [%lld,%lld]: there is nothing in it", path, (long long)n,
                (long long)d->width);
    if (o->seq_len < 0) RY_FAIL(RY_EARG, "data: seq_len must not be negative, it is %lld", (long long)o->seq_len);
    if (o->stride && o->stride != o->seq_len)
        RY_FAIL(RY_EARG, "%s: stride is for text; the rows of this file stand alone", path);
    if (d->wide_input) RY_TRY(data_check_range(path, "input_ids", d->input, n, d->width));
    if (d->wide_labels && d->labels != d->input) RY_TRY(data_check_range(path, "labels", d->labels, n, d->width));
    RY_TRY(data_part(o, n, &d->first, &d->rows));
    if (d->rows < 1) RY_FAIL(RY_EARG, "%s: of its %lld rows none is left in this part", path, (long long)n);
    d->len = o->seq_len && o->seq_len < d->width ? o->seq_len : d->width;
    if (d->len < d->width)
        ry_log_line(RY_LOG_WARN, "%s: rows of %lld tokens are cut to %lld", path, (long long)d->width,
                    (long long)d->len);
    return RY_OK;
}

static void data_file_row(const ry_data *d, int64_t i, int32_t *ids, int32_t *targets) {
    int64_t at = (d->first + i) * d->width;
    for (int64_t t = 0; t < d->len; t++) {
        ids[t] = (int32_t)data_at(d->input, d->wide_input, at + t);
        targets[t] = t + 1 < d->len ? (int32_t)data_at(d->labels, d->wide_labels, at + t + 1) : DATA_IGNORE;
    }
}

/* ---- opening ---- */
static bool data_ends(const char *path, const char *end) {
    size_t n = strlen(path), k = strlen(end);
    return n >= k && !strcmp(path + n - k, end);
}

ry_status ry_data_open(ry_data **out, const char *path, const ry_tokenizer *t, const ry_data_options *o) {
    static const ry_data_options defaults;
    if (!out || !path) RY_FAIL(RY_EARG, "ry_data_open: out and path must be given");
    if (data_ends(path, ".jsonl") || data_ends(path, ".parquet"))
        RY_FAIL(RY_EUNSUPPORTED, "%s: this version takes text, or safetensors with input_ids", path);
    if (os_kind(path) == OS_FOLDER) RY_FAIL(RY_EARG, "%s: is a folder; data is one file", path);
    if (!data_ends(path, ".safetensors")) {
        os_map m;
        if (!t)
            RY_FAIL(RY_EARG,
                    "%s: text needs a tokenizer (--tokenizer bytes or chars, or a model folder with a tokenizer.json)",
                    path);
        RY_TRY(os_map_open(&m, path));
        ry_status st = ry_data_text(out, m.data, m.bytes, t, o);
        os_map_close(&m);
        return st == RY_OK ? st : ry_fail_in(st, "%s", path);
    }
    ry_data *d = ry_mem_zalloc(sizeof *d);
    if (!d) return RY_ENOMEM;
    ry_status st = data_fill_file(d, path, o ? o : &defaults);
    if (st != RY_OK) {
        ry_data_close(d);
        return st;
    }
    *out = d;
    return RY_OK;
}

void ry_data_close(ry_data *d) {
    if (!d) return;
    ry_mem_free(d->ids);
    ry_tensor_file_close(d->file);
    ry_mem_free(d);
}

int64_t ry_data_rows(const ry_data *d) { return d->rows; }
int64_t ry_data_len(const ry_data *d) { return d->len; }

ry_status ry_data_row(const ry_data *d, int64_t i, int32_t *ids, int32_t *targets) {
    if (i < 0 || i >= d->rows) RY_FAIL(RY_EARG, "data: there is no row %lld of %lld", (long long)i, (long long)d->rows);
    if (d->file) {
        data_file_row(d, i, ids, targets);
    } else {
        data_text_row(d, i, ids, targets);
    }
    return RY_OK;
}
