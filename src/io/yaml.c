/* yaml.c - libyaml's events -> a JSON tree.  Owns libyaml's parser while it reads; keeps nothing; never resolves a tag or an alias.
 *
 * Plain scalars are resolved by the core schema of YAML 1.2.2, section 10.3.2; quoted and block scalars are strings. libyaml takes
 * its memory from the C library itself: that part does not pass through ry_mem. */
#include "io/yaml.h"
#include <string.h>
#include "base/mem.h"
#include "base/os.h"

#ifdef RUSTY_HAVE_YAML
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

enum { YAML_MAX_BYTES = 4 << 20 }; /* settings are small; libyaml's time is not linear in all of its input */

typedef struct yaml_reader {
    yaml_parser_t parser;
    const char *what;
    int depth;
} yaml_reader;

static ry_status yaml_bad(const yaml_reader *r, yaml_mark_t at, const char *text) {
    RY_FAIL(RY_EFORMAT, "%s:%zu:%zu: %s", r->what, at.line + 1, at.column + 1, text);
}

/* The next event, the caller's to delete. */
static ry_status yaml_next(yaml_reader *r, yaml_event_t *e) {
    if (yaml_parser_parse(&r->parser, e)) return RY_OK;
    if (r->parser.error == YAML_MEMORY_ERROR) RY_FAIL(RY_ENOMEM, "%s: no memory to read it", r->what);
    yaml_mark_t at = r->parser.problem_mark;
    if (r->parser.error == YAML_READER_ERROR)
        RY_FAIL(RY_EFORMAT, "%s: byte %zu: %s", r->what, r->parser.problem_offset, r->parser.problem);
    return yaml_bad(r, at, r->parser.problem ? r->parser.problem : "not YAML");
}

static bool yaml_is(const char *s, const char *const *words) {
    for (; *words; words++)
        if (!strcmp(s, *words)) return true;
    return false;
}

static size_t yaml_digits(const char *s) { return strspn(s, "0123456789"); }

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?   *integral: digits alone */
static bool yaml_is_number(const char *s, bool *integral) {
    s += *s == '-' || *s == '+';
    size_t whole = yaml_digits(s);
    s += whole;
    *integral = !*s;
    if (*s == '.') {
        size_t part = yaml_digits(++s);
        s += part;
        if (!whole && !part) return false;
    } else if (!whole) {
        return false;
    }
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '-' || s[1] == '+');
        size_t power = yaml_digits(s);
        if (!power) return false;
        s += power;
    }
    return !*s;
}

/* strtoll in a base, the whole of s; false beyond 64 bits. */
static bool yaml_integer(const char *s, int base, int64_t *out) {
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, base);
    *out = v;
    return !errno && end != s && !*end;
}

