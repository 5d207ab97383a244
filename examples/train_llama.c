/* train_llama.c - from text to a model that speaks, in 60 lines: a small Llama learns to count, is saved as a Hugging Face
 * folder (./counting), is opened again from there, and goes on where a prompt stops.  Takes no arguments and a few seconds. */
#include <rusty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char shape[] = "hidden_size: 64\nintermediate_size: 176\nnum_hidden_layers: 2\nnum_attention_heads: 4\n"
                            "max_position_embeddings: 128\ntie_word_embeddings: true\n";

static void check(ry_status st) { /* every failure has one line that says what, where, and what to do */
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

static void on_step(void *ud, const ry_train_step *s) {
    (void)ud;
    if (s->step % 50 == 0) printf("step %3d  loss %.3f\n", (int)s->step, s->loss);
}

int main(void) {
    static char text[80000];
    size_t n_text = 0, n;
    for (int i = 0; i < 20000; i++) n_text += (size_t)sprintf(text + n_text, "%d ", i % 1000);

    ry_device *device;
    ry_tokenizer *chars;
    ry_data *data;
    ry_model *model;
    check(ry_device_open(&device, "auto", NULL));
    check(ry_tokenizer_chars(&chars, text, n_text));
    check(ry_data_text(&data, text, n_text, chars, &(ry_data_options){.seq_len = 64}));
    check(ry_model_init_text(&model, device, shape, ry_tokenizer_size(chars), 1, NULL));
    printf("a Llama of %d parameters\n", (int)ry_model_params(model));
    ry_train_options how = {.out = "counting", .overwrite = true, .tokenizer = chars, .batch_size = 8, .iters = 400,
                            .lr = 5e-3, .warmup = 20, .on_step = on_step};
    check(ry_train(model, data, NULL, &how));
    ry_model_close(model);

    ry_session *session; /* a KV cache and the program that fills it */
    int32_t *prompt, ids[15];
    char *said;
    check(ry_model_open(&model, device, "counting", NULL));
    check(ry_session_open(&session, model, &(ry_session_options){.context = 64}));
    check(ry_encode(chars, "577 578 ", 8, true, &prompt, &n));
    check(ry_session_feed(session, prompt, n, NULL, false));
    for (int i = 0; i < 15; i++) check(ry_session_next(session, NULL, &ids[i])); /* NULL: always the likeliest */
    check(ry_decode(chars, ids, 15, true, false, &said, NULL));
    printf("577 578 [%s]\n", said);
    int wrong = strcmp(said, "579 580 581 582") != 0;

    ry_free(said);
    ry_free(prompt);
    ry_session_close(session);
    ry_model_close(model);
    ry_data_close(data);
    ry_tokenizer_close(chars);
    ry_device_close(device);
    return wrong;
}
