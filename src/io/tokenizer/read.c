/* read.c - a tokenizer from a tokenizer.json and the files beside it, and back into them.  Owns nothing but what it is building.
 *
 * Vocabulary and merges are read as they stand in the text, not into the tree: a tree of 400,000 strings takes half a second. */
#include <stdio.h>
#include <string.h>
#include "base/os.h"
#include "io/tokenizer/foreign.h"
#include "io/tokenizer/steps.h"

/* ---- the lists ---- */
static ry_status read_id(ry_json_reader *r, int32_t *id) {
    double v;
    RY_TRY(ry_json_pull_number(r, &v));
    if (!(v >= 0 && v <= INT32_MAX) || v != (double)(int32_t)v) return ry_json_wrong(r, "an id must be an integer from 0 to 2147483647");
    *id = (int32_t)v;
    return RY_OK;
}

/* {"text": id, ...} */
static ry_status read_words(tok_lists *l, ry_json_reader *r) {
    bool first = true, more;
    for (;;) {
        const char *s;
        size_t n;
        int32_t id = 0;
        RY_TRY(ry_json_next_in(r, '{', &first, &more));
        if (!more) return RY_OK;
        RY_TRY(ry_json_pull_text(r, &s, &n));
        size_t k = l->words.n;
        RY_TRY(tok_add_word(l, s, n, 0, 0));
        RY_TRY(ry_json_pull_colon(r));
        RY_TRY(read_id(r, &id));
        l->words.at[k].id = id;
    }
}

/* [["text", score], ...] */
static ry_status read_scores(tok_lists *l, ry_json_reader *r) {
    bool first = true, more;
    l->may_repeat = true;
    for (;;) {
        const char *s;
        size_t n, k = l->words.n;
        bool inner = true;
        RY_TRY(ry_json_next_in(r, '[', &first, &more));
        if (!more) return RY_OK;
        RY_TRY(ry_json_next_in(r, '[', &inner, &more));
        if (!more || k > INT32_MAX) return ry_json_wrong(r, "a text and its score must stand here");
        RY_TRY(ry_json_pull_text(r, &s, &n));
        RY_TRY(tok_add_word(l, s, n, (int32_t)k, 0));
        RY_TRY(ry_json_next_in(r, '[', &inner, &more));
        if (!more) return ry_json_wrong(r, "a score must stand here");
        RY_TRY(ry_json_pull_number(r, &l->words.at[k].score));
        RY_TRY(ry_json_next_in(r, '[', &inner, &more));
        if (more) return ry_json_wrong(r, "a text and its score are all that may stand here");
    }
}

/* ["a b", ...] or [["a", "b"], ...] */
static ry_status read_merge(tok_lists *l, ry_json_reader *r) {
    const char *s;
    size_t n;
    if (ry_json_peek(r) != '[') {
        RY_TRY(ry_json_pull_text(r, &s, &n));
        const char *space = memchr(s, ' ', n);
        if (n > 7 && !memcmp(s, "#version", 8)) return RY_OK;
        if (!space) return ry_json_wrong(r, "a merge must be two texts with a space between them");
        if (memchr(space + 1, ' ', (size_t)(s + n - space) - 1)) return tok_add_merge(l, s, 0, s, n); /* merges_settle knows more */
        return tok_add_merge(l, s, (size_t)(space - s), space + 1, (size_t)(s + n - space) - 1);
    }
    bool first = true, more;
    ry_text left = {0};
    RY_TRY(ry_json_next_in(r, '[', &first, &more));
    if (!more) return ry_json_wrong(r, "a merge must be two texts");
    RY_TRY(ry_json_pull_text(r, &s, &n));
    ry_text_add(&left, s, n); /* the next one takes its place */
    ry_status st = ry_text_status(&left);
    if (st == RY_OK) st = ry_json_next_in(r, '[', &first, &more);
    if (st == RY_OK) st = more ? ry_json_pull_text(r, &s, &n) : ry_json_wrong(r, "a merge must be two texts");
    if (st == RY_OK) st = tok_add_merge(l, left.at ? left.at : "", left.n, s, n);
    ry_text_free(&left);
    RY_TRY(st);
    RY_TRY(ry_json_next_in(r, '[', &first, &more));
    return more ? ry_json_wrong(r, "a merge must be two texts") : RY_OK;
}

