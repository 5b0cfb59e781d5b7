#include <string.h>

#include "sha512.h"

/* The state at first, then the constants of the rounds. */
static const uint32_t own[8 + 64] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

typedef struct hashing {
    uint32_t state[8];
    uint32_t words[16];
    uint32_t size; /* in bytes: nothing here comes near 2^29 */
    const uint32_t *table;
    unsigned step;
} hashing;

/* One block; the schedule is made in place. */
static void compress(hashing *hash)
{
    uint32_t *state = hash->state;
    uint32_t *w = hash->words;
    const uint32_t *constant = hash->table + 8 * hash->step;
    uint32_t s[8];
    for (unsigned i = 0; i < 8; i++) {
        s[i] = state[i];
    }
    for (unsigned i = 0; i < 64; i++) {
        uint32_t *word = &w[i & 15];
        if (i >= 16) {
            uint32_t early = w[(i + 1) & 15];
            uint32_t late = w[(i + 14) & 15];
            *word += (turn(early, 7) ^ turn(early, 18) ^ early >> 3) + w[(i + 9) & 15] +
                     (turn(late, 17) ^ turn(late, 19) ^ late >> 10);
        }
        uint32_t a = s[0];
        uint32_t e = s[4];
        uint32_t first = s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) +
                         (s[6] ^ (e & (s[5] ^ s[6]))) + *constant + *word;
        constant += hash->step;
        uint32_t second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) +
                          ((a & (s[1] | s[2])) | (s[1] & s[2]));
        for (unsigned j = 7; j > 0; j--) {
            s[j] = s[j - 1];
        }
        s[4] += first;
        s[0] = first + second;
    }
    for (unsigned i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

static void feed(hashing *hash, unsigned byte)
{
    uint32_t *word = &hash->words[hash->size >> 2 & 15];
    *word = *word << 8 | byte; /* four bytes push out what was there */
    if ((++hash->size & 63) == 0) {
        compress(hash);
    }
}

void depin_sha256_by(const uint32_t *table, unsigned step, const depin_bytes *parts, size_t count,
                     uint8_t *digest)
{
    hashing hash;
    memset(&hash, 0, sizeof hash);
    hash.table = table;
    hash.step = step;
    for (unsigned i = 0; i < 8; i++) {
        hash.state[i] = table[i * step];
    }
    for (; count > 0; parts++, count--) {
        for (size_t i = 0; i < parts->size; i++) {
            feed(&hash, parts->data[i]);
        }
    }
    uint32_t size = hash.size;
    unsigned byte = 0x80;
    do {
        feed(&hash, byte);
        byte = 0;
    } while ((hash.size & 63) != 56);
    hash.words[14] = 0;
    hash.words[15] = size << 3;
    compress(&hash);
    for (unsigned i = 0; i < 32; i++) {
        digest[i] = (uint8_t)(hash.state[i >> 2] >> (24 - (i & 3) * 8));
    }
}

void depin_sha256(const depin_bytes *parts, size_t count, uint8_t digest[32])
{
    depin_sha256_by(own, 1, parts, count, digest);
}

int depin_software_hash(void *context, const depin_bytes *parts, size_t count, uint8_t *digest)
{
    (void)context;
    depin_sha256(parts, count, digest);
    return 0;
}
