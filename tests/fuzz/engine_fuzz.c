/*
 * A sequence of packets of both directions. The first octet chooses bounds and peers; then records, each
 *
 *     kind   bit 0 who sends, bit 1 IPv6, bits 2-3 how long before it, bit 7 the payload is the packet itself
 *     flags  of TCP
 *     seq    signed, from where the sender is
 *     ack    signed, from what it has seen of the other side
 *     len    octets of payload
 *     payload
 *
 * The laws that can be seen from outside: one verdict a packet, nothing but what came leaves, checksums are right, the
 * stream towards the client never gets ahead of what its server sent, and in the end nothing is kept.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "../lib/rules.h"
#include "../lib/segment.h"
#include "engine/engine.h"
#include "policy/policy.h"

enum { RECORD = 5, PACKETS_MAX = 300 };

struct world {
    struct engine *engine;
    int64_t now_us;
    uint64_t tokens;
    uint8_t verdicts[PACKETS_MAX + 1];
    bool well_formed[PACKETS_MAX + 1]; /* built here, so its checksum was right */
    uint32_t seq[2];                   /* where each side is, as it came */
};

static struct policy policy;

static void take_verdicts(struct world *world)
{
    struct engine_verdict verdict;
    struct event event;
    while (engine_next_verdict(world->engine, &verdict)) {
        MUST(verdict.token >= 1 && verdict.token <= world->tokens);
        MUST(world->verdicts[verdict.token]++ == 0);
        if (verdict.action == ENGINE_DROP)
            MUST(!verdict.edited);
        if (!verdict.edited)
            continue;
        struct packet packet;
        uint8_t *copy = malloc(verdict.packet.len);
        memcpy(copy, verdict.packet.ptr, verdict.packet.len);
        MUST(packet_parse(&packet, copy, (uint32_t)verdict.packet.len) == PACKET_TCP);
        MUST(packet.len == verdict.packet.len);
        if (world->well_formed[verdict.token])
            MUST(packet_checksum_good(&packet));
        free(copy);
    }
    while (engine_next_event(world->engine, &event)) {
        look_at(event.text.ptr, event.text.len);
        look_at(event.shown.ptr, event.shown.len);
        MUST(event.reason != NULL);
    }
}

static void give(struct world *world, uint8_t *bytes, uint32_t len, bool well_formed)
{
    struct engine_packet packet = {
        .bytes = bytes,
        .len = len,
        .room = len,
        .token = ++world->tokens,
        .checksum = well_formed ? ENGINE_CHECKSUM_UNSEEN : ENGINE_CHECKSUM_GOOD,
    };
    world->well_formed[world->tokens] = well_formed;
    engine_packet(world->engine, &packet, world->now_us);
    take_verdicts(world);
    struct engine_gauges gauges = engine_gauges(world->engine);
    MUST(gauges.blocks <= 64 && gauges.held <= 16 && gauges.flows <= 4);
    free(bytes);
}

/* `by` is a signed octet. */
static uint32_t moved(uint32_t from, uint8_t by)
{
    return from + by - (by > 127 ? 256u : 0u);
}

static void send_record(struct world *world, const uint8_t *record, struct span payload)
{
    bool from_server = record[0] & 1;
    static const int64_t pauses_us[] = {10, 5000, 40000, 4000000};
    world->now_us += pauses_us[record[0] >> 2 & 3];
    if ((record[0] >> 2 & 3) != 0) {
        engine_tick(world->engine, world->now_us);
        take_verdicts(world);
    }
    if (record[0] & 0x80) {
        uint8_t *raw = malloc(payload.len ? payload.len : 1);
        memcpy(raw, payload.ptr, payload.len);
        give(world, raw, (uint32_t)payload.len, false);
        return;
    }
    struct segment segment = {
        .ip_version = record[0] & 2 ? 6 : 4,
        .source = from_server ? 2 : 1,
        .destination = from_server ? 1 : 2,
        .source_port = from_server ? 25 : 40000,
        .destination_port = from_server ? 40000 : 25,
        .flags = record[1] & 0x3f,
        .seq = moved(world->seq[from_server], record[2]),
        .ack = moved(world->seq[!from_server], record[3]),
        .window = 8000,
        .payload = payload,
    };
    if (segment.flags & PACKET_SYN)
        segment_add_mss(&segment.options, 1000);
    if (record[1] & 0x40)
        segment_add_timestamps(&segment.options, (uint32_t)(world->now_us / 1000), 0);
    if (record[1] & 0x80 && segment.flags & PACKET_ACK)
        segment_add_sack(&segment.options, segment.ack + 3, segment.ack + 9);
    uint32_t end = segment.seq + (uint32_t)payload.len + (uint32_t) !!(segment.flags & PACKET_SYN) +
                   (uint32_t) !!(segment.flags & PACKET_FIN);
    if ((int32_t)(end - world->seq[from_server]) > 0)
        world->seq[from_server] = end;
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    give(world, bytes, len, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *memory;
    static struct world world;
    if (size < 1)
        return 0;
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 4;
    settings.blocks_max = 64;
    settings.held_max = 16;
    settings.guarded_max = 8;
    settings.flow_held_max = data[0] & 2 ? 4 : 16;
    settings.flow_blocks_max = data[0] & 4 ? 12 : 64;
    settings.peers = data[0] & 1 ? ENGINE_PEERS_RECORDED : ENGINE_PEERS_LIVE;
    settings.strip_mptcp = data[0] & 8;
    settings.liberal_conntrack = data[0] & 16;
    settings.events = (1u << EVENT_KINDS) - 1;
    size_t bytes = engine_bytes(&settings);
    if (!memory) {
        policy_init_default(&policy);
        rules_guard(&policy, "*y*", 1000);
        memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
        MUST(memory != NULL);
    }
    /* Events, their texts and the packet buffers lie at the end and need no clearing. */
    memset(memory, 0, bytes > 900000 ? bytes - 800000 : bytes);
    world = (struct world){.now_us = 1000000, .seq = {UINT32_MAX - 20, UINT32_MAX - 50}};
    world.engine = engine_init(memory, &settings, &policy);

    static const uint8_t handshake[][RECORD] = {
        {0, PACKET_SYN, 0, 0, 0}, {1, PACKET_SYN | PACKET_ACK, 0, 0, 0}, {0, PACKET_ACK, 0, 0, 0}};
    for (int i = 0; i < 3 && !(data[0] & 0x80); i++)
        send_record(&world, handshake[i], (struct span){data, 0});
    struct span rest = {data + 1, size - 1};
    while (rest.len >= RECORD && world.tokens < PACKETS_MAX) {
        const uint8_t *record = rest.ptr;
        struct span payload = span_head(span_tail(rest, RECORD), record[4]);
        rest = span_tail(rest, RECORD + payload.len);
        send_record(&world, record, payload);
    }
    engine_stop(world.engine, world.now_us);
    take_verdicts(&world);
    for (uint64_t token = 1; token <= world.tokens; token++)
        MUST(world.verdicts[token] == 1);
    engine_tick(world.engine, world.now_us + INT64_C(10) * 24 * 3600 * 1000000);
    take_verdicts(&world);
    struct engine_gauges gauges = engine_gauges(world.engine);
    MUST(gauges.flows == 0 && gauges.held == 0 && gauges.blocks == 0);
    return 0;
}
