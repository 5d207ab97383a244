/* test_inspect.c - what inspect says about files and folders: every line, plain and as JSON. */
#include "io/json.h"
#include "test_data.h"
#include "unit/gguf_make.h"
#include "unit/io_help.h"

static ry_text said; /* all lines, each with its newline */

static void collect(void *ud, const char *line) {
    ry_text *t = ud;
    assert_null(strchr(line, '\n'));
    ry_text_puts(t, line);
    ry_text_puts(t, "\n");
}

static ry_status look(const char *path, bool json) {
    ry_text_free(&said);
    return ry_inspect(path, json, collect, &said);
}

/* The lines that inspect gives must hold these words, in this order. */
static void shows(const char *path, bool json, const char *const *words) {
    assert_ok(look(path, json));
    const char *at = said.at;
    for (; *words; words++) {
        const char *found = strstr(at, *words);
        if (!found) print_error("no \"%s\" in:\n%s", *words, said.at);
        assert_non_null(found);
        at = found + strlen(*words);
    }
}

/* In --json every line must be a JSON object of its own. */
static void all_lines_parse(void) {
    for (char *line = said.at; *line; line += strlen(line) + 1) {
        ry_json *j;
        line[strcspn(line, "\n")] = 0;
        assert_ok(ry_json_parse(&j, line, strlen(line), "line", 0));
        assert_int_equal(ry_json_kind_of(j), RY_JSON_OBJECT);
        ry_json_free(j);
    }
}

static void make_tensors(const char *path, const char *name) {
    static float w[1024];
    const ry_named_data t[] = {
        {name, RY_SHAPE(RY_F32, 8, 128), w}, {"ids", RY_SHAPE(RY_I64, 3), w}, {"s", {.dtype = RY_F16}, w}};
    assert_ok(ry_tensor_file_write(path, 3, t, (const char *const[]){"format", "pt\n\x1b[31m", NULL}));
}

static void tensors(void **state) {
    (void)state;
    fresh_folder("tmp_look");
    make_tensors("tmp_look/a.safetensors", "w\n\x1b[0m");
    shows("tmp_look/a.safetensors", false,
          (const char *[]){"tmp_look/a.safetensors: safetensors, 3 tensors, 1028 weights, 4122 bytes (4.03 KiB)\n",
                           "metadata format = pt??[31m\n", "name", "dtype", "shape", "bytes\n", "ids ", "I64", "[3]",
                           " 24\n", "w??[0m ", "F32", "[8,128]", " 4096\n", "s ", "F16", "[]", " 2\n", NULL});
    shows("tmp_look/a.safetensors", true,
          (const char *[]){
              "{\"file\": \"tmp_look/a.safetensors\", \"format\": \"safetensors\", \"tensors\": 3, "
              "\"weights\": 1028, \"bytes\": 4122, \"files\": 1, \"metadata\": {\"format\": \"pt\\n\\u001b[31m\"}}\n",
              "{\"name\": \"ids\", \"dtype\": \"I64\", "
              "\"shape\": [3], \"bytes\": 24, \"file\": \"a.safetensors\"}\n",
              "\"shape\": [8,128]", "\"shape\": []", NULL});
    all_lines_parse();
    assert_ok(os_remove_tree("tmp_look"));
}

static void json_files(void **state) {
    (void)state;
    fresh_folder("tmp_look");
    write_text(
        "tmp_look/config.json",
        "{\"model_type\": \"llama\", \"hidden_size\": 64, \"eps\": 1e-05, \"rope\": {\"factor\": 8.0, \"a\": [1, 2]},"
        " \"long\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17], \"x\": 1, \"x\": 2}");
    shows("tmp_look/config.json", false,
          (const char *[]){"config.json: JSON, 6 fields\n", "  model_type = \"llama\"\n", "  hidden_size = 64\n",
                           "  eps = 1e-05\n", "  rope = {\"factor\": 8.0, \"a\": [1, 2]}\n", "  long = [17 values]\n",
                           "  x = 2\n", NULL});
    shows("tmp_look/config.json", true,
          (const char *[]){"\"format\": \"json\", \"content\": {\"model_type\": \"llama\"", NULL});
    all_lines_parse();
    write_text("tmp_look/a.json", "[1, {}]");
    shows("tmp_look/a.json", false, (const char *[]){"a.json: JSON, [1, {}]\n", NULL});
    write_text("tmp_look/a.json", "{\"\\u009b1m\": \"\\u0001\", \"e\": \""
                                  "0123456789012345678901234567890123456789012345678901234567890123456789"
                                  "012345678901234567890123456789012345678901234567\xC3\xA9\"}");
    shows("tmp_look/a.json", false,
          (const char *[]){"  ?1m = \"\\u0001\"\n", "34567...\n", NULL}); /* cut before the character */
    write_text("tmp_look/a.json", "[1, {]");
    assert_is(RY_EFORMAT, look("tmp_look/a.json", false));
    assert_says("tmp_look/a.json:1:6");
    assert_ok(os_remove_tree("tmp_look"));
}

