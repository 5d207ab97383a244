/* line.c - the line editor: text in a buffer, keys that change it, and drawing it anew after each.
 *
 * Owns the terminal only while an entry is read: between entries it is as the user's shell left it, so that Ctrl-C is a signal. */
#include "line.h"
#include "base/mem.h"
#include "base/os.h"
#include <stdio.h>
#include <string.h>

enum { HISTORY = 500 };

/* ---- characters ---- */

static size_t next_at(const char *s, size_t n, size_t i) { /* the character after the one at i */
    if (i < n) i++;
    while (i < n && ((unsigned char)s[i] & 0xC0) == 0x80) i++;
    return i;
}

static size_t before_at(const char *s, size_t i) {
    if (i > 0) i--;
    while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80) i--;
    return i;
}

static uint32_t code_point(const char *s, size_t n) {
    unsigned char c = n ? (unsigned char)*s : 0;
    uint32_t cp = c < 0x80 ? c : c < 0xE0 ? c & 0x1Fu : c < 0xF0 ? c & 0x0Fu : c & 0x07u;
    for (size_t i = 1; i < n && i < 4; i++) cp = cp << 6 | ((unsigned char)s[i] & 0x3Fu);
    return cp;
}

typedef struct range { uint32_t first, last; } range;
/* After Unicode's EastAsianWidth.txt and the general categories Mn, Me, Cf; blocks as wholes. */
static const range wide[] = {{0x1100, 0x115F}, {0x231A, 0x231B}, {0x2E80, 0x303E}, {0x3041, 0x33FF}, {0x3400, 0x4DBF}, {0x4E00, 0xA4CF}, {0xA960, 0xA97F}, {0xAC00, 0xD7A3},
                             {0xF900, 0xFAFF}, {0xFE30, 0xFE6F}, {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x1F300, 0x1F3FA}, {0x1F400, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1FAFF}, {0x20000, 0x3FFFD}};
static const range none[] = {{0x300, 0x36F}, {0x483, 0x489}, {0x591, 0x5BD}, {0x610, 0x61A}, {0x64B, 0x65F}, {0x6D6, 0x6DC}, {0x93C, 0x93C}, {0x941, 0x948}, {0xE31, 0xE31}, {0xE34, 0xE3A}, {0xE47, 0xE4E},
                             {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x2064}, {0x20D0, 0x20F0}, {0x3099, 0x309A}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}, {0x1F3FB, 0x1F3FF}, {0xE0100, 0xE01EF}};

static bool within(const range *r, size_t n, uint32_t cp) {
    for (size_t i = 0; i < n; i++)
        if (cp >= r[i].first && cp <= r[i].last) return true;
    return false;
}

static int width_of(uint32_t cp) {
    if (within(none, sizeof none / sizeof *none, cp)) return 0;
    return cp >= 0x1100 && within(wide, sizeof wide / sizeof *wide, cp) ? 2 : 1;
}

int line_columns(const char *s, size_t n) {
    int columns = 0;
    for (size_t i = 0, to; i < n; i = to) {
        to = next_at(s, n, i);
        if (s[i] == '\033') { /* a colour */
            while (i < n && s[i] != 'm') i++;
            to = i < n ? i + 1 : n;
        } else {
            columns += width_of(code_point(s + i, to - i));
        }
    }
    return columns;
}

/* ---- history: a file with an entry a line; line ends and backslashes in entries are escaped ---- */

static char *copy_of(const char *s, size_t n) {
    char *c = ry_mem_alloc(n + 1);
    if (c) memcpy(c, s, n), c[n] = 0;
    return c;
}

static void keep(line_history *h, char *entry) {
    if (!entry) return;
    if (h->n == HISTORY) {
        ry_mem_free(h->at[0]);
        memmove(h->at, h->at + 1, --h->n * sizeof *h->at);
    }
    char **slot = ry_vec_push((void **)&h->at, &h->n, &h->cap, sizeof *h->at);
    if (slot) *slot = entry;
    else ry_mem_free(entry);
}

