/* tiktoken.c - reads byte-level BPE tokenizers whose files hold ranks instead of merges: tiktoken's lines, mistral's tekken.json; and
 * GPT-2's pair of vocab.json and merges.txt.  Owns the table of published tiktoken vocabularies.
 * Sources: github.com/openai/tiktoken (load.py, openai_public.py); llama-models' and Qwen's tokenizers (tokenizer.py,
 * tokenization_qwen.py); github.com/mistralai/mistral-common (tekken.py). */
#include <stdio.h>
#include "base/os.h"
#include "io/tokenizer/bytelevel.h"
#include "io/tokenizer/foreign.h"

/* ---- special tokens of published vocabularies ---- */
typedef struct tiktoken_known {
    int64_t ranks;      /* of the file: the largest + 1 */
    const char *pre;    /* tok_pre_find */
    bool nfc;
    const char *tokens; /* special tokens from `first` on, a space between; "name_%d 0 250" counts through; "@N": goes on at id N */
    int64_t first;
    const char *bos, *eos;
    bool add_bos;
} tiktoken_known;

static const tiktoken_known tiktoken_sets[] = {
    {128000, "llama-bpe", false,
     "<|begin_of_text|> <|end_of_text|> <|reserved_special_token_0|> <|reserved_special_token_1|> <|finetune_right_pad_id|> "
     "<|reserved_special_token_2|> <|start_header_id|> <|end_header_id|> <|eom_id|> <|eot_id|> <|python_tag|> "
     "<|reserved_special_token_%d|>:3:247",
     128000, "<|begin_of_text|>", "<|end_of_text|>", true},
    {151643, "qwen2", true, "<|endoftext|> <|im_start|> <|im_end|> <|extra_%d|>:0:204", 151643, NULL, "<|endoftext|>", false},
    {100256, "dbrx", false, "<|endoftext|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> @100276 <|endofprompt|>", 100257, NULL,
     "<|endoftext|>", false},
    {199998, "gpt-4o", false, "<|endoftext|> @200018 <|endofprompt|>", 199999, NULL, "<|endoftext|>", false},
    {50256, "gpt-2", false, "<|endoftext|>", 50256, NULL, "<|endoftext|>", false},
    {50281, "gpt-2", false, "<|endoftext|>", 50256, NULL, "<|endoftext|>", false},
};

static ry_status tiktoken_special(tok_bytes_file *f, ry_arena *a, const char *text, size_t n, int64_t id, bool special) {
    char *copy = RY_NEW(a, char, n + 1);
    tok_special *s = RY_PUSH(&f->added);
    if (!copy || !s) return RY_ENOMEM;
    memcpy(copy, text, n);
    *s = (tok_special){copy, n, id, special, false, false};
    return RY_OK;
}

static void tiktoken_roles(tok_bytes_file *f, const char *bos, const char *eos) {
    for (size_t i = 0; i < f->added.n; i++) {
        if (bos && !strcmp(f->added.at[i].text, bos)) f->bos = f->added.at[i].id;
        if (eos && !strcmp(f->added.at[i].text, eos)) f->eos = f->added.at[i].id;
    }
}

static ry_status tiktoken_set(tok_bytes_file *f, ry_arena *a, const tiktoken_known *k) {
    int64_t id = k->first;
    for (const char *s = k->tokens; *s;) {
        size_t n = strcspn(s, " ");
        const char *range = memchr(s, ':', n);
        int from, to;
        if (*s == '@') {
            int at;
            if (sscanf(s + 1, "%d", &at) == 1) id = at;
        } else if (range && sscanf(range, ":%d:%d", &from, &to) == 2) {
            const char *hole = strstr(s, "%d");
            for (int i = from; i <= to; i++) {
                char name[64];
                int len = snprintf(name, sizeof name, "%.*s%d%.*s", (int)(hole - s), s, i, (int)(range - hole - 2), hole + 2);
                RY_TRY(tiktoken_special(f, a, name, (size_t)len, id++, true));
            }
        } else {
            RY_TRY(tiktoken_special(f, a, s, n, id++, true));
        }
        s += n + (s[n] == ' ');
    }
    f->pre = tok_pre_find(k->pre, strlen(k->pre));
    f->nfc = k->nfc;
    f->ignore_merges = true;
    tiktoken_roles(f, k->bos, k->eos);
    return RY_OK;
}

