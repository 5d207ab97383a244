/* test_chat.c - rusty run and rusty chat by pipes: prompts from everywhere, stop texts, drafts, prompt caches, conversations, commands. */
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
    assert_run(1, RUN "-p a -md m --draft 0");
    assert_run(0, RUN "-p a --cache-type f16");
    assert_run(1, RUN "-p a --cache-type q8_0"); /* heads of 8 */
    assert_in("err.txt", "f16");
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prompts), cmocka_unit_test(test_stop), cmocka_unit_test(test_prompt_cache), cmocka_unit_test(test_chat)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