static ry_status yaml_plain(const yaml_reader *r, const yaml_event_t *e, ry_json **out) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL}, *const falses[] = {"false", "False", "FALSE",
                                                                                          NULL};
    static const char *const infs[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL};
    const char *s = (const char *)e->data.scalar.value;
    int64_t i;
    bool integral;
    if (yaml_is(s, nulls)) {
        *out = ry_json_new_null();
    } else if (yaml_is(s, trues) || yaml_is(s, falses)) {
        *out = ry_json_new_bool(yaml_is(s, trues));
    } else if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o') && s[2] &&
               !s[2 + strspn(s + 2, s[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567")]) {
        if (!yaml_integer(s + 2, s[1] == 'x' ? 16 : 8, &i))
            return yaml_bad(r, e->start_mark, "an integer beyond 64 bits");
        *out = ry_json_new_int(i);
    } else if (yaml_is_number(s, &integral)) {
        double v;
        RY_TRY(ry_json_number(s, &v));
        if (!isfinite(v)) return yaml_bad(r, e->start_mark, "a number too large for a double");
        *out = integral && yaml_integer(s, 10, &i) ? ry_json_new_int(i) : ry_json_new_real(v);
    } else if (yaml_is(s + (*s == '-' || *s == '+'), infs)) {
        return yaml_bad(r, e->start_mark, "infinity and NaN have no place in settings");
    } else {
        *out = ry_json_new_text_n(s, e->data.scalar.length);
    }
    return *out ? RY_OK : RY_ENOMEM;
}

static ry_status yaml_value(yaml_reader *r, yaml_event_t *e, ry_json **out);

static ry_status yaml_sequence(yaml_reader *r, ry_json **out) {
    ry_json *list = ry_json_new_array(), *value = NULL;
    if (!list) return RY_ENOMEM;
    ry_status st;
    for (;;) {
        yaml_event_t e;
        RY_GO(st, fail, yaml_next(r, &e));
        bool end = e.type == YAML_SEQUENCE_END_EVENT;
        st = end ? RY_OK : yaml_value(r, &e, &value);
        yaml_event_delete(&e);
        if (st != RY_OK) goto fail;
        if (end) break;
        RY_GO(st, fail, ry_json_push(list, value));
    }
    *out = list;
    return RY_OK;
fail:
    ry_json_free(list);
    return st;
}

static ry_status yaml_mapping(yaml_reader *r, ry_json **out) {
    ry_json *map = ry_json_new_object(), *value = NULL;
    if (!map) return RY_ENOMEM;
    ry_status st = RY_OK;
    for (bool end = false; st == RY_OK && !end;) {
        yaml_event_t key, e;
        if ((st = yaml_next(r, &key)) != RY_OK) break;
        const char *name = key.type == YAML_SCALAR_EVENT ? (const char *)key.data.scalar.value : NULL;
        end = key.type == YAML_MAPPING_END_EVENT;
        if (end) {
        } else if (!name) {
            st = yaml_bad(r, key.start_mark,
                          key.type == YAML_ALIAS_EVENT ? "aliases are not read" : "a key must be a word");
        } else if (strlen(name) != key.data.scalar.length) {
            st = yaml_bad(r, key.start_mark, "a key must not hold NUL");
        } else if (ry_json_find(map, name)) {
            st = ry_fail(RY_EFORMAT, "%s:%zu:%zu: the key \"%.60s\" stands here twice", r->what,
                         key.start_mark.line + 1, key.start_mark.column + 1, name);
        } else if ((st = yaml_next(r, &e)) == RY_OK) {
            st = yaml_value(r, &e, &value);
            yaml_event_delete(&e);
            if (st == RY_OK) st = ry_json_put(map, name, value);
        }
        yaml_event_delete(&key);
    }
    if (st != RY_OK) {
        ry_json_free(map);
        return st;
    }
    *out = map;
    return RY_OK;
}

/* The value that begins with event e. */
static ry_status yaml_value(yaml_reader *r, yaml_event_t *e, ry_json **out) {
    if (r->depth >= RY_JSON_MAX_DEPTH) return yaml_bad(r, e->start_mark, "lists or maps within each other too deep");
    ry_status st;
    r->depth++;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        if (e->data.scalar.tag) {
            st = yaml_bad(r, e->start_mark, "tags are not read");
        } else if (e->data.scalar.plain_implicit && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
            st = yaml_plain(r, e, out);
        } else {
            *out = ry_json_new_text_n((const char *)e->data.scalar.value, e->data.scalar.length);
            st = *out ? RY_OK : RY_ENOMEM;
        }
        break;
    case YAML_SEQUENCE_START_EVENT:
        st = e->data.sequence_start.tag ? yaml_bad(r, e->start_mark, "tags are not read") : yaml_sequence(r, out);
        break;
    case YAML_MAPPING_START_EVENT:
        st = e->data.mapping_start.tag ? yaml_bad(r, e->start_mark, "tags are not read") : yaml_mapping(r, out);
        break;
    case YAML_ALIAS_EVENT:
        st = yaml_bad(r, e->start_mark, "aliases (*name) are not read: write the value out");
        break;
    default:
        st = yaml_bad(r, e->start_mark, "a value is missing");
        break;
    }
    r->depth--;
    return st;
}

/* stream: start, at most one document, end. */
static ry_status yaml_stream(yaml_reader *r, ry_json **out) {
    ry_json *root = NULL;
    for (bool end = false; !end;) {
        yaml_event_t e;
        ry_status st = yaml_next(r, &e);
        if (st == RY_OK) {
            switch (e.type) {
            case YAML_STREAM_END_EVENT:
                end = true;
                break;
            case YAML_STREAM_START_EVENT:
            case YAML_DOCUMENT_END_EVENT:
                break;
            case YAML_DOCUMENT_START_EVENT:
                if (root) st = yaml_bad(r, e.start_mark, "more than one document");
                break;
            default:
                st = yaml_value(r, &e, &root);
                break;
            }
            yaml_event_delete(&e);
        }
        if (st != RY_OK) {
            ry_json_free(root);
            return st;
        }
    }
    if (!root && !(root = ry_json_new_null())) return RY_ENOMEM;
    *out = root;
    return RY_OK;
}

ry_status ry_yaml_parse(ry_json **out, const char *text, size_t n, const char *what) {
    if (n > YAML_MAX_BYTES)
        RY_FAIL(RY_EFORMAT, "%s: %zu bytes are too many for YAML settings (at most %d)", what, n, YAML_MAX_BYTES);
    yaml_reader r = {.what = what};
    if (!yaml_parser_initialize(&r.parser)) RY_FAIL(RY_ENOMEM, "%s: no memory to read it", what);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    ry_status st = yaml_stream(&r, out);
    yaml_parser_delete(&r.parser);
    return st;
}
#else
ry_status ry_yaml_parse(ry_json **out, const char *text, size_t n, const char *what) {
    (void)out, (void)text, (void)n;
    RY_FAIL(RY_EUNSUPPORTED,
            "%s: this build reads no YAML: install libyaml (Debian: libyaml-dev, macOS: libyaml) and build again, "
            "or write the file as JSON",
            what);
}
#endif

ry_status ry_config_read(ry_json **out, const char *path) {
    char *text;
    size_t n, len = strlen(path);
    RY_TRY(os_file_read(path, &text, &n));
    size_t at = strspn(text, " \t\r\n");
    bool json = (len >= 5 && !strcmp(path + len - 5, ".json")) || text[at] == '{';
    ry_status st = json ? ry_json_parse(out, text, n, path, 0) : ry_yaml_parse(out, text, n, path);
    ry_mem_free(text);
    return st;
}