static void read_history(line_history *h) {
    char *text;
    size_t n;
    if (os_kind(h->path) != OS_FILE || os_file_read(h->path, &text, &n) != RY_OK) return;
    for (char *s = text; *s;) {
        char *end = strchr(s, '\n'), *to = s;
        if (!end) end = s + strlen(s);
        char *next = *end ? end + 1 : end;
        for (char *p = s; p < end; p++) {
            if (*p == '\\' && p + 1 < end) *to++ = *++p == 'n' ? '\n' : *p;
            else *to++ = *p;
        }
        if (to > s) keep(h, copy_of(s, (size_t)(to - s)));
        s = next;
    }
    ry_mem_free(text);
}

void line_history_open(line_history *h, const char *name) {
    const char *state = os_env("XDG_STATE_HOME"), *home = os_env("HOME");
    *h = (line_history){0};
    char *folder = state ? os_join(state, "rusty") : (state = os_env("LOCALAPPDATA")) ? os_join(state, "rusty") : home ? os_join(home, ".local/state/rusty") : NULL;
    if (folder && os_mkdirs(folder) == RY_OK && (h->path = os_join(folder, name))) read_history(h);
    ry_mem_free(folder);
}

void line_history_add(line_history *h, const char *text) {
    if (!*text || (h->n && !strcmp(h->at[h->n - 1], text))) return;
    keep(h, copy_of(text, strlen(text)));
    if (!h->path) return;
    ry_text all = {0};
    for (size_t i = 0; i < h->n; i++) {
        for (const char *p = h->at[i]; *p; p++) {
            if (*p == '\n' || *p == '\\') ry_text_add(&all, "\\", 1);
            ry_text_add(&all, *p == '\n' ? "n" : p, 1);
        }
        ry_text_add(&all, "\n", 1);
    }
    if (ry_text_status(&all) == RY_OK) (void)os_file_write(h->path, all.at, all.n); /* history that cannot be kept is no failure */
    ry_text_free(&all);
}

void line_history_close(line_history *h) {
    for (size_t i = 0; i < h->n; i++) ry_mem_free(h->at[i]);
    ry_mem_free(h->at);
    ry_mem_free(h->path);
    *h = (line_history){0};
}

/* ---- drawing ---- */

typedef struct editor {
    os_terminal *t;
    ry_text *text;
    const char *prompt;
    size_t at;     /* the cursor's byte */
    int row;       /* the screen row where the cursor was left, from the prompt's */
    line_history *h;
    size_t entry;  /* of the history; h->n: the one being written, kept in draft */
    char *draft;
} editor;

/* Where text ends that begins at column 0 of row 0. */
static void walk(const char *s, size_t n, int columns, int *row, int *column) {
    for (size_t i = 0, to; i < n; i = to) {
        to = next_at(s, n, i);
        if (s[i] == '\n') {
            ++*row, *column = 0;
            continue;
        }
        int w = width_of(code_point(s + i, to - i));
        if (*column + w > columns) ++*row, *column = 0;
        *column += w;
    }
    if (*column == columns) ++*row, *column = 0;
}

static void draw(editor *e) {
    ry_text out = {0};
    int columns = os_terminal_columns(), row = 0, column = line_columns(e->prompt, strlen(e->prompt)), end_row, end_column;
    if (e->row) ry_text_printf(&out, "\033[%dA", e->row);
    ry_text_printf(&out, "\r\033[J%s", e->prompt);
    for (size_t i = 0; i < e->text->n; i++) {
        if (e->text->at[i] == '\n') ry_text_puts(&out, "\r\n");
        else ry_text_add(&out, e->text->at + i, 1);
    }
    end_row = row, end_column = column;
    walk(e->text->at, e->text->n, columns, &end_row, &end_column);
    walk(e->text->at, e->at, columns, &row, &column);
    if (!end_column && e->text->n && e->text->at[e->text->n - 1] != '\n') ry_text_puts(&out, "\r\n"); /* past the right edge */
    if (end_row > row) ry_text_printf(&out, "\033[%dA", end_row - row);
    ry_text_puts(&out, "\r");
    if (column) ry_text_printf(&out, "\033[%dC", column);
    e->row = row;
    if (ry_text_status(&out) == RY_OK) fwrite(out.at, 1, out.n, stdout);
    fflush(stdout);
    ry_text_free(&out);
}

/* ---- changing ---- */

