/* jinja.h - what the files of the template interpreter share: nodes, values, the running state.  Private to io/template.
 *
 * The language is Jinja2's (https://jinja.palletsprojects.com/en/stable/templates/, 3.1) as transformers sets it up for chat templates: an
 * immutable sandbox, trim_blocks, lstrip_blocks, loop controls, its own tojson. Values behave as Python's (3.11).
 * A template is parsed once into nodes in an arena; a rendering has an arena of its own, a budget of steps, bytes and depth, and
 * frees nothing before its end. Nothing here opens a file or a connection. */
#ifndef RY_IO_TEMPLATE_JINJA_H
#define RY_IO_TEMPLATE_JINJA_H
#include "base/mem.h"
#include "io/json.h"

enum {
    JINJA_MAX_SOURCE = 1 << 20,  /* bytes of a template */
    JINJA_MAX_NEST = 150,        /* blocks and brackets within each other */
    JINJA_MAX_DEPTH = 1200,      /* evaluations within each other: macros that call macros */
    JINJA_MAX_VALUE_DEPTH = 300, /* lists within lists, when they are printed or compared */
    JINJA_MAX_RANGE = 100000     /* the sandbox's own limit */
};
#define JINJA_MAX_STEPS UINT64_C(60000000) /* about two seconds */
#define JINJA_LARGE "\001integer "
#define JINJA_MAX_BYTES ((size_t)256 << 20)

/* ---- names: one object per spelling in a template, so that equal names are equal pointers ---- */
typedef struct jname {
    struct jname *next;
    uint64_t hash;
    size_t n;
    char at[];
} jname;

/* ---- values ---- */
typedef enum {
    JV_MISSING, /* no value: an argument not given */
    JV_UNDEF,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_REAL,
    JV_LARGE, /* an integer beyond 64 bits, from JSON: its digits as text; it is shown, not calculated with */
    JV_TEXT,
    JV_LIST,
    JV_TUPLE,
    JV_DICT,
    JV_RANGE,
    JV_ITER, /* a generator: can be walked once */
    JV_VIEW, /* keys, values or items of a dict */
    JV_SPACE, /* namespace() */
    JV_MACRO,
    JV_LOOP,
    JV_FUNC,
    JV_METHOD,
    JV_CYCLER,
    JV_JOINER
} jkind;

typedef struct jtext { /* UTF-8; immutable */
    const char *at;
    size_t n, chars;                /* chars: code points; SIZE_MAX: not counted yet */
    struct jroom *room;             /* of a text that grew: what follows may be free for one that goes on where this one ends */
} jtext;
typedef struct jlist jlist;
typedef struct jdict jdict;
typedef struct jundef { const char *what; size_t n; bool security; } jundef;
typedef struct jrange { int64_t start, stop, step, n; } jrange;
enum { JVIEW_KEYS, JVIEW_VALUES, JVIEW_ITEMS };

typedef struct jv {
    uint8_t kind;
    bool safe;      /* JV_TEXT: markupsafe's Markup */
    uint8_t which;  /* JV_VIEW */
    union {
        bool yes;
        int64_t i;
        double f;
        jtext *text;  /* JV_TEXT, JV_LARGE */
        jlist *list;  /* JV_LIST, JV_TUPLE */
        jdict *dict;  /* JV_DICT, JV_VIEW, JV_SPACE */
        jrange *range;
        jundef *undef; /* may be NULL */
        struct jiter *iter;
        struct jmacro *macro;
        struct jloop *loop;
        const struct jrow *row;
        struct jmethod *method;
        struct jcycler *cycler;
    };
} jv;

struct jlist { jv *at; size_t n, cap; bool group; }; /* group: groupby's pair, with .grouper and .list */
typedef struct jpair { jv key, value; uint64_t hash; } jpair;
struct jdict { jpair *at; size_t n, cap; };
typedef struct jcycler { jlist *items; size_t at; jv sep; bool used; } jcycler; /* a joiner, too */

#define JV_NOTHING ((jv){.kind = JV_NONE})
static inline jv jv_bool(bool yes) { return (jv){.kind = JV_BOOL, .yes = yes}; }
static inline jv jv_int(int64_t i) { return (jv){.kind = JV_INT, .i = i}; }
static inline jv jv_real(double f) { return (jv){.kind = JV_REAL, .f = f}; }