static ry_status read_lists(void *ud, ry_json_reader *r, const char *name, bool *taken) {
    tok_lists *l = ud;
    bool vocab = !strcmp(name, "vocab"), merges = !strcmp(name, "merges");
    char c = ry_json_peek(r);
    *taken = (vocab && (c == '{' || c == '[')) || (merges && c == '[');
    if (vocab && *taken) {
        if (l->has_vocab) return ry_json_wrong(r, "vocab stands here twice");
        l->has_vocab = true;
        return c == '{' ? read_words(l, r) : read_scores(l, r);
    }
    if (!*taken) return RY_OK;
    if (l->has_merges) return ry_json_wrong(r, "merges stand here twice");
    l->has_merges = true;
    for (bool first = true, more;;) {
        RY_TRY(ry_json_next_in(r, '[', &first, &more));
        if (!more) return RY_OK;
        RY_TRY(read_merge(l, r));
    }
}

/* "a b c", where texts hold spaces themselves: the space between them is one that leaves words on both sides and makes a word. */
static ry_status merges_settle(tok_lists *l, const char *what) {
    for (size_t k = 0; k < l->merges.n; k++) {
        tok_merge *g = &l->merges.at[k];
        if (g->n_a) continue;
        ry_text made = {0}, whole = {0};
        ry_text_add(&whole, l->bytes.at + g->at, g->n_b);
        ry_status st = ry_text_status(&whole);
        for (size_t i = 1; i + 1 < whole.n && st == RY_OK && !g->n_a; i++) {
            const char *a = whole.at, *b = a + i + 1;
            size_t n_b = whole.n - i - 1;
            if (a[i] != ' ') continue;
            made.n = 0;
            ry_text_add(&made, a, i);
            ry_text_add(&made, b, n_b);
            if ((st = ry_text_status(&made)) != RY_OK) break;
            if (tok_word_id(l, a, i) < 0 || tok_word_id(l, b, n_b) < 0 || tok_word_id(l, made.at, made.n) < 0) continue;
            tok_merge found = {(uint32_t)l->bytes.n, (uint32_t)i, (uint32_t)n_b};
            ry_text_add(&l->bytes, made.at, made.n);
            st = ry_text_status(&l->bytes);
            *g = found;
        }
        if (st == RY_OK && !g->n_a) st = ry_fail(RY_EFORMAT, "%s: model.merges[%zu]: \"%.60s\" is not two texts of the vocabulary", what, k, whole.at);
        ry_text_free(&made);
        ry_text_free(&whole);
        RY_TRY(st);
    }
    return RY_OK;
}

