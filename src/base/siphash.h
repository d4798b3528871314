/*
 * base/siphash - SipHash-2-4 with 128 bits of output: a hash that nobody can choose collisions of without its key.
 *
 * Thread: no state.
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; 128 bits as in their reference code.
 */
#ifndef POSTERN_BASE_SIPHASH_H
#define POSTERN_BASE_SIPHASH_H

#include "base/span.h"

#define SIPHASH_KEY_BYTES 16
#define SIPHASH_BYTES     16

void siphash128(const uint8_t key[SIPHASH_KEY_BYTES], struct span octets, uint8_t hash[SIPHASH_BYTES]);

/* Two at once, of about the same length: for little more than one costs. */
void siphash128_pair(const uint8_t key[SIPHASH_KEY_BYTES], const struct span octets[2], uint8_t *const hashes[2]);

#endif
