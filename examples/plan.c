/* plan.c - what would it take?  Training a Llama of 70 billion parameters is planned, not run: the exact bytes of a step of
 * eight rows with AdamW, all activations kept or each block computed again in the backward pass, before a gigabyte is bought.
 *
 *   plan [CONFIG]      a config.json, a model folder or a YAML file with the same keys; default: the shape below
 *
 * The same graph that would train is built on the null device, which accepts everything and computes nothing. */
#include <rusty.h>
#include <stdio.h>
#include <stdlib.h>

static const char llama_70b[] = "hidden_size: 8192\nintermediate_size: 28672\nnum_hidden_layers: 80\n"
                                "num_attention_heads: 64\nnum_key_value_heads: 8\nvocab_size: 128256\n"
                                "max_position_embeddings: 8192\nrope_theta: 500000\n";

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static double gb(size_t bytes) { return (double)bytes * 1e-9; }

int main(int argc, char **argv) {
    const char *config = argc > 1 ? argv[1] : "llama_70b.yaml";
    if (argc < 2) {
        FILE *f = fopen(config, "w");
        if (!f || fputs(llama_70b, f) < 0 || fclose(f)) return perror(config), 1;
    }
    ry_plan_info kept, again;
    puts("  tokens   weights, moments        activations   peak: all kept   blocks again   operations");
    for (int64_t length = 1024; length <= 8192; length *= 2) {
        ry_train_options o = {.batch_size = 8};
        check(ry_train_plan(&kept, config, 0, length, &o, RY_F32, NULL));
        o.recompute = true;
        check(ry_train_plan(&again, config, 0, length, &o, RY_F32, NULL));
        printf("%8d %15.1f GB %15.1f GB %13.1f GB %11.1f GB %9.0f Tera\n", (int)length, gb(kept.weights),
               gb(kept.activations), gb(kept.peak), gb(again.peak), kept.flops * 1e-12);
    }
    return kept.peak >= again.peak ? 0 : 1;
}
