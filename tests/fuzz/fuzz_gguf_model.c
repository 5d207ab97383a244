/* fuzz_gguf_model.c - any metadata as a model's configuration, any tensors as its weights: no crash, no leak; what is read is a configuration
 * that config.json could hold, and what is made of tensors stays within its bounds. */
#include "base/mem.h"
#include "fuzz/seeds.h"
#include "model/gguf_model.h"
#include "unit/gguf_make.h"
#include <stdio.h>

static void read_config(const uint8_t *data, size_t size) {
    gguf_file *f;
    ry_json *j = NULL;
    if (gguf_open_memory(&f, data, size, "fuzz.gguf") != RY_OK) return;
    if (gguf_config_read(&j, f) == RY_OK) {
        const gguf_arch *a;
        ry_arena arena = {0};
        model_config c = {0};
        gguf_meta m = {0};
        must(gguf_arch_of(&a, f) == RY_OK);
        const model_family *family = model_family_find(a->model_type);
        if (config_read(&c, family, j, "fuzz.gguf", &arena, 0) == RY_OK) must(c.num_hidden_layers > 0 && gguf_config_write(&m, a, family, &c, j) != RY_ENOMEM);
        gguf_meta_free(&m);
        ry_arena_free(&arena);
    }
    ry_json_free(j);
    gguf_close(f);
}

static void read_weights(const uint8_t *data, size_t size) {
    static const char path[] = "fuzz_model.gguf";
    model_source *s = NULL;
    FILE *f = fopen(path, "wb"); /* os_file_write waits for the disk */
    must(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
    if (source_open(&s, path) != RY_OK) return;
    for (size_t i = 0; i < s->at.n; i++) {
        const model_stored *t = &s->at.at[i];
        if (!t->spec.dtype || t->bytes > 1 << 24) continue;
        unsigned char *x = ry_mem_alloc(t->bytes);
        must(x && source_read(s, t, x) == RY_OK);
        ry_mem_free(x);
    }
    source_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_config(data, size);
    read_weights(data, size);
    must(ry_mem_live() == 0);
    return 0;
}

/* One layer of a model of 8 wide with 2 heads. */
static bool seed(make_gguf *m, int i) {
    static const char *const archs[] = {"llama", "gemma", "gptneox", "gpt2", "gpt-oss", "deepseek2", "lfm2", "phi3"};
    static const struct { const char *name; uint64_t v; } sizes[] = {{"block_count", 2}, {"context_length", 32}, {"embedding_length", 8}, {"feed_forward_length", 8},
        {"attention.head_count", 2}, {"attention.head_count_kv", 2}, {"rope.dimension_count", 4}, {"attention.sliding_window", 4}, {"expert_count", 0},
        {"attention.key_length", 4}, {"attention.key_length_mla", 8}, {"attention.value_length_mla", 4}, {"attention.kv_lora_rank", 8}, {"expert_gating_func", 2}};
    static const struct { const char *name; uint64_t dim[3]; } tensors[] = {{"token_embd.weight", {8, 5, 0}}, {"output_norm.weight", {8, 0, 0}}, {"blk.0.attn_q.weight", {8, 8, 0}},
        {"blk.0.attn_k.bias", {8, 0, 0}}, {"blk.0.attn_qkv.weight", {8, 24, 0}}, {"blk.0.ffn_down.weight", {8, 8, 0}}, {"blk.0.ffn_gate_exps.weight", {8, 4, 2}}, {"blk.0.ffn_up_exps.weight", {8, 4, 2}},
        {"blk.1.ffn_gate_exps.weight", {32, 4, 2}}, {"blk.1.ffn_up_exps.weight", {32, 4, 2}}, {"blk.1.ffn_down_exps.weight", {32, 4, 2}}, /* of blocks */
        {"blk.0.attn_k_b.weight", {4, 8, 2}}, {"blk.0.attn_v_b.weight", {8, 4, 2}}};
    enum { SIZES = sizeof sizes / sizeof *sizes, TENSORS = sizeof tensors / sizeof *tensors };
    char key[64];
    uint64_t at = 0;
    if (i < 0 || (size_t)i >= sizeof archs / sizeof *archs) return false;
    mk_head(m, 3, TENSORS, SIZES + 3);
    mk_string(m, "general.architecture", archs[i]);
    for (int k = 0; k < SIZES; k++) {
        snprintf(key, sizeof key, "%s.%s", archs[i], sizes[k].name);
        mk_value(m, key, GGUF_U32, sizes[k].v, 4);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", archs[i]);
    mk_value(m, key, GGUF_F32, 0x3727C5AC, 4);
    snprintf(key, sizeof key, "%s.use_parallel_residual", archs[i]);
    mk_value(m, key, GGUF_BOOL, 1, 1);
    for (int k = 0; k < TENSORS; k++) {
        uint32_t rank = tensors[k].dim[2] ? 3 : tensors[k].dim[1] ? 2 : 1;
        const bool blocks = tensors[k].dim[0] == 32;
        uint64_t n = blocks ? 17 : 4;
        for (uint32_t d = 0; d < rank; d++) n *= d == 0 && blocks ? 1 : tensors[k].dim[d];
        mk_tensor(m, tensors[k].name, rank, tensors[k].dim, blocks ? 39 : 0, at);
        at += (n + 31) / 32 * 32;
    }
    mk_pad(m, 32);
    mk_fill(m, at);
    return m->n < sizeof m->at;
}

size_t fuzz_seeds(int i, unsigned char *buf, size_t cap) {
    static make_gguf m;
    if (!seed(&m, i) || m.n > cap) return 0;
    memcpy(buf, m.at, m.n);
    return m.n;
}