/* ---- nodes ---- */
typedef enum {
    /* statements */
    JN_DATA, JN_PRINT, JN_IF, JN_FOR, JN_SET, JN_SET_BLOCK, JN_MACRO, JN_CALL_BLOCK, JN_FILTER_BLOCK, JN_WITH, JN_GENERATION, JN_BLOCK, JN_BREAK, JN_CONTINUE,
    JN_BODY, /* a list of statements; in an if: a = condition or NULL for else */
    /* expressions */
    JN_CONST, JN_NAME, JN_SPACE_REF, JN_TUPLE, JN_LIST, JN_DICT, JN_COND, JN_OR, JN_AND, JN_NOT, JN_NEG, JN_POS, JN_BINARY, JN_CONCAT, JN_COMPARE,
    JN_ATTR, JN_ITEM, JN_SLICE, JN_CALL, JN_FILTER, JN_TEST,
    JN_ARGS,    /* list: positional, then JN_KEYWORD; a: *x, b: **x */
    JN_KEYWORD, /* name = a; also a parameter (a: its default), a pair of with (a = target, b = value) and of a dict (a: b) */
    JN_OPERAND  /* of a comparison */
} jnode_kind;

typedef enum { JO_ADD, JO_SUB, JO_MUL, JO_DIV, JO_FLOOR, JO_MOD, JO_POW, JO_EQ, JO_NE, JO_LT, JO_LE, JO_GT, JO_GE, JO_IN, JO_NOT_IN } jop;

typedef struct jnode jnode;
struct jnode {
    uint8_t kind, op;
    bool flag;              /* for: recursive; macro: wants varargs */
    bool flag2;             /* macro: wants kwargs */
    bool flag3;             /* macro: wants caller */
    int line;
    const jname *name;
    jnode *a, *b, *c;
    jnode **list;
    size_t n;
    jnode *body, *other;    /* JN_BODY; other: else, or parameters (JN_ARGS) */
    const struct jrow *row; /* filter or test; NULL: there is none of this name */
    jv value;
};

typedef struct jinja { /* a parsed template */
    ry_arena arena;
    char *what;             /* its name for messages */
    jname *names[256];
    jnode *root;            /* JN_BODY */
    bool generation;        /* it has {% generation %} blocks */
    uint64_t max_steps;     /* of a rendering: JINJA_MAX_STEPS, unless a test wants less */
    size_t max_bytes;
} jinja;

const jname *jinja_name(jinja *t, const char *s, size_t n);             /* NULL = ENOMEM */
const jname *jinja_known(const jinja *t, const char *s, size_t n);      /* NULL: the template does not use it */
ry_status jinja_open(jinja **out, const char *text, size_t n, const char *what);
ry_status jinja_check(jinja *t); /* of jinja_open */
void jinja_close(jinja *t);

/* ---- tokens ---- */
typedef enum {
    JT_EOF, JT_DATA, JT_PRINT_BEGIN, JT_PRINT_END, JT_BLOCK_BEGIN, JT_BLOCK_END, JT_NAME, JT_TEXT, JT_INT, JT_REAL,
    JT_OP /* op: its first two characters as one number */
} jtoken_kind;
#define JT_OP1(a) (a)
#define JT_OP2(a, b) ((a) << 8 | (b))
typedef struct jtoken {
    jtoken_kind kind;
    int op, line;
    const char *at;
    size_t n;     /* data, names: the text; texts: unescaped */
    int64_t i;
    double f;
} jtoken;
typedef RY_VEC(jtoken) jtokens;
ry_status jinja_lex(jinja *t, jtokens *out, const char *text, size_t n); /* out: RY_VEC_FREE; texts live in the template's arena */

/* ---- running ---- */
typedef struct jbind { const jname *name; jv value; } jbind;
typedef struct jscope {
    struct jscope *parent;
    jbind *at;
    size_t n, cap;
    bool kept; /* a macro was made here and may outlive it */
} jscope;
typedef struct jbuf { char *at; size_t n, cap; } jbuf; /* in the arena */
typedef struct jtime { int year, month, day, hour, minute, second, week_day, year_day, micro; } jtime; /* week_day: Monday = 0 */

typedef struct jrun {
    const jinja *t;
    ry_arena arena;
    size_t bytes;
    uint64_t steps;
    int depth, value_depth, line;
    enum { JFLOW_ON, JFLOW_BREAK, JFLOW_CONTINUE } flow;
    jscope globals, root;
    jbuf out;              /* what is rendered */
    jv input;              /* the text of a filter block, for the first of its filters */
    RY_VEC(ry_span) spans;
    bool large;            /* texts that begin with JINJA_LARGE are integers beyond 64 bits */
    jtime now;
} jrun;

ry_status jrun_fail(jrun *r, ry_status st, const char *fmt, ...) RY_PRINTF(3, 4); /* with the template's name and line */
ry_status jrun_step(jrun *r, size_t n);                    /* n more steps, or the error that names the limit */
void *jrun_alloc(jrun *r, size_t bytes);                   /* NULL: the error is recorded; jrun_nomem returns it */
ry_status jrun_nomem(jrun *r);
#define JRUN_NEW(r, type, n) ((type *)jrun_alloc((r), ry_mem_size((size_t)(n), sizeof(type), 0)))

