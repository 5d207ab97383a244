/* test_chat.c - rusty run and rusty chat by pipes: prompts from everywhere, stop texts, drafts, prompt caches, conversations, commands. */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

static int setup(void **state) {
    (void)state;
    enter("chat");
    assert_run(0, "$R train --config shape.yaml --data text.txt --tokenizer bytes --seq-len 64 -b 8 --iters 60 --lr 0.01 -o m && "
                  "$R train --config shape.yaml --data text.txt --tokenizer bytes --seq-len 64 -b 2 --iters 5 --lr 0.01 -o small");
    static const char form[] = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}{{ mark | default('a') }}:{% endif %}";
    assert_ok(os_file_write("form.jinja", form, sizeof form - 1));
    return 0;
}

#define RUN "$R run -m m --device cpu --temp 0 -n 30 "
#define CHAT "$R chat -m m --device cpu --template form.jinja --temp 0 -n 8 "

static void same_output(const char *a, const char *b) {
    assert_run(0, "{ %s ; } > first.txt", a);
    assert_run(0, "%s", b);
    same_files("first.txt", "out.txt");
}

static void test_prompts(void **state) {
    (void)state;
    assert_run(0, "printf 'line 3' > p.txt");
    same_output(RUN "-p 'line 3'", RUN "-f p.txt");
    same_output(RUN "-p 'line 3'", RUN "< p.txt");
    same_output(RUN "-p 'line 3'", RUN "-p 'line 3' -md small --draft 4");
    same_output(RUN "-p 'line 3' --json --seed 3 --temp 0.9 | sed 's/,.tok_per.*//'", RUN "-p 'line 3' --json --seed 3 --temp 0.9 -md m | sed 's/,.tok_per.*//'");
    assert_run(0, RUN "-p 'line 3' -n 0 --json");
    assert_in("out.txt", "\"text\":\"\",\"ids\":[]");
    assert_run(2, RUN "-p a -f p.txt");
    assert_run(1, RUN "-f absent.txt");
    assert_run(1, RUN "-p ''");
    assert_in("err.txt", "empty");
    assert_run(1, RUN "-p a --cache-type q4_0");
    assert_run(2, RUN "-p a -md m --draft 0");
    assert_run(0, RUN "-p a --cache-type f16");
    assert_run(1, RUN "-p a --cache-type q8_0"); /* heads of 8 */
    assert_in("err.txt", "f16");
}

/* What is no number of its kind is refused with what it may be; what is no model, with what one is. */
static void test_wrong(void **state) {
    (void)state;
    static const char *const numbers[][2] = {
        {"--temp -1", "--temp must be at least 0, it is -1"}, {"--top-k -3", "at least 0"}, {"--top-p 7", "--top-p must be above 0 and at most 1, it is 7"},
        {"--top-p 0", "above 0"}, {"--min-p 1.5", "at most 1"}, {"--repeat-penalty 0", "above 0"}, {"-n -2", "-n must be at least -1"}, {"-n 1.5", "whole number"}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_run(2, "$R run -m m --device cpu -p a %s", numbers[i][0]);
        assert_in("err.txt", numbers[i][1]);
    }
    assert_run(2, "$R runs -m m");
    assert_in("err.txt", "there is no verb 'runs'; rusty --help lists them");
    assert_run(1, "$R inspect text.txt");
    assert_in("err.txt", "text.txt: neither a safetensors nor a GGUF file");
    assert_run(1, "$R doctor --device cpu --ops nosuch");
    assert_in("err.txt", "no operator has a name that begins with 'nosuch'");
    assert_run(1, "printf '/params top-p 7\\n/quit\\n' | " CHAT);
    assert_in("err.txt", "top-p must be above 0 and at most 1, it is 7");
    /* Without its tokenizer, whose way of cutting GGUF does not know. */
    assert_run(0, "mkdir -p none one two && cp -r m silent && rm silent/tokenizer*.json && $R export -m silent -o one/a.gguf --format gguf && cp one/a.gguf two/a.gguf && cp one/a.gguf two/b.gguf");
    assert_run(0, "! $R export -m silent -o none/there/a.gguf --format gguf 2> why.txt && test $(wc -l < why.txt) = 1"); /* no warning of what was not written */
    static const char *const models[][2] = {
        {"text.txt", "text.txt is no model: a model is a folder"}, {"none", "none: no model in this folder"}, {"two", "two holds 2 GGUF files: give the path of one"}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int ids = 0; ids < 2; ids++) {
            assert_run(1, "$R run -m %s --device cpu %s", models[i][0], ids ? "--ids 1" : "-p a");
            assert_in("err.txt", models[i][1]);
        }
    same_output("$R run -m one/a.gguf --device cpu --ids 1,2 -n 8 --temp 0", "$R run -m one --device cpu --ids 1,2 -n 8 --temp 0");
}