/* ---- the tokenizer ---- */
/* A model without a type, as old files have it, is known by its fields. */
static const char *model_type(const ry_json *model, const tok_lists *l) {
    const char *type = ry_json_as_text(ry_json_find(model, "type"), NULL);
    if (type) return type;
    if (l->may_repeat) return "Unigram";
    if (l->has_merges) return "BPE";
    return ry_json_find(model, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

static ry_status open_model(ry_tokenizer *t, const char *what) {
    const ry_json *model = ry_json_path(t->tree, "model");
    if (ry_json_kind_of(model) != RY_JSON_OBJECT) RY_FAIL(RY_EFORMAT, "%s: model is missing: not a tokenizer.json", what);
    const char *type = model_type(model, &t->lists);
    const tok_model_kind *const *kind = tok_model_kinds;
    while (*kind && (strcmp((*kind)->name, type) || ((*kind)->takes && !(*kind)->takes(model)))) kind++;
    if (!*kind) RY_FAIL(RY_EUNSUPPORTED, "%s: model.type is \"%.60s\", which this version does not know", what, type);
    if (!t->lists.has_vocab || t->lists.may_repeat != (*kind)->vocab_is_list)
        RY_FAIL(RY_EFORMAT, "%s: model.vocab must be %s", what, (*kind)->vocab_is_list ? "a list of [text, score]" : "an object of ids");
    RY_TRY((*kind)->read(&t->model, model, &t->lists, what));
    t->model->kind = *kind;
    return RY_OK;
}

static ry_status open_all(ry_tokenizer *t, const char *what) {
    RY_TRY(ry_json_need_object(t->tree, what));
    RY_TRY(os_mutex_open(&t->lock));
    RY_TRY(tok_lists_index(&t->lists, what));
    RY_TRY(merges_settle(&t->lists, what));
    RY_TRY(open_model(t, what));
    RY_TRY(tok_steps_read(&t->normalizer, t->tree, "normalizer", "normalizers", tok_normalizers, what));
    RY_TRY(tok_steps_read(&t->pre_tokenizer, t->tree, "pre_tokenizer", "pretokenizers", tok_pre_tokenizers, what));
    RY_TRY(tok_steps_read(&t->decoder, t->tree, "decoder", "decoders", tok_decoders, what));
    RY_TRY(tok_post_read(&t->post, t->tree, what));
    RY_TRY(tok_added_read(t, what));
    if (t->model->kind->take_bytes && tok_steps_end_in_bytes(&t->pre_tokenizer)) RY_TRY(t->model->kind->take_bytes(t->model, &t->bytes));
    if (t->bytes) t->pre_tokenizer.n--;
    t->raw = t->bytes && !t->normalizer.n && tok_steps_only_bytes(&t->pre_tokenizer);
    t->align = t->normalizer.n && tok_steps_ask_first(&t->pre_tokenizer);
    t->size = t->lists.size;
    if ((int32_t)t->added.of_id.n > t->size) t->size = (int32_t)t->added.of_id.n;
    const char *unk = ry_json_as_text(ry_json_path(t->tree, "model.unk_token"), NULL);
    if (unk) t->special[RY_UNK] = ry_token_id(t, unk);
    return RY_OK;
}

ry_status tok_open_parts(ry_tokenizer **out, ry_json *tree, tok_lists *lists, const char *what) {
    ry_tokenizer *t = ry_mem_zalloc(sizeof *t);
    if (!t) {
        ry_json_free(tree);
        tok_lists_free(lists);
        return RY_ENOMEM;
    }
    t->tree = tree;
    t->lists = *lists;
    *lists = (tok_lists){0};
    for (int i = 0; i < 4; i++) t->special[i] = -1;
    ry_status st = open_all(t, what);
    if (st == RY_OK) *out = t;
    else ry_tokenizer_close(t);
    return st;
}

ry_status tok_open_json(ry_tokenizer **out, const char *text, size_t n, const char *what) {
    tok_lists lists = {0};
    ry_json *tree = NULL;
    ry_json_hook hook = {"model", read_lists, &lists};
    ry_status st = ry_json_parse_hook(&tree, text, n, what, 0, &hook);
    if (st != RY_OK) {
        tok_lists_free(&lists);
        return st;
    }
    return tok_open_parts(out, tree, &lists, what);
}

ry_status tok_open_tree(ry_tokenizer **out, ry_json *tree, const char *what) {
    ry_text text = {0};
    ry_json_write(&text, tree, 0);
    ry_json_free(tree);
    ry_status st = ry_text_status(&text);
    if (st == RY_OK) st = tok_open_json(out, text.at, text.n, what);
    ry_text_free(&text);
    return st;
}

/* ---- files ---- */
static const char *const special_names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};

/* A token of a configuration: "text" or {"content": "text", ...}. */
static const char *special_text(const ry_json *config, const char *name) {
    const ry_json *j = ry_json_find(config, name);
    const char *text = ry_json_as_text(j, NULL);
    return text ? text : ry_json_as_text(ry_json_find(j, "content"), NULL);
}

static void take_specials(ry_tokenizer *t, const ry_json *config) {
    for (int i = 0; i < 4; i++) {
        const char *text = special_text(config, special_names[i]);
        int32_t id = text ? ry_token_id(t, text) : -1;
        if (id >= 0) t->special[i] = id;
    }
}

/* folder/name, where it is there. */
static ry_status read_beside(ry_json **out, const char *folder, const char *name) {
    char *path = os_join(folder, name);
    *out = NULL;
    if (!path) return RY_ENOMEM;
    ry_status st = os_kind(path) == OS_FILE ? ry_json_read(out, path, 0) : RY_OK;
    if (st == RY_OK && *out && (st = ry_json_need_object(*out, path)) != RY_OK) {
        ry_json_free(*out);
        *out = NULL;
    }
    ry_mem_free(path);
    return st;
}

static ry_status open_file(ry_tokenizer **out, const char *path, const ry_json *config, bool in_folder) {
    os_map map;
    RY_TRY(os_map_open(&map, path));
    ry_status st = tok_open_any(out, map.data ? map.data : "", map.bytes, config, in_folder, path);
    os_map_close(&map);
    return st;
}

/* The special tokens by role, from the files beside. A configuration that the tokenizer's own file brought (GGUF) stays. */
static ry_status open_beside(ry_tokenizer *t, const char *folder, ry_json **config) {
    ry_json *map;
    RY_TRY(read_beside(&map, folder, "special_tokens_map.json"));
    take_specials(t, map);
    ry_json_free(map);
    take_specials(t, *config);
    if (t->config) return RY_OK;
    t->config = *config;
    *config = NULL;
    return RY_OK;
}

static ry_status open_at(ry_tokenizer **out, const char *path) {
    size_t slash = strlen(path);
    bool is_folder = os_kind(path) == OS_FOLDER;
    while (slash && path[slash - 1] != '/') slash--;
    char *file = NULL;
    ry_json *config = NULL;
    ry_text folder = {0};
    ry_tokenizer *t = NULL;
    ry_text_add(&folder, is_folder ? path : slash ? path : ".", is_folder ? strlen(path) : slash ? slash : 1);
    ry_status st = ry_text_status(&folder);
    if (st == RY_OK) st = read_beside(&config, folder.at, "tokenizer_config.json");
    if (st == RY_OK && is_folder) st = tok_folder_file(&file, path);
    if (st == RY_OK) st = is_folder && !file ? tok_open_pair(&t, path, config) : open_file(&t, is_folder ? file : path, config, is_folder);
    if (st == RY_OK) st = open_beside(t, folder.at, &config);
    if (st == RY_OK) *out = t;
    else ry_tokenizer_close(t);
    ry_json_free(config);
    ry_mem_free(file);
    ry_text_free(&folder);
    return st;
}

ry_status ry_tokenizer_open(ry_tokenizer **out, const char *path) {
    char *at;
    if (!out || !path) RY_FAIL(RY_EARG, "ry_tokenizer_open: out and path must be given");
    RY_TRY(ry_model_path(&at, path));
    ry_status st = open_at(out, at);
    ry_mem_free(at);
    return st;
}

/* ---- saving ---- */
static void write_lists(const tok_lists *l, ry_text *out) {
    bool scores = l->may_repeat;
    ry_text_puts(out, scores ? "\"vocab\": [" : "\"vocab\": {");
    for (size_t i = 0; i < l->words.n; i++) {
        const tok_word *w = &l->words.at[i];
        ry_text_puts(out, i ? ",\n      " : "\n      ");
        if (scores) ry_text_puts(out, "[");
        ry_text_json(out, l->bytes.at + w->at, w->n);
        if (scores) {
            ry_json *v = ry_json_new_real(w->score);
            ry_text_puts(out, ", ");
            ry_json_write(out, v, 0);
            out->failed |= !v;
            ry_json_free(v);
            ry_text_puts(out, "]");
        } else {
            ry_text_printf(out, ": %d", (int)w->id);
        }
    }
    ry_text_puts(out, scores ? "\n    ]" : "\n    }");
    if (!l->has_merges) return;
    ry_text_puts(out, ",\n    \"merges\": [");
    for (size_t i = 0; i < l->merges.n; i++) {
        const tok_merge *m = &l->merges.at[i];
        ry_text_puts(out, i ? ",\n      [" : "\n      [");
        ry_text_json(out, l->bytes.at + m->at, m->n_a);
        ry_text_puts(out, ", ");
        ry_text_json(out, l->bytes.at + m->at + m->n_a, m->n_b);
        ry_text_puts(out, "]");
    }
    ry_text_puts(out, "\n    ]");
}

ry_status tok_write_json(const ry_tokenizer *t, ry_text *out) {
    const char *separator = "{\n  ";
    for (ry_json_it it = ry_json_first(t->tree); it.value; it = ry_json_next(t->tree, it)) {
        ry_text_puts(out, separator);
        separator = ",\n  ";
        ry_text_json(out, it.key, strlen(it.key));
        ry_text_puts(out, ": ");
        if (strcmp(it.key, "model")) {
            ry_json_write(out, it.value, 0);
            continue;
        }
        ry_text_puts(out, "{\n    ");
        for (ry_json_it in = ry_json_first(it.value); in.value; in = ry_json_next(it.value, in)) {
            ry_text_json(out, in.key, strlen(in.key));
            ry_text_puts(out, ": ");
            ry_json_write(out, in.value, 0);
            ry_text_puts(out, ",\n    ");
        }
        write_lists(&t->lists, out);
        ry_text_puts(out, "\n  }");
    }
    ry_text_puts(out, "\n}\n");
    return ry_text_status(out);
}

/* tokenizer_config.json: as it was read, and the special tokens that it does not name. */
static ry_status write_config(const ry_tokenizer *t, ry_text *out) {
    ry_text read = {0};
    ry_json *root = NULL;
    if (t->config) ry_json_write(&read, t->config, 0);
    else ry_text_puts(&read, "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"clean_up_tokenization_spaces\": false}");
    ry_status st = ry_text_status(&read);
    if (st == RY_OK) st = ry_json_parse(&root, read.at, read.n, "tokenizer_config.json", 0);
    for (int i = 0; i < 4 && st == RY_OK; i++) {
        size_t n;
        const char *text = tok_any_text(t, t->special[i], &n);
        if (text && !special_text(root, special_names[i])) st = ry_json_put(root, special_names[i], ry_json_new_text_n(text, n));
    }
    if (st == RY_OK) ry_json_write(out, root, 2);
    ry_text_puts(out, "\n");
    ry_json_free(root);
    ry_text_free(&read);
    return st == RY_OK ? ry_text_status(out) : st;
}

static ry_status save_file(const ry_tokenizer *t, const char *path, ry_status (*fill)(const ry_tokenizer *, ry_text *)) {
    ry_text text = {0};
    ry_status st = fill(t, &text);
    if (st == RY_OK) st = os_file_write(path, text.at, text.n);
    ry_text_free(&text);
    return st;
}

static ry_status save_in(const ry_tokenizer *t, const char *folder, const char *name, ry_status (*fill)(const ry_tokenizer *, ry_text *)) {
    char *path = os_join(folder, name);
    ry_status st = path ? save_file(t, path, fill) : RY_ENOMEM;
    ry_mem_free(path);
    return st;
}

ry_status ry_tokenizer_save(const ry_tokenizer *t, const char *path) {
    if (!t || !path) RY_FAIL(RY_EARG, "ry_tokenizer_save: tokenizer and path must be given");
    size_t n = strlen(path);
    if (n > 5 && !strcmp(path + n - 5, ".json")) return save_file(t, path, tok_write_json);
    RY_TRY(os_mkdirs(path));
    RY_TRY(save_in(t, path, "tokenizer.json", tok_write_json));
    return save_in(t, path, "tokenizer_config.json", write_config);
}
