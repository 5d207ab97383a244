/* fuzz_jinja.c - any bytes as a template: no crash, no leak, and never more steps or memory than it is given. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "io/template/jinja.h"

enum { STEPS = 100000, BYTES = 8 << 20 };
static const char values[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"na\\u00efve \\ud83d\\ude00 <b>\"},{\"role\":\"assistant\",\"content\":\"it's\\n\",\"n\":[1,2.5,null,true]}],"
                             "\"tools\":[{\"a\":{\"b\":[]}}],\"s\":\"Hello World\",\"l\":[3,1,2],\"d\":{\"x\":1,\"y\":[1]},\"n\":null,\"i\":-7,\"f\":2.5}";

static void render(jinja *t, const ry_json *vars) {
    jrun r = {.t = t, .line = 1, .now = {2025, 3, 14, 9, 26, 53, 4, 72, 0}};
    ry_status st = RY_OK;
    for (ry_json_it it = ry_json_first(vars); it.value && st == RY_OK; it = ry_json_next(vars, it)) {
        jv v;
        const jname *name = jinja_known(t, it.key, strlen(it.key));
        st = jv_json(&r, &v, it.value);
        if (st == RY_OK && name) st = jscope_put(&r, &r.globals, name, v);
    }
    must(st == RY_OK);
    st = jinja_run(&r);
    must(r.out.n <= BYTES && r.bytes <= BYTES && ry_arena_bytes(&r.arena) <= 4 * (size_t)BYTES);
    for (size_t i = 0; i < r.spans.n; i++) must(r.spans.at[i].begin <= r.spans.at[i].end);
    ry_arena_free(&r.arena);
    RY_VEC_FREE(&r.spans);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    jinja *t;
    ry_json *vars;
    must(ry_json_parse(&vars, values, sizeof values - 1, "values", 0) == RY_OK);
    if (jinja_open(&t, (const char *)data, size, "fuzz") == RY_OK) {
        t->max_steps = STEPS;
        t->max_bytes = BYTES;
        render(t, vars);
        jinja_close(t);
    }
    ry_json_free(vars);
    must(ry_mem_live() == 0);
    return 0;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const seeds[] = {
        "{%- for m in messages %}\n  {%- if m.role == 'user' -%}\n<|im_start|>{{ m['content'] | trim }}\n{% elif loop.last %}{{ m.n | tojson(indent=2) }}{% endif %}{% endfor %}",
        "{% macro f(x, y=2) %}<{{ x }}{{ y }}{{ caller(1) if caller }}{{ varargs }}{{ kwargs }}>{% endmacro %}{{ f(1, *[3, 4], z=5) }}{% call(q) f(2) %}{{ q }}{% endcall %}",
        "{% set ns = namespace(x='', y=[]) %}{% for i in range(9) %}{% set ns.x = ns.x ~ i %}{% set ns.y = ns.y + [i] %}{% endfor %}{{ ns.x[::-2] }}{{ ns.y[2:5] | sort(reverse=true) }}",
        "{{ '%5.2f|%-8s|%x|%(a)s' % (f, s, 255) }}{{ '{:>{w}}|{0[x]}|{!r:^9}|{:,.2f}'.format(d, s, 1.5, w=9) }}{{ strftime_now('%d %B %Y %-I %j') }}",
        "{{ s.split('o', 1) }}{{ s.replace('l', 'LL', 2) }}{{ s.rsplit() }}{{ s | title | center(20) | indent(2, true) }}{{ s.find('o', 5) }}{{ s.partition(' ') }}{{ s.splitlines() }}",
        "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{{ loop.depth }}{{ loop.nextitem }}{{ loop.revindex }}{% endif %}{% else %}e{% endfor %}",
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('-') }}{{ l | map('string') | batch(2, 'x') | list }}{{ messages | groupby('role') }}{{ l | slice(2) | list }}",
        "  {#- c -#}\n{% raw -%} {{ x }} {%- endraw +%}\n{%+ generation %}a{% endgeneration %}{% filter upper %}b{% endfilter %}{% with a = 1, b = a %}{{ a }}{% endwith %}",
        "{{ i ** 3 // 2 % 5 - -i * 2.5 / 3 }}{{ 1 < 2 <= f != 3 in l not in d }}{{ 9223372036854775807 + 0 }}{{ 0x1f + 1_0 - 1e3 }}{{ 'a' 'b' ~ '\\u00e9\\x41\\q\\n' }}",
        "{{ d | dictsort }}{{ d.items() | list }}{{ {'a': [1, (2,), {}], 1: none} }}{{ d | xmlattr }}{{ s | e }}{{ s | urlencode }}{{ '<b>x</b>' | striptags }}{{ l | unique | list | sum(start=1) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ 'a' * 1000 }}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}{{ ((((((((((1)))))))))) }}{{ [[[[[[[[]]]]]]]] | tojson }}",
        "{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.current }}{% set j = joiner() %}{{ j() }}{{ j() }}{{ 2.675 | round(2) }}{{ '0x1f' | int(0, 16) }}{{ 5 | filesizeformat }}{{ undef.x }}",
        "{% set ns = namespace(g=l) %}{% for i in range(200) %}{% set ns.g = ns.g | map('string') | select('in', s) %}{% endfor %}{{ ns.g | list }}{{ ns }}{{ l[i] }}{{ s[i:f] }}",
    };
    return seed_of(seeds, sizeof seeds / sizeof *seeds, i, buf, cap);
}
