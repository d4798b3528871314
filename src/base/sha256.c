#include "base/sha256.h"

#include "base/octets.h"

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word >> bits | word << (32 - bits);
}

/* One block of 64 octets: FIPS 180-4 6.2.2. */
static void take_block(struct sha256 *hash, const uint8_t *block)
{
    static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    uint32_t words[64], now[8];
    for (int i = 0; i < 16; i++)
        words[i] = load_be32(block + i * 4);
    for (int i = 16; i < 64; i++) {
        uint32_t near = words[i - 2], far = words[i - 15];
        uint32_t of_near = rotate(near, 17) ^ rotate(near, 19) ^ near >> 10;
        uint32_t of_far = rotate(far, 7) ^ rotate(far, 18) ^ far >> 3;
        words[i] = of_near + words[i - 7] + of_far + words[i - 16];
    }
    memcpy(now, hash->state, sizeof now);
    for (int i = 0; i < 64; i++) {
        uint32_t choice = (now[4] & now[5]) ^ (~now[4] & now[6]);
        uint32_t majority = (now[0] & now[1]) ^ (now[0] & now[2]) ^ (now[1] & now[2]);
        uint32_t upper = rotate(now[4], 6) ^ rotate(now[4], 11) ^ rotate(now[4], 25);
        uint32_t lower = rotate(now[0], 2) ^ rotate(now[0], 13) ^ rotate(now[0], 22);
        uint32_t first = now[7] + upper + choice + constants[i] + words[i];
        memmove(now + 1, now, 7 * sizeof now[0]);
        now[4] += first;
        now[0] = first + lower + majority;
    }
    for (int i = 0; i < 8; i++)
        hash->state[i] += now[i];
}

void sha256_begin(struct sha256 *hash)
{
    *hash = (struct sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(struct sha256 *hash, struct span octets)
{
    while (octets.len) {
        size_t at = hash->octets % sizeof hash->block;
        struct span part = span_head(octets, sizeof hash->block - at);
        memcpy(hash->block + at, part.ptr, part.len);
        hash->octets += part.len;
        if (at + part.len == sizeof hash->block)
            take_block(hash, hash->block);
        octets = span_tail(octets, part.len);
    }
}

void sha256_end(struct sha256 *hash, uint8_t value[SHA256_BYTES])
{
    static const uint8_t padding[64] = {0x80};
    uint8_t bits[8];
    store_be64(bits, hash->octets * 8);
    size_t at = hash->octets % sizeof hash->block;
    sha256_add(hash, (struct span){padding, at < 56 ? 56 - at : 120 - at});
    sha256_add(hash, (struct span){bits, sizeof bits});
    for (int i = 0; i < 8; i++)
        store_be32(value + i * 4, hash->state[i]);
}