typedef struct jkey { const jname *name; const char *text; size_t n; jv value; } jkey;
typedef struct jargs { jv *at; size_t n; jkey *key; size_t keys; } jargs; /* of a filter, test or method at[0] is what it works on */
/* a: the arguments as `params` names them; those not given are JV_MISSING. */
typedef ry_status (*jfn)(jrun *r, jv *a, const jargs *all, jv *out);
typedef struct jrow {
    const char *name;
    jfn fn;
    const char *params; /* names, with spaces between; "*": looks at `all` itself */
    int need;           /* so many of them must be given */
} jrow;
typedef struct jmethod { jv self; const jrow *row; } jmethod;
typedef struct jmacro { const jnode *node; jscope *scope; const jname *name; } jmacro;
typedef struct jloop {
    struct jiter *iter;
    jv source, before, now, after, changed;
    int64_t index0, length; /* length -1: not known yet */
    int depth;
    const jnode *recursive; /* or NULL */
    jscope *scope;          /* around the loop */
} jloop;

const jrow *jinja_filter(const char *name, size_t n);
const jrow *jinja_test(const char *name, size_t n);
const jrow *jinja_global(const char *name, size_t n);
const jrow *jinja_method(jv self, const char *name, size_t n); /* NULL: none */
const jrow *jrow_find(const jrow *table, const char *name, size_t n);

ry_status jinja_run(jrun *r);                                                     /* the whole template into r->out */
ry_status jinja_call_row(jrun *r, const jrow *row, const jargs *args, jv *out);   /* binds the arguments */
ry_status jinja_call(jrun *r, jv f, const jargs *args, jv *out);
ry_status jinja_attr(jrun *r, jv object, const char *name, size_t n, jv *out);    /* object.name */
ry_status jinja_item(jrun *r, jv object, jv key, jv *out);                        /* object[key] */
ry_status jinja_path(jrun *r, jv object, jv path, jv standby, jv *out);           /* an attribute argument: "a.b.0"; standby: JV_MISSING or what undefined becomes */
ry_status jinja_slice(jrun *r, jv object, jv start, jv stop, jv step, jv *out);
ry_status jinja_exec_body(jrun *r, const jnode *body, jscope *s, jbuf *out);
ry_status jinja_call_macro(jrun *r, const jmacro *m, const jargs *args, jv *out);
ry_status jinja_call_loop(jrun *r, jloop *l, jv items, jv *out);
ry_status jinja_assign(jrun *r, const jnode *target, jv v, jscope *s);
ry_status jinja_eval(jrun *r, const jnode *e, jscope *s, jv *out);
ry_status jinja_eval_call(jrun *r, const jnode *e, jscope *s, const jv *caller, jv *out);

/* ---- values (value.c) ---- */
jv *jscope_find(jscope *s, const jname *name);
ry_status jscope_put(jrun *r, jscope *s, const jname *name, jv v);
ry_status jv_text(jrun *r, jv *out, const char *s, size_t n);             /* keeps s, copies nothing */
ry_status jv_text_buf(jrun *r, jv *out, const jbuf *b);
#define JV_LITERAL(r, out, s) jv_text((r), (out), "" s, sizeof(s) - 1)
size_t jtext_chars(jtext *t);
size_t jtext_offset(jtext *t, size_t chars);                             /* bytes before that many code points */
ry_status jv_list(jrun *r, jv *out, jkind kind, size_t cap);
ry_status jlist_push(jrun *r, jlist *l, jv v);
ry_status jv_dict(jrun *r, jv *out, size_t cap);
ry_status jdict_put(jrun *r, jdict *d, jv key, jv value);                 /* EARG: the key cannot be one */
ry_status jdict_find(jrun *r, const jdict *d, jv key, jv **out);          /* *out NULL: absent */
jv *jdict_text(const jdict *d, uint64_t hash, const char *s, size_t n);
ry_status jdict_pair(jrun *r, const jpair *p, jv *out);                   /* (key, value) */
ry_status jv_json(jrun *r, jv *out, const ry_json *j);                    /* texts stay in j */
ry_status jv_undefined(jrun *r, jv *out, bool security, const char *fmt, ...) RY_PRINTF(4, 5);
ry_status jv_no_undefined(jrun *r, jv v);                                 /* the error of using an undefined value */
bool jv_is_int(jv v);                                                     /* or a bool */
bool jv_is_number(jv v);
int64_t jv_as_int(jv v);
double jv_as_real(jv v);
const char *jv_type(jv v);                                                /* "str" */
ry_status jv_true(jrun *r, jv v, bool *out);
ry_status jv_length(jrun *r, jv v, int64_t *out);
bool jv_has_length(jv v);
ry_status jv_equal(jrun *r, jv a, jv b, bool *out);
ry_status jv_less(jrun *r, jv a, jv b, jop op, bool *out);
ry_status jv_in(jrun *r, jv item, jv box, bool *out);
ry_status jv_binary(jrun *r, jop op, jv a, jv b, jv *out);                /* arith.c */
ry_status jv_negate(jrun *r, jv a, bool minus, jv *out);
ry_status jv_need_text(jrun *r, jv v, const char *what, jtext **out);
ry_status jv_need_int(jrun *r, jv v, const char *what, int64_t *out);
size_t jtext_search(const char *s, size_t n, const char *w, size_t m);   /* first place, or SIZE_MAX */
ry_status jtext_find(jrun *r, const char *s, size_t n, const char *w, size_t m, size_t *at); /* counts its steps */

