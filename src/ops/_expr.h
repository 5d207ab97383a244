/* _expr.h - the formulas of map.def read as trees, and built into graphs of map rows. */
#ifndef RY_OPS_EXPR_H
#define RY_OPS_EXPR_H
#include "core/op.h"

enum { EXPR_MAX = 160, EXPR_KIDS = 3, EXPR_LETTERS = 5 };
typedef enum expr_kind { EXPR_NUMBER, EXPR_LETTER, EXPR_CALL } expr_kind;
typedef struct expr_node {
    expr_kind kind;
    int letter;   /* EXPR_LETTER: position in "abcyg" */
    double value; /* EXPR_NUMBER */
    char row[16]; /* EXPR_CALL: the map row that computes it: "mul" for a * b, "select" for sel(..) */
    int n_kid;
    int16_t kid[EXPR_KIDS];
} expr_node;
typedef struct expr { /* kids stand before their parents; the last node is the root */
    int n;
    expr_node at[EXPR_MAX];
} expr;

/* EINTERNAL with the place in the text: formulas are ours. */
ry_status expr_parse(expr *out, const char *text);
/* in[k] stands for letter k (null where the formula does not name it). Null after an error. */
ry_tensor expr_build(ry_graph *g, const expr *e, const ry_tensor in[EXPR_LETTERS]);
#endif
