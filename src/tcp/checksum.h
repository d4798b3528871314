/*
 * tcp/checksum - the Internet checksum.
 *
 * Source: RFC 1071, RFC 1624 (incremental update, eqn. 3).
 */
#ifndef POSTERN_TCP_CHECKSUM_H
#define POSTERN_TCP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Add `len` octets to a running one's complement sum (start with 0). The sum is of 16-bit words in the machine's byte
 * order; only the last part of several may have an odd length.
 */
uint64_t checksum_add(uint64_t sum, const uint8_t *octets, size_t len);

/* The checksum of a sum, to be stored as it is in memory (memcpy), whatever the byte order. */
uint16_t checksum_finish(uint64_t sum);

/* A checksum field after a 16-bit word that it covers changed; all three as load_be16 reads them. */
uint16_t checksum_adjust16(uint16_t checksum, uint16_t from, uint16_t to);

/* The same for a 32-bit word at an even place; or all three as they are in memory. */
static inline uint16_t checksum_adjust32(uint16_t checksum, uint32_t from, uint32_t to)
{
    uint64_t sum = (uint64_t)(uint16_t)~checksum + (uint32_t)~from + to;
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

#endif
