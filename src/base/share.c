#include "base/share.h"

size_t share_bytes(uint32_t resources)
{
    return resources * sizeof(uint32_t[SHARE_NETWORKS]);
}

void share_init(struct share *share, void *storage, uint8_t prefix_v4, uint8_t prefix_v6, uint64_t seed)
{
    *share = (struct share){.counts = storage, .prefix_v4 = prefix_v4, .prefix_v6 = prefix_v6};
    memcpy(share->key, &seed, sizeof seed);
}

void share_bound(struct share *share, uint32_t resource, uint32_t total, uint32_t percent, uint32_t least)
{
    uint32_t bound = (uint32_t)((uint64_t)total * percent / 100);
    share->bounds[resource] = bound > least ? bound : least;
}

uint16_t share_network(const struct share *share, uint8_t ip_version, const uint8_t *address)
{
    uint8_t input[17] = {ip_version}, hash[SIPHASH_BYTES];
    unsigned bits = ip_version == 4 ? share->prefix_v4 : share->prefix_v6, whole = bits / 8;
    memcpy(input + 1, address, whole);
    if (bits % 8)
        input[1 + whole] = (uint8_t)(address[whole] & 0xff00u >> bits % 8);
    siphash128(share->key, (struct span){input, sizeof input}, hash);
    return (uint16_t)((hash[0] | (unsigned)hash[1] << 8) % SHARE_NETWORKS);
}

uint16_t share_greediest(const struct share *share, uint32_t resource)
{
    const uint32_t *counts = share->counts[resource];
    uint32_t most = 0;
    for (uint32_t i = 0; i < SHARE_NETWORKS; i++)
        most = counts[i] > most ? counts[i] : most;
    uint16_t network = 0;
    while (counts[network] != most)
        network++;
    return network;
}
