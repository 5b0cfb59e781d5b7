#include <string.h>

#include "sha512.h"

/* The state at first, then the constants of the rounds, each with its upper half first: the upper halves
 * are those of SHA-256. */
static const uint32_t table[2 * (8 + 80)] = {
    0x6a09e667, 0xf3bcc908, 0xbb67ae85, 0x84caa73b, 0x3c6ef372, 0xfe94f82b, 0xa54ff53a, 0x5f1d36f1,
    0x510e527f, 0xade682d1, 0x9b05688c, 0x2b3e6c1f, 0x1f83d9ab, 0xfb41bd6b, 0x5be0cd19, 0x137e2179,
    0x428a2f98, 0xd728ae22, 0x71374491, 0x23ef65cd, 0xb5c0fbcf, 0xec4d3b2f, 0xe9b5dba5, 0x8189dbbc,
    0x3956c25b, 0xf348b538, 0x59f111f1, 0xb605d019, 0x923f82a4, 0xaf194f9b, 0xab1c5ed5, 0xda6d8118,
    0xd807aa98, 0xa3030242, 0x12835b01, 0x45706fbe, 0x243185be, 0x4ee4b28c, 0x550c7dc3, 0xd5ffb4e2,
    0x72be5d74, 0xf27b896f, 0x80deb1fe, 0x3b1696b1, 0x9bdc06a7, 0x25c71235, 0xc19bf174, 0xcf692694,
    0xe49b69c1, 0x9ef14ad2, 0xefbe4786, 0x384f25e3, 0x0fc19dc6, 0x8b8cd5b5, 0x240ca1cc, 0x77ac9c65,
    0x2de92c6f, 0x592b0275, 0x4a7484aa, 0x6ea6e483, 0x5cb0a9dc, 0xbd41fbd4, 0x76f988da, 0x831153b5,
    0x983e5152, 0xee66dfab, 0xa831c66d, 0x2db43210, 0xb00327c8, 0x98fb213f, 0xbf597fc7, 0xbeef0ee4,
    0xc6e00bf3, 0x3da88fc2, 0xd5a79147, 0x930aa725, 0x06ca6351, 0xe003826f, 0x14292967, 0x0a0e6e70,
    0x27b70a85, 0x46d22ffc, 0x2e1b2138, 0x5c26c926, 0x4d2c6dfc, 0x5ac42aed, 0x53380d13, 0x9d95b3df,
    0x650a7354, 0x8baf63de, 0x766a0abb, 0x3c77b2a8, 0x81c2c92e, 0x47edaee6, 0x92722c85, 0x1482353b,
    0xa2bfe8a1, 0x4cf10364, 0xa81a664b, 0xbc423001, 0xc24b8b70, 0xd0f89791, 0xc76c51a3, 0x0654be30,
    0xd192e819, 0xd6ef5218, 0xd6990624, 0x5565a910, 0xf40e3585, 0x5771202a, 0x106aa070, 0x32bbd1b8,
    0x19a4c116, 0xb8d2d0c8, 0x1e376c08, 0x5141ab53, 0x2748774c, 0xdf8eeb99, 0x34b0bcb5, 0xe19b48a8,
    0x391c0cb3, 0xc5c95a63, 0x4ed8aa4a, 0xe3418acb, 0x5b9cca4f, 0x7763e373, 0x682e6ff3, 0xd6b2b8a3,
    0x748f82ee, 0x5defb2fc, 0x78a5636f, 0x43172f60, 0x84c87814, 0xa1f0ab72, 0x8cc70208, 0x1a6439ec,
    0x90befffa, 0x23631e28, 0xa4506ceb, 0xde82bde9, 0xbef9a3f7, 0xb2c67915, 0xc67178f2, 0xe372532b,
    0xca273ece, 0xea26619c, 0xd186b8c7, 0x21c0c207, 0xeada7dd6, 0xcde0eb1e, 0xf57d4f7f, 0xee6ed178,
    0x06f067aa, 0x72176fba, 0x0a637dc5, 0xa2c898a6, 0x113f9804, 0xbef90dae, 0x1b710b35, 0x131c471b,
    0x28db77f5, 0x23047d84, 0x32caab7b, 0x40c72493, 0x3c9ebe0a, 0x15c9bebc, 0x431d67c4, 0x9c100d4c,
    0x4cc5d4be, 0xcb3e42b6, 0x597f299c, 0xfc657e2a, 0x5fcb6fab, 0x3ad6faec, 0x6c44198c, 0x4a475817,
};

static uint64_t entry(unsigned number)
{
    return (uint64_t)table[2 * number] << 32 | table[2 * number + 1];
}

static uint64_t turn(uint64_t word, unsigned by)
{
    return word >> by | word << (64 - by);
}

/* One block; the schedule is made in place. */
static void compress(uint64_t state[8], uint64_t w[16])
{
    uint64_t s[8];
    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 80; i++) {
        uint64_t *word = &w[i & 15];
        if (i >= 16) {
            uint64_t early = w[(i + 1) & 15];
            uint64_t late = w[(i + 14) & 15];
            *word += (turn(early, 1) ^ turn(early, 8) ^ early >> 7) + w[(i + 9) & 15] +
                     (turn(late, 19) ^ turn(late, 61) ^ late >> 6);
        }
        uint64_t a = s[0];
        uint64_t e = s[4];
        uint64_t first = s[7] + (turn(e, 14) ^ turn(e, 18) ^ turn(e, 41)) +
                         (s[6] ^ (e & (s[5] ^ s[6]))) + entry(8 + i) + *word;
        uint64_t second = (turn(a, 28) ^ turn(a, 34) ^ turn(a, 39)) +
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

typedef struct hashing {
    uint64_t state[8];
    uint64_t words[16];
    uint32_t size; /* in bytes: nothing here comes near 2^29 */
} hashing;

static void feed(hashing *hash, unsigned byte)
{
    uint64_t *word = &hash->words[hash->size >> 3 & 15];
    *word = *word << 8 | byte; /* eight bytes push out what was there */
    if ((++hash->size & 127) == 0) {
        compress(hash->state, hash->words);
    }
}

static void feed_parts(hashing *hash, const depin_bytes *parts, size_t count)
{
    for (; count > 0; parts++, count--) {
        for (size_t i = 0; i < parts->size; i++) {
            feed(hash, parts->data[i]);
        }
    }
}

void depin_sha512_after(const depin_bytes *before, size_t before_count, const depin_bytes *parts,
                        size_t count, uint8_t digest[64])
{
    hashing hash;
    memset(&hash, 0, sizeof hash);
    for (unsigned i = 0; i < 8; i++) {
        hash.state[i] = entry(i);
    }
    feed_parts(&hash, before, before_count);
    feed_parts(&hash, parts, count);
    uint32_t size = hash.size;
    unsigned byte = 0x80;
    do {
        feed(&hash, byte);
        byte = 0;
    } while ((hash.size & 127) != 112);
    hash.words[14] = 0;
    hash.words[15] = size << 3;
    compress(hash.state, hash.words);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t word = hash.state[i];
        for (unsigned j = 8; j-- > 0;) {
            *digest++ = (uint8_t)((uint32_t)(word >> 32) >> 24);
            word <<= 8;
        }
    }
}

void depin_sha512(const depin_bytes *parts, size_t count, uint8_t digest[64])
{
    depin_sha512_after(NULL, 0, parts, count, digest);
}

int depin_ed25519_hash(void *context, const depin_bytes *parts, size_t count, uint8_t *digest)
{
    (void)context;
    depin_sha256_by(table, 2, parts, count, digest);
    return 0;
}