/* ---- iteration (iter.c) ---- */
typedef ry_status (*jiter_fn)(jrun *r, struct jiter *it, jv *out, bool *more);
typedef struct jiter {
    jiter_fn next;
    jv source;
    int64_t at, n;
    struct jiter *from;      /* opened at the first step where it is a filter's */
    jargs args;
    bool wanted, by_attr;    /* select: which answer stays */
    jv by, standby;
    const jrow *row;
    jdict *seen;
    bool fold;               /* unique: not case sensitive */
    const jnode *node;       /* for x in y if z */
    jscope *scope;
} jiter;
ry_status jiter_open(jrun *r, jv v, jiter **out);                        /* error where v cannot be walked */
static inline ry_status jiter_next(jrun *r, jiter *it, jv *out, bool *more) { return it->next(r, it, out, more); }
bool jv_can_iterate(jv v);
ry_status jv_collect(jrun *r, jv v, jv *out);                            /* list(v) */
extern const jrow jinja_lazy[];                                          /* map, select, reject, selectattr, rejectattr, unique, batch, slice, items */

extern const jrow jinja_numeric[]; /* numbers.c */

/* ---- texts of values (print.c) ---- */
ry_status jbuf_add(jrun *r, jbuf *b, const char *s, size_t n);
ry_status jbuf_printf(jrun *r, jbuf *b, const char *fmt, ...) RY_PRINTF(3, 4);
static inline ry_status jbuf_puts(jrun *r, jbuf *b, const char *s) { size_t n = 0; while (s[n]) n++; return jbuf_add(r, b, s, n); }
ry_status jbuf_char(jrun *r, jbuf *b, int32_t cp);
ry_status jbuf_str(jrun *r, jbuf *b, jv v);                               /* Python's str() */
ry_status jbuf_repr(jrun *r, jbuf *b, jv v);
ry_status jbuf_escape(jrun *r, jbuf *b, const char *s, size_t n);         /* markupsafe's escape */
ry_status jv_str(jrun *r, jv v, jv *out);                                 /* str(v): a text */
ry_status jv_plain(jrun *r, jv v, jtext **out);                           /* the same, as bytes */
void jinja_real(char out[40], double f);                                  /* repr of a float */
typedef struct jjson { bool ascii, sort; jtext *indent, *item, *key; } jjson; /* indent NULL: one line */
ry_status jbuf_json(jrun *r, jbuf *b, jv v, const jjson *o, int level);

/* ---- %-format, str.format, strftime (format.c) ---- */
ry_status jinja_percent(jrun *r, jv format, jv args, jv *out);
ry_status jinja_format(jrun *r, jtext *format, const jargs *args, jv *out); /* at[0] is the format itself */
ry_status jinja_strftime(jrun *r, jtext *format, jv *out);

/* ---- characters (unicode.c) ---- */
bool juni_space(int32_t cp);
bool juni_line(int32_t cp);      /* where splitlines splits */
bool juni_printable(int32_t cp);
bool juni_alpha(int32_t cp);
bool juni_digit(int32_t cp);     /* isdigit's */
bool juni_decimal(int32_t cp);
bool juni_word(int32_t cp);      /* \w */
bool juni_upper(int32_t cp);
bool juni_lower(int32_t cp);
bool juni_title(int32_t cp);
static inline bool juni_cased(int32_t cp) { return juni_upper(cp) || juni_lower(cp) || juni_title(cp); }
typedef enum { JCASE_UPPER, JCASE_LOWER, JCASE_TITLE } jcase;
int juni_case(int32_t out[3], int32_t cp, jcase to); /* how many */
ry_status jbuf_case(jrun *r, jbuf *b, const jtext *t, size_t at, int32_t cp, jcase to); /* the character at byte `at` of t */
ry_status jtext_case(jrun *r, jtext *t, jcase to, jv *out); /* upper(), lower(); sigma at a word's end, too */
#endif
