#include "smtp/body.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* One octet on. Sets *ambiguous where a lenient server may see the end of the message here. */
static enum smtp_body_state step(enum smtp_body_state state, uint8_t octet, bool *ambiguous)
{
    if (octet == '\r') {
        if (state == SMTP_BODY_DOT)
            return SMTP_BODY_DOT_CR;
        if (state == SMTP_BODY_LOOSE_DOT || state == SMTP_BODY_DOT_CR)
            *ambiguous = true;
        return SMTP_BODY_CR;
    }
    if (octet == '\n') {
        if (state == SMTP_BODY_DOT_CR)
            return SMTP_BODY_END;
        if (state == SMTP_BODY_DOT || state == SMTP_BODY_LOOSE_DOT)
            *ambiguous = true;
        return state == SMTP_BODY_CR ? SMTP_BODY_LINE : SMTP_BODY_LOOSE;
    }
    if (state == SMTP_BODY_DOT_CR)
        *ambiguous = true;
    if (octet == '.') {
        if (state == SMTP_BODY_LINE)
            return SMTP_BODY_DOT;
        if (state == SMTP_BODY_CR || state == SMTP_BODY_LOOSE || state == SMTP_BODY_DOT_CR)
            return SMTP_BODY_LOOSE_DOT;
        return SMTP_BODY_TEXT;
    }
    return octet == '\0' ? SMTP_BODY_LOOSE : SMTP_BODY_TEXT;
}

/* Whether a dot behind this octet may begin a line for somebody. */
static bool may_end_line(uint8_t octet)
{
    return octet == '\n' || octet == '\r' || octet == '\0';
}

/* The first place from `at` (at least 1) on with a dot behind an octet that may end a line; the end where none is. */
static size_t find_dot(struct span octets, size_t at)
{
#ifdef __SSE2__
    const __m128i dot = _mm_set1_epi8('.');
    const __m128i top = _mm_set1_epi8('\r');
    while (octets.len - at >= 32) {
        const uint8_t *p = octets.ptr + at;
        __m128i before0 = _mm_loadu_si128((const __m128i *)(const void *)(p - 1));
        __m128i before1 = _mm_loadu_si128((const __m128i *)(const void *)(p + 15));
        __m128i here0 = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), dot);
        __m128i here1 = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16)), dot);
        /* unsigned before <= CR: a superset of what may end a line */
        here0 = _mm_and_si128(here0, _mm_cmpeq_epi8(_mm_min_epu8(before0, top), before0));
        here1 = _mm_and_si128(here1, _mm_cmpeq_epi8(_mm_min_epu8(before1, top), before1));
        if (_mm_movemask_epi8(_mm_or_si128(here0, here1))) {
            uint32_t found = (uint32_t)_mm_movemask_epi8(here0) | (uint32_t)_mm_movemask_epi8(here1) << 16;
            for (; found; found &= found - 1) {
                size_t place = at + (size_t)__builtin_ctz(found);
                if (may_end_line(octets.ptr[place - 1]))
                    return place;
            }
        }
        at += 32;
    }
#endif
    while (at < octets.len) {
        const uint8_t *found = memchr(octets.ptr + at, '.', octets.len - at);
        if (!found)
            break;
        at = (size_t)(found - octets.ptr);
        if (may_end_line(octets.ptr[at - 1]))
            return at;
        at++;
    }
    return octets.len;
}

/* The state behind octet `at` - 1, from it and the one before; both are there and no dot is near. */
static enum smtp_body_state state_before(struct span octets, size_t at)
{
    uint8_t last = octets.ptr[at - 1];
    if (last == '\r')
        return SMTP_BODY_CR;
    if (last == '\n')
        return octets.ptr[at - 2] == '\r' ? SMTP_BODY_LINE : SMTP_BODY_LOOSE;
    return last == '\0' ? SMTP_BODY_LOOSE : SMTP_BODY_TEXT;
}

struct smtp_body_scan smtp_body_scan(enum smtp_body_state *state, struct span octets)
{
    struct smtp_body_scan scan = {0};
    enum smtp_body_state now = *state;
    size_t at = 0;
    while (at < octets.len) {
        /* Octet by octet near a dot and at the start, where what came before is known only as a state. */
        now = step(now, octets.ptr[at++], &scan.ambiguous);
        if (now == SMTP_BODY_END) {
            scan.ended = true;
            break;
        }
        if (at < 2 || now == SMTP_BODY_DOT || now == SMTP_BODY_DOT_CR || now == SMTP_BODY_LOOSE_DOT)
            continue;
        at = find_dot(octets, at);
        now = state_before(octets, at);
    }
    scan.taken = at;
    *state = now;
    return scan;
}
