/* hub.c - Hugging Face repositories: looked up in the local cache, and fetched into it in the layout that huggingface_hub uses too.
 *
 * CACHE/models--org--name/{refs/REVISION, blobs/HASH, snapshots/COMMIT/FILE -> ../../blobs/HASH}. A blob is written as
 * HASH.incomplete, resumed from there, checked by size and hash, then renamed; refs come last: a snapshot that refs names is whole.
 * Owns the cache's layout. Trusts nothing that a server says: names, sizes and hashes are checked before they are used. */
#include "io/hub.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/text.h"
#include "io/http.h"
#include "io/json.h"
#include <stdio.h>
#include <string.h>

enum { LIST_BYTES = 64 << 20, TRIES = 5 };

/* ---- names ---- */

static bool word(const char *s, size_t n) {
    if (!n || n > 96 || s[0] == '.' || s[0] == '-' || s[n - 1] == '.') return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')) return false;
        if (i && c == '.' && s[i - 1] == '.') return false;
    }
    return true;
}

bool hub_is_repo(const char *s) {
    const char *slash = strchr(s, '/');
    return slash ? word(s, (size_t)(slash - s)) && word(slash + 1, strlen(slash + 1)) : word(s, strlen(s));
}

bool hub_is_file(const char *s) {
    if (!*s || strlen(s) > 1024) return false;
    for (const char *p = s;; p++) {
        size_t n = strcspn(p, "/");
        if (!n || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)p[i] < 32 || p[i] == '\\' || p[i] == ':' || p[i] == 127) return false;
        p += n;
        if (!*p) return true;
    }
}