static void folders(void **state) {
    (void)state;
    fresh_folder("tmp_look");
    assert_is(RY_ENOENT, look("tmp_look", false));
    assert_says("tmp_look", "holds no");
    make_tensors("tmp_look/m1.safetensors", "w");
    make_tensors("tmp_look/z.safetensors", "w");
    write_text("tmp_look/config.json", "{\"a\": 1}");
    write_text("tmp_look/readme.txt", "x");
    write_text("tmp_look/model.safetensors.index.json",
               "{\"weight_map\": {\"w\": \"m1.safetensors\", \"ids\": \"m1.safetensors\", \"s\": \"m1.safetensors\"}}");
    shows("tmp_look", false,
          (const char *[]){"config.json: JSON", "model.safetensors.index.json: safetensors, 3",
                           "z.safetensors: safetensors, 3", NULL});
    assert_null(strstr(said.at, "m1.safetensors:")); /* once, through its index */
    shows("tmp_look", true,
          (const char *[]){"config.json", "index.json", "\"file\": \"m1.safetensors\"", "z.safetensors", NULL});
    all_lines_parse();
    write_text("tmp_look/z.safetensors", "broken");
    assert_is(RY_EFORMAT, look("tmp_look", false));
    assert_says("z.safetensors");
    assert_ok(os_remove_tree("tmp_look"));
}

static void gguf(void **state) {
    (void)state;
    make_gguf m;
    fresh_folder("tmp_look");
    mk_head(&m, 3, 2, 6);
    mk_string(&m, "general.architecture", "llama\n\x1b[31m\xff");
    mk_value(&m, "eps", GGUF_F32, 0x3727C5AC, 4); /* 1e-5 */
    mk_value(&m, "bad", GGUF_F64, UINT64_C(0x7FF8000000000000), 8);
    mk_value(&m, "big", GGUF_U64, UINT64_C(1) << 63, 8);
    mk_array(&m, "few", GGUF_BOOL, 2), mk_int(&m, 1, 2);
    mk_array(&m, "tokens", GGUF_TEXT, 40);
    for (int i = 0; i < 40; i++) mk_text(&m, i ? "t" : "<s>");
    mk_tensor(&m, "w", 2, (const uint64_t[]){32, 2}, 8, 0);
    mk_tensor(&m, "iq", 1, (const uint64_t[]){256}, 16, 96);
    mk_pad(&m, 32), mk_fill(&m, 96 + 66);
    write_file("tmp_look/a.gguf", m.at, m.n);
    shows("tmp_look/a.gguf", false,
          (const char *[]){"tmp_look/a.gguf: GGUF version 3, 2 tensors, 320 weights, 134 bytes\n",
                           "metadata general.architecture = \"llama\\n\\u001b[31m", "metadata eps = 1e-05\n", "bad = null\n",
                           "big = 9223372036854775808\n", "few = [true, false]\n",
                           "tokens = 40 of string: [\"<s>\", \"t\", ", ", ...]\n", "q8_0", "1 tensor ", "68 bytes\n", "iq2_xxs",
                           "66 bytes\n", "w ", "q8_0", "[2,32]", "68\n", "iq ", "iq2_xxs", "[256]", "66\n", NULL});
    shows("tmp_look", true, /* in a folder too */
          (const char *[]){"{\"file\": \"tmp_look/a.gguf\", \"format\": \"gguf\", \"version\": 3, \"tensors\": 2, \"weights\": 320, "
                           "\"bytes\": 134, \"types\": {\"q8_0\": {\"tensors\": 1, \"bytes\": 68}, ",
                           "\"tokens\": {\"items\": \"string\", \"count\": 40, \"first\": [\"<s>\", ", "{\"name\": \"w\", ",
                           "\"shape\": [2,32], \"bytes\": 68", NULL});
    all_lines_parse();
    assert_ok(os_remove_tree("tmp_look"));
}

static void refused(void **state) {
    (void)state;
    fresh_folder("tmp_look");
    write_text("tmp_look/a.gguf", "GGUF and more");
    assert_is(RY_EFORMAT, look("tmp_look/a.gguf", false));
    assert_says("tmp_look/a.gguf", "too few");
    assert_is(RY_ENOENT, look("tmp_look/none", false));
    assert_says("tmp_look/none");
    write_text("tmp_look/a.bin", "");
    assert_is(RY_EFORMAT, look("tmp_look/a.bin", false));
    assert_says("tmp_look/a.bin", "neither a safetensors nor a GGUF file");
    assert_ok(os_remove_tree("tmp_look"));
}

static void drop(void *ud, const char *line) { (void)ud, (void)line; }
static ry_status look_plain(void *path) { return ry_inspect(path, false, drop, NULL); }
static ry_status look_json(void *path) { return ry_inspect(path, true, drop, NULL); }

static void allocations(void **state) {
    (void)state;
    fresh_folder("tmp_look");
    make_tensors("tmp_look/m1.safetensors", "w");
    make_tensors("tmp_look/z.safetensors", "w");
    write_text("tmp_look/config.json", "{\"a\": {\"b\": [1, \"x\"]}}");
    write_text("tmp_look/model.safetensors.index.json",
               "{\"weight_map\": {\"w\": \"m1.safetensors\", \"ids\": \"m1.safetensors\", \"s\": \"m1.safetensors\"}}");
    sweep_allocations(look_plain, "tmp_look");
    sweep_allocations(look_json, "tmp_look");
    assert_ok(os_remove_tree("tmp_look"));
}

static void reference_files(void **state) {
    (void)state;
    static const char *const names[] = {"hf/models/qwen2", "hf/models/llama_untied/config.json",
                                        "weights/stories260K/hf"};
    char path[1024];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!test_data(path, sizeof path, names[i])) skip();
        assert_ok(look(path, false));
        assert_ok(look(path, true));
        all_lines_parse();
    }
}

static int tear_down(void **state) {
    (void)state;
    ry_text_free(&said);
    return ry_mem_live() ? 1 : 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors), cmocka_unit_test(json_files),  cmocka_unit_test(folders),
        cmocka_unit_test(gguf), cmocka_unit_test(refused), cmocka_unit_test(allocations), cmocka_unit_test(reference_files),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
