/* generate.c - opens a model folder and streams what it says.
 *
 *   generate FOLDER PROMPT [TOKENS [TEMPERATURE [SEED]]]       TEMPERATURE 0 always takes the likeliest token
 *
 * FOLDER holds config.json, model.safetensors and tokenizer.json, such as examples/train_llama.c writes. */
#include <rusty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(ry_status st) {
    if (st != RY_OK) fprintf(stderr, "%s\n", ry_message()), exit(1);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        puts("skipped: give a model folder and a prompt");
        return 77;
    }
    int64_t tokens = argc > 3 ? atoll(argv[3]) : 100;
    ry_sampling how = {.temp = 0.8, .top_k = 40, .top_p = 0.95};
    if (argc > 4) how.temp = atof(argv[4]);
    if (argc > 5) how.seed = (uint64_t)atoll(argv[5]);

    ry_device *device;
    ry_tokenizer *tokenizer;
    ry_model *model;
    check(ry_device_open(&device, "auto", NULL));
    check(ry_tokenizer_open(&tokenizer, argv[1]));
    check(ry_model_open(&model, device, argv[1], NULL)); /* the weights are mapped and used where they lie */

    int32_t *prompt;
    size_t n;
    ry_session *session;
    check(ry_encode(tokenizer, argv[2], strlen(argv[2]), true, &prompt, &n));
    check(ry_session_open(&session, model, &(ry_session_options){.context = (int64_t)n + tokens}));
    check(ry_session_feed(session, prompt, n, NULL, false)); /* in chunks of many tokens a run */

    fputs(argv[2], stdout);
    for (int64_t i = 0; i < tokens; i++) { /* one kept program a token; the same seed says the same */
        int32_t id;
        char *piece;
        size_t bytes;
        check(ry_session_next(session, &how, &id));
        if (ry_model_is_end(model, id)) break;
        check(ry_decode(tokenizer, &id, 1, true, true, &piece, &bytes)); /* raw: a character may be several ids */
        fwrite(piece, 1, bytes, stdout);
        fflush(stdout);
        ry_free(piece);
    }
    puts("");

    ry_free(prompt);
    ry_session_close(session);
    ry_model_close(model);
    ry_tokenizer_close(tokenizer);
    ry_device_close(device);
    return 0;
}
