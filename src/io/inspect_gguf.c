/* inspect_gguf.c - what is inside a GGUF file: metadata, long arrays by their beginning; totals by type; tensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/op.h"
#include "io/gguf.h"
#include "io/inspect.h"

/* As few digits as give the number back; null where JSON has none. */
static void inspect_real(ry_text *out, double x, bool single) {
    char word[40] = "null";
    if (x - x == 0)
        for (int digits = 6; digits <= (single ? 9 : 17); digits++) {
            snprintf(word, sizeof word, "%.*g", digits, x);
            double back = strtod(word, NULL);
            if (back == x || (single && (float)back == (float)x)) break;
        }
    char *comma = strchr(word, ','); /* of the locale */
    if (comma) *comma = '.';
    ry_text_puts(out, word);
}

static void inspect_item(ry_text *out, const gguf_value *v, size_t i) {
    switch (v->item) {
    case GGUF_TEXT: ry_text_json(out, v->texts[i].at, v->texts[i].n); break;
    case GGUF_ARRAY: ry_text_puts(out, "[]"); break;
    case GGUF_BOOL: ry_text_puts(out, gguf_item_int(v, i) ? "true" : "false"); break;
    case GGUF_F32:
    case GGUF_F64: inspect_real(out, gguf_item_real(v, i), v->item == GGUF_F32); break;
    case GGUF_U64: ry_text_printf(out, "%.0f", gguf_item_real(v, i)); break;
    default: ry_text_printf(out, "%lld", (long long)gguf_item_int(v, i)); break;
    }
}

/* As JSON; of a long array its type, its size and its beginning. */
static void inspect_value(ry_text *out, const gguf_value *v, bool json) {
    bool longer = v->type == GGUF_ARRAY && (v->n > INSPECT_FEW || v->item == GGUF_ARRAY);
    if (v->type != GGUF_ARRAY) {
        inspect_item(out, v, 0);
        return;
    }
    size_t shown = v->item == GGUF_ARRAY ? 0 : longer ? INSPECT_FEW / 2 : v->n;
    if (longer && json) ry_text_printf(out, "{\"items\": \"%s\", \"count\": %zu, \"first\": ", gguf_type_name(v->item), v->n);
    else if (longer) ry_text_printf(out, "%zu of %s: ", v->n, gguf_type_name(v->item));
    ry_text_puts(out, "[");
    for (size_t i = 0; i < shown; i++) {
        if (i) ry_text_puts(out, ", ");
        inspect_item(out, v, i);
    }
    ry_text_puts(out, longer && !json ? ", ...]" : "]");
    if (longer && json) ry_text_puts(out, "}");
}

typedef struct inspect_totals {
    size_t bytes, tensors[64], of[64]; /* by type number */
    uint64_t weights;
} inspect_totals;

static ry_status inspect_gguf_head(inspector *v, const gguf_file *f, const inspect_totals *t) {
    if (v->json) {
        ry_text_puts(&v->text, "{");
        inspect_key(&v->text, "file", gguf_name(f));
        ry_text_printf(&v->text, ", \"format\": \"gguf\", \"version\": %u, \"tensors\": %zu, \"weights\": %llu, \"bytes\": %zu, \"types\": {", gguf_version(f),
                       gguf_tensor_count(f), (unsigned long long)t->weights, t->bytes);
        const char *comma = "";
        for (uint32_t k = 0; k < 64; k++) {
            if (!t->tensors[k]) continue;
            ry_text_printf(&v->text, "%s\"%s\": {\"tensors\": %zu, \"bytes\": %zu}", comma, gguf_tensor_type_name(k), t->tensors[k], t->of[k]);
            comma = ", ";
        }
        ry_text_puts(&v->text, "}, \"metadata\": {");
        for (size_t i = 0; i < gguf_value_count(f); i++) {
            const gguf_value *x = gguf_value_at(f, i);
            if (i) ry_text_puts(&v->text, ", ");
            ry_text_json(&v->text, x->key.at, x->key.n);
            ry_text_puts(&v->text, ": ");
            inspect_value(&v->text, x, true);
        }
        ry_text_puts(&v->text, "}}");
        return inspect_emit(v);
    }
    inspect_word(&v->text, gguf_name(f), SIZE_MAX);
    ry_text_printf(&v->text, ": GGUF version %u, %zu tensors, %llu weights, ", gguf_version(f), gguf_tensor_count(f), (unsigned long long)t->weights);
    inspect_bytes(&v->text, t->bytes);
    RY_TRY(inspect_emit(v));
    ry_text value = {0};
    ry_status st = RY_OK;
    for (size_t i = 0; i < gguf_value_count(f) && st == RY_OK; i++) {
        const gguf_value *x = gguf_value_at(f, i);
        ry_text_add(&value, x->key.at, x->key.n);
        ry_text_puts(&v->text, "  metadata ");
        if (value.at) inspect_word(&v->text, value.at, INSPECT_NAME);
        ry_text_puts(&v->text, " = ");
        ry_text_free(&value);
        inspect_value(&value, x, false);
        if (value.at) inspect_word(&v->text, value.at, INSPECT_VALUE);
        if ((st = ry_text_status(&value)) == RY_OK) st = inspect_emit(v);
        ry_text_free(&value);
    }
    for (uint32_t k = 0; k < 64 && st == RY_OK; k++) {
        if (!t->tensors[k]) continue;
        ry_text_printf(&v->text, "  %-8s %4zu tensor%s  ", gguf_tensor_type_name(k), t->tensors[k], t->tensors[k] == 1 ? " " : "s");
        inspect_bytes(&v->text, t->of[k]);
        st = inspect_emit(v);
    }
    return st;
}

static inspect_row inspect_gguf_row(const void *f, size_t i) {
    const gguf_tensor *t = gguf_tensor_at(f, i);
    return (inspect_row){t->name, gguf_tensor_type_name(t->type_number), gguf_name(f), t->spec.rank, t->spec.dim, t->bytes};
}

ry_status inspect_gguf(inspector *v, const char *path) {
    gguf_file *f;
    inspect_totals t = {0};
    RY_TRY(gguf_open(&f, path));
    for (size_t i = 0; i < gguf_tensor_count(f); i++) {
        const gguf_tensor *x = gguf_tensor_at(f, i);
        t.bytes += x->bytes;
        t.tensors[x->type_number]++; /* the reader knows numbers below 64 only */
        t.of[x->type_number] += x->bytes;
        t.weights += (uint64_t)ry_count(&x->spec);
    }
    ry_status st = inspect_gguf_head(v, f, &t);
    if (st == RY_OK) st = inspect_rows(v, gguf_tensor_count(f), inspect_gguf_row, f);
    gguf_close(f);
    return st;
}