static void cut(editor *e, size_t from, size_t to) {
    ry_text *t = e->text;
    memmove(t->at + from, t->at + to, t->n - to + 1);
    t->n -= to - from;
    e->at = from;
}

static void insert(editor *e, const char *s, size_t n) {
    ry_text *t = e->text;
    size_t was = t->n;
    ry_text_add(t, s, n);
    if (t->n != was + n) return; /* no memory: ry_text_status tells */
    memmove(t->at + e->at + n, t->at + e->at, was - e->at);
    memcpy(t->at + e->at, s, n);
    e->at += n;
}

static size_t word_before(const editor *e) {
    size_t i = e->at;
    while (i && strchr(" \n\t", e->text->at[i - 1])) i--;
    while (i && !strchr(" \n\t", e->text->at[i - 1])) i--;
    return i;
}

static size_t word_after(const editor *e) {
    size_t i = e->at;
    while (i < e->text->n && strchr(" \n\t", e->text->at[i])) i++;
    while (i < e->text->n && !strchr(" \n\t", e->text->at[i])) i++;
    return i;
}

static size_t line_begin(const editor *e) {
    size_t i = e->at;
    while (i && e->text->at[i - 1] != '\n') i--;
    return i;
}

static size_t line_end(const editor *e) {
    size_t i = e->at;
    while (i < e->text->n && e->text->at[i] != '\n') i++;
    return i;
}

static void recall(editor *e, size_t entry) {
    if (!e->h || entry > e->h->n || entry == e->entry) return;
    if (e->entry == e->h->n) {
        ry_mem_free(e->draft);
        e->draft = copy_of(e->text->at, e->text->n);
    }
    const char *s = entry == e->h->n ? e->draft : e->h->at[entry];
    e->entry = entry;
    cut(e, 0, e->text->n);
    if (s) insert(e, s, strlen(s));
}

/* Up and down: within an entry of several lines, then through the history. */
static void vertical(editor *e, bool up) {
    size_t begin = line_begin(e), end = line_end(e), column = e->at - begin;
    if (up && begin) {
        e->at = begin - 1;
        size_t above = line_begin(e);
        e->at = above + column < begin - 1 ? above + column : begin - 1;
    } else if (!up && end < e->text->n) {
        e->at = end + 1;
        size_t below = line_end(e);
        e->at = end + 1 + column < below ? end + 1 + column : below;
    } else {
        recall(e, up ? (e->entry ? e->entry - 1 : 0) : e->entry + 1);
        return;
    }
    while (e->at < e->text->n && e->at && ((unsigned char)e->text->at[e->at] & 0xC0) == 0x80) e->at--; /* not within a character */
}

/* What a terminal sends while "bracketed paste" is on, up to its end mark. */
static void paste(editor *e) {
    static const char mark[] = "\033[201~";
    char buf[sizeof mark];
    size_t n = 0;
    for (int c; (c = os_terminal_byte(e->t, 2)) >= 0;) {
        buf[n++] = (char)c;
        while (n && strncmp(buf, mark, n) != 0) { /* the first byte is no part of the mark */
            char one = buf[0] == '\r' ? '\n' : buf[0];
            if ((unsigned char)one >= ' ' || one == '\n' || one == '\t') insert(e, &one, 1);
            memmove(buf, buf + 1, --n);
        }
        if (n == sizeof mark - 1) return;
    }
}