/* ---- tokenizer_config.json beside a file ---- */
static const char *config_text(const ry_json *config, const char *key) {
    const ry_json *j = ry_json_path(config, key);
    const char *s = ry_json_as_text(j, NULL);
    return s ? s : ry_json_as_text(ry_json_find(j, "content"), NULL);
}

/* added_tokens_decoder: {"id": {"content": ...}}. */
static ry_status config_added(tok_bytes_file *f, ry_arena *a, const ry_json *config) {
    const ry_json *all = ry_json_path(config, "added_tokens_decoder");
    for (ry_json_it it = ry_json_first(all); it.value; it = ry_json_next(all, it)) {
        size_t n;
        long long id;
        int used = 0;
        bool special = false;
        const char *text = ry_json_as_text(ry_json_find(it.value, "content"), &n);
        if (!text || sscanf(it.key, "%lld%n", &id, &used) != 1 || it.key[used] || id < 0 || id > INT32_MAX)
            RY_FAIL(RY_EFORMAT, "%s: tokenizer_config.json: added_tokens_decoder[\"%.40s\"] is not an id with a content", f->what, it.key);
        (void)ry_json_as_bool(ry_json_find(it.value, "special"), &special);
        RY_TRY(tiktoken_special(f, a, text, n, id, special));
    }
    tiktoken_roles(f, config_text(config, "bos_token"), config_text(config, "eos_token"));
    return RY_OK;
}

/* The table's row whose tokenizer a config names by its class. */
static const tiktoken_known *config_class(const ry_json *config) {
    static const struct { const char *word; int set; } words[] = {{"Llama", 0}, {"PreTrainedTokenizerFast", 0}, {"QWen", 1}, {"Qwen", 1}, {"GPT2", 4}};
    const char *name = config_text(config, "tokenizer_class");
    for (size_t i = 0; name && i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i].word)) return &tiktoken_sets[words[i].set];
    return NULL;
}

static ry_status tiktoken_rest(tok_bytes_file *f, ry_arena *a, int64_t ranks, const ry_json *config, tok_beside *b) {
    const tiktoken_known *k = NULL;
    for (size_t i = 0; i < sizeof tiktoken_sets / sizeof *tiktoken_sets; i++)
        if (tiktoken_sets[i].ranks == ranks) k = &tiktoken_sets[i];
    bool own = ry_json_path(config, "added_tokens_decoder") != NULL;
    if (!k && own) k = config_class(config);
    if (!k)
        RY_FAIL(RY_EUNSUPPORTED,
                "%s: a tiktoken file of %lld ranks is none of the published ones, and it holds neither its regular expression nor its "
                "special tokens; give the tokenizer.json instead",
                f->what, (long long)ranks);
    RY_TRY(tiktoken_set(f, a, k));
    b->add_bos = k->add_bos;
    if (own) {
        f->added.n = 0;
        f->bos = f->eos = -1;
        RY_TRY(config_added(f, a, config));
    }
    (void)ry_json_as_bool(ry_json_path(config, "add_bos_token"), &b->add_bos);
    (void)ry_json_as_bool(ry_json_path(config, "add_eos_token"), &b->add_eos);
    return RY_OK;
}

/* ---- lines ---- */
/* The next line; a carriage return at its end is not part of it. */
static bool tiktoken_line(const char **s, const char *end, const char **line, size_t *n) {
    if (*s == end) return false;
    const char *stop = memchr(*s, '\n', (size_t)(end - *s));
    *line = *s;
    *n = (size_t)((stop ? stop : end) - *s);
    *s = stop ? stop + 1 : end;
    if (*n && (*line)[*n - 1] == '\r') --*n;
    return true;
}

/* "base64 rank"; -1 where it is something else. */
static int64_t tiktoken_rank(const char *line, size_t n, ry_text *bytes) {
    const char *space = memchr(line, ' ', n);
    int64_t rank = 0;
    size_t i = space ? (size_t)(space - line) + 1 : n;
    if (i >= n || n - i > 9 || i == 1) return -1;
    for (size_t k = i; k < n; k++) {
        if (line[k] < '0' || line[k] > '9') return -1;
        rank = 10 * rank + (line[k] - '0');
    }
    bytes->n = 0;
    return tok_base64_read(bytes, line, i - 1) && bytes->n ? rank : -1;
}

bool tok_is_tiktoken(const char *text, size_t n) {
    const char *line;
    size_t n_line;
    ry_text bytes = {0};
    bool is = tiktoken_line(&text, text + n, &line, &n_line) && n_line < 4096 && tiktoken_rank(line, n_line, &bytes) >= 0;
    ry_text_free(&bytes);
    return is;
}

