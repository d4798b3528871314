/*
 * tests/lib/random - numbers from a seed: the same on every machine (splitmix64).
 */
#ifndef POSTERN_TESTS_RANDOM_H
#define POSTERN_TESTS_RANDOM_H

#include <stdint.h>

struct random_source {
    uint64_t state; /* start with the seed */
};

static inline uint64_t random_next(struct random_source *source)
{
    uint64_t z = source->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 to below - 1. */
static inline uint32_t random_below(struct random_source *source, uint32_t below)
{
    return (uint32_t)(random_next(source) % below);
}

#endif
