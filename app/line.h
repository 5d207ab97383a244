/* line.h - a line, or several, edited on the terminal.  Knows nothing of models. */
#ifndef RUSTY_APP_LINE_H
#define RUSTY_APP_LINE_H
#include "base/text.h"

/* Earlier entries, oldest first; kept in a file where path is given. */
typedef struct line_history {
    char **at;
    size_t n, cap;
    char *path;
} line_history;
void line_history_open(line_history *h, const char *name); /* a file in the user's state folder; without one nothing is kept */
void line_history_add(line_history *h, const char *text);  /* and writes the file; equal neighbours count once */
void line_history_close(line_history *h);

typedef enum { LINE_DONE, LINE_END, LINE_INTERRUPTED, LINE_FAILED } line_result; /* END: Ctrl-D or end of file; INTERRUPTED: Ctrl-C */
/* Reads an entry; text is emptied first. On a terminal with cursor keys, Home, End, Ctrl-A E B F K U W L D P N, words by Alt or Ctrl and
 * arrows, history; pasted lines stay one entry, Alt-Enter begins a new line. Elsewhere a line of standard input, without prompt. */
line_result line_read(ry_text *text, const char *prompt, line_history *h);
/* Columns that UTF-8 text takes on a terminal: East Asian wide characters two, combining ones none. */
int line_columns(const char *s, size_t n);
#endif
