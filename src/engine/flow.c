#include "engine/flow.h"

#include "base/octets.h"

static uint32_t bucket_count(uint32_t flows_max)
{
    uint32_t count = 16;
    while (count < flows_max && count < UINT32_C(1) << 31)
        count *= 2;
    return count;
}

size_t flow_table_buckets_bytes(uint32_t flows_max)
{
    return (size_t)bucket_count(flows_max) * sizeof(uint32_t);
}

void flow_table_init(struct flow_table *table, void *flows, void *buckets, uint32_t flows_max, uint64_t seed)
{
    *table = (struct flow_table){.buckets = buckets, .bucket_mask = bucket_count(flows_max) - 1};
    pool_init(&table->flows, flows, sizeof(struct flow), flows_max);
    table->seed[0] = seed ^ UINT64_C(0x9e3779b97f4a7c15);
    table->seed[1] = seed * UINT64_C(0xbf58476d1ce4e5b9) + UINT64_C(0x94d049bb133111eb);
}

/* The two halves of a 128-bit product, folded: each bit depends on all of both factors. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_end(const struct flow_table *table, struct span address, uint16_t port)
{
    uint64_t words[2] = {0, 0};
    memcpy(words, address.ptr, address.len);
    return fold(fold(words[0] ^ table->seed[0], words[1] ^ table->seed[1]) ^ port, table->seed[1] | 1);
}

/* The same for both directions. */
static uint32_t *bucket_of(const struct flow_table *table, uint64_t hash_a, uint64_t hash_b)
{
    uint64_t hash = fold(hash_a + hash_b, table->seed[0] | 1);
    return &table->buckets[hash & table->bucket_mask];
}

static bool end_is(const struct event_endpoint *end, struct span address, uint16_t port)
{
    return end->port == port && memcmp(end->address, address.ptr, address.len) == 0;
}

uint32_t flow_table_find(const struct flow_table *table, const struct packet *packet, enum smtp_side *sender)
{
    struct span from = packet_source(packet);
    struct span to = packet_destination(packet);
    uint32_t index =
        *bucket_of(table, hash_end(table, from, packet->source_port), hash_end(table, to, packet->destination_port));
    while (index != POOL_NONE) {
        const struct flow *flow = flow_at(table, index);
        if (flow->ip_version == packet->ip_version)
            for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
                if (end_is(&flow->ends[side], from, packet->source_port) &&
                    end_is(&flow->ends[!side], to, packet->destination_port)) {
                    *sender = (enum smtp_side)side;
                    return index;
                }
        index = flow->hash_next;
    }
    return POOL_NONE;
}

static void set_end(struct event_endpoint *end, struct span address, uint16_t port)
{
    memcpy(end->address, address.ptr, address.len);
    end->port = port;
}

uint32_t flow_table_add(struct flow_table *table, const struct packet *packet, enum smtp_side sender)
{
    uint32_t index = pool_borrow(&table->flows);
    if (index == POOL_NONE)
        return POOL_NONE;
    struct flow *flow = flow_at(table, index);
    *flow = (struct flow){.ip_version = packet->ip_version};
    struct span from = packet_source(packet);
    struct span to = packet_destination(packet);
    set_end(&flow->ends[sender], from, packet->source_port);
    set_end(&flow->ends[!sender], to, packet->destination_port);
    uint32_t *bucket =
        bucket_of(table, hash_end(table, from, packet->source_port), hash_end(table, to, packet->destination_port));
    flow->hash_next = *bucket;
    *bucket = index;
    return index;
}

void flow_table_remove(struct flow_table *table, uint32_t index)
{
    struct flow *flow = flow_at(table, index);
    size_t address_len = flow->ip_version == 4 ? 4 : 16;
    struct span client = {flow->ends[SMTP_CLIENT].address, address_len};
    struct span server = {flow->ends[SMTP_SERVER].address, address_len};
    uint32_t *place = bucket_of(table, hash_end(table, client, flow->ends[SMTP_CLIENT].port),
                                hash_end(table, server, flow->ends[SMTP_SERVER].port));
    while (*place != index)
        place = &flow_at(table, *place)->hash_next;
    *place = flow->hash_next;
    pool_return(&table->flows, index);
}