/* Keys that begin with ESC. */
static void escape(editor *e) {
    char seq[8];
    size_t n = 0;
    int c = os_terminal_byte(e->t, 0.05);
    if (c == '\r' || c == '\n') {
        insert(e, "\n", 1);
        return;
    }
    if (c == 'b') e->at = word_before(e);
    if (c == 'f') e->at = word_after(e);
    if (c == 'd') cut(e, e->at, word_after(e));
    if (c == 127) cut(e, word_before(e), e->at);
    if (c != '[' && c != 'O') return;
    while ((c = os_terminal_byte(e->t, 0.05)) >= 0) { /* CSI: parameters, then a byte from @ to ~ (ECMA-48) */
        if (n + 1 < sizeof seq) seq[n++] = (char)c;
        if (c >= '@' && c <= '~') break;
    }
    seq[n] = 0;
    if (!strcmp(seq, "200~")) paste(e);
    else if (!strcmp(seq, "A")) vertical(e, true);
    else if (!strcmp(seq, "B")) vertical(e, false);
    else if (!strcmp(seq, "C")) e->at = next_at(e->text->at, e->text->n, e->at);
    else if (!strcmp(seq, "D")) e->at = before_at(e->text->at, e->at);
    else if (!strcmp(seq, "1;5C") || !strcmp(seq, "1;3C")) e->at = word_after(e);
    else if (!strcmp(seq, "1;5D") || !strcmp(seq, "1;3D")) e->at = word_before(e);
    else if (!strcmp(seq, "H") || !strcmp(seq, "1~") || !strcmp(seq, "7~")) e->at = line_begin(e);
    else if (!strcmp(seq, "F") || !strcmp(seq, "4~") || !strcmp(seq, "8~")) e->at = line_end(e);
    else if (!strcmp(seq, "3~") && e->at < e->text->n) cut(e, e->at, next_at(e->text->at, e->text->n, e->at));
}

/* True: the entry is over, as *r says. */
static bool key(editor *e, int c, line_result *r) {
    char one = (char)c;
    enum { CTRL = 0x1F };
    switch (c) {
    case '\r': case '\n': *r = LINE_DONE; return true;
    case 'C' & CTRL: *r = LINE_INTERRUPTED; return true;
    case 'D' & CTRL:
        if (!e->text->n) {
            *r = LINE_END;
            return true;
        }
        if (e->at < e->text->n) cut(e, e->at, next_at(e->text->at, e->text->n, e->at));
        break;
    case 'A' & CTRL: e->at = line_begin(e); break;
    case 'E' & CTRL: e->at = line_end(e); break;
    case 'B' & CTRL: e->at = before_at(e->text->at, e->at); break;
    case 'F' & CTRL: e->at = next_at(e->text->at, e->text->n, e->at); break;
    case 'K' & CTRL: cut(e, e->at, line_end(e)); break;
    case 'U' & CTRL: cut(e, line_begin(e), e->at); break;
    case 'W' & CTRL: cut(e, word_before(e), e->at); break;
    case 'L' & CTRL: fputs("\033[H\033[2J", stdout), e->row = 0; break;
    case 'P' & CTRL: vertical(e, true); break;
    case 'N' & CTRL: vertical(e, false); break;
    case 'H' & CTRL: case 127: cut(e, before_at(e->text->at, e->at), e->at); break;
    case 033: escape(e); break;
    default:
        if ((unsigned char)one >= ' ' || one == '\t') insert(e, &one, 1);
    }
    return false;
}

static line_result edit(ry_text *text, const char *prompt, line_history *h, os_terminal *t) {
    editor e = {.t = t, .text = text, .prompt = prompt, .h = h, .entry = h ? h->n : 0};
    line_result r = LINE_END;
    fputs("\033[?2004h", stdout); /* pasted text comes between marks */
    draw(&e);
    for (int c = os_terminal_byte(t, -1); c >= 0 && !key(&e, c, &r);) {
        if ((c = os_terminal_byte(t, 0)) != OS_TERMINAL_NONE) continue; /* it is drawn when nothing waits */
        draw(&e);
        c = os_terminal_byte(t, -1);
    }
    e.at = text->n;
    draw(&e);
    fputs("\033[?2004l\r\n", stdout);
    fflush(stdout);
    ry_mem_free(e.draft);
    return ry_text_status(text) == RY_OK ? r : LINE_FAILED;
}

line_result line_read(ry_text *text, const char *prompt, line_history *h) {
    os_terminal *t;
    text->n = 0;
    ry_text_add(text, "", 0);
    if (os_terminal_open(&t) == RY_OK) {
        line_result r = edit(text, prompt, h, t);
        os_terminal_close(t);
        return r;
    }
    for (int c;;) {
        c = getchar();
        if (c == EOF && !text->n) return ferror(stdin) ? LINE_FAILED : LINE_END;
        if (c == EOF || c == '\n') break;
        char one = (char)c;
        ry_text_add(text, &one, 1);
    }
    if (text->n && text->at[text->n - 1] == '\r') text->at[--text->n] = 0;
    return ry_text_status(text) == RY_OK ? LINE_DONE : LINE_FAILED;
}
