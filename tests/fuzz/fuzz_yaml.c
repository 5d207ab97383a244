/* fuzz_yaml.c - any bytes as YAML: no crash, no leak; what parses is a tree that JSON can say. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "io/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ry_json *j, *back;
    if (ry_yaml_parse(&j, (const char *)data, size, "fuzz.yaml") == RY_OK) {
        ry_text once = {0}, twice = {0};
        ry_json_write(&once, j, 0);
        must(ry_text_status(&once) == RY_OK);
        must(ry_json_parse(&back, once.at, once.n, "written", 0) == RY_OK);
        ry_json_write(&twice, back, 0);
        must(ry_text_status(&twice) == RY_OK && once.n == twice.n && !memcmp(once.at, twice.at, once.n));
        ry_json_free(back);
        ry_json_free(j);
        ry_text_free(&once);
        ry_text_free(&twice);
    }
    must(ry_mem_live() == 0);
    return 0;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static const char *const seeds[] = {
        "hidden_size: 64\nrms_norm_eps: 1e-5\nrope_scaling: {type: linear, factor: 2.0}\n",
        "list:\n- 1\n- [a, 'b', null]\n-\n",
        "a: 0x1F\nb: 0o17\nc: -.5e+3\nd: ~\ne: True\nf: .inf\n",
        "--- # doc\na: |\n  block\n  text\nb: >-\n  folded\n  text\nc: \"\\u00e9\\x41\\\n  x\"\n...\n",
        "a: &x [1]\nb: *x\n",
        "a: !!int 3\n",
        "? [a]\n: b\n",
        "- - - 1\n  - 2\n- {a: {b: {c: 1}}}\n",
        "\xef\xbb\xbf%YAML 1.2\n---\nkey: value\n",
        "{\"a\": [1, 2.5e3, true], \"b\": {}}",
    };
    return seed_of(seeds, sizeof seeds / sizeof *seeds, i, buf, cap);
}
