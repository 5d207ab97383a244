/* tokenizer_train.c - rusty tokenizer train: a byte-level BPE from text files. */
#include "app.h"
#include <string.h>

enum { MAX_FILES = 64, MAX_SPECIAL = 256 };

static void train_shown(void *ud, const char *what, double share) {
    (void)ud;
    app_progress(share, "%s", what);
}

/* "a,b,c" in place; the list ends with NULL. */
static bool split_names(char *text, const char **list) {
    int n = 0;
    for (char *s = text; s && *s && n < MAX_SPECIAL; n++) {
        char *comma = strchr(s, ',');
        list[n] = s;
        if (comma) *comma = 0;
        s = comma ? comma + 1 : NULL;
    }
    list[n] = NULL;
    return n < MAX_SPECIAL;
}

static ry_status train_files(ry_tokenizer **out, int n, const char *const *path, const ry_tokenizer_train_options *o, double *mb) {
    os_map map[MAX_FILES] = {{0}};
    const char *text[MAX_FILES];
    size_t bytes[MAX_FILES];
    ry_status st = RY_OK;
    for (int i = 0; i < n && st == RY_OK; i++) {
        st = os_map_open(&map[i], path[i]);
        text[i] = map[i].data ? map[i].data : "";
        bytes[i] = map[i].bytes;
        *mb += (double)bytes[i] / 1e6;
    }
    if (st == RY_OK) st = ry_tokenizer_train(out, (size_t)n, text, bytes, o);
    for (int i = 0; i < n; i++) os_map_close(&map[i]);
    return st;
}

static int run_tokenizer(const app_verb *v, int argc, char **argv) {
    const char *files[MAX_FILES + 1], *out_path = NULL, *pattern = NULL, *special = NULL, *data = NULL, *names[MAX_SPECIAL + 1] = {0};
    ry_tokenizer_train_options o = {.vocab = 4096, .special = names, .progress = train_shown, .stop = app_stop_flag()};
    bool json = false;
    const app_option options[] = {
        {"--data", OPT_TEXT, &data, "FILE...", "UTF-8 text, one or more files", NULL},
        {"--out,-o", OPT_TEXT, &out_path, "FILE", "tokenizer.json to write, or a folder for it", NULL},
        {"--vocab,--vocab-size", OPT_INT | OPT_FROM_1, &o.vocab, "N", "entries, special tokens and the 256 bytes included (4096)", NULL},
        {"--special", OPT_TEXT, &special, "A,B", "special tokens, which get the first ids", NULL},
        {"--pattern", OPT_TEXT, &pattern, "REGEX", "what text is cut into first (default: GPT-2's)", NULL},
        {"--min-count", OPT_INT | OPT_FROM_1, &o.min_count, "N", "no merge of a pair that is rarer (1)", NULL},
        {"--json", OPT_FLAG, &json, NULL, "the result as a line of JSON on stdout", NULL},
        {0}};
    int code, n = 0;
    if (argc > 0 && strcmp(argv[0], "train") && argv[0][0] != '-') return app_usage(v, "there is only 'tokenizer train', not '%s'", argv[0]);
    if (argc > 0 && !strcmp(argv[0], "train")) argc--, argv++;
    memset(files, 0, sizeof files);
    if (!app_parse(v, options, argc, argv, files + 1, MAX_FILES - 1, &code)) return code;
    files[0] = data;
    while (n < MAX_FILES && files[n]) n++;
    if (!data || !out_path) return app_usage(v, "--data and -o are needed");
    o.pattern = pattern;
    char *copy = special ? ry_mem_alloc(strlen(special) + 1) : NULL;
    if (special && !copy) return app_fail(RY_ENOMEM);
    if (copy) memcpy(copy, special, strlen(special) + 1);
    if (!split_names(copy, names)) {
        ry_mem_free(copy);
        return app_usage(v, "at most %d special tokens", MAX_SPECIAL - 1);
    }
    double mb = 0, begin = os_now();
    ry_tokenizer *t = NULL;
    ry_status st = train_files(&t, n, files, &o, &mb);
    app_progress_clear();
    if (st == RY_OK) st = ry_tokenizer_save(t, out_path);
    if (st == RY_OK && json) {
        printf("{\"vocab\":%lld,\"megabytes\":%.3f,\"seconds\":%.3f,\"path\":", (long long)ry_tokenizer_size(t), mb, os_now() - begin);
        app_json_text(stdout, out_path, strlen(out_path));
        puts("}");
    } else if (st == RY_OK) {
        fprintf(stderr, "%lld entries from %.1f MB in %.1f s: %s\n", (long long)ry_tokenizer_size(t), mb, os_now() - begin, out_path);
    }
    ry_tokenizer_close(t);
    ry_mem_free(copy);
    return st == RY_OK ? APP_OK : app_fail(st);
}

const app_verb verb_tokenizer = {"tokenizer", "train --data FILE... -o FILE [options]", "makes a byte-level BPE tokenizer from text",
                                 "rusty tokenizer train --vocab 4096 --data book.txt -o tokenizer.json", run_tokenizer};