/* A stop text from the middle of what the model says: the text ends before it, and nothing of it is shown. */
static void test_stop(void **state) {
    (void)state;
    assert_run(0, RUN "-p 'the quick brown'");
    char *all = slurp("out.txt");
    assert_true(strlen(all) > 20);
    char stop[4] = {all[7], all[8], all[9]}, *first = strstr(all, stop);
    for (int i = 0; i < 3; i++) assert_true(stop[i] >= ' ' && stop[i] != '\'');
    *first = 0;
    assert_run(0, RUN "-p 'the quick brown' --json --stop zzzz --stop '%s'", stop);
    assert_in("out.txt", "\"ending\":\"stop\"");
    char *json = slurp("out.txt");
    assert_memory_equal(json + strlen("{\"text\":\""), all, strlen(all));
    assert_int_equal(json[strlen("{\"text\":\"") + strlen(all)], '"');
    ry_mem_free(json);
    assert_run(0, RUN "-p 'the quick brown' --stop '%s'", stop);
    char *shown = slurp("out.txt");
    assert_int_equal(strlen(shown), strlen(all) + 1);
    assert_memory_equal(shown, all, strlen(all));
    ry_mem_free(shown);
    int id = (unsigned char)stop[0];
    ry_mem_free(all);
    assert_run(0, RUN "-p 'the quick brown' --logit-bias %d-inf", id);
    all = slurp("out.txt");
    assert_null(strchr(all, id));
    ry_mem_free(all);
    assert_run(0, RUN "-p 'the quick brown' --no-repeat-ngram-size 1 -n 20");
    assert_run(1, RUN "-p a --logit-bias 5");
    assert_in("err.txt", "--logit-bias");
}

static void test_prompt_cache(void **state) {
    (void)state;
    assert_run(0, RUN "-p 'the quick brown fox' --json --prompt-cache c.bin > first.txt");
    assert_true(number_in("first.txt", "\"cached_tokens\":") == 0);
    assert_run(0, RUN "-p 'the quick brown fox' --json --prompt-cache c.bin > second.txt");
    assert_true(number_in("second.txt", "\"cached_tokens\":") == 18); /* all but the last, whose logits are wanted */
    assert_run(0, "for f in first second; do sed 's/,.prompt.*//' $f.txt > $f.s; done; cmp first.s second.s");
    assert_run(0, RUN "-p 'the quick brown cat sits' --json --prompt-cache c.bin");
    assert_true(number_in("out.txt", "\"cached_tokens\":") == 16);
    assert_run(0, RUN "-p 'Another' --json --prompt-cache c.bin");
    assert_in("err.txt", "another prompt");
    assert_run(1, "$R run -m small --device cpu -p 'Another' --prompt-cache c.bin");
    assert_in("err.txt", "another model");
    assert_run(1, "head -c 100 c.bin > cut.bin; " RUN "-p 'Another' --prompt-cache cut.bin");
}

static void test_chat(void **state) {
    (void)state;
    assert_run(1, "echo hi | $R chat -m m --device cpu");
    assert_in("err.txt", "--template");
    assert_run(0, "printf 'the quick\\nthe lazy\\n' | " CHAT "> two.txt");
    assert_run(0, "printf 'the quick\\n' | " CHAT "> one.txt; n=$(wc -c < one.txt); head -c $n two.txt | cmp - one.txt");
    assert_run(0, "printf '{\"role\":\"user\",\"content\":\"the quick\"}\\n\\n{\"role\":\"user\",\"content\":\"the lazy\"}\\n' | " CHAT "--json > both.txt");
    assert_run(0, "tail -n 1 both.txt > last.txt; test $(wc -l < both.txt) = 2");
    assert_in("last.txt", "{\"role\":\"assistant\",\"content\":\"");
    assert_true(number_in("last.txt", "\"cached_tokens\":") >= 14); /* the first turn: u:the quick\na: */
    assert_run(0, "printf '[{\"role\":\"user\",\"content\":\"the quick\"}]\\n' | " CHAT "--json");
    /* Commands; what begins with a slash and is none is an error, which ends a script. */
    assert_run(0, "printf 'the quick\\n/save s.bin\\n' | " CHAT "> saved.txt && printf '/load s.bin\\nthe lazy\\n' | " CHAT "> loaded.txt && cat saved.txt loaded.txt > both.txt");
    same_files("both.txt", "two.txt");
    assert_run(0, "printf 'the quick\\n/undo\\n/reset\\nthe quick\\n/params temp 0.5\\n/params\\n/system be brief\\n/retry\\n/help\\n/quit\\nnot read\\n' | " CHAT);
    assert_in("out.txt", "temp                     0.5");
    assert_run(1, "echo /undo | " CHAT);
    assert_run(1, "echo /nothing | " CHAT);
    assert_in("err.txt", "/help");
    assert_run(1, "echo '{\"content\":1}' | " CHAT "--json");
    assert_in("err.txt", "role");
    assert_run(0, "echo x | " CHAT "--var 'mark=\"b\"'");
    assert_run(1, "echo x | " CHAT "--var mark=b");
    assert_in("err.txt", "--var");
    assert_run(1, "head -c 600 text.txt | tr '\\n' ' ' | " CHAT); /* a message that is longer than the context of 128 */
    assert_in("err.txt", "/reset");
}

