/* json.h - JSON as a tree: a layer over jansson's values.  Owns the tree type; strict about what strangers write; never prints.
 * yaml.h gives the same tree. Every field helper names the file and the field in its message. */
#ifndef RY_IO_JSON_H
#define RY_IO_JSON_H
#include "base/status.h"
#include "base/text.h"

typedef struct json_t ry_json; /* one value (jansson's node); freed as a whole with its root */

typedef enum {
    RY_JSON_NONE, /* no such value: what a NULL pointer is */
    RY_JSON_NULL,
    RY_JSON_BOOL,
    RY_JSON_INT,
    RY_JSON_REAL,
    RY_JSON_STRING,
    RY_JSON_ARRAY,
    RY_JSON_OBJECT
} ry_json_kind;

enum { RY_JSON_MAX_DEPTH = 256 }; /* brackets within brackets, in JSON and in YAML */

enum {
    /* For looking only: of equal keys the last one holds, and a NUL in a key is shown as U+2400. Without it both are errors. */
    RY_JSON_LENIENT = 1,
    /* An integer beyond 64 bits is an error. Without it it is read as a real (transformers writes model_max_length, 1e30, so). */
    RY_JSON_EXACT = 2
};

/* Parses n bytes of UTF-8. what: the file's name for messages ("config.json:3:9: ..."). EFORMAT. */
ry_status ry_json_parse(ry_json **out, const char *text, size_t n, const char *what, unsigned flags);
ry_status ry_json_read(ry_json **out, const char *path, unsigned flags); /* a JSON file */
void ry_json_free(ry_json *j);                                           /* NULL allowed */

/* ---- members too large for a tree: read as they stand in the text ---- */
typedef struct ry_json_reader ry_json_reader;
typedef struct ry_json_hook {
    const char *object; /* of the root: its members are offered, before they are read */
    /* To take one, read its value with the functions below and set *taken. */
    ry_status (*member)(void *ud, ry_json_reader *r, const char *name, bool *taken);
    void *ud;
} ry_json_hook;
ry_status ry_json_parse_hook(ry_json **out, const char *text, size_t n, const char *what, unsigned flags,
                             const ry_json_hook *hook);
char ry_json_peek(ry_json_reader *r); /* the first character of what comes, 0 at the end */
/* for (bool first = true, more; (st = ry_json_next_in(r, '[', &first, &more)) == RY_OK && more;): the brackets and commas of a list
 * or, with '{', of an object, whose names are read by ry_json_pull_text and ry_json_pull_colon. EFORMAT where it is something else. */
ry_status ry_json_next_in(ry_json_reader *r, char bracket, bool *first, bool *more);
ry_status ry_json_pull_text(ry_json_reader *r, const char **s, size_t *n); /* lives until the next call; may hold NUL */
ry_status ry_json_pull_colon(ry_json_reader *r);
ry_status ry_json_pull_number(ry_json_reader *r, double *out);
ry_status ry_json_wrong(ry_json_reader *r, const char *text); /* EFORMAT at this place of the file */

/* ---- looking ---- */
ry_json_kind ry_json_kind_of(const ry_json *j);
size_t ry_json_count(const ry_json *j);                              /* of an array or object, else 0 */
const ry_json *ry_json_at(const ry_json *array, size_t i);           /* NULL beyond the end */
const ry_json *ry_json_find(const ry_json *object, const char *key); /* exactly this key; NULL if absent */
/* Values as they are; false (and *out untouched) where the value is something else. An integral real (1e5) is an int too,
 * as long as a double holds every integer of its size (2^53). */
bool ry_json_as_int(const ry_json *j, int64_t *out);
bool ry_json_as_real(const ry_json *j, double *out);
bool ry_json_as_bool(const ry_json *j, bool *out);
const char *ry_json_as_text(const ry_json *j, size_t *n); /* NULL if no string; n may be NULL; 0-terminated */

/* strtod of a number with a decimal point, whatever the locale's is. ENOMEM at most. */
ry_status ry_json_number(const char *s, double *out);

/* for (ry_json_it it = ry_json_first(o); it.value; it = ry_json_next(o, it)): members in the order of the file */
typedef struct ry_json_it {
    const char *key;
    const ry_json *value;
    void *at;
} ry_json_it;
ry_json_it ry_json_first(const ry_json *object);
ry_json_it ry_json_next(const ry_json *object, ry_json_it it);

/* ---- fields, with messages: "config.json: hidden_size must be an integer from 1 to 1048576, it is "big"" ----
 * key may be a path ("rope_scaling.factor"). Where the field is absent or null: EFORMAT if needed, else *out stays as it is. */
const ry_json *ry_json_path(const ry_json *object, const char *key); /* NULL where absent or null */
ry_status ry_json_int(int64_t *out, const ry_json *object, const char *what, const char *key, int64_t lo, int64_t hi,
                      bool needed);
ry_status ry_json_real(double *out, const ry_json *object, const char *what, const char *key, double lo, double hi,
                       bool needed);
ry_status ry_json_bool(bool *out, const ry_json *object, const char *what, const char *key, bool needed);
ry_status ry_json_text(const char **out, const ry_json *object, const char *what, const char *key,
                       bool needed); /* lives with the tree */
ry_status ry_json_array(const ry_json **out, const ry_json *object, const char *what, const char *key, bool needed);
ry_status ry_json_object(const ry_json **out, const ry_json *object, const char *what, const char *key, bool needed);
/* EFORMAT if the value is not an object: for roots. */
ry_status ry_json_need_object(const ry_json *j, const char *what);

/* ---- making ---- NULL = ENOMEM (or not a finite number, not UTF-8); put and push take the value over, also on failure, so that
 * RY_GO(st, out, ry_json_put(o, "lr", ry_json_new_real(lr))) leaks nothing. */
ry_json *ry_json_new_object(void);
ry_json *ry_json_new_array(void);
ry_json *ry_json_new_null(void);
ry_json *ry_json_new_bool(bool v);
ry_json *ry_json_new_int(int64_t v);
ry_json *ry_json_new_real(double v);
ry_json *ry_json_new_text(const char *s);
ry_json *ry_json_new_text_n(const char *s, size_t n);
ry_status ry_json_put(ry_json *object, const char *key, ry_json *value); /* replaces an equal key */
void ry_json_drop(ry_json *object, const char *key);                       /* nothing where it is absent */
ry_status ry_json_push(ry_json *array, ry_json *value);

/* Appends the value; members in their order; numbers shortest so that they read back equal. indent 0: one line. */
void ry_json_write(ry_text *out, const ry_json *j, int indent);
ry_status ry_json_save(const ry_json *j,
                       const char *path); /* indent 2, a newline at the end; written beside and renamed */
#endif
