/*
 * tests/bench/clock - how long something takes, on a machine that others use too: the least of some runs, or how many
 * times as long as something else in turn: the median.
 */
#ifndef POSTERN_TESTS_BENCH_CLOCK_H
#define POSTERN_TESTS_BENCH_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__)
#define CLOCK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CLOCK_SANITIZED 1
#endif
#endif

/* Whether a sanitizer is built in: then what is measured is the sanitizer. */
#ifndef CLOCK_SANITIZED
#define CLOCK_SANITIZED 0
#endif

/* Processor time of this thread. */
static inline uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void clock_keep_least(double *least, double value)
{
    if (*least == 0 || value < *least)
        *least = value;
}

static inline int clock_order(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* The middle one of `count` values, which it puts in order: of ratios, each of two runs in turn, what a neighbour does
   to both, or to few, does not move it. */
static inline double clock_median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, clock_order);
    return values[count / 2];
}

/*
 * Whether to measure in this turn, from 0 on. What missed its goal is measured again some seconds later, a few times: a
 * neighbour on the same processor goes away, or comes less; what costs too much misses each time.
 */
static inline bool clock_again(uint32_t turn, bool met)
{
    enum { TURNS_MAX = 10, WAIT_S = 3 };
    if (turn == 0)
        return true;
    if (met || turn == TURNS_MAX)
        return false;
    nanosleep(&(struct timespec){.tv_sec = WAIT_S}, NULL);
    return true;
}

#endif
