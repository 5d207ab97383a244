/* fuzz_text.c - the text expander and JSON strings on any bytes: a status or a text, never a crash. */
#include "base/mem.h"
#include "base/text.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seeds(int i, unsigned char *buf, size_t cap);

static const char *const seeds[] = {
    "#if N == 4 && !HALF\nlet x = ${T}(${N * 2 - 1});\n#else\nother\n#end\n",
    "#for I 0 N\n#for J I N+1\na[${I}] += b[${I * 4 + J % 3}];\n#end\n#end\n",
    "#include part\n${(1 + 2) * 3 / 0x2} ${-N <= M || UNKNOWN}\n",
};

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    if ((size_t)i >= sizeof seeds / sizeof *seeds || strlen(seeds[i]) > cap) return 0;
    memcpy(buf, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}

static const char *include(void *ud, const char *name) {
    (void)ud;
    return strcmp(name, "part") == 0 ? "part ${N}\n" : strcmp(name, "self") == 0 ? "#include self" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ry_text_var vars[] = {{"N", "4"}, {"M", "-3"}, {"T", "f32"}, {"HALF", "0"}};
    if (size > 400) size = 400;
    char text[401];
    if (size > 0) memcpy(text, data, size);
    text[size] = 0;
    ry_text out = {0}, json = {0};
    size_t live = ry_mem_live();
    ry_text_expand(&out, "input", text, vars, 4, include, NULL);
    ry_text_json(&json, text, size);
    if (json.failed || json.n < 2 || json.at[json.n - 1] != '"' || memchr(json.at, '\n', json.n)) abort();
    ry_text_free(&out);
    ry_text_free(&json);
    if (ry_mem_live() != live) abort();
    return 0;
}
