/*
 * tests/bench/play - many sessions of bench/script beside each other through an engine, and what a packet costs. Its
 * data is of the program that includes it.
 */
#ifndef POSTERN_TESTS_BENCH_PLAY_H
#define POSTERN_TESTS_BENCH_PLAY_H

#include <stdlib.h>
#include <string.h>

#include "../lib/segment.h"
#include "clock.h"
#include "engine/engine.h"
#include "policy/policy.h"
#include "script.h"

enum {
    PLAY_AT_ONCE = 100,
    PLAY_MESSAGE_BYTES = 1000,
    PLAY_HANDSHAKE = 3,
    PLAY_CLOSING = 3,
    PLAY_PACKETS = PLAY_HANDSHAKE + SCRIPT_ROWS + PLAY_CLOSING,
    PLAY_EHLO_REPLY = 2, /* its row in the script */
    PLAY_STRIPPED = 2,   /* keywords in it that are stripped by default */
};

static uint8_t message[PLAY_MESSAGE_BYTES];

static struct span row_octets(int row)
{
    return script[row].text ? span_of(script[row].text) : (struct span){message, sizeof message};
}

static void fill_message(void)
{
    static const char line[] = "The quick brown fox jumps over the lazy dog, and the dog does not mind.\r\n";
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)line[i % (sizeof line - 1)];
    memcpy(message + sizeof message - 5, "\r\n.\r\n", 5);
}

struct end_to_end {
    uint32_t next[2]; /* by enum smtp_side: sequence number of what it sends next, as it sends it */
    uint32_t seen[2]; /* what it acknowledges */
};

struct prepared {
    uint8_t *bytes;
    uint32_t len;
};

static struct engine *engine;
static int64_t now_us = 1000000;
static uint32_t saved; /* octets that the client does not see of the EHLO reply */
static struct prepared prepared[PLAY_PACKETS][PLAY_AT_ONCE];

/* `policy` is that of the first sessions; engine_use_policy changes it. */
static void play_init(const struct policy *policy)
{
    struct engine_settings settings = engine_settings_default();
    settings.seed = 0x5eed;
    size_t bytes = (engine_bytes(&settings) + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    if (!memory)
        abort();
    memset(memory, 0, bytes);
    engine = engine_init(memory, &settings, policy);
}

static struct prepared prepare(struct end_to_end *ends, int session, enum smtp_side from, uint8_t flags,
                               struct span octets)
{
    bool of_server = from == SMTP_SERVER;
    struct segment segment = {
        .source = of_server ? 2 : 1,
        .destination = of_server ? 1 : 2,
        .source_port = of_server ? 25 : (uint16_t)(20000 + session),
        .destination_port = of_server ? (uint16_t)(20000 + session) : 25,
        .flags = flags,
        .seq = ends->next[from],
        .ack = flags & PACKET_ACK ? ends->seen[from] : 0,
        .window = 60000,
        .payload = octets,
    };
    uint32_t len = (uint32_t)octets.len + !!(flags & PACKET_SYN) + !!(flags & PACKET_FIN);
    ends->next[from] += len;
    ends->seen[!from] = flags & PACKET_SYN ? ends->next[from] : ends->seen[!from] + len;
    struct prepared packet;
    packet.bytes = segment_build(&segment, &packet.len);
    return packet;
}

static void prepare_session(int session, uint32_t round)
{
    struct end_to_end ends = {.next = {1000 + round * 100000, 5000 + round * 100000}};
    int at = 0;
    prepared[at++][session] = prepare(&ends, session, SMTP_CLIENT, PACKET_SYN, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_SERVER, PACKET_SYN | PACKET_ACK, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_CLIENT, PACKET_ACK, span_of(""));
    for (int row = 0; row < SCRIPT_ROWS; row++) {
        prepared[at++][session] = prepare(&ends, session, script[row].from, PACKET_ACK | PACKET_PSH, row_octets(row));
        if (row == PLAY_EHLO_REPLY)
            ends.seen[SMTP_CLIENT] -= saved;
    }
    prepared[at++][session] = prepare(&ends, session, SMTP_SERVER, PACKET_FIN | PACKET_ACK, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_CLIENT, PACKET_FIN | PACKET_ACK, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_SERVER, PACKET_ACK, span_of(""));
}

/* Give a packet to the engine and take its verdict; returns by how many octets it left shorter. */
static uint32_t pass(const struct prepared *packet)
{
    static uint64_t token;
    struct engine_packet given = {.bytes = packet->bytes, .len = packet->len, .room = packet->len, .token = ++token};
    struct engine_verdict verdict;
    engine_packet(engine, &given, now_us++);
    if (!engine_next_verdict(engine, &verdict) || verdict.action != ENGINE_ACCEPT)
        abort();
    return verdict.edited ? packet->len - (uint32_t)verdict.packet.len : 0;
}

/* What is left of earlier sessions ends. */
static void wait_long(void)
{
    struct engine_verdict verdict;
    now_us += INT64_C(10) * 24 * 3600 * 1000000;
    do
        engine_tick(engine, now_us);
    while (engine_gauges(engine).flows);
    if (engine_next_verdict(engine, &verdict))
        abort();
}

static void release_prepared(void)
{
    for (int at = 0; at < PLAY_PACKETS; at++)
        for (int i = 0; i < PLAY_AT_ONCE; i++) {
            free(prepared[at][i].bytes);
            prepared[at][i].bytes = NULL;
        }
}

/* How much shorter the reply to EHLO leaves under the present policy; before play_ns. */
static void play_learn(void)
{
    prepare_session(0, 900);
    for (int at = 0; at < PLAY_HANDSHAKE + PLAY_EHLO_REPLY; at++)
        if (pass(&prepared[at][0]) != 0)
            abort();
    saved = pass(&prepared[PLAY_HANDSHAKE + PLAY_EHLO_REPLY][0]);
    release_prepared();
    wait_long();
}

/*
 * All sessions; nanoseconds a packet from the handshake to the last acknowledgment. Each must lose so many keywords.
 */
static double play_ns(uint32_t round, uint32_t keywords)
{
    for (int i = 0; i < PLAY_AT_ONCE; i++)
        prepare_session(i, round);
    uint64_t stripped = engine_counters(engine)->keywords_stripped;
    uint64_t began = clock_ns();
    for (int at = 0; at < PLAY_PACKETS; at++)
        for (int i = 0; i < PLAY_AT_ONCE; i++)
            pass(&prepared[at][i]);
    double ns = (double)(clock_ns() - began) / (PLAY_PACKETS * PLAY_AT_ONCE);
    if (engine_counters(engine)->keywords_stripped - stripped != PLAY_AT_ONCE * keywords ||
        engine_counters(engine)->flows_unedited)
        abort();
    release_prepared();
    wait_long();
    return ns;
}

#endif
