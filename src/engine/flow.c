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

/* An address and a port as three numbers. */
struct end_key {
    uint64_t words[2];
    uint16_t port;
};

static struct end_key key_of(const uint8_t *address, size_t len, uint16_t port)
{
    struct end_key key = {.port = port};
    if (len == 4) {
        uint32_t word;
        memcpy(&word, address, 4);
        memcpy(key.words, &word, 4);
    } else {
        memcpy(key.words, address, 16);
    }
    return key;
}

static uint64_t hash_end(const struct flow_table *table, struct end_key key)
{
    return fold(key.words[0] ^ table->seed[0], key.words[1] ^ table->seed[1] ^ (uint64_t)key.port << 32);
}

/* The same for both directions. */
static uint32_t *bucket_of(const struct flow_table *table, struct end_key a, struct end_key b)
{
    uint64_t hash = fold(hash_end(table, a) + hash_end(table, b), table->seed[0] | 1);
    return &table->buckets[hash & table->bucket_mask];
}

static bool end_is(const struct event_endpoint *end, struct end_key key)
{
    uint64_t words[2];
    memcpy(words, end->address, sizeof words); /* zero behind an IPv4 address */
    return words[0] == key.words[0] && words[1] == key.words[1] && end->port == key.port;
}

uint32_t flow_table_find(const struct flow_table *table, const struct packet *packet, enum smtp_side *sender)
{
    const uint8_t *address = packet->bytes + packet->source_at;
    size_t len = packet->address_len;
    struct end_key from = key_of(address, len, packet->source_port);
    struct end_key to = key_of(address + len, len, packet->destination_port);
    uint32_t index = *bucket_of(table, from, to);
    while (index != POOL_NONE) {
        const struct flow *flow = flow_at(table, index);
        if (flow->ip_version == packet->ip_version)
            for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
                if (end_is(&flow->ends[side], from) && end_is(&flow->ends[!side], to)) {
                    *sender = (enum smtp_side)side;
                    return index;
                }
        index = flow->hash_next;
    }
    return POOL_NONE;
}

static uint32_t *bucket_of_flow(const struct flow_table *table, const struct flow *flow)
{
    size_t len = flow->ip_version == 4 ? 4 : 16;
    return bucket_of(table, key_of(flow->ends[SMTP_CLIENT].address, len, flow->ends[SMTP_CLIENT].port),
                     key_of(flow->ends[SMTP_SERVER].address, len, flow->ends[SMTP_SERVER].port));
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
    *flow = (struct flow){.ip_version = packet->ip_version & 15u};
    set_end(&flow->ends[sender], packet_source(packet), packet->source_port);
    set_end(&flow->ends[!sender], packet_destination(packet), packet->destination_port);
    uint32_t *bucket = bucket_of_flow(table, flow);
    flow->hash_next = *bucket;
    *bucket = index;
    return index;
}

void flow_table_remove(struct flow_table *table, uint32_t index)
{
    struct flow *flow = flow_at(table, index);
    uint32_t *place = bucket_of_flow(table, flow);
    while (*place != index)
        place = &flow_at(table, *place)->hash_next;
    *place = flow->hash_next;
    pool_return(&table->flows, index);
}
