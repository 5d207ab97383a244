/* hash.c - SHA-1 and SHA-256 of FIPS 180-4.  Both pad in the same way; only the compression of a block of 64 bytes differs. */
#include "base/hash.h"
#include <stdio.h>
#include <string.h>

typedef void (*compress_fn)(uint32_t h[8], const unsigned char *block);

static uint32_t left(uint32_t x, unsigned n) { return x << n | x >> (32 - n); }
static uint32_t right(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }
static uint32_t big(const unsigned char *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void sha1(uint32_t h[8], const unsigned char *block) {
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) w[i] = i < 16 ? big(block + 4 * i) : left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t t = left(a, 5) + f + e + k[i / 20] + w[i];
        e = d, d = c, c = left(b, 30), b = a, a = t;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

static void sha256(uint32_t h[8], const unsigned char *block) {
    /* fractional parts of the cube roots of the first 64 primes */
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
        0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
        0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
        0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
        0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
        0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) w[i] = big(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (right(a, 7) ^ right(a, 18) ^ a >> 3) + (right(b, 17) ^ right(b, 19) ^ b >> 10);
    }
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t t = s[7] + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        uint32_t u = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t, s[0] = t + u;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

/* The digest of `head`, which is short, followed by the data. */
static void digest(char *hex, uint32_t h[8], int words, compress_fn compress, const char *head, size_t n_head, const void *data, size_t n) {
    unsigned char block[128] = {0};
    const unsigned char *p = data;
    size_t held = n_head, left_over = n;
    if (n_head) memcpy(block, head, n_head);
    if (held) { /* fill the first block */
        size_t take = 64 - held < left_over ? 64 - held : left_over;
        if (take) memcpy(block + held, p, take);
        held += take, p += take, left_over -= take;
        if (held == 64) compress(h, block), held = 0;
    }
    if (!held)
        for (; left_over >= 64; p += 64, left_over -= 64) compress(h, p);
    if (left_over) memcpy(block + held, p, left_over), held += left_over;
    /* a one bit, zeros, and the length in bits in the last eight bytes */
    size_t end = held < 56 ? 64 : 128;
    uint64_t bits = ((uint64_t)n + n_head) * 8;
    memset(block + held, 0, end - held);
    block[held] = 0x80;
    for (int i = 0; i < 8; i++) block[end - 1 - (size_t)i] = (unsigned char)(bits >> 8 * i);
    compress(h, block);
    if (end == 128) compress(h, block + 64);
    for (int i = 0; i < words; i++) snprintf(hex + 8 * i, 9, "%08x", h[i]);
}

void hash_sha256(char hex[HASH_HEX], const void *data, size_t n) {
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    digest(hex, h, 8, sha256, NULL, 0, data, n);
}

void hash_git_blob(char hex[HASH_HEX], const void *data, size_t n) {
    uint32_t h[8] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    char head[32];
    int n_head = snprintf(head, sizeof head, "blob %zu", n);
    digest(hex, h, 5, sha1, head, (size_t)n_head + 1, data, n);
}
