/* test_jinja.c - the template language by itself: what each construct gives, what is refused, what is too much; where templates and tokens
 * are found; the assistant's spans; every allocation failing. */
#include "unit/io_help.h"
#include <rusty.h>

static const char vars[] = "{\"s\":\"Hello World\",\"l\":[3,1,2],\"d\":{\"x\":1,\"items\":5,\"k-e\":\"it's\"},\"n\":null,\"u\":\"na\\u00efve \\ud83d\\ude00\",\"big\":12345678901234567890,"
                           "\"m\":[{\"role\":\"user\",\"n\":3},{\"role\":\"bot\",\"n\":1}]}";

static ry_status render(const char *source, char **out) {
    ry_template *t = NULL;
    size_t n = 0;
    *out = NULL;
    RY_TRY(ry_template_text(&t, source, strlen(source)));
    ry_status st = ry_template_render(t, &(ry_template_args){.messages = "[]", .variables = vars, .now = "2025-03-14 09:26:53"}, out, &n, NULL, NULL);
    ry_template_close(t);
    return st;
}

typedef struct pair { const char *source, *want; } pair;

static void check_all(const pair *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char *out;
        ry_status st = render(p[i].source, &out);
        if (st != RY_OK) fail_msg("%s: %s", p[i].source, ry_message());
        if (strcmp(out, p[i].want)) fail_msg("%s\n  gives '%s'\n  not   '%s'", p[i].source, out, p[i].want);
        ry_free(out);
    }
}
#define CHECK_ALL(p) check_all(p, sizeof(p) / sizeof *(p))

static void test_expressions(void **state) {
    static const pair p[] = {
        {"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // -2 }} {{ -7.5 % 2 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 1 / 3 }}", "3 -4 2 -4.0 0.5 64 4 0.5 0.3333333333333333"},
        {"{{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.0001 }} {{ 5e-324 }} {{ 0.1 + 0.2 }} {{ 100000.0 }} {{ -0.0 }}", "1e+16 1000000000000000.0 1e-05 0.0001 5e-324 0.30000000000000004 100000.0 -0.0"},
        {"{{ 1_000 }} {{ 0x1f }} {{ 0b11 }} {{ 1.5e2 }} {{ [[1, 2]].0.1 }}", "1000 31 3 150.0 2"},
        {"{{ big }} {{ [big] | tojson }} {{ big is integer }}", "12345678901234567890 [12345678901234567890] True"},
        {"{{ 'a' ~ 1 ~ none ~ [true] }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ (1,) }} {{ () }}", "a1None[True] abab [1, 2] (1,) ()"},
        {"{{ 1 < 2 < 3 }} {{ 1 == 1.0 == true }} {{ 'a' in 'cab' }} {{ 4 not in l }} {{ [1, 2] < [1, 3] }}", "True True True True True"},
        {"{{ u[5:] }}{{ u[::-1] }}{{ u | length }} {{ l[-1] }} {{ l[5] }}| {{ l[::-2] }} {{ (1, 2, 3)[1:] }} {{ range(9)[2:7:2] }}", " \xF0\x9F\x98\x80\xF0\x9F\x98\x80 ev\xC3\xAF"
                                                                                                                    "an7 2 | [2, 3] (2, 3) range(2, 7, 2)"},
        {"{{ d['items'] }} {{ d.items() }} {{ d.x }} {{ d.zz }}| {{ d['zz'] | default('q') }}", "5 dict_items([('x', 1), ('items', 5), ('k-e', \"it's\")]) 1 | q"},
        {"{{ \"a\" 'b' }} {{ '\\u00e9\\x41\\n\\q' }} {{ ['\\n', '\"', \"'\", '\\x7f'] }}", "ab \xC3\xA9"
                                                                                          "A\n\\q ['\\n', '\"', \"'\", '\\x7f']"},
        {"{{ 'y' if n else 'z' }}{{ 'y' if n }} {{ n or 0 }} {{ s and 5 }} {{ not n }}", "z 0 5 True"},
        {"{{ {'a': 1, 'a': 2, 1: 3, 1.0: 4} }} {{ {(1, 2): 3}[1, 2] }}", "{'a': 2, 1: 4} 3"},
        {"{{ undef }}{{ undef | length }}{{ undef == undef2 }}{{ undef is defined }}{{ 1 in undef }}", "0TrueFalseFalse"},
        {"{{ ''.__class__ }}{{ l.append }}{{ l.append is defined }}", "False"},
        {"{{ '%05.1f|%-4s|%x|%(k)s' % {'k': 1} if false else '%05.1f|%-4s|%x' % (2.25, 'a', 255) }}", "002.2|a   |ff"},
        {"{{ '{0:>5}|{1!r}|{a[x]}|{:,}'.format(1234) if false else '{0:>5}|{1!r}|{a[x]}'.format('a', 'b', a=d) }} {{ '{:,}'.format(1234567) }}", "    a|'b'|1 1,234,567"},
    };
    (void)state;
    CHECK_ALL(p);
}

