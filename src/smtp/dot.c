#include "smtp/dot.h"

enum { BLOCK_BYTES = 128 };

/*
 * Blocks are passed over by the greatest of one figure a place: 255 less the octet before it where a dot is, else 0. It
 * is at least 255 less '\r' where a dot is behind CR, LF, NUL, or another control that stands before CR; these few are
 * then looked at one by one.
 */
enum { AT_LINE_BEGIN = 255 - '\r' };

#ifdef __SSE2__
#include <immintrin.h>

static inline __m128i figures_of_16(const uint8_t *at)
{
    __m128i before = _mm_loadu_si128((const __m128i *)(const void *)(at - 1));
    __m128i here = _mm_loadu_si128((const __m128i *)(const void *)at);
    return _mm_subs_epu8(_mm_cmpeq_epi8(here, _mm_set1_epi8('.')), before);
}

/* From the first block to the next: as far as that one and all behind it begin at an address that loads like. */
static inline size_t first_step(const uint8_t *at)
{
    return BLOCK_BYTES - (uintptr_t)at % 32;
}

static bool any_in_block_sse2(const uint8_t *at)
{
    const __m128i limit = _mm_set1_epi8((char)(AT_LINE_BEGIN - 1));
    __m128i greatest = limit;
#pragma GCC unroll 8
    for (int i = 0; i < BLOCK_BYTES; i += 16)
        greatest = _mm_max_epu8(greatest, figures_of_16(at + i));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(greatest, limit)) != 0xffff;
}

/* From `at` on over blocks in which there is surely none. One piece with `any`, and built for the same processor. */
static inline __attribute__((always_inline)) size_t pass_by(struct span octets, size_t at,
                                                            bool (*any)(const uint8_t *block))
{
    size_t step = first_step(octets.ptr + at);
    for (; octets.len - at >= BLOCK_BYTES && !any(octets.ptr + at); step = BLOCK_BYTES)
        at += step;
    size_t left = octets.len - at;
    bool last = left < BLOCK_BYTES && octets.len > BLOCK_BYTES;
    return last && !any(octets.ptr + octets.len - BLOCK_BYTES) ? octets.len : at;
}

__attribute__((target("avx2"))) static inline __m256i figures_of_32(const uint8_t *at)
{
    __m256i before = _mm256_loadu_si256((const __m256i *)(const void *)(at - 1));
    __m256i here = _mm256_loadu_si256((const __m256i *)(const void *)at);
    return _mm256_subs_epu8(_mm256_cmpeq_epi8(here, _mm256_set1_epi8('.')), before);
}

__attribute__((target("avx2"))) static inline bool any_in_block_avx2(const uint8_t *at)
{
    const __m256i limit = _mm256_set1_epi8((char)(AT_LINE_BEGIN - 1));
    __m256i greatest = limit;
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK_BYTES; i += 32)
        greatest = _mm256_max_epu8(greatest, figures_of_32(at + i));
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(greatest, limit)) != -1;
}

__attribute__((target("avx2"))) static size_t pass_blocks_avx2(struct span octets, size_t at)
{
    return pass_by(octets, at, any_in_block_avx2);
}

/* A place from `at` (at least 1) on, in steps of blocks, before which there is surely no such dot. */
static size_t pass_blocks(struct span octets, size_t at)
{
    return __builtin_cpu_supports("avx2") ? pass_blocks_avx2(octets, at) : pass_by(octets, at, any_in_block_sse2);
}
#else
static size_t pass_blocks(struct span octets, size_t at)
{
    (void)octets;
    return at;
}
#endif

static bool may_end_line(uint8_t octet)
{
    return octet == '\n' || octet == '\r' || octet == '\0';
}

/* The same up to place `end`, dot by dot. */
static size_t find_one_by_one(struct span octets, size_t at, size_t end)
{
    while (at < end) {
        const uint8_t *found = memchr(octets.ptr + at, '.', end - at);
        if (!found)
            return end;
        at = (size_t)(found - octets.ptr);
        if (may_end_line(octets.ptr[at - 1]))
            return at;
        at++;
    }
    return end;
}

size_t smtp_dot_find(struct span octets, size_t at)
{
    while (at < octets.len) {
        at = pass_blocks(octets, at);
        size_t end = octets.len - at > BLOCK_BYTES ? at + BLOCK_BYTES : octets.len;
        at = find_one_by_one(octets, at, end);
        if (at < end)
            break;
    }
    return at;
}
