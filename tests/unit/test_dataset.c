/* test_dataset.c - rows of data: windows of text against the definition, held-out parts, safetensors with and without labels. */
#include "unit/io_help.h"

enum { NONE = -100, TEXT = 300 };

static char text[TEXT]; /* byte i is i % 251 + 1: windows cannot be mistaken for each other */
static int token(int64_t i) { return (int)(i % 251) + 1; }
static ry_tokenizer *bytes;

static int set_up(void **state) {
    (void)state;
    for (int i = 0; i < TEXT; i++) text[i] = (char)(unsigned char)token(i);
    return ry_tokenizer_bytes(&bytes) == RY_OK ? 0 : 1;
}
static int tear_down(void **state) {
    (void)state;
    ry_tokenizer_close(bytes);
    return ry_mem_live() ? 1 : 0;
}

/* Hugging Face's perplexity loop over n ids from `from`: which label each position of each window predicts. */
static void check_overlapping(int64_t from, int64_t n, int64_t len, int64_t stride, const ry_data *d) {
    int32_t ids[64], targets[64];
    int64_t row = 0, before = 0, scored = 0;
    for (int64_t begin = 0;; begin += stride, row++) {
        int64_t end = begin + len < n ? begin + len : n, fresh = end - before;
        assert_ok(ry_data_row(d, row, ids, targets));
        for (int64_t t = 0; t < len; t++) {
            bool inside = begin + t < end, predicts = begin + t + 1 < end && begin + t + 1 >= end - fresh;
            assert_int_equal(ids[t], inside ? token(from + begin + t) : 0);
            assert_int_equal(targets[t], predicts ? token(from + begin + t + 1) : NONE);
            scored += predicts;
        }
        before = end;
        if (end == n) break;
    }
    assert_int_equal(ry_data_rows(d), row + 1);
    assert_int_equal(scored, n - 1); /* all but the first, once each */
    assert_is(RY_EARG, ry_data_row(d, row + 1, ids, targets));
    assert_is(RY_EARG, ry_data_row(d, -1, ids, targets));
}

static void check_adjoining(int64_t from, int64_t n, int64_t len, const ry_data *d) {
    int32_t ids[TEXT + 1], targets[TEXT + 1];
    int64_t rows = ry_data_rows(d), scored = 0;
    for (int64_t r = 0; r < rows; r++) {
        assert_ok(ry_data_row(d, r, ids, targets));
        for (int64_t t = 0; t < len; t++) {
            int64_t at = r * len + t;
            assert_int_equal(ids[t], at < n ? token(from + at) : 0);
            assert_int_equal(targets[t], at + 1 < n ? token(from + at + 1) : NONE);
            scored += at + 1 < n;
        }
    }
    assert_int_equal(scored, n - 1);
    assert_true((rows - 1) * len < n - 1); /* no row without a target */
}

static void windows(void **state) {
    (void)state;
    for (int64_t n = 2; n <= 70; n++)
        for (int64_t len = 1; len <= 24; len += len < 6 ? 1 : 6)
            for (int64_t stride = 1; stride <= len; stride += stride < 4 ? 1 : 4) {
                ry_data *d;
                assert_ok(
                    ry_data_text(&d, text, (size_t)n, bytes, &(ry_data_options){.seq_len = len, .stride = stride}));
                assert_int_equal(ry_data_len(d), len);
                if (stride < len)
                    check_overlapping(0, n, len, stride, d);
                else
                    check_adjoining(0, n, len, d);
                ry_data_close(d);
            }
    ry_data *d;
    assert_ok(ry_data_text(&d, text, TEXT, bytes, NULL));
    assert_int_equal(ry_data_len(d), 256);
    assert_int_equal(ry_data_rows(d), 2);
    check_adjoining(0, TEXT, 256, d);
    ry_data_close(d);
    ry_data_close(NULL);
}

static void held_out(void **state) {
    (void)state;
    static const double parts[] = {0.1, 0.25, 0.5, 0.013};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        ry_data *train, *held;
        int64_t kept = (int64_t)(TEXT * (1 - parts[i]));
        assert_ok(ry_data_text(&train, text, TEXT, bytes, &(ry_data_options){.seq_len = 16, .hold_out = parts[i]}));
        assert_ok(ry_data_text(&held, text, TEXT, bytes,
                               &(ry_data_options){.seq_len = 16, .hold_out = parts[i], .held_part = true}));
        check_adjoining(0, kept, 16, train);
        check_adjoining(kept, TEXT - kept, 16, held);
        ry_data_close(train);
        ry_data_close(held);
    }
    ry_data *held;
    assert_ok(ry_data_text(&held, text, TEXT, bytes,
                           &(ry_data_options){.seq_len = 8, .stride = 4, .hold_out = 0.1, .held_part = true}));
    check_overlapping(270, 30, 8, 4, held);
    ry_data_close(held);
}

