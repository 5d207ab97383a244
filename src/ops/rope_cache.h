/* rope_cache.h - rope and set_rows of one position as one node; see rope_cache.c. */
#ifndef RY_OPS_ROPE_CACHE_H
#define RY_OPS_ROPE_CACHE_H
#include "core/join.h"

bool rope_cache_join(ry_joiner *j, ry_node *n); /* n: a set_rows node; did it? */
#endif
