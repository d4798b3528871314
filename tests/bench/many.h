/*
 * tests/bench/many - very many connections of one engine, each with an address and a port of its own, and the memory of
 * them. Sequence numbers are fixed: 99 is the client's first, 999 the server's.
 */
#ifndef POSTERN_TESTS_BENCH_MANY_H
#define POSTERN_TESTS_BENCH_MANY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/engines.h"
#include "base/octets.h"
#include "engine/engine.h"
#include "tcp/packet.h"

struct many {
    struct engine *engine;
    int64_t now_us; /* a microsecond later with each segment */
    uint64_t tokens;
};

enum { MANY_GREETED = 7, MANY_SEQ = 121, MANY_SERVER_SEQ = 1053, MANY_ACK = 1040 };

/* What this process has in memory, in octets; 0 where the kernel does not say. */
static inline size_t many_resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* `policy` belongs to the caller. The engine's memory is the process's until it ends, and resident as far as used. */
static inline void many_begin(struct many *many, const struct engine_settings *settings, struct policy *policy)
{
    *many = (struct many){.engine = engines_new(settings, policy), .now_us = 1000000};
}

/* One segment of connection `flow`; how many verdicts came of it, its own and of packets that were held. */
static inline uint32_t many_send(struct many *many, uint32_t flow, bool from_client, uint8_t flags, uint32_t seq,
                                 uint32_t ack, const char *text)
{
    enum { HEADERS = 40, TEXT_MAX = 128, PORTS = 50000 };
    uint8_t bytes[HEADERS + TEXT_MAX] = {0x45};
    size_t len = strlen(text);
    uint8_t *tcp = bytes + 20;
    uint16_t port = (uint16_t)(1024 + flow % PORTS);
    store_be16(bytes + 2, (uint16_t)(HEADERS + len));
    bytes[9] = 6;
    store_be32(bytes + (from_client ? 12 : 16), 0x0a000000u + flow / PORTS);
    store_be32(bytes + (from_client ? 16 : 12), 0xc0000219u);
    store_be16(tcp, from_client ? port : 25);
    store_be16(tcp + 2, from_client ? 25 : port);
    store_be32(tcp + 4, seq);
    store_be32(tcp + 8, ack);
    tcp[12] = 5 << 4;
    tcp[13] = flags;
    store_be16(tcp + 14, 65000);
    memcpy(tcp + 20, text, len);
    struct engine_packet packet = {
        .bytes = bytes, .len = (uint32_t)(HEADERS + len), .room = sizeof bytes, .token = ++many->tokens};
    struct engine_verdict verdict;
    uint32_t verdicts = 0;
    engine_packet(many->engine, &packet, many->now_us++);
    while (engine_next_verdict(many->engine, &verdict)) {
        if (verdict.action != ENGINE_ACCEPT)
            abort();
        verdicts++;
    }
    return verdicts;
}

/*
 * A handshake, the greeting, and EHLO with its reply: MANY_GREETED segments. The client's next octet is MANY_SEQ, the
 * server's MANY_SERVER_SEQ; the client acknowledges MANY_ACK, as XEXCH50 was stripped.
 */
static inline void many_greet(struct many *many, uint32_t flow)
{
    uint32_t passed = many_send(many, flow, true, PACKET_SYN, 99, 0, "");
    passed += many_send(many, flow, false, PACKET_SYN | PACKET_ACK, 999, 100, "");
    passed += many_send(many, flow, true, PACKET_ACK, 100, 1000, "");
    passed += many_send(many, flow, false, PACKET_ACK, 1000, 100, "220 ready\r\n");
    passed += many_send(many, flow, true, PACKET_ACK, 100, 1011, "EHLO client.example\r\n");
    passed +=
        many_send(many, flow, false, PACKET_ACK, 1011, MANY_SEQ, "250-server.example\r\n250-XEXCH50\r\n250 DSN\r\n");
    passed += many_send(many, flow, true, PACKET_ACK, MANY_SEQ, MANY_ACK, "");
    if (passed != MANY_GREETED)
        abort();
}

#endif
