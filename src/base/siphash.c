#include "base/siphash.h"

enum { WORD_BYTES = 8 };

/* A compiler that makes a call of it has to keep the state in memory for that. */
#define IN_REGISTERS static inline __attribute__((always_inline))

struct sip {
    uint64_t v0, v1, v2, v3;
};

/* The paper's byte order, and back. */
static inline uint64_t little_endian(uint64_t word)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? word : __builtin_bswap64(word);
}

static inline uint64_t load_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return little_endian(word);
}

static inline void store_word(uint8_t *at, uint64_t word)
{
    word = little_endian(word);
    memcpy(at, &word, sizeof word);
}

/* What is behind the last whole word, and how many octets there are in all. */
static inline uint64_t last_word(struct span octets)
{
    size_t rest = octets.len % WORD_BYTES;
    uint64_t word = (uint64_t)octets.len << 56;
    const uint8_t *end = octets.ptr + octets.len;
    if (rest && octets.len > WORD_BYTES)
        return word | load_word(end - WORD_BYTES) >> 8 * (WORD_BYTES - rest);
    for (size_t i = 0; i < rest; i++)
        word |= (uint64_t)end[(ptrdiff_t)i - (ptrdiff_t)rest] << 8 * i;
    return word;
}

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

IN_REGISTERS void round_of(struct sip *sip)
{
    sip->v0 += sip->v1;
    sip->v2 += sip->v3;
    sip->v1 = rotate(sip->v1, 13) ^ sip->v0;
    sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
    sip->v0 = rotate(sip->v0, 32);
    sip->v2 += sip->v1;
    sip->v0 += sip->v3;
    sip->v1 = rotate(sip->v1, 17) ^ sip->v2;
    sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
    sip->v2 = rotate(sip->v2, 32);
}

static inline struct sip begin(const uint8_t key[SIPHASH_KEY_BYTES])
{
    uint64_t k0 = load_word(key), k1 = load_word(key + WORD_BYTES);
    return (struct sip){
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
}

IN_REGISTERS void take_word(struct sip *sip, uint64_t word)
{
    sip->v3 ^= word;
    round_of(sip);
    round_of(sip);
    sip->v0 ^= word;
}

IN_REGISTERS void take_words(struct sip *sip, const uint8_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        take_word(sip, load_word(at + i * WORD_BYTES));
}

static inline uint64_t folded(const struct sip *sip)
{
    return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

IN_REGISTERS void final_rounds(struct sip *sip)
{
    round_of(sip);
    round_of(sip);
    round_of(sip);
    round_of(sip);
}

void siphash128(const uint8_t key[SIPHASH_KEY_BYTES], struct span octets, uint8_t hash[SIPHASH_BYTES])
{
    struct sip sip = begin(key);
    take_words(&sip, octets.ptr, octets.len / WORD_BYTES);
    take_word(&sip, last_word(octets));
    sip.v2 ^= 0xee;
    final_rounds(&sip);
    store_word(hash, folded(&sip));
    sip.v1 ^= 0xdd;
    final_rounds(&sip);
    store_word(hash + WORD_BYTES, folded(&sip));
}

/* In step: each round waits for the one before, and a processor has room for another's meanwhile. */
void siphash128_pair(const uint8_t key[SIPHASH_KEY_BYTES], const struct span octets[2], uint8_t *const hashes[2])
{
    struct sip a = begin(key), b = a;
    size_t words_a = octets[0].len / WORD_BYTES, words_b = octets[1].len / WORD_BYTES;
    size_t both = words_a < words_b ? words_a : words_b;
    for (size_t i = 0; i < both; i++) {
        take_word(&a, load_word(octets[0].ptr + i * WORD_BYTES));
        take_word(&b, load_word(octets[1].ptr + i * WORD_BYTES));
    }
    take_words(&a, octets[0].ptr + both * WORD_BYTES, words_a - both);
    take_words(&b, octets[1].ptr + both * WORD_BYTES, words_b - both);
    take_word(&a, last_word(octets[0]));
    take_word(&b, last_word(octets[1]));
    a.v2 ^= 0xee;
    b.v2 ^= 0xee;
    final_rounds(&a);
    final_rounds(&b);
    store_word(hashes[0], folded(&a));
    store_word(hashes[1], folded(&b));
    a.v1 ^= 0xdd;
    b.v1 ^= 0xdd;
    final_rounds(&a);
    final_rounds(&b);
    store_word(hashes[0] + WORD_BYTES, folded(&a));
    store_word(hashes[1] + WORD_BYTES, folded(&b));
}
