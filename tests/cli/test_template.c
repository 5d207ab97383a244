/* test_template.c - rusty template: messages in, exactly the rendered bytes out; what is wrong is said in one line. */
#include "cli/cli.h"

static void same(const char *want) {
    char *got = slurp("out.txt");
    if (strcmp(got, want)) fail_msg("'%s' instead of '%s'", got, want);
    ry_mem_free(got);
}

#define ASK "echo '[{\"role\":\"user\",\"content\":\"h\\u00e9\"}]' | $R template "

static void test_renders(void **state) {
    (void)state;
    enter("template");
    assert_run(0, "printf '%%s' '{%% for m in messages %%}<{{ m.role }}>{{ m.content }}{{ eos_token }}{%% endfor %%}{{ bos_token }}{{ tools }}{{ documents }}{{ x }}{{ y }}{%% if add_generation_prompt %%}<a>{%% endif %%}\n\n' > t.jinja");
    assert_run(0, ASK "-m t.jinja");
    same("<user>h\xC3\xA9NoneNone<a>");
    assert_run(0, ASK "-m t.jinja --no-generation-prompt --bos-token '<s>' --eos-token=E --var x=true --var 'y={\"a\":[1]}'");
    same("<user>h\xC3\xA9"
         "E<s>NoneNoneTrue{'a': [1]}");
    assert_run(0, "echo '[{\"name\":\"f\"}]' > tools.json; echo '{{ tools[0].name }}{{ strftime_now(\"%%Y %%b\") }}' > d.jinja; " ASK "-m d.jinja --tools tools.json --now '2024-02-29 10:00:00'");
    same("f2024 Feb");
    assert_run(0, "mkdir m; echo '{\"bos_token\":\"<s>\",\"chat_template\":\"{{ bos_token }}{{ messages[0].content }}\"}' > m/tokenizer_config.json; " ASK "-m m");
    same("<s>h\xC3\xA9");
    assert_run(0, ASK "-m m --bos-token B");
    same("Bh\xC3\xA9");
#define TALK "echo '[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"bc\"}]' | $R template --no-generation-prompt --json "
    assert_run(0, "echo '{%% for m in messages %%}<{{ m.role[0] }}>{{ m.content }}{%% endfor %%}{%% if add_generation_prompt %%}<a>{%% endif %%}' > s.jinja; " TALK "-m s.jinja");
    same("{\"text\":\"<u>a<a>bc\",\"assistant\":[[7,9]]}\n");
    assert_run(1, TALK "-m t.jinja"); /* what stands behind the messages moves */
    assert_in("err.txt", "message 1");
}

static void test_refuses(void **state) {
    (void)state;
    enter("template_wrong");
    assert_run(0, "echo '{{ raise_exception(\"only users\") }}' > t.jinja; echo '{%% for a in range(99999) %%}{%% for b in range(99999) %%}{%% endfor %%}{%% endfor %%}' > slow.jinja; echo x > x.jinja; mkdir empty");
    assert_run(1, ASK "-m t.jinja");
    assert_in("err.txt", "only users");
    assert_run(1, ASK "-m slow.jinja");
    assert_in("err.txt", "limit:");
    assert_run(1, ASK "-m empty");
    assert_in("err.txt", "no chat template");
    assert_run(1, ASK "-m nowhere.jinja");
    assert_run(2, ASK);
    assert_run(1, "echo '{}' | $R template -m x.jinja");
    assert_in("err.txt", "list");
    assert_run(1, "$R template -m x.jinja < /dev/null");
    assert_run(1, ASK "-m x.jinja --var x");
    assert_in("err.txt", "NAME=JSON");
    assert_run(1, ASK "-m x.jinja --var x=[");
    assert_run(1, ASK "-m x.jinja --now yesterday");
    assert_run(1, ASK "-m x.jinja --tools nothing.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_renders), cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
