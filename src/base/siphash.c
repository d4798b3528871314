#include "base/siphash.h"

enum { WORD_BYTES = 8, ROUNDS = 2, FINAL_ROUNDS = 4 };

struct sip {
    uint64_t v0, v1, v2, v3;
};

/* The paper's byte order. */
static uint64_t load_le64(const uint8_t *at, size_t count)
{
    uint64_t word = 0;
    for (size_t i = 0; i < count; i++)
        word |= (uint64_t)at[i] << 8 * i;
    return word;
}

static void store_le64(uint8_t *at, uint64_t word)
{
    for (size_t i = 0; i < WORD_BYTES; i++)
        at[i] = (uint8_t)(word >> 8 * i);
}

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void rounds(struct sip *sip, int count)
{
    while (count-- > 0) {
        sip->v0 += sip->v1;
        sip->v1 = rotate(sip->v1, 13) ^ sip->v0;
        sip->v0 = rotate(sip->v0, 32);
        sip->v2 += sip->v3;
        sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
        sip->v0 += sip->v3;
        sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
        sip->v2 += sip->v1;
        sip->v1 = rotate(sip->v1, 17) ^ sip->v2;
        sip->v2 = rotate(sip->v2, 32);
    }
}

static void take_word(struct sip *sip, uint64_t word)
{
    sip->v3 ^= word;
    rounds(sip, ROUNDS);
    sip->v0 ^= word;
}

static uint64_t finish(struct sip *sip)
{
    rounds(sip, FINAL_ROUNDS);
    return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

void siphash128(const uint8_t key[SIPHASH_KEY_BYTES], struct span octets, uint8_t hash[SIPHASH_BYTES])
{
    uint64_t k0 = load_le64(key, WORD_BYTES), k1 = load_le64(key + WORD_BYTES, WORD_BYTES);
    struct sip sip = {
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
    struct span rest = octets;
    for (; rest.len >= WORD_BYTES; rest = span_tail(rest, WORD_BYTES))
        take_word(&sip, load_le64(rest.ptr, WORD_BYTES));
    take_word(&sip, (uint64_t)octets.len << 56 | load_le64(rest.ptr, rest.len));
    sip.v2 ^= 0xee;
    store_le64(hash, finish(&sip));
    sip.v1 ^= 0xdd;
    store_le64(hash + WORD_BYTES, finish(&sip));
}