bool hub_matches(const char *pattern, const char *name) {
    const char *star = NULL, *back = NULL;
    while (*name) {
        if (*pattern == '*') star = pattern++, back = name;
        else if (*pattern && (*pattern == '?' || *pattern == *name)) pattern++, name++;
        else if (star) pattern = star + 1, name = ++back;
        else return false;
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

static bool is_hex(const char *s, size_t n) {
    if (strlen(s) != n) return false;
    for (; *s; s++)
        if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f'))) return false;
    return true;
}

/* ---- the cache ---- */

static char *format(const char *fmt, ...) RY_PRINTF(1, 2);
static char *format(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = ry_mem_alloc((size_t)n + 1);
    if (!s) return NULL;
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

static ry_status home(char **out) { /* HF_HOME */
    const char *at = os_env("HF_HOME"), *xdg = os_env("XDG_CACHE_HOME"), *user = os_env("HOME");
    if (!user) user = os_env("USERPROFILE");
    if (at) *out = format("%s", at);
    else if (xdg) *out = format("%s/huggingface", xdg);
    else if (user) *out = format("%s/.cache/huggingface", user);
    else RY_FAIL(RY_ENOENT, "where the Hugging Face cache is cannot be told: set HF_HOME");
    return *out ? RY_OK : RY_ENOMEM;
}

ry_status hub_cache(char **out) {
    const char *at = os_env("HF_HUB_CACHE");
    if (!at) at = os_env("HUGGINGFACE_HUB_CACHE"); /* its older name */
    if (at) return (*out = format("%s", at)) ? RY_OK : RY_ENOMEM;
    char *base;
    RY_TRY(home(&base));
    *out = os_join(base, "hub");
    ry_mem_free(base);
    return *out ? RY_OK : RY_ENOMEM;
}

static ry_status repo_folder(char **out, const char *repo) {
    char *cache;
    const char *slash = strchr(repo, '/');
    RY_TRY(hub_cache(&cache));
    *out = slash ? format("%s/models--%.*s--%s", cache, (int)(slash - repo), repo, slash + 1) : format("%s/models--%s", cache, repo);
    ry_mem_free(cache);
    return *out ? RY_OK : RY_ENOMEM;
}

ry_status hub_snapshot(char **out, const char *repo, const char *revision) {
    char *folder = NULL, *ref = NULL, *commit = NULL, *snapshot = NULL;
    size_t n = 0;
    if (!hub_is_repo(repo) || !hub_is_file(revision)) RY_FAIL(RY_EARG, "%s (revision %s) is no name of a Hugging Face repository", repo, revision);
    RY_TRY(repo_folder(&folder, repo));
    ry_status st = RY_OK;
    if (is_hex(revision, 40)) commit = format("%s", revision);
    else if (!(ref = format("%s/refs/%s", folder, revision))) st = RY_ENOMEM;
    else if (os_kind(ref) == OS_FILE && (st = os_file_read(ref, &commit, &n)) == RY_OK) {
        commit[strcspn(commit, " \r\n")] = 0;
        if (!is_hex(commit, 40)) st = ry_fail(RY_EFORMAT, "%s holds no commit", ref);
    }
    if (st == RY_OK && commit && !(snapshot = format("%s/snapshots/%s", folder, commit))) st = RY_ENOMEM;
    if (st == RY_OK && (!snapshot || os_kind(snapshot) != OS_FOLDER))
        st = ry_fail(RY_ENOENT, "%s: there is no such file or folder, nor such a model in the Hugging Face cache; rusty pull %s would fetch it", repo, repo);
    ry_mem_free(folder);
    ry_mem_free(ref);
    ry_mem_free(commit);
    if (st == RY_OK) *out = snapshot;
    else ry_mem_free(snapshot);
    return st;
}

typedef struct gguf_names { char found[512]; int n; } gguf_names;
static bool count_gguf(void *ud, const char *name) {
    gguf_names *g = ud;
    size_t n = strlen(name);
    if (n > 5 && n < sizeof g->found && !strcmp(name + n - 5, ".gguf") && !g->n++) memcpy(g->found, name, n + 1);
    return true;
}

/* A folder of GGUF files only, the one that is here: *inside, NULL where it is another folder. */
static ry_status only_gguf(char **inside, const char *folder, const char *shown) {
    static const char *const others[] = {"config.json", "tokenizer.json"};
    gguf_names g = {.n = 0};
    *inside = NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = os_join(folder, others[i]);
        if (!path) return RY_ENOMEM;
        bool here = os_kind(path) == OS_FILE;
        ry_mem_free(path);
        if (here) return RY_OK;
    }
    RY_TRY(os_list(folder, count_gguf, &g));
    if (g.n > 1) RY_FAIL(RY_EARG, "%s holds %d GGUF files: give the path of one, such as %s/%s", shown, g.n, folder, g.found);
    return !g.n || (*inside = os_join(folder, g.found)) ? RY_OK : RY_ENOMEM;
}

ry_status ry_model_path(char **out, const char *model) {
    if (!out || !model) RY_FAIL(RY_EARG, "ry_model_path: out and model must be given");
    char *folder, *inside = NULL;
    int kind = os_kind(model);
    if (kind == OS_NOTHING && !hub_is_repo(model)) RY_FAIL(RY_ENOENT, "%s: there is no such file or folder", model);
    if (kind == OS_NOTHING) RY_TRY(hub_snapshot(&folder, model, "main"));
    else if (!(folder = format("%s", model))) return RY_ENOMEM;
    ry_status st = kind == OS_NOTHING || kind == OS_FOLDER ? only_gguf(&inside, folder, model) : RY_OK;
    if (st != RY_OK || inside) ry_mem_free(folder);
    if (st == RY_OK) *out = inside ? inside : folder;
    return st;
}

/* ---- fetching ---- */

typedef struct hub_file {
    char *name;
    int64_t size;       /* -1: not known yet */
    char hash[HTTP_TAG];/* 64 digits: SHA-256; 40: Git's; else not known yet */
} hub_file;

typedef struct pull {
    const ry_pull_options *o;
    const char *repo, *revision, *endpoint;
    char *token, *folder, *locks;
    char commit[41];
    http_client *http;
    RY_VEC(hub_file) files;
    size_t at;          /* the file that is being fetched */
    int64_t all, before;/* bytes of all files; of those that are done */
    /* the body that is being read */
    ry_text *text;
    os_out *out;
    const char *path;
    int64_t have;
    hub_file *file;
    bool restart;
} pull;

static void tell(const pull *p) {
    if (p->o->progress) p->o->progress(p->o->ud, p->files.at[p->at].name, p->before + p->have, p->all);
}

static ry_status said(const pull *p, long code, const char *what) {
    const char *key = p->token ? "the token was refused, or has no access to it" : "it is private or gated, or does not exist: set HF_TOKEN";
    if (code == 401 || code == 403) RY_FAIL(RY_EIO, "%s: %s (%ld): %s", p->repo, what, code, key);
    if (code == 404) RY_FAIL(RY_ENOENT, "%s: %s is not there (404): is the name right?", p->repo, what);
    RY_FAIL(RY_EIO, "%s: the server answers %ld for %s", p->repo, code, what);
}

static bool worth_a_try(ry_status st, long code) { return st == RY_EIO || (st == RY_OK && (code >= 500 || code == 429 || code == 408)); }

static ry_status wait(const pull *p, int tries) {
    for (double left = 0.25 * (double)(1 << tries); left > 0; left -= 0.1) {
        if (p->o->stop && *p->o->stop) RY_FAIL(RY_ESTOPPED, "stopped; run it again to go on where it was");
        os_sleep(left < 0.1 ? left : 0.1);
    }
    return RY_OK;
}

static ry_status list_body(void *ud, const http_reply *r, const void *data, size_t n) {
    pull *p = ud;
    (void)r;
    if (p->text->n + n > LIST_BYTES) RY_FAIL(RY_EFORMAT, "%s: the server's list of files has no end", p->repo);
    ry_text_add(p->text, data, n);
    return ry_text_status(p->text);
}

static ry_status get_list(pull *p, ry_text *text, const char *url, long *code) {
    for (int tries = 0;; tries++) {
        http_reply r;
        text->n = 0;
        p->text = text;
        ry_status st = http_run(p->http, &r, &(http_get){.url = url, .token = p->token, .patience = p->o->patience, .body = list_body, .ud = p, .stop = p->o->stop});
        *code = r.code;
        if (!worth_a_try(st, r.code) || tries + 1 == TRIES) return st;
        RY_TRY(wait(p, tries));
    }
}

/* Hugging Face repositories hold the same weights in several forms: only what Rusty reads is fetched. */
static bool wanted(const pull *p, const char *name, bool tensors) {
    static const char *const yes[] = {"*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken", "LICENSE*", "README.md"};
    static const char *const no[] = {"original/*", "onnx/*", "*consolidated*", "coreml/*", "openvino/*", "*/optimizer*", "runs/*"};
    if (p->o->include) {
        for (const char *const *f = p->o->include; *f; f++)
            if (hub_matches(*f, name)) return true;
        return false;
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (hub_matches(no[i], name)) return false;
    if (!tensors && hub_matches("*.gguf", name)) return true;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (hub_matches(yes[i], name)) return true;
    return false;
}

static ry_status read_list(pull *p, const ry_json *root) {
    const char *what = "the server's answer", *sha = NULL, *name;
    const ry_json *list;
    RY_TRY(ry_json_need_object(root, what));
    RY_TRY(ry_json_text(&sha, root, what, "sha", true));
    if (!is_hex(sha, 40)) RY_FAIL(RY_EFORMAT, "%s: sha '%.60s' is no commit", what, sha);
    memcpy(p->commit, sha, 41);
    RY_TRY(ry_json_array(&list, root, what, "siblings", true));
    bool tensors = false;
    int ggufs = 0;
    for (size_t i = 0; i < ry_json_count(list); i++) {
        name = ry_json_as_text(ry_json_path(ry_json_at(list, i), "rfilename"), NULL);
        if (!name || !hub_is_file(name)) RY_FAIL(RY_EFORMAT, "%s: siblings[%zu].rfilename %s%.80s is no file's name", what, i, name ? "" : "(missing)", name ? name : "");
        if (hub_matches("*.safetensors", name) && !strchr(name, '/')) tensors = true;
        if (hub_matches("*.gguf", name)) ggufs++;
    }
    if (!tensors && ggufs > 1 && !p->o->include)
        RY_FAIL(RY_EARG, "%s holds %d GGUF files: say which with --include, such as --include '*Q4_K_M*'", p->repo, ggufs);
    for (size_t i = 0; i < ry_json_count(list); i++) {
        const ry_json *j = ry_json_at(list, i);
        name = ry_json_as_text(ry_json_path(j, "rfilename"), NULL);
        if (!wanted(p, name, tensors)) continue;
        hub_file *f = RY_PUSH(&p->files);
        if (!f || !(f->name = format("%s", name))) return RY_ENOMEM;
        f->size = -1;
        int64_t size;
        const char *sum = ry_json_as_text(ry_json_path(j, "lfs.sha256"), NULL), *git = ry_json_as_text(ry_json_path(j, "blobId"), NULL);
        if (ry_json_as_int(ry_json_path(j, "size"), &size) && size >= 0) f->size = size;
        if (sum && is_hex(sum, 64)) memcpy(f->hash, sum, 65);
        else if (git && !ry_json_path(j, "lfs") && is_hex(git, 40)) memcpy(f->hash, git, 41);
        if (f->size > 0) p->all += f->size;
    }
    if (!p->files.n) RY_FAIL(RY_ENOENT, "%s holds no file that %s", p->repo, p->o->include ? "matches --include" : "Rusty reads (safetensors, GGUF, tokenizers)");
    return RY_OK;
}

static ry_status list_files(pull *p) {
    ry_text text = {0};
    ry_json *root = NULL;
    long code = 0;
    char *url = format("%s/api/models/%s/revision/%s?blobs=true", p->endpoint, p->repo, p->revision);
    ry_status st = url ? get_list(p, &text, url, &code) : RY_ENOMEM;
    if (st == RY_OK && code != 200) st = said(p, code, p->revision);
    if (st == RY_OK) st = ry_json_parse(&root, text.n ? text.at : "", text.n, url, 0);
    if (st == RY_OK) st = read_list(p, root);
    ry_json_free(root);
    ry_text_free(&text);
    ry_mem_free(url);
    return st;
}

/* What the answer's head tells, where the list did not. */
static ry_status learn(pull *p, const http_reply *r) {
    hub_file *f = p->file;
    int64_t size = r->linked_size >= 0 ? r->linked_size : r->length < 0 ? -1 : r->code == 206 ? r->from + r->length : r->length;
    if (f->size < 0) f->size = size;
    else if (size >= 0 && size != f->size)
        RY_FAIL(RY_EFORMAT, "%s: %s: the server sends %lld bytes where %lld were promised", p->repo, f->name, (long long)size, (long long)f->size);
    if (!is_hex(f->hash, 64) && !is_hex(f->hash, 40)) snprintf(f->hash, sizeof f->hash, "%s", r->etag);
    return RY_OK;
}

static ry_status file_body(void *ud, const http_reply *r, const void *data, size_t n) {
    pull *p = ud;
    if (!p->out) { /* the first bytes */
        RY_TRY(learn(p, r));
        if (r->code == 206 && r->from != p->have) RY_FAIL(RY_EFORMAT, "%s: %s: asked for the bytes from %lld on, the server sends those from %lld", p->repo, p->file->name, (long long)p->have, (long long)r->from);
        if (r->code == 200) p->have = 0; /* it does not resume: from the beginning */
        RY_TRY(os_append_open(&p->out, p->path, p->have));
    }
    if (p->file->size >= 0 && (int64_t)n > p->file->size - p->have)
        RY_FAIL(RY_EFORMAT, "%s: %s: the server sends more than the %lld bytes that it promised", p->repo, p->file->name, (long long)p->file->size);
    RY_TRY(os_out_write(p->out, data, n));
    p->have += (int64_t)n;
    tell(p);
    return RY_OK;
}

static int64_t bytes_of(const char *path) {
    os_map m;
    if (os_kind(path) != OS_FILE || os_map_open(&m, path) != RY_OK) return -1;
    int64_t n = (int64_t)m.bytes;
    os_map_close(&m);
    return n;
}

/* Size and hash of what lies in p->path. Where the server gave no hash, the file's own becomes its name. */
static ry_status check(pull *p) {
    hub_file *f = p->file;
    os_map m;
    char hex[HASH_HEX];
    RY_TRY(os_map_open(&m, p->path));
    if (is_hex(f->hash, 40)) hash_git_blob(hex, m.data, m.bytes);
    else hash_sha256(hex, m.data, m.bytes);
    int64_t n = (int64_t)m.bytes;
    os_map_close(&m);
    if (f->size >= 0 && n != f->size) RY_FAIL(RY_EFORMAT, "%s: %s has %lld bytes, %lld were promised", p->repo, f->name, (long long)n, (long long)f->size);
    if (!is_hex(f->hash, 64) && !is_hex(f->hash, 40)) memcpy(f->hash, hex, HASH_HEX);
    else if (strcmp(f->hash, hex)) RY_FAIL(RY_EFORMAT, "%s: %s came damaged: its hash is %.12s..., %.12s... was promised", p->repo, f->name, hex, f->hash);
    return RY_OK;
}

/* The whole file into p->path, from where it ends. */
static ry_status fetch(pull *p, const char *url) {
    bool again = false; /* once, from the beginning, where the result was damaged: what lay there may have been */
    for (int tries = 0;;) {
        http_reply r = {.code = 0};
        int64_t had = bytes_of(p->path);
        p->have = had < 0 ? 0 : had;
        ry_status st = RY_OK;
        if (p->file->size < 0 || p->have < p->file->size || had < 0) {
            p->out = NULL;
            st = http_run(p->http, &r, &(http_get){.url = url, .token = p->token, .from = p->have, .patience = p->o->patience, .body = file_body, .ud = p, .stop = p->o->stop});
            os_append_close(p->out);
            if (st == RY_OK && r.code != 200 && r.code != 206 && r.code != 416 && !worth_a_try(st, r.code)) return said(p, r.code, p->file->name);
            if (st == RY_OK && r.code == 200 && !p->out) st = learn(p, &r) == RY_OK ? os_file_write(p->path, "", 0) : RY_EFORMAT; /* an empty file */
            if (worth_a_try(st, r.code)) {
                if (p->have > had) tries = 0; /* it moves */
                if (++tries == TRIES) return st == RY_OK ? said(p, r.code, p->file->name) : st;
                RY_TRY(wait(p, tries));
                continue;
            }
        }
        if (st == RY_ESTOPPED) RY_FAIL(st, "stopped; run it again to go on where it was");
        if (st == RY_OK && p->file->size >= 0 && bytes_of(p->path) < p->file->size && r.code != 416) { /* ended early, and called it done */
            if (++tries == TRIES) RY_FAIL(RY_EIO, "%s: %s ends early, again and again", p->repo, p->file->name);
            RY_TRY(wait(p, tries));
            continue;
        }
        if (st == RY_OK) st = check(p);
        if (st == RY_OK) return RY_OK;
        os_remove_tree(p->path);
        if (st != RY_EFORMAT || again) return st;
        again = true;
    }
}

/* snapshots/COMMIT/FILE points at blobs/HASH; where links cannot be made, the file itself moves there. */
static ry_status place(pull *p, const char *blob) {
    char *at = format("%s/snapshots/%s/%s", p->folder, p->commit, p->file->name), *up = NULL;
    ry_text target = {0};
    ry_status st = at && (up = format("%s", at)) ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) {
        *strrchr(up, '/') = 0;
        st = os_mkdirs(up);
        ry_text_puts(&target, "../../");
        for (const char *s = p->file->name; (s = strchr(s, '/')); s++) ry_text_puts(&target, "../");
        ry_text_printf(&target, "blobs/%s", p->file->hash);
        if (st == RY_OK) st = ry_text_status(&target);
    }
    if (st == RY_OK && (st = os_link(target.at, at)) == RY_EUNSUPPORTED) st = os_rename(blob, at);
    ry_text_free(&target);
    ry_mem_free(at);
    ry_mem_free(up);
    return st;
}

static ry_status pull_one(pull *p) {
    hub_file *f = p->file = &p->files.at[p->at];
    bool known = is_hex(f->hash, 64) || is_hex(f->hash, 40);
    char *blob = NULL, *part = NULL, *lock_path = NULL, *url = NULL, key[HASH_HEX];
    os_lock *lock = NULL;
    p->have = 0;
    /* Files whose hash is not known yet lie under that of their name until they are. */
    char *id = format("%s/%s", p->commit, f->name);
    if (!id) return RY_ENOMEM;
    hash_sha256(key, id, strlen(id));
    ry_mem_free(id);
    if (known) memcpy(key, f->hash, strlen(f->hash) + 1); /* at most 64 digits */
    ry_text name = {0}; /* of the file in the URL */
    for (const char *s = f->name; *s; s++)
        ry_text_printf(&name, (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("-_./", *s) ? "%c" : "%%%02X", (unsigned char)*s);
    ry_status st = ry_text_status(&name);
    if (st == RY_OK && (!(part = format("%s/blobs/%s.incomplete", p->folder, key)) || !(lock_path = format("%s/%s.lock", p->locks, key)) ||
                        !(url = format("%s/%s/resolve/%s/%s", p->endpoint, p->repo, p->commit, name.at))))
        st = RY_ENOMEM;
    if (st == RY_OK && known && !(blob = format("%s/blobs/%s", p->folder, f->hash))) st = RY_ENOMEM;
    if (st == RY_OK) st = os_lock_open(&lock, lock_path);
    if (st == RY_OK && !(blob && bytes_of(blob) >= 0 && (f->size < 0 || bytes_of(blob) == f->size))) {
        p->path = part;
        st = fetch(p, url);
        if (st == RY_OK && !blob && !(blob = format("%s/blobs/%s", p->folder, f->hash))) st = RY_ENOMEM;
        if (st == RY_OK) st = os_rename(part, blob);
    }
    if (st == RY_OK) st = place(p, blob);
    os_lock_close(lock);
    p->before += f->size > 0 ? f->size : 0;
    p->have = 0;
    tell(p);
    ry_text_free(&name);
    ry_mem_free(blob);
    ry_mem_free(part);
    ry_mem_free(lock_path);
    ry_mem_free(url);
    return st;
}

static ry_status token_of(char **out) {
    const char *t = os_env("HF_TOKEN"), *at = os_env("HF_TOKEN_PATH");
    char *base = NULL, *path = NULL;
    size_t n;
    if (!t) t = os_env("HUGGING_FACE_HUB_TOKEN");
    if (t) return (*out = format("%s", t)) ? RY_OK : RY_ENOMEM;
    if (!at && home(&base) != RY_OK) return RY_OK;
    path = at ? format("%s", at) : os_join(base, "token");
    ry_status st = path ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && os_kind(path) == OS_FILE && (st = os_file_read(path, out, &n)) == RY_OK) {
        (*out)[strcspn(*out, " \r\n")] = 0;
        if (!**out) ry_mem_free(*out), *out = NULL;
    }
    ry_mem_free(base);
    ry_mem_free(path);
    return st;
}

static ry_status pull_all(pull *p, char **out) {
    char *blobs = NULL, *ref = NULL, *up = NULL;
    RY_TRY(repo_folder(&p->folder, p->repo));
    RY_TRY(token_of(&p->token));
    RY_TRY(http_open(&p->http));
    RY_TRY(list_files(p));
    const char *base = strrchr(p->folder, '/') + 1;
    p->locks = format("%.*s.locks/%s", (int)(base - p->folder), p->folder, base);
    ry_status st = p->locks && (blobs = os_join(p->folder, "blobs")) && (ref = format("%s/refs/%s", p->folder, p->revision)) && (up = format("%s", ref)) ? RY_OK : RY_ENOMEM;
    if (st == RY_OK) st = os_mkdirs(p->locks);
    if (st == RY_OK) st = os_mkdirs(blobs);
    for (p->at = 0; st == RY_OK && p->at < p->files.n; p->at++) st = pull_one(p);
    if (st == RY_OK && strcmp(p->revision, p->commit)) {
        *strrchr(up, '/') = 0;
        st = os_mkdirs(up);
        if (st == RY_OK) st = os_file_write(ref, p->commit, 40);
    }
    ry_mem_free(blobs);
    ry_mem_free(ref);
    ry_mem_free(up);
    return st == RY_OK ? hub_snapshot(out, p->repo, p->commit) : st;
}

static bool is_true(const char *v) {
    return v && (!strcmp(v, "1") || !strcmp(v, "true") || !strcmp(v, "TRUE") || !strcmp(v, "True") || !strcmp(v, "yes") || !strcmp(v, "YES") || !strcmp(v, "on") || !strcmp(v, "ON"));
}

ry_status ry_pull(char **out, const char *repo, const ry_pull_options *o) {
    ry_pull_options with = o ? *o : (ry_pull_options){0};
    char *endpoint = NULL;
    if (!out || !repo) RY_FAIL(RY_EARG, "ry_pull: out and repo must be given");
    if (!with.revision) with.revision = "main";
    if (with.patience <= 0) with.patience = 30;
    if (!hub_is_repo(repo)) RY_FAIL(RY_EARG, "'%s' is no name of a Hugging Face repository: it is ORG/NAME", repo);
    if (!hub_is_file(with.revision)) RY_FAIL(RY_EARG, "'%s' is no revision", with.revision);
    if (is_true(os_env("HF_HUB_OFFLINE"))) {
        ry_status st = hub_snapshot(out, repo, with.revision);
        return st == RY_ENOENT ? ry_fail(st, "%s is not in the Hugging Face cache, and HF_HUB_OFFLINE forbids to fetch it", repo) : st;
    }
    const char *at = os_env("HF_ENDPOINT");
    if (!(endpoint = format("%s", at ? at : "https://huggingface.co"))) return RY_ENOMEM;
    for (size_t n = strlen(endpoint); n && endpoint[n - 1] == '/'; n--) endpoint[n - 1] = 0;
    pull p = {.o = &with, .repo = repo, .revision = with.revision, .endpoint = endpoint};
    ry_status st = pull_all(&p, out);
    for (size_t i = 0; i < p.files.n; i++) ry_mem_free(p.files.at[i].name);
    RY_VEC_FREE(&p.files);
    http_close(p.http);
    ry_mem_free(p.token);
    ry_mem_free(p.folder);
    ry_mem_free(p.locks);
    ry_mem_free(endpoint);
    return st;
}
