/* pre.c - how byte-level BPE tokenizers cut a text first: the regular expressions of published tokenizers under the names that GGUF
 * files use (tokenizer.ggml.pre).  Owns the table; knows no file.
 *
 * Source: the tokenizer.json files of the models named; names and their grouping as in llama.cpp (src/llama-vocab.cpp). Where llama.cpp
 * writes an expression otherwise for its own engine, the tokenizer.json's stands here. */
#include "io/tokenizer/foreign.h"

#define PRE_SHORT "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define PRE_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PRE_SPACE "|\\s+(?!\\S)|\\s+"
#define PRE_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" PRE_SPACE
#define PRE_WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define PRE_LLAMA3 PRE_SHORT "|" PRE_WORD "|\\p{N}{1,3}" PRE_REST
#define PRE_QWEN2 PRE_SHORT "|" PRE_WORD "|\\p{N}" PRE_REST
/* words of capital and small letters: the first ends in small ones, the second may have none */
#define PRE_CASED(end, digits)                                                                             \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" end        \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" end "|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+" PRE_SPACE
#define PRE_DEEPSEEK3(rest)                                                                                  \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"        \
    "| ?[\\p{P}\\p{S}]+" rest PRE_SPACE
#define PRE_BLOOM " ?[^(\\s|.,!?…。，、।۔،)]+"
#define PRE_HAN3 "[一-龥぀-ゟ゠-ヿ]+"
#define PRE_HAN "[一-龥ࠀ-一가-퟿]+"

const tok_pre tok_pres[] = {
    {.names = "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert gigachat exaone4 mpt olmo jais trillion "
     "granite-docling jina-v1-en jina-v2-code roberta-bpe ",
     .regex = {PRE_GPT2}},
    {.names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ", .regex = {PRE_LLAMA3}, .ignore_merges = true, .add_bos = true},
    {.names = "glm4 glm5 ", .regex = {PRE_LLAMA3}, .ignore_merges = true},
    {.names = "dbrx smaug-bpe chatglm-bpe ", .regex = {PRE_LLAMA3}},
    {.names = "qwen2 kormo f2llmv2 megrez ", .regex = {PRE_QWEN2}, .nfc = true},
    {.names = "deepseek-r1-qwen stablelm2 hunyuan solar-open grok-2 ", .regex = {PRE_QWEN2}},
    {.names = "qwen35 ",
     .regex = {PRE_SHORT "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" PRE_SPACE},
     .nfc = true},
    {.names = "starcoder refact command-r smollm codeshell exaone minerva-7b mellum2 ", .regex = {"\\p{N}", PRE_GPT2}},
    {.names = "gpt-4o llama4 kanana2 talkie minimax-m2 ", .regex = {PRE_CASED(PRE_SHORT "?", "\\p{N}{1,3}")}},
    {.names = "granite-embed-multi-97m ", .regex = {PRE_CASED(PRE_SHORT "?", "\\p{N}{1,3}")}, .ignore_merges = true},
    {.names = "tekken ", .regex = {PRE_CASED("", "\\p{N}")}, .ignore_merges = true, .add_bos = true},
    {.names = "tiny_aya cohere2moe ", .regex = {"\\d{1,3}(?=(?:\\d{3})*\\b)", PRE_CASED(PRE_SHORT "?", "\\p{N}{1,3}")}},
    {.names = "deepseek-v3 hunyuan-dense joyai-llm hy_v4 ", .regex = {"\\p{N}{1,3}", PRE_HAN3, PRE_DEEPSEEK3("[\r\n]*|\\s*[\r\n]+")}},
    {.names = "spark2_5 ", .regex = {"\\p{N}{1,3}", PRE_HAN3, PRE_DEEPSEEK3("|[\r\n]"), "\\p{N}"}},
    {.names = "deepseek-coder ", .regex = {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", PRE_HAN, "\\p{N}"}},
    {.names = "deepseek-llm ",
     .regex = {"[\r\n]",
      "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
      "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", PRE_HAN, "\\p{N}+"}},
    {.names = "falcon ", .regex = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", PRE_GPT2, "[0-9][0-9][0-9]"}},
    {.names = "default ", .regex = {"[\\p{P}\\$\\+<=>\\^~\\|]+", PRE_GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {.names = "bloom poro-chat gpt3-finnish ", .regex = {PRE_BLOOM}},
    {.names = "viking ", .regex = {PRE_BLOOM, "\\p{N}"}},
    {.names = "jais-2 ",
     .regex = {PRE_SHORT "|" PRE_WORD "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)"
      "|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}},
    {.names = "bailingmoe bailingmoe2 llada-moe ",
     .regex = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]" PRE_SPACE}},
    {.names = "seed-coder ", .regex = {PRE_SHORT "|" PRE_WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+" PRE_SPACE}},
    {.names = "exaone-moe ",
     .regex = {PRE_SHORT "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]" PRE_SPACE}},
    {.names = "ufakzeka ", .regex = {PRE_WORD "|\\p{N}" PRE_REST}},
    {.names = "minicpm5 ", .regex = {"\\p{N}{1,3}", PRE_SHORT "|" PRE_WORD "|\\p{N}+" PRE_REST}, .ignore_merges = true},
    {.names = "laguna ", .regex = {"[^\\n]+|[\\n]+", PRE_QWEN2}},
    {.names = "youtu ", .regex = {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+", PRE_CASED(PRE_SHORT "?", "\\p{N}")}, .ignore_merges = true},
    {.names = NULL},
};

const tok_pre *tok_pre_find(const char *name, size_t n) {
    for (const tok_pre *p = tok_pres; p->names; p++)
        for (const char *s = p->names; *s; s = strchr(s, ' ') + 1)
            if (!strncmp(s, name, n) && s[n] == ' ') return p;
    return NULL;
}