static ry_status tiktoken_word(tok_bytes_file *f, ry_text *name, const ry_text *bytes, int64_t id) {
    name->n = 0;
    bytelevel_add(name, bytes->at, bytes->n);
    RY_TRY(ry_text_status(name));
    return tok_add_word(&f->lists, name->at, name->n, (int32_t)id, 0);
}

static ry_status tiktoken_lines(tok_bytes_file *f, const char *text, size_t n, int64_t *ranks) {
    const char *end = text + n, *line;
    size_t n_line, number = 0;
    ry_text bytes = {0}, name = {0};
    ry_status st = RY_OK;
    while (st == RY_OK && tiktoken_line(&text, end, &line, &n_line)) {
        number++;
        if (!n_line) continue;
        int64_t rank = tiktoken_rank(line, n_line, &bytes);
        st = ry_text_status(&bytes);
        if (st == RY_OK && rank < 0)
            st = ry_fail(RY_EFORMAT, "%s:%zu: not a line of tiktoken's (bytes in base64, a space, a rank)", f->what, number);
        if (st == RY_OK) st = tiktoken_word(f, &name, &bytes, rank);
        if (rank >= *ranks) *ranks = rank + 1;
    }
    ry_text_free(&bytes);
    ry_text_free(&name);
    return st;
}

ry_status tok_open_tiktoken(ry_tokenizer **out, const char *text, size_t n, const ry_json *config, const char *what) {
    tok_bytes_file f = {.bos = -1, .eos = -1, .what = what};
    tok_beside b = {.special = true};
    ry_arena a = {0};
    int64_t ranks = 0;
    ry_status st = tiktoken_lines(&f, text, n, &ranks);
    if (st == RY_OK) st = tiktoken_rest(&f, &a, ranks, config, &b);
    st = tok_open_bytes(out, st, &f, &b);
    ry_arena_free(&a);
    return st;
}

/* ---- tekken.json ---- */
enum { TEKKEN_MOST = 1 << 22 };

/* The tokens of the first published files, which do not list them. */
static const char tekken_first[] =
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> "
    "[IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]";

static ry_status tekken_specials(tok_bytes_file *f, ry_arena *a, const ry_json *root, int64_t n_special) {
    const ry_json *list = ry_json_path(root, "special_tokens");
    const char **text = RY_NEW(a, const char *, n_special + 1);
    if (!text) return RY_ENOMEM;
    for (size_t i = 0; i < ry_json_count(list); i++) {
        int64_t rank;
        const char *s = NULL;
        RY_TRY(ry_json_int(&rank, ry_json_at(list, i), f->what, "rank", 0, n_special - 1, true));
        RY_TRY(ry_json_text(&s, ry_json_at(list, i), f->what, "token_str", true));
        text[rank] = s;
    }
    const char *s = tekken_first;
    for (int64_t i = 0; i < n_special; i++) {
        char name[64];
        size_t n = strcspn(s, " ");
        if (text[i]) {
            RY_TRY(tiktoken_special(f, a, text[i], strlen(text[i]), i, true));
        } else if (!list && n) {
            RY_TRY(tiktoken_special(f, a, s, n, i, true));
        } else {
            int len = snprintf(name, sizeof name, "<SPECIAL_%lld>", (long long)i);
            RY_TRY(tiktoken_special(f, a, name, (size_t)len, i, true));
        }
        s += n + (s[n] == ' ');
    }
    tiktoken_roles(f, "<s>", "</s>");
    return RY_OK;
}

