/*
 * base/share - who uses how much of what all clients share: counts of each resource, by the client's network.
 *
 * In:     what a network takes and gives back, of resources that the caller numbers from 0 on.
 * Out:    whether a network may have more, and which one has most.
 * Owner:  the caller owns the storage of share_bytes() octets, zeroed.
 * Thread: one, nothing shared.
 * Limits: SHARE_NETWORKS. A network is known by a keyed hash of its address, so that nobody can choose whose count he
 *         adds to; networks of the same hash have one count, which is one of 4,096 beside a given one.
 * Cost:   constant, but for share_greediest, which looks at all counts of one resource.
 */
#ifndef POSTERN_BASE_SHARE_H
#define POSTERN_BASE_SHARE_H

#include <assert.h>

#include "base/siphash.h"

#define SHARE_NETWORKS      4096
#define SHARE_RESOURCES_MAX 13

struct share {
    uint32_t (*counts)[SHARE_NETWORKS];   /* by resource, by network */
    uint32_t bounds[SHARE_RESOURCES_MAX]; /* of what one network may have; by resource */
    uint8_t prefix_v4, prefix_v6;         /* bits of an address that make a network */
    uint8_t key[SIPHASH_KEY_BYTES];
};

size_t share_bytes(uint32_t resources);

/* `seed`: a secret. Every bound is 0 until share_bound. */
void share_init(struct share *share, void *storage, uint8_t prefix_v4, uint8_t prefix_v6, uint64_t seed);

/*
 * One network may have `percent` of the `total` of a resource, but so many as one connection needs, `least`, in any
 * case.
 */
void share_bound(struct share *share, uint32_t resource, uint32_t total, uint32_t percent, uint32_t least);

/* The network of an address: below SHARE_NETWORKS. ip_version: 4 or 6, with as many octets of `address`. */
uint16_t share_network(const struct share *share, uint8_t ip_version, const uint8_t *address);

/* The network that has most of a resource; of several one of them. */
uint16_t share_greediest(const struct share *share, uint32_t resource);

static inline uint32_t share_count(const struct share *share, uint32_t resource, uint16_t network)
{
    return share->counts[resource][network];
}

/* Whether a network may have `more` of a resource. */
static inline bool share_allows(const struct share *share, uint32_t resource, uint16_t network, uint32_t more)
{
    uint32_t count = share_count(share, resource, network), bound = share->bounds[resource];
    return count <= bound && more <= bound - count;
}

/* It has taken `count`, or given back where that is negative. */
static inline void share_add(struct share *share, uint32_t resource, uint16_t network, int32_t count)
{
    uint32_t *has = &share->counts[resource][network];
    assert(count >= 0 || *has >= (uint32_t)-count);
    *has += (uint32_t)count;
}

#endif
