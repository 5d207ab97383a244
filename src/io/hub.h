/* hub.h - the local Hugging Face cache: where a repository's files lie in it.  The public part (ry_pull, ry_model_path) is in rusty.h. */
#ifndef RY_IO_HUB_H
#define RY_IO_HUB_H
#include "base/status.h"

/* "org/name" (or "name"): letters, digits, - _ . as the Hub allows; never a path that could leave the cache. */
bool hub_is_repo(const char *s);
/* A file's name inside a repository, as a server says it: relative, without "..", empty parts, backslashes and control characters. */
bool hub_is_file(const char *s);
/* Does the name match a shell pattern of * and ? (both match "/" too)? */
bool hub_matches(const char *pattern, const char *name);
/* HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, or ~/.cache/huggingface/hub. *out: ry_mem_free. */
ry_status hub_cache(char **out);
/* The snapshot folder of the revision in the cache. *out: ry_mem_free. ENOENT if it is not there. */
ry_status hub_snapshot(char **out, const char *repo, const char *revision);
#endif