static ry_status tekken_read(tok_bytes_file *f, ry_arena *a, const ry_json *root) {
    const ry_json *vocab = NULL;
    int64_t size = 0, n_special = 0;
    ry_text bytes = {0}, name = {0};
    RY_TRY(ry_json_array(&vocab, root, f->what, "vocab", true));
    RY_TRY(ry_json_text(&f->regex, root, f->what, "config.pattern", true));
    RY_TRY(ry_json_int(&size, root, f->what, "config.default_vocab_size", 1, TEKKEN_MOST, true));
    RY_TRY(ry_json_int(&n_special, root, f->what, "config.default_num_special_tokens", 0, size, true));
    RY_TRY(tekken_specials(f, a, root, n_special));
    ry_status st = RY_OK;
    for (size_t i = 0; i < ry_json_count(vocab) && st == RY_OK; i++) {
        int64_t rank = 0;
        const char *text = NULL;
        RY_GO(st, out, ry_json_int(&rank, ry_json_at(vocab, i), f->what, "rank", 0, INT32_MAX, true));
        if (rank >= size - n_special) continue; /* the file holds more than the model has */
        RY_GO(st, out, ry_json_text(&text, ry_json_at(vocab, i), f->what, "token_bytes", true));
        bytes.n = 0;
        if (!tok_base64_read(&bytes, text, strlen(text)) || !bytes.n)
            RY_GO(st, out, ry_fail(RY_EFORMAT, "%s: vocab[%zu].token_bytes is not base64", f->what, i));
        RY_GO(st, out, ry_text_status(&bytes));
        st = tiktoken_word(f, &name, &bytes, rank + n_special);
    }
out:
    ry_text_free(&bytes);
    ry_text_free(&name);
    return st;
}

ry_status tok_open_tekken(ry_tokenizer **out, ry_json *root, const char *what) {
    tok_bytes_file f = {.bos = -1, .eos = -1, .ignore_merges = true, .what = what};
    tok_beside b = {.special = true, .add_bos = true};
    ry_arena a = {0};
    ry_status st = tekken_read(&f, &a, root);
    st = tok_open_bytes(out, st, &f, &b);
    ry_arena_free(&a);
    ry_json_free(root);
    return st;
}

/* ---- vocab.json and merges.txt ---- */
static ry_status merges_vocab(tok_bytes_file *f, const char *path) {
    ry_json *root;
    RY_TRY(ry_json_read(&root, path, 0));
    ry_status st = ry_json_need_object(root, path);
    for (ry_json_it it = ry_json_first(root); it.value && st == RY_OK; it = ry_json_next(root, it)) {
        int64_t id;
        if (!ry_json_as_int(it.value, &id) || id < 0 || id > INT32_MAX)
            st = ry_fail(RY_EFORMAT, "%s: the id of \"%.60s\" must be an integer from 0 on", path, it.key);
        else
            st = tok_add_word(&f->lists, it.key, strlen(it.key), (int32_t)id, 0);
    }
    ry_json_free(root);
    return st;
}

static ry_status merges_lines(tok_bytes_file *f, const char *path) {
    char *text;
    size_t n, n_line, number = 0;
    const char *line;
    RY_TRY(os_file_read(path, &text, &n));
    const char *s = text, *end = text + n;
    ry_status st = RY_OK;
    f->lists.has_merges = true;
    while (st == RY_OK && tiktoken_line(&s, end, &line, &n_line)) {
        number++;
        if (!n_line || (number == 1 && n_line >= 8 && !memcmp(line, "#version", 8))) continue;
        const char *space = memchr(line, ' ', n_line);
        if (!space || space == line || space + 1 == line + n_line)
            st = ry_fail(RY_EFORMAT, "%s:%zu: not two parts with a space between", path, number);
        else
            st = tok_add_merge(&f->lists, line, (size_t)(space - line), space + 1, n_line - (size_t)(space - line) - 1);
    }
    ry_mem_free(text);
    return st;
}

ry_status tok_open_merges(ry_tokenizer **out, const char *vocab, const char *merges, const ry_json *config) {
    tok_bytes_file f = {.pre = tok_pres, .bos = -1, .eos = -1, .what = vocab};
    tok_beside b = {.special = true};
    ry_arena a = {0};
    ry_status st = merges_vocab(&f, vocab);
    const char *last = NULL;
    int64_t id = -1;
    if (st == RY_OK) st = merges_lines(&f, merges);
    if (st == RY_OK && ry_json_path(config, "added_tokens_decoder")) {
        st = config_added(&f, &a, config);
    } else if (st == RY_OK) {
        for (size_t i = 0; i < f.lists.words.n; i++)
            if (!strcmp(f.lists.bytes.at + f.lists.words.at[i].at, "<|endoftext|>")) id = f.lists.words.at[i].id;
        last = "<|endoftext|>";
        if (id >= 0) st = tiktoken_special(&f, &a, last, strlen(last), id, true);
        tiktoken_roles(&f, last, last);
    }
    (void)ry_json_as_bool(ry_json_path(config, "add_bos_token"), &b.add_bos);
    st = tok_open_bytes(out, st, &f, &b);
    ry_arena_free(&a);
    return st;
}