static void test_statements(void **state) {
    static const pair p[] = {
        {"{% for x in l %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.last }} {% endfor %}", "121False 2132False 301True "},
        {"{% for x in l if x > 1 %}{{ loop.length }}{{ x }}{% endfor %}", "2322"},
        {"{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}", "11(22(33))"},
        {"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "323"},
        {"{% for x in [] %}a{% else %}b{% endfor %}{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "ba1"},
        {"{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}", "aTruebTrueaTrue"},
        {"{% set x = 1 %}{% for i in l %}{% set x = i %}{% endfor %}{{ x }}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "12"},
        {"{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns }}", "6<Namespace {'x': 6}>"},
        {"{% set a, b = 1, (2, 3) %}{{ b }}{% set x | upper %}q{{ a }}{% endset %}{{ x }}", "(2, 3)Q1"},
        {"{% macro f(a, b=a) %}{{ a }}{{ b }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1) }}{{ f(1, 2, 3, z=4) }}", "11(){}12(3,){'z': 4}"},
        {"{% macro f(x) %}<{{ caller(x) if caller }}>{% endmacro %}{% call(y) f(5) %}[{{ y }}]{% endcall %}{{ f(1) }}", "<[5]><>"},
        {"{% filter upper | replace('A', 'b') %}a{{ s }}{% endfilter %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "bHELLO WORLD1"},
        {"{% generation %}x{% set q = 1 %}{% endgeneration %}{{ q }}{% block b %}y{% endblock %}{% print 1, 2 %}", "xy12"},
        {"{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{% set j = joiner('|') %}{{ j() }}{{ j() }}", "121|"},
        {"{% set g = l | map('string') %}{{ g | list }}{{ g | list }}", "['3', '1', '2'][]"},
    };
    (void)state;
    CHECK_ALL(p);
}

static void test_white_space(void **state) {
    static const pair p[] = {
        {"a {%- if true -%} b {%- endif -%} c", "abc"},
        {"  {% if true %}\n    x\n  {% endif %}\ny\n", "    x\ny"},
        {"  {%+ if true %}\n  {%+ endif +%}\nz", "    \nz"},
        {"x {{- 1 -}} y\n\n", "x1y\n"},
        {"a\r\nb\rc", "a\nb\nc"},
        {"{# c #}\n  {#- d -#}  e{#", "e"},
        {"  {% raw %}\n {{ x }} {%- endraw %}\nz", "\n {{ x }}z"},
        {"\xC2\xA0{%- if true %}\xE2\x80\x83{%- endif %}", ""},
        {"{{ {'a': {'b': 1}} }}{{ '}}' }}", "{'a': {'b': 1}}}}"},
    };
    (void)state;
    CHECK_ALL(p);
}

static void test_filters(void **state) {
    static const pair p[] = {
        {"{{ {'b': [1, {}], 'a': '\\u2028<\\u00e9\\n'} | tojson }}", "{\"b\": [1, {}], \"a\": \"\xE2\x80\xA8<\xC3\xA9\\n\"}"},
        {"{{ {'b': 1, 'a': [2]} | tojson(indent=1, sort_keys=true, separators=(',', ':')) }}{{ '\\u00e9\\U0001F600' | tojson(ensure_ascii=true) }}", "{\n \"a\":[\n  2\n ],\n \"b\":1\n}\"\\u00e9\\ud83d\\ude00\""},
        {"{{ l | sort }}{{ l | sort(reverse=true) }}{{ ['b', 'A'] | sort }}{{ m | sort(attribute='n') | map(attribute='role') | join(',') }}", "[1, 2, 3][3, 2, 1]['A', 'b']bot,user"},
        {"{{ m | selectattr('role', 'equalto', 'user') | list | length }}{{ m | rejectattr('n', 'gt', 1) | map(attribute='role') | first }}{{ l | select('odd') | list }}", "1bot[3, 1]"},
        {"{{ l | batch(2, 0) | list }}{{ l | slice(2) | list }}{{ [1, 1.0, 'a', 'A'] | unique | list }}{{ m | groupby('role') | map(attribute='grouper') | list }}", "[[3, 1], [2, 0]][[3, 1], [2]][1, 'a']['bot', 'user']"},
        {"{{ 2.5 | round }}{{ 2.675 | round(2) }}{{ -15 | round(-1) }}{{ 3.2 | round(0, 'ceil') }}{{ '0x1f' | int(0, 16) }}{{ '3.9' | int }}{{ 'x' | int(7) }}{{ ' 1_0.5 ' | float }}", "2.02.67-204.0313710.5"},
        {"{{ s | title }}{{ 'a\nb' | indent(2, true) }}{{ s | truncate(8, leeway=0) }}{{ 'ab' | center(6) }}|{{ s | wordcount }}{{ 'a b/?' | urlencode }}", "Hello World  a\n  bHello...  ab  |2a%20b/%3F"},
        {"{{ '<a>' | e }}{{ ('<' | safe) + '<' }}{{ ['<' | e] }}{{ '<b>x</b>  y' | striptags }}{{ {'a': '<'} | xmlattr }}", "&lt;a&gt;<&lt;[Markup('&lt;')]x y a=\"&lt;\""},
        {"{{ 'stra\\u00dfe' | upper }}{{ '\\u039f\\u03a3 \\u03a3' | lower }}{{ 'a-b' | title }}{{ 'a\\'b'.title() }}", "STRASSE\xCE\xBF\xCF\x82 \xCF\x83"
                                                                                                                     "A-BA'B"},
        {"{{ ' a  b '.split() }}{{ 'a,b,,c'.split(',', 2) }}{{ 'a\\r\\nb\\n'.splitlines() }}{{ 'aXbX'.rsplit('X', 1) }}{{ 'abc'.partition('b') }}{{ 'xay'.strip('xy') }}", "['a', 'b']['a', 'b', ',c']['a', 'b']['aXb', '']('a', 'b', 'c')a"},
        {"{{ strftime_now('%d %b %Y %-d %j %A %H:%M:%S %p %V %%') }}", "14 Mar 2025 14 073 Friday 09:26:53 AM 11 %"},
    };
    (void)state;
    CHECK_ALL(p);
}

static void test_errors(void **state) {
    static const struct { const char *source, *word; } p[] = {
        {"{{ undef.x }}", "'undef' is undefined"}, {"{{ d.zz.y }}", "attribute 'zz'"}, {"{{ 1 + 'a' }}", "cannot be applied"}, {"\n\n{{ 1 // 0 }}", "template:3: division by zero"},
        {"{{ l.append(1) }}", "sandbox"}, {"{{ ''.__class__.__mro__ }}", "unsafe"}, {"{% set ns = namespace() %}{% set ns._x = 1 %}", "sandbox"}, {"{% set d.x = 1 %}", "no namespace"},
        {"{{ raise_exception('boom ' ~ 1) }}", "boom 1"}, {"{{ x | nosuch }}", "nosuch"}, {"{{ x is nosuch }}", "nosuch"}, {"{{ nosuch() }}", "undefined"}, {"{{ s() }}", "cannot be called"},
        {"{% if %}x{% endif %}", "expression"}, {"{% for x in l %}", "endfor"}, {"{% endif %}", "tag"}, {"{{ x", "expected"}, {"{{ 'x }}", "quote"}, {"{{ (1 }}", "unexpected '}'"},
        {"{% break %}", "outside"}, {"{% set 1 = 2 %}", "assigned"}, {"{% macro f(a=1, b) %}{% endmacro %}", "default"}, {"{# x", "comment"}, {"{% raw %}x", "raw"},
        {"{% include 'x' %}", "refused"}, {"{% extends 'x' %}", "refused"}, {"{% import 'x' as y %}", "refused"}, {"{% from 'x' import y %}", "refused"}, {"{% do x %}", "tag"},
        {"{% for a, b in [[1]] %}{% endfor %}", "values"}, {"{% for a in 5 %}{% endfor %}", "walked"}, {"{{ {[1]: 2} }}", "key"}, {"{{ [1, 'a'] | sort }}", "order"},
        {"{{ undef | tojson }}", "undefined"}, {"{{ range(2) | tojson }}", "JSON"}, {"{% macro f(x) %}{% endmacro %}{{ f(1, 2) }}", "at most"}, {"{{ '%d' % 'x' }}", "number"},
        {"{{ 9223372036854775807 + 1 }}", "64 bits"}, {"{{ 99999999999999999999 }}", "64 bits"}, {"{{ big + 1 }}", "64 bits"}, {"{{ \"\xFF\" }}", "UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        char *out;
        ry_status st = render(p[i].source, &out);
        if (st == RY_OK) fail_msg("%s gives '%s'", p[i].source, out);
        assert_null(out);
        if (!strstr(ry_message(), p[i].word)) fail_msg("%s: \"%s\" does not say \"%s\"", p[i].source, ry_message(), p[i].word);
    }
    /* within an if that is not taken, an unknown filter is no error; a loop's body is checked all the same */
    static const pair ok[] = {{"{% if false %}{{ x | nosuch }}{% endif %}a{{ 1 if true else x | nosuch }}", "a1"}};
    CHECK_ALL(ok);
}

static void test_limits(void **state) {
    static const char *const p[] = {
        "{{ 'a' * 10 ** 9 }}", "{{ [0] * 10 ** 9 }}", "{{ range(10 ** 9) }}", "{{ 10 ** 99 }}", "{{ '%999999999d' % 1 }}", "{{ 'a'.center(10 ** 12) }}", "{{ 'a' | indent(10 ** 12) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == ns.x + [] }}{{ ns.x | tojson }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace(g=l) %}{% for i in range(9999) %}{% set ns.g = ns.g | map('string') %}{% endfor %}{{ ns.g | list }}",
        "{% set s = 'a' * 100000 %}{% for i in range(99999) %}{% if (s ~ 'b') in (s ~ s) %}{% endif %}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{{ s | replace('', s) }}", "{% for i in range(5, 0, -1) recursive %}{{ loop(range(50)) }}{% endfor %}",
    };
    char deep[8000] = "{{ ";
    (void)state;
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        char *out;
        if (render(p[i], &out) == RY_OK) fail_msg("%s gives %zu bytes", p[i], strlen(out));
        if (!strstr(ry_message(), "limit")) fail_msg("%s: \"%s\" names no limit", p[i], ry_message());
    }
    static const char *const nests[] = {"(", "[", "{1:", "-", "not ", "1 if 1 else ", "f(", "a[", "1+", "a.b|e.", "a~", "1<"};
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++) { /* deep or long, open or not: an error or a value, at once */
        size_t n = 3;
        while (n + strlen(nests[i]) + 8 < sizeof deep) n += (size_t)snprintf(deep + n, sizeof deep - n, "%s", nests[i]);
        snprintf(deep + n, sizeof deep - n, "1 }}");
        char *out;
        (void)render(deep, &out);
        ry_free(out);
    }
    size_t n = 0;
    while (n + 20 < sizeof deep) n += (size_t)snprintf(deep + n, sizeof deep - n, "{%% if 1 %%}");
    char *out;
    assert_is(RY_EUNSUPPORTED, render(deep, &out));
    assert_says("limit");
    assert_null(out);
    /* a text that grows piece by piece is not a limit: it does not take its length at every step */
    assert_ok(render("{% set ns = namespace(x='') %}{% for i in range(90000) %}{% set ns.x = ns.x + 'twenty bytes of text' %}{% endfor %}{{ ns.x | length }}", &out));
    assert_string_equal(out, "1800000");
    ry_free(out);
}

/* ---- where templates are found ---- */

static void check_open(const char *path, const char *tools, const char *want) {
    ry_template *t;
    char *out;
    size_t n;
    assert_ok(ry_template_open(&t, path));
    assert_ok(ry_template_render(t, &(ry_template_args){.messages = "[]", .tools = tools}, &out, &n, NULL, NULL));
    assert_string_equal(out, want);
    ry_free(out);
    ry_template_close(t);
}

static void test_places(void **state) {
    ry_template *t = NULL;
    (void)state;
    fresh_folder("test_jinja.dir");
    assert_is(RY_ENOENT, ry_template_open(&t, "test_jinja.dir"));
    assert_says("test_jinja.dir", "no chat template");
    assert_is(RY_ENOENT, ry_template_open(&t, "test_jinja.dir/nowhere"));
    write_text("test_jinja.dir/tokenizer_config.json", "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"</s>\",\"pad_token\":null,\"additional_special_tokens\":[\"<x>\"],\"chat_template\":\"A{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ additional_special_tokens }}\"}");
    check_open("test_jinja.dir", NULL, "A<s></s>['<x>']");
    check_open("test_jinja.dir/tokenizer_config.json", NULL, "A<s></s>['<x>']");
    write_text("test_jinja.dir/special_tokens_map.json", "{\"pad_token\":\"<p>\",\"eos_token\":\"other\"}");
    check_open("test_jinja.dir", NULL, "A<s></s><p>['<x>']");
    write_text("test_jinja.dir/tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\",\"template\":\"D{{ tools is none }}\"},{\"name\":\"tool_use\",\"template\":\"T{{ tools }}\"},{\"name\":\"rag\",\"template\":\"{% broken\"}]}");
    check_open("test_jinja.dir", NULL, "DTrue");
    check_open("test_jinja.dir", "[1]", "T[1]");
    assert_ok(os_mkdirs("test_jinja.dir/additional_chat_templates"));
    write_text("test_jinja.dir/additional_chat_templates/tool_use.jinja", "X{{ tools[0] }}");
    write_text("test_jinja.dir/chat_template.jinja", "J{{ documents }}\n");
    check_open("test_jinja.dir", NULL, "JNone");
    check_open("test_jinja.dir", "[1]", "X1");
    check_open("test_jinja.dir/chat_template.jinja", "[1]", "JNone");
    write_text("test_jinja.dir/chat_template.jinja", "{% if %}");
    assert_is(RY_EFORMAT, ry_template_open(&t, "test_jinja.dir"));
    assert_says("chat_template.jinja:1");
    fresh_folder("test_jinja.dir");
    write_text("test_jinja.dir/tokenizer_config.json", "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"R\"}]}");
    assert_ok(ry_template_open(&t, "test_jinja.dir"));
    char *out;
    size_t n;
    assert_is(RY_EUNSUPPORTED, ry_template_render(t, &(ry_template_args){.messages = "[]"}, &out, &n, NULL, NULL));
    assert_says("default", "rag");
    ry_template_close(t);
    write_text("test_jinja.dir/tokenizer_config.json", "{\"chat_template\":5}");
    assert_is(RY_EFORMAT, ry_template_open(&t, "test_jinja.dir"));
    write_text("test_jinja.dir/tokenizer_config.json", "[]");
    assert_is(RY_EFORMAT, ry_template_open(&t, "test_jinja.dir"));
    assert_ok(os_remove_tree("test_jinja.dir"));
}

static void test_arguments(void **state) {
    ry_template *t;
    char *out;
    size_t n;
    (void)state;
    assert_ok(ry_template_text(&t, "{{ messages[0].x }}{{ bos_token }}{{ add_generation_prompt }}", 61));
    static const ry_template_args bad[] = {{.messages = NULL}, {.messages = "{}"}, {.messages = "null"}, {.messages = "[1"}, {.messages = "[]", .tools = "{}"}, {.messages = "[]", .variables = "[]"},
                                           {.messages = "[]", .now = "2025-02-29 00:00:00"}, {.messages = "[]", .now = "today"}, {.messages = "[{\"a\":1,\"a\":2}]"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_not_equal(ry_template_render(t, &bad[i], &out, &n, NULL, NULL), RY_OK);
    assert_ok(ry_template_token(t, "bos_token", "<b>"));
    assert_ok(ry_template_token(t, "bos_token", "<c>"));
    assert_ok(ry_template_render(t, &(ry_template_args){.messages = "[{\"x\":\"\\u0001integer 5 \\\"-99999999999999999999\\\"\"}]", .tools = "null", .add_generation_prompt = true}, &out, &n, NULL, NULL));
    assert_string_equal(out, "\001integer 5 \"-99999999999999999999\"<c>True");
    ry_free(out);
    ry_template_close(t);
    ry_template_close(NULL);
}

/* ---- spans ---- */

static const char talk[] = "[{\"role\":\"user\",\"content\":\"\xC3\xA9\"},{\"role\":\"assistant\",\"content\":\"one\"},{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"two\"}]";

static ry_status spans_of(const char *source, char **out, ry_span **spans, size_t *n_spans) {
    ry_template *t = NULL;
    size_t n;
    RY_TRY(ry_template_text(&t, source, strlen(source)));
    ry_status st = ry_template_assistant(t, &(ry_template_args){.messages = talk}, out, &n, spans, n_spans);
    ry_template_close(t);
    return st;
}

static void test_spans(void **state) {
    static const char *const sources[] = {
        "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }};{% endgeneration %}{% else %}{{ m.content }};{% endif %}{% endfor %}",
        "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"};
    char *out;
    ry_span *spans;
    size_t n;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_ok(spans_of(sources[i], &out, &spans, &n));
        assert_string_equal(out, "<u>\xC3\xA9;<a>one;<u>b;<a>two;");
        assert_int_equal(n, 2);
        assert_true(!strncmp(out + spans[0].begin, "one;", 4) && spans[0].end - spans[0].begin == 4);
        assert_true(!strncmp(out + spans[1].begin, "two;", 4) && spans[1].end - spans[1].begin == 4);
        ry_free(out);
        ry_free(spans);
    }
    /* an answer that looks different once the talk goes on */
    assert_is(RY_EUNSUPPORTED, spans_of("{% for m in messages %}{{ '<think>' if loop.last }}{{ m.content }};{% endfor %}", &out, &spans, &n));
    assert_says("message 1");
}

/* ---- memory ---- */

static ry_status everything(void *ud) {
    static const char source[] = "{% macro f(x, y=2) %}{{ x }}{{ y }}{{ varargs }}{{ kwargs }}{% endmacro %}{% for m in messages if m %}{{ loop.length }}{% generation %}{{ m.content | upper | tojson(indent=2) }}{% endgeneration %}"
                                 "{{ f(*[1, 2, 3], z=4) }}{% endfor %}{% set ns = namespace(x='') %}{% for i in range(40) %}{% set ns.x = ns.x ~ 'twenty bytes of text' %}{% endfor %}"
                                 "{{ 'a%sb{}' % (1,) }}{{ '{:>9}'.format(1) }}{{ [3, 1] | sort | map('string') | list }}{{ {'b': 1} | dictsort }}{{ m.split(',') }}{{ [1, 1] | unique | list }}{{ big }}";
    ry_template *t = NULL;
    char *out = NULL;
    size_t n, n_spans;
    ry_span *spans = NULL;
    (void)ud;
    RY_TRY(ry_template_text(&t, source, sizeof source - 1));
    ry_status st = ry_template_token(t, "bos_token", "<s>");
    if (st == RY_EARG) st = RY_ENOMEM; /* jansson does not say why it made no text */
    if (st == RY_OK) st = ry_template_assistant(t, &(ry_template_args){.messages = talk, .variables = "{\"m\":\"a,b\",\"big\":99999999999999999999}"}, &out, &n, &spans, &n_spans);
    ry_free(out);
    ry_free(spans);
    ry_template_close(t);
    return st;
}

static ry_status open_folder(void *ud) {
    ry_template *t = NULL;
    (void)ud;
    RY_TRY(ry_template_open(&t, "test_jinja.dir"));
    ry_template_close(t);
    return RY_OK;
}

static void test_memory(void **state) {
    (void)state;
    sweep_allocations(everything, NULL);
    fresh_folder("test_jinja.dir");
    write_text("test_jinja.dir/tokenizer_config.json", "{\"bos_token\":{\"content\":\"<s>\"},\"additional_special_tokens\":[\"<x>\"],\"chat_template\":[{\"name\":\"default\",\"template\":\"{{ 1 }}\"},{\"name\":\"b\",\"template\":\"{% broken\"}]}");
    assert_ok(os_mkdirs("test_jinja.dir/additional_chat_templates"));
    write_text("test_jinja.dir/additional_chat_templates/tool_use.jinja", "x");
    sweep_allocations(open_folder, NULL);
    assert_ok(os_remove_tree("test_jinja.dir"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expressions), cmocka_unit_test(test_statements), cmocka_unit_test(test_white_space), cmocka_unit_test(test_filters),
                                       cmocka_unit_test(test_errors), cmocka_unit_test(test_limits), cmocka_unit_test(test_places), cmocka_unit_test(test_arguments),
                                       cmocka_unit_test(test_spans), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
