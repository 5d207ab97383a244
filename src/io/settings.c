/* settings.c - a flat file of options, for the command line's -c.  Reads, never writes. */
#include "io/yaml.h"
#include <string.h>

static void value_text(ry_text *t, const ry_json *v) {
    const char *s = ry_json_as_text(v, NULL);
    if (s) ry_text_puts(t, s);
    else ry_json_write(t, v, 0);
}

ry_status ry_settings_read(const char *path, ry_status (*each)(void *ud, const char *key, const char *value), void *ud) {
    ry_json *j = NULL;
    ry_text t = {0};
    ry_status st = ry_config_read(&j, path);
    if (st == RY_OK) st = ry_json_need_object(j, path);
    for (ry_json_it it = ry_json_first(j); st == RY_OK && it.value; it = ry_json_next(j, it)) {
        ry_json_kind kind = ry_json_kind_of(it.value);
        t.n = 0;
        ry_text_puts(&t, ""); /* an empty list is an empty word, not the word before */
        if (kind == RY_JSON_OBJECT) st = ry_fail(RY_EFORMAT, "%s: %s must be a plain value or a list", path, it.key);
        for (size_t i = 0; kind == RY_JSON_ARRAY && i < ry_json_count(it.value); i++) {
            if (i) ry_text_puts(&t, ",");
            value_text(&t, ry_json_at(it.value, i));
        }
        if (kind != RY_JSON_ARRAY) value_text(&t, it.value);
        if (st == RY_OK) st = ry_text_status(&t);
        if (st == RY_OK) st = each(ud, it.key, t.at ? t.at : "");
    }
    ry_text_free(&t);
    ry_json_free(j);
    return st;
}
