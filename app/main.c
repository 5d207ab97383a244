/* main.c - the verbs, and nothing else. */
#include "app.h"
#include <string.h>

static const app_verb *const verbs[] = {&verb_demo, &verb_train, &verb_run, &verb_chat, &verb_eval, &verb_plan, &verb_inspect, &verb_bench, &verb_devices, &verb_doctor, &verb_pull, &verb_export, &verb_template, &verb_tokenizer, &verb_tokenize, &verb_detokenize};

static void on_log(void *ud, ry_log_level level, const char *line) {
    (void)ud;
    if (level < RY_LOG_INFO) return;
    app_progress_clear();
    fprintf(stderr, "rusty: %s%s\n", level == RY_LOG_WARN ? "warning: " : "", line);
}

static int usage(FILE *f, int code) {
    fprintf(f, "rusty %s: trains, tunes and runs language models\nusage: rusty VERB [options]\n\n", ry_version());
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) fprintf(f, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    fprintf(f, "\nrusty VERB --help shows a verb's options and an example.\n");
    return code;
}

int main(int argc, char **argv) {
    ry_log_set(on_log, NULL);
    os_env_default("NODEVICE_SELECT", "1"); /* Mesa's layer that reorders GPUs: it writes to stderr where there is no screen */
    if (argc < 2) return usage(stderr, APP_USAGE);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) return usage(stdout, APP_OK);
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
        printf("rusty %s\n", ry_version());
        return APP_OK;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i]->name, argv[1])) {
            int code = verbs[i]->run(verbs[i], argc - 2, argv + 2);
            if (fflush(stdout) || ferror(stdout)) {
                fprintf(stderr, "rusty: cannot write to standard output\n");
                return APP_FAILED;
            }
            return code;
        }
    fprintf(stderr, "rusty: there is no verb '%s'; rusty --help lists them\n", argv[1]);
    return APP_USAGE;
}