static void text_refused(void **state) {
    (void)state;
    ry_data *d = NULL;
    assert_is(RY_EARG, ry_data_text(&d, text, 1, bytes, NULL));
    assert_says("1 tokens are too few");
    assert_is(RY_EARG, ry_data_text(&d, text, TEXT, NULL, NULL));
    assert_says("needs a tokenizer");
    assert_is(RY_EARG, ry_data_text(&d, text, TEXT, bytes, &(ry_data_options){.seq_len = -1}));
    assert_says("seq_len");
    assert_is(RY_EARG, ry_data_text(&d, text, TEXT, bytes, &(ry_data_options){.seq_len = 8, .stride = 9}));
    assert_says("stride must be from 1 to seq_len (8), it is 9");
    assert_is(RY_EARG, ry_data_text(&d, text, TEXT, bytes, &(ry_data_options){.hold_out = 1}));
    assert_says("hold_out");
    assert_is(RY_EARG, ry_data_text(&d, text, TEXT, bytes, &(ry_data_options){.held_part = true}));
    assert_says("held_part");
    assert_is(RY_EARG, ry_data_text(&d, text, TEXT, bytes, &(ry_data_options){.hold_out = 0.001, .held_part = true}));
    assert_says("too few");
    assert_null(d);
}

static void files(void **state) {
    (void)state;
    ry_data *d;
    fresh_folder("tmp_data");
    write_file("tmp_data/a.txt", text, TEXT);
    assert_ok(ry_data_open(&d, "tmp_data/a.txt", bytes, &(ry_data_options){.seq_len = 10}));
    check_adjoining(0, TEXT, 10, d);
    ry_data_close(d);
    write_text("tmp_data/empty.txt", "");
    assert_is(RY_EARG, ry_data_open(&d, "tmp_data/empty.txt", bytes, NULL));
    assert_says("tmp_data/empty.txt", "0 tokens");
    assert_is(RY_EARG, ry_data_open(&d, "tmp_data/a.txt", NULL, NULL));
    assert_says("tmp_data/a.txt", "tokenizer");
    assert_is(RY_ENOENT, ry_data_open(&d, "tmp_data/none.txt", bytes, NULL));
    assert_says("tmp_data/none.txt");
    assert_is(RY_EARG, ry_data_open(&d, "tmp_data", bytes, NULL));
    assert_is(RY_EUNSUPPORTED, ry_data_open(&d, "tmp_data/a.jsonl", bytes, NULL));

    int32_t ids[6] = {1, 2, 3, 4, 5, 6}, row[3], targets[3];
    int64_t labels[6] = {-100, 12, -100, 14, 15, -100};
    const ry_named_data both[] = {{"input_ids", RY_SHAPE(RY_I32, 2, 3), ids},
                                  {"labels", RY_SHAPE(RY_I64, 2, 3), labels},
                                  {"attention_mask", RY_SHAPE(RY_I64, 2, 3), labels}};
    assert_ok(ry_tensor_file_write("tmp_data/b.safetensors", 3, both, NULL));
    assert_ok(ry_data_open(&d, "tmp_data/b.safetensors", NULL, NULL));
    assert_int_equal(ry_data_rows(d), 2);
    assert_int_equal(ry_data_len(d), 3);
    assert_ok(ry_data_row(d, 0, row, targets));
    assert_memory_equal(row, ((int32_t[]){1, 2, 3}), sizeof row);
    assert_memory_equal(targets, ((int32_t[]){12, NONE, NONE}), sizeof targets);
    assert_ok(ry_data_row(d, 1, row, targets));
    assert_memory_equal(row, ((int32_t[]){4, 5, 6}), sizeof row);
    assert_memory_equal(targets, ((int32_t[]){15, NONE, NONE}), sizeof targets);
    ry_data_close(d);
    assert_ok(ry_data_open(&d, "tmp_data/b.safetensors", NULL,
                           &(ry_data_options){.seq_len = 2, .hold_out = 0.5, .held_part = true}));
    assert_int_equal(ry_data_rows(d), 1);
    assert_int_equal(ry_data_len(d), 2);
    assert_ok(ry_data_row(d, 0, row, targets));
    assert_memory_equal(row, ((int32_t[]){4, 5}), 2 * sizeof *row);
    assert_memory_equal(targets, ((int32_t[]){15, NONE}), 2 * sizeof *row);
    ry_data_close(d);
    assert_ok(ry_data_open(&d, "tmp_data/b.safetensors", NULL, &(ry_data_options){.seq_len = 99}));
    assert_int_equal(ry_data_len(d), 3);
    ry_data_close(d);

    assert_ok(ry_tensor_file_write("tmp_data/c.safetensors", 1, both, NULL)); /* no labels: the ids */
    assert_ok(ry_data_open(&d, "tmp_data/c.safetensors", NULL, NULL));
    assert_ok(ry_data_row(d, 1, row, targets));
    assert_memory_equal(targets, ((int32_t[]){5, 6, NONE}), sizeof targets);
    ry_data_close(d);
    assert_ok(os_remove_tree("tmp_data"));
}

