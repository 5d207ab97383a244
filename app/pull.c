/* pull.c - rusty pull: a model from the Hugging Face Hub into the local cache. */
#include "app.h"
#include <string.h>

enum { MAX_PATTERNS = 32 };

static void progress(void *ud, const char *file, int64_t done, int64_t all) {
    (void)ud;
    if (all > 0) app_progress((double)done / (double)all, "%s of %s  %s", app_bytes((double)done).s, app_bytes((double)all).s, file);
    else app_progress(0, "%s  %s", app_bytes((double)done).s, file);
}

static int run(const app_verb *v, int argc, char **argv) {
    const char *repo = NULL, *revision = NULL, *include = NULL, *patterns[MAX_PATTERNS + 1] = {0};
    double patience = 30;
    bool json = false;
    const app_option o[] = {{"--revision", OPT_TEXT, &revision, "R", "branch, tag or commit (main)", NULL},
                            {"--include", OPT_TEXT, &include, "'*Q4_K_M*'", "only files of these names; several joined by commas", NULL},
                            {"--patience", OPT_REAL | OPT_ABOVE_0, &patience, "S", "seconds without a byte until it tries again (30)", NULL},
                            {"--json", OPT_FLAG, &json, NULL, "JSON Lines on stdout", NULL}, {0}};
    int code;
    if (!app_parse(v, o, argc, argv, &repo, 1, &code)) return code;
    if (!repo) return app_usage(v, "give the repository: ORG/NAME");
    ry_text list = {0};
    if (include) {
        ry_text_puts(&list, include);
        if (ry_text_status(&list) != RY_OK) return app_fail(RY_ENOMEM);
        int n = 0;
        for (char *s = strtok(list.at, ","); s; s = strtok(NULL, ",")) {
            if (n == MAX_PATTERNS) return ry_text_free(&list), app_usage(v, "--include takes at most %d patterns", MAX_PATTERNS);
            patterns[n++] = s;
        }
    }
    char *path = NULL;
    ry_status st = ry_pull(&path, repo, &(ry_pull_options){.revision = revision, .include = include ? patterns : NULL, .patience = patience, .progress = progress, .stop = app_stop_flag()});
    app_progress_clear();
    if (st == RY_OK && json) {
        printf("{\"path\":");
        app_json_text(stdout, path, strlen(path));
        puts("}");
    } else if (st == RY_OK) puts(path);
    ry_free(path);
    ry_text_free(&list);
    return st == RY_OK ? APP_OK : app_fail(st);
}

const app_verb verb_pull = {"pull", "ORG/NAME [options]", "fetches a model into the Hugging Face cache",
                            "rusty pull HuggingFaceTB/SmolLM2-135M-Instruct && rusty chat -m HuggingFaceTB/SmolLM2-135M-Instruct", run};
