/* chars.c - properties, case and normal forms of characters, by utf8proc.  Owns nothing.
 *
 * The reference asks several libraries of several Unicode versions; where they differ from utf8proc the difference stands here. */
#include "io/tokenizer/chars.h"
#include <string.h>
#include "base/mem.h"
#ifdef RUSTY_HAVE_UTF8PROC
#include <utf8proc.h>
#endif

bool tok_is_space(int32_t cp) {
    if (cp < 0x80) return cp == ' ' || (cp >= '\t' && cp <= '\r');
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

#ifdef RUSTY_HAVE_UTF8PROC
ry_status tok_chars_known(const char *what, const char *field) {
    (void)what, (void)field;
    return RY_OK;
}

/* Characters that are marks, controls or punctuation to utf8proc and not yet to the crate unicode_categories (Unicode 8); marks that
 * are none yet to unicode_normalization_alignments (Unicode 9); and what it does not decompose yet. Between them only others lie. */
typedef struct range { int32_t from, to; } range;
static const range after_8[] = {
    {0x61D, 0x61D}, {0x7FD, 0x7FD}, {0x890, 0x8E2}, {0x9FD, 0x9FE}, {0xA76, 0xA76}, {0xAFA, 0xAFF}, {0xB55, 0xB55},
    {0xC04, 0xC3C}, {0xC77, 0xC77}, {0xC84, 0xC84}, {0xD00, 0xD00}, {0xD3B, 0xD3C}, {0xD81, 0xD81}, {0xEBA, 0xEBA},
    {0xECE, 0xECE}, {0x1734, 0x1734}, {0x180F, 0x1886}, {0x1ABF, 0x1ACE}, {0x1B7D, 0x1B7E}, {0x1DF6, 0x1DFB}, {0x2E43, 0x2E5D},
    {0xA82C, 0xA82C}, {0xA8C5, 0xA8C5}, {0xA8FF, 0xA8FF}, {0xA9BD, 0xA9BD}, {0x10D24, 0x10F89}, {0x11070, 0x11074}, {0x110C2, 0x110CD},
    {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241}, {0x1133B, 0x1133B}, {0x11438, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
    {0x1182F, 0x11FFF}, {0x12FF1, 0x13455}, {0x16E97, 0x16F4F}, {0x16FE2, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF}, {0x1E944, 0x1E95F}};
static const range marks_after_9[] = {
    {0x7FD, 0x7FD}, {0x898, 0x8D3}, {0x9FE, 0x9FE}, {0xAFA, 0xAFF}, {0xB55, 0xB55}, {0xC04, 0xC3C}, {0xCF3, 0xD00},
    {0xD3B, 0xD3C}, {0xD81, 0xD81}, {0xEBA, 0xEBA}, {0xECE, 0xECE}, {0x1715, 0x1715}, {0x180F, 0x180F}, {0x1ABF, 0x1ACE},
    {0x1CF2, 0x1CF3}, {0x1CF7, 0x1CF7}, {0x1DF6, 0x1DFA}, {0xA82C, 0xA82C}, {0xA8FF, 0xA8FF}, {0x10D24, 0x10F85}, {0x11070, 0x11074},
    {0x110C2, 0x110C2}, {0x11145, 0x11146}, {0x111C9, 0x111C9}, {0x111CE, 0x111CF}, {0x11241, 0x11241}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x1182C, 0x11A99}, {0x11D31, 0x13455}, {0x16F4F, 0x16F4F}, {0x16F7F, 0x16F87}, {0x16FE4, 0x16FF1}, {0x1CF00, 0x1CF46}, {0x1E08F, 0x1E4EF}};
static const range parts_after_9[] = {{0x32FF, 0x32FF}, {0xA7F2, 0xA7F4}, {0xAB69, 0xAB69}, {0x10781, 0x107BA}, {0x11938, 0x11938},
                                      {0x1E030, 0x1E06D}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
#define IN(cp, table) in_ranges(cp, table, sizeof(table) / sizeof *(table))
static bool in_ranges(int32_t cp, const range *r, size_t n) {
    for (size_t i = 0; i < n && r[i].from <= cp; i++)
        if (cp <= r[i].to) return true;
    return false;
}

static utf8proc_category_t category(int32_t cp) { return utf8proc_category(cp); }
static bool between(int32_t cp, utf8proc_category_t from, utf8proc_category_t to) {
    utf8proc_category_t c = category(cp);
    return c >= from && c <= to;
}

bool tok_is_word(int32_t cp) {
    if (cp < 0x80) return (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') || cp == '_';
    if (between(cp, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_NL) || category(cp) == UTF8PROC_CATEGORY_PC) return true;
    return cp == 0x200C || cp == 0x200D || (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
           (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
}
bool tok_is_number(int32_t cp) { return between(cp, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO); }
bool tok_is_punct(int32_t cp) {
    if (cp < 0x80) return (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '@') || (cp >= '[' && cp <= '`') || (cp >= '{' && cp <= '~');
    if (cp == 0x166D || cp == 0x111C9) return true; /* they were */
    return between(cp, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO) && !IN(cp, after_8);
}
bool tok_is_mark(int32_t cp) { return between(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) && !IN(cp, marks_after_9); }
bool tok_is_mn(int32_t cp) { return category(cp) == UTF8PROC_CATEGORY_MN && !IN(cp, after_8); }
bool tok_is_control(int32_t cp) {
    utf8proc_category_t c = category(cp);
    if (cp == '\t' || cp == '\n' || cp == '\r') return false;
    return (c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO) && !IN(cp, after_8);
}

int32_t tok_lower(int32_t cp, int32_t *second) {
    static const int32_t later[][3] = {{0x1C89, 0x1C89, 0x1C8A}, {0xA7CB, 0xA7CB, 0x264},      {0xA7CC, 0xA7CC, 0xA7CD}, /* Unicode 16, 17 */
                                       {0xA7CE, 0xA7CE, 0xA7CF}, {0xA7D2, 0xA7D2, 0xA7D3},     {0xA7D4, 0xA7D4, 0xA7D5}, {0xA7DA, 0xA7DA, 0xA7DB},
                                       {0xA7DC, 0xA7DC, 0x19B},  {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB}};
    *second = cp == 0x130 ? 0x307 : 0;
    for (size_t i = 0; i < sizeof later / sizeof *later && later[i][0] <= cp; i++)
        if (cp <= later[i][1]) return later[i][2] + (cp - later[i][0]);
    return cp == 0x130 ? 'i' : utf8proc_tolower(cp);
}

bool tok_grapheme_break(int32_t a, int32_t b, int32_t *state) { return utf8proc_grapheme_break_stateful(a, b, state); }

/* ---- normal forms ---- */
static int form_options(int form) {
    return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form & TOK_COMPAT ? UTF8PROC_COMPAT : 0);
}

static int combining_class(int32_t cp) { return IN(cp, marks_after_9) ? 0 : utf8proc_get_property(cp)->combining_class; }

bool tok_is_start(int32_t cp, int form) {
    utf8proc_int32_t parts[32]; /* the longest decomposition has 18 */
    int last;
    if (cp < 0x300) return true;
    if (utf8proc_decompose_char(cp, parts, 32, (utf8proc_option_t)form_options(form), &last) < 1) return true;
    return !combining_class(parts[0]) && !tok_is_mark(parts[0]) && !(parts[0] >= 0x1160 && parts[0] < 0x1200);
}

/* Marks behind a starter in the order of their classes, equal ones as they stand: a counting sort. */
static void sort_marks(int32_t *s, size_t n, int32_t *spare) {
    size_t at[256] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) at[combining_class(s[i])]++;
    for (int c = 0; c < 256; c++) {
        size_t here = at[c];
        at[c] = sum;
        sum += here;
    }
    for (size_t i = 0; i < n; i++) spare[at[combining_class(s[i])]++] = s[i];
    memcpy(s, spare, n * sizeof *s);
}

ry_status tok_normal(int32_t **buf, size_t *cap, size_t *n, int form) {
    size_t room = *n * 19 + 32, made = 0;
    int32_t *out = ry_mem_alloc(ry_mem_size(room, 2 * sizeof *out, 0)), *spare = out ? out + room : NULL;
    int last = 0;
    if (!out) return RY_ENOMEM;
    for (size_t i = 0; i < *n; i++) {
        utf8proc_ssize_t got = utf8proc_decompose_char((*buf)[i], out + made, (utf8proc_ssize_t)(room - made),
                                                       (utf8proc_option_t)form_options(form), &last);
        if (got > 0 && IN((*buf)[i], parts_after_9)) got = -1;
        if (got < 0) out[made] = (*buf)[i];
        made += got < 0 ? 1 : (size_t)got;
    }
    for (size_t i = 0, run; i < made; i += run) {
        for (run = 1; combining_class(out[i]) && i + run < made && combining_class(out[i + run]);) run++;
        if (run > 1) sort_marks(out + i, run, spare);
    }
    if (form & TOK_COMPOSE) {
        utf8proc_ssize_t got = utf8proc_normalize_utf32(out, (utf8proc_ssize_t)made, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (got >= 0) made = (size_t)got;
    }
    ry_mem_free(*buf);
    *buf = out;
    *cap = room;
    *n = made;
    return RY_OK;
}
#else
ry_status tok_chars_known(const char *what, const char *field) {
    RY_FAIL(RY_EUNSUPPORTED, "%s: %s needs the properties of characters, and this Rusty was built without utf8proc", what, field);
}
bool tok_is_word(int32_t cp) { return cp < 0 || cp >= 0x80 || (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') || cp == '_'; }
bool tok_is_number(int32_t cp) { return cp >= '0' && cp <= '9'; }
bool tok_is_punct(int32_t cp) { return (void)cp, false; }
bool tok_is_mark(int32_t cp) { return (void)cp, false; }
bool tok_is_mn(int32_t cp) { return (void)cp, false; }
bool tok_is_control(int32_t cp) { return (void)cp, false; }
int32_t tok_lower(int32_t cp, int32_t *second) { return *second = 0, cp; }
bool tok_grapheme_break(int32_t a, int32_t b, int32_t *state) { return (void)a, (void)b, (void)state, true; }
bool tok_is_start(int32_t cp, int form) { return (void)cp, (void)form, true; }
ry_status tok_normal(int32_t **buf, size_t *cap, size_t *n, int form) { return (void)buf, (void)cap, (void)n, (void)form, RY_OK; }
#endif