/* Reads what the program shows until `mark` comes behind *at, which moves behind it. False: it did not in half a minute. */
static bool watch(int fd, ry_text *all, size_t *at, const char *mark) {
    double end = os_now() + 30;
    for (;;) {
        const char *found = all->at ? strstr(all->at + *at, mark) : NULL;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char buf[4096];
        if (found) {
            *at = (size_t)(found - all->at) + strlen(mark);
            return true;
        }
        if (os_now() > end) return false;
        if (poll(&p, 1, 100) <= 0) continue;
        ssize_t n = read(fd, buf, sizeof buf);
        if (n <= 0) return false;
        ry_text_add(all, buf, (size_t)n);
    }
}

/* Keys on a terminal: the line that comes of them, history, Ctrl-C while the model speaks. */
static void test_keys(void **state) {
    (void)state;
    int fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (fd < 0 || grantpt(fd) || unlockpt(fd)) {
        print_message("there are no pseudo terminals here: skipped\n");
        skip();
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        setsid();
        int tty = open(ptsname(fd), O_RDWR);
        for (int i = 0; i < 3; i++) dup2(tty, i);
        close(fd);
        setenv("XDG_STATE_HOME", "state", 1);
        setenv("NO_COLOR", "1", 1);
        execl(RUSTY_PROGRAM, "rusty", "chat", "-m", "m", "--device", "cpu", "--template", "form.jinja", "-n", "8", (char *)NULL);
        _exit(127);
    }
    static const struct { const char *keys, *mark; } steps[] = {
        {"", "\033[2C"},                                                            /* the prompt */
        {"/parms tp 0.25\001\033[C\033[C\033[C\033[Ca", "/params tp"}, /* Home, four to the right, what was missing */
        {"\033[F\033[1;5D\033[1;5D\005\027\027top-p 0.25\r", "\033[2C"},      /* End, words back, end, words cut, anew */
        {"/params\r", "max-tokens"},
        {"", "\033[2C"},
        {"\033[A\033[A", "/params top-p 0.25"},                                       /* history */
        {"\025", "\033[2C"},
        {"\033[200~\303\244h\re\033[201~", "e"},                                    /* two lines pasted */
        {"\r", "tokens/s"},
        {"", "\033[2C"},
        {"\003", "once more"},
        {"", "\033[2C"},
        {"/quit\r", "\033[?2004l"},
    };
    ry_text all = {0};
    size_t at = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        size_t n = strlen(steps[i].keys);
        assert_int_equal(write(fd, steps[i].keys, n), n);
        if (!watch(fd, &all, &at, steps[i].mark)) fail_msg("step %zu: no '%s' in:\n%s", i, steps[i].mark, all.at ? all.at : "");
    }
    int st = -1;
    assert_int_equal(waitpid(pid, &st, 0), pid);
    assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 0);
    assert_non_null(strstr(all.at, "top-p                    0.25"));
    assert_run(0, "printf '/params top-p 0.25\\n/params\\n\303\244h\\\\ne\\n/quit\\n' | cmp - state/rusty/chat_history");
    ry_text_free(&all);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prompts), cmocka_unit_test(test_wrong), cmocka_unit_test(test_stop), cmocka_unit_test(test_prompt_cache), cmocka_unit_test(test_chat), cmocka_unit_test(test_keys)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
