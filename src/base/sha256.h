/*
 * base/sha256 - a hash whose value others compute, too: parts of fingerprints that are published.
 *
 * In:     octets, in any number of pieces.
 * Owner:  the caller's struct; it may be copied.
 * Note:   not for secrets: those are hashed with a key (base/siphash).
 * Source: FIPS 180-4 6.2.
 */
#ifndef POSTERN_BASE_SHA256_H
#define POSTERN_BASE_SHA256_H

#include "base/span.h"

#define SHA256_BYTES 32

struct sha256 {
    uint32_t state[8];
    uint64_t octets; /* that were taken */
    uint8_t block[64];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, struct span octets);
void sha256_end(struct sha256 *hash, uint8_t value[SHA256_BYTES]);

#endif
