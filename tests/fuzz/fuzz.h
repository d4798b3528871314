/*
 * tests/fuzz - one target an entry point. Each takes any octets and ends: it aborts where a law is broken, and a
 * sanitizer does where memory or arithmetic is.
 *
 * Built with libFuzzer by `make fuzz`, and with standalone.c, which needs no clang, for the short run of `make test`.
 */
#ifndef POSTERN_TESTS_FUZZ_H
#define POSTERN_TESTS_FUZZ_H

#include <stdlib.h>

#include "base/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that stays in every build. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            __builtin_trap();                                                                                          \
    } while (0)

/* Look at every octet, so that a sanitizer sees whether it may be looked at. */
static inline void look_at(const uint8_t *octets, size_t len)
{
    for (size_t i = 0; i < len; i++)
        __asm__ volatile("" : : "r"(octets[i]));
}

/* Octets in an allocation of exactly their length, so that a sanitizer sees what is read beside them; the caller frees
   it. */
static inline uint8_t *exact_copy(struct span octets)
{
    uint8_t *copy = malloc(octets.len ? octets.len : 1);
    MUST(copy != NULL);
    if (octets.len)
        memcpy(copy, octets.ptr, octets.len);
    return copy;
}

/* Whether `part` lies in `all`; one that is empty lies anywhere. */
static inline bool inside(struct span all, struct span part)
{
    return part.len == 0 ||
           (part.ptr >= all.ptr && part.len <= all.len && (size_t)(part.ptr - all.ptr) <= all.len - part.len);
}

#endif
