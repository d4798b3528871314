/*
 * tcp/seq - comparisons in sequence space, which wraps (RFC 9293 3.4).
 *
 * Limits: right while the two numbers are less than 2^31 apart.
 */
#ifndef POSTERN_TCP_SEQ_H
#define POSTERN_TCP_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/* Octets from b to a; negative where a is before b. */
static inline int32_t seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline bool seq_before(uint32_t a, uint32_t b)
{
    return seq_diff(a, b) < 0;
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
    return seq_diff(a, b) > 0;
}

static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? a : b;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
    return seq_before(a, b) ? b : a;
}

#endif
