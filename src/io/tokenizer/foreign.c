/* foreign.c - which format a tokenizer's file has, told by its first bytes, and which file of a folder it is.  Owns nothing. */
#include "io/tokenizer/foreign.h"
#include "base/os.h"
#include "io/tokenizer/gguf_vocab.h"

/* mistral's file is JSON too; what marks it stands near its beginning. */
static bool is_tekken(const char *s, size_t n) {
    static const char mark[] = "\"default_num_special_tokens\"";
    for (size_t i = 0; i + sizeof mark - 1 <= n && i < 4096; i++)
        if (!memcmp(s + i, mark, sizeof mark - 1)) return true;
    return false;
}

/* What a configuration says about a SentencePiece model; NULL: nothing, so that it is read as sentencepiece reads it. */
static const tok_beside *spm_beside(tok_beside *b, const ry_json *config) {
    const char *class = ry_json_as_text(ry_json_find(config, "tokenizer_class"), NULL);
    bool legacy = true, t5 = class && (strstr(class, "T5") || strstr(class, "Albert") || strstr(class, "Pegasus"));
    if (!config) return NULL;
    *b = (tok_beside){.special = true, .add_bos = !t5, .add_eos = t5};
    (void)ry_json_as_bool(ry_json_find(config, "add_bos_token"), &b->add_bos);
    (void)ry_json_as_bool(ry_json_find(config, "add_eos_token"), &b->add_eos);
    (void)ry_json_as_bool(ry_json_find(config, "legacy"), &legacy);
    b->first_only = !legacy;
    return b;
}

static ry_status open_gguf(ry_tokenizer **out, const void *data, size_t n, const char *what) {
    gguf_file *f;
    RY_TRY(gguf_open_memory(&f, data, n, what));
    ry_status st = tok_open_gguf(out, f);
    gguf_close(f);
    return st;
}

ry_status tok_open_any(ry_tokenizer **out, const void *data, size_t n, const ry_json *config, bool in_folder, const char *what) {
    const char *s = data;
    size_t i = 0;
    if (n >= 4 && !memcmp(s, "GGUF", 4)) return open_gguf(out, data, n, what);
    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n')) i++;
    size_t len = strlen(what);
    if ((i < n && s[i] == '{') || (len >= 5 && !strcmp(what + len - 5, ".json"))) {
        ry_json *root;
        if (!is_tekken(s, n)) return tok_open_json(out, s, n, what);
        RY_TRY(ry_json_parse(&root, s, n, what, 0));
        return tok_open_tekken(out, root, what);
    }
    tok_beside b;
    if (tok_is_tiktoken(s, n)) return tok_open_tiktoken(out, s, n, config, what);
    return tok_open_sentencepiece(out, data, n, in_folder ? spm_beside(&b, config) : NULL, what);
}

/* ---- folders ---- */
typedef struct folder_look {
    const char *end; /* of the name */
    char name[256];  /* the first that has it; empty: none */
} folder_look;

static bool folder_name(void *ud, const char *name) {
    folder_look *l = ud;
    size_t n = strlen(name), k = strlen(l->end);
    if (n < k || n >= sizeof l->name || strcmp(name + n - k, l->end)) return true;
    memcpy(l->name, name, n + 1);
    return false;
}

ry_status tok_folder_file(char **out, const char *folder) {
    static const char *const ends[] = {"tokenizer.json", "tekken.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
                                       ".tiktoken", "tiktoken.model"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        folder_look l = {.end = ends[i]};
        RY_TRY(os_list(folder, folder_name, &l));
        if (!*l.name || (*ends[i] != '.' && strcmp(l.name, ends[i]))) continue;
        return (*out = os_join(folder, l.name)) ? RY_OK : RY_ENOMEM;
    }
    *out = NULL;
    return RY_OK;
}

ry_status tok_open_pair(ry_tokenizer **out, const char *folder, const ry_json *config) {
    char *vocab = os_join(folder, "vocab.json"), *merges = os_join(folder, "merges.txt");
    ry_status st = vocab && merges ? RY_OK : RY_ENOMEM;
    if (st == RY_OK && (os_kind(vocab) != OS_FILE || os_kind(merges) != OS_FILE))
        st = ry_fail(RY_ENOENT, "%s: no tokenizer in this folder (tokenizer.json, tokenizer.model, tekken.json, *.tiktoken, or vocab.json with merges.txt)",
                     folder);
    if (st == RY_OK) st = tok_open_merges(out, vocab, merges, config);
    ry_mem_free(vocab);
    ry_mem_free(merges);
    return st;
}