static void file_fails(size_t n, const ry_named_data *t, ry_status want, const char *word) {
    ry_data *d = NULL;
    assert_ok(ry_tensor_file_write("tmp_data/x.safetensors", n, t, NULL));
    assert_is(want, ry_data_open(&d, "tmp_data/x.safetensors", NULL, NULL));
    assert_says("tmp_data/x.safetensors", word);
    assert_null(d);
}

static void files_refused(void **state) {
    (void)state;
    int32_t ids[6] = {1, 2, 3, 4, 5, 6};
    int64_t wide[6] = {1, 2, 3, 4, 1LL << 31, 6}, low[6] = {1, 2, -3000000000, 4, 5, 6};
    fresh_folder("tmp_data");
    file_fails(0, NULL, RY_ENOENT, "input_ids");
    file_fails(1, &(ry_named_data){"input_ids", RY_SHAPE(RY_F32, 2, 3), ids}, RY_EDTYPE, "input_ids is f32");
    file_fails(1, &(ry_named_data){"input_ids", RY_SHAPE(RY_I32, 6), ids}, RY_ESHAPE, "input_ids has 1 dimensions");
    file_fails(1, &(ry_named_data){"input_ids", RY_SHAPE(RY_I32, 0, 6), ids}, RY_ESHAPE, "input_ids is [0,6]");
    file_fails(1, &(ry_named_data){"input_ids", RY_SHAPE(RY_I32, 6, 0), ids}, RY_ESHAPE, "input_ids is [6,0]");
    file_fails(1, &(ry_named_data){"input_ids", RY_SHAPE(RY_I64, 2, 3), wide}, RY_EFORMAT,
               "input_ids[1,1] is 2147483648");
    file_fails(2,
               (ry_named_data[]){{"input_ids", RY_SHAPE(RY_I32, 2, 3), ids}, {"labels", RY_SHAPE(RY_I32, 3, 2), ids}},
               RY_ESHAPE, "labels is [3,2]");
    file_fails(2,
               (ry_named_data[]){{"input_ids", RY_SHAPE(RY_I32, 2, 3), ids}, {"labels", RY_SHAPE(RY_I64, 2, 3), low}},
               RY_EFORMAT, "labels[0,2] is -3000000000");
    file_fails(2,
               (ry_named_data[]){{"input_ids", RY_SHAPE(RY_I32, 2, 3), ids}, {"labels", RY_SHAPE(RY_F32, 2, 3), ids}},
               RY_EDTYPE, "labels is f32");
    ry_data *d;
    assert_ok(ry_tensor_file_write("tmp_data/x.safetensors", 1,
                                   &(ry_named_data){"input_ids", RY_SHAPE(RY_I32, 2, 3), ids}, NULL));
    assert_is(RY_EARG, ry_data_open(&d, "tmp_data/x.safetensors", NULL, &(ry_data_options){.stride = 2}));
    assert_says("stride is for text");
    assert_is(RY_EARG, ry_data_open(&d, "tmp_data/x.safetensors", NULL, &(ry_data_options){.seq_len = -2}));
    assert_is(RY_EARG, ry_data_open(&d, "tmp_data/x.safetensors", NULL, &(ry_data_options){.hold_out = 0.9}));
    assert_says("none is left");
    assert_ok(os_remove_tree("tmp_data"));
}

static ry_status open_file(void *path) {
    ry_data *d = NULL;
    ry_status st = ry_data_open(&d, path, bytes, NULL);
    ry_data_close(d);
    return st;
}

static void allocations(void **state) {
    (void)state;
    int32_t ids[6] = {1, 2, 3, 4, 5, 6};
    fresh_folder("tmp_data");
    write_file("tmp_data/a.txt", text, TEXT);
    assert_ok(ry_tensor_file_write("tmp_data/x.safetensors", 1,
                                   &(ry_named_data){"input_ids", RY_SHAPE(RY_I32, 2, 3), ids}, NULL));
    sweep_allocations(open_file, "tmp_data/a.txt");
    sweep_allocations(open_file, "tmp_data/x.safetensors");
    assert_ok(os_remove_tree("tmp_data"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows), cmocka_unit_test(held_out),      cmocka_unit_test(text_refused),
        cmocka_unit_test(files),   cmocka_unit_test(files_refused), cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
