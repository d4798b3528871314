/*
 * How much a connection costs: creating, finding and expiring many of them. Prints TAP, and the figures as JSON.
 *
 *   scale_main [FLOWS]      default 1,000,000
 *
 * Each flow is opened by a handshake, says EHLO and is then idle. The memory is what the process gained by them; the
 * time for a packet is taken at a tenth of the flows and at all of them: constant cost means a ratio near one (a table
 * larger than the processor's caches costs some misses).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/octets.h"
#include "clock.h"
#include "engine/engine.h"
#include "policy/policy.h"
#include "tcp/packet.h"

enum { HEADERS = 40 };

static struct engine *engine;
static int64_t now_us = 1000000;
static uint64_t tokens;

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void send_segment(uint32_t flow, bool from_client, uint8_t flags, uint32_t seq, uint32_t ack, const char *text)
{
    uint8_t bytes[HEADERS + 128] = {0x45};
    size_t len = strlen(text);
    uint8_t *tcp = bytes + 20;
    uint16_t port = (uint16_t)(1024 + flow % 50000);
    store_be16(bytes + 2, (uint16_t)(HEADERS + len));
    bytes[9] = 6;
    store_be32(bytes + (from_client ? 12 : 16), 0x0a000000u + flow / 50000);
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
        .bytes = bytes, .len = (uint32_t)(HEADERS + len), .room = sizeof bytes, .token = ++tokens};
    struct engine_verdict verdict;
    engine_packet(engine, &packet, now_us);
    if (!engine_next_verdict(engine, &verdict) || verdict.action != ENGINE_ACCEPT)
        abort();
    now_us += 1;
}

static void open_flow(uint32_t flow)
{
    send_segment(flow, true, PACKET_SYN, 99, 0, "");
    send_segment(flow, false, PACKET_SYN | PACKET_ACK, 999, 100, "");
    send_segment(flow, true, PACKET_ACK, 100, 1000, "");
    send_segment(flow, false, PACKET_ACK, 1000, 100, "220 ready\r\n");
    send_segment(flow, true, PACKET_ACK, 100, 1011, "EHLO client.example\r\n");
    send_segment(flow, false, PACKET_ACK, 1011, 121, "250-server.example\r\n250-XEXCH50\r\n250 DSN\r\n");
    send_segment(flow, true, PACKET_ACK, 121, 1040, "");
}

static double open_flows(uint32_t from, uint32_t to)
{
    uint64_t began = clock_ns();
    for (uint32_t flow = from; flow < to; flow++)
        open_flow(flow);
    return (double)(clock_ns() - began) / (to - from) / 7;
}

/* A packet to a flow chosen at random among `count`. */
static double find_flows(uint32_t count)
{
    enum { PROBES = 200000 };
    uint32_t state = 12345;
    uint64_t began = clock_ns();
    for (uint32_t i = 0; i < PROBES; i++) {
        state = state * 1664525u + 1013904223u;
        send_segment((uint32_t)((uint64_t)state * count >> 32), true, PACKET_ACK, 121, 1040, "");
    }
    return (double)(clock_ns() - began) / PROBES;
}

int main(int argc, char **argv)
{
    uint32_t flows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    if (flows < 1000 || flows > 16000000)
        return 2;
    struct engine_settings settings = engine_settings_default();
    struct policy policy;
    policy_init_default(&policy);
    settings.flows_max = flows;
    settings.seed = 0x5eed;
    size_t bytes = engine_bytes(&settings);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    size_t before = resident_bytes();
    engine = engine_init(memory, &settings, &policy);

    double create_few = open_flows(0, flows / 10);
    double find_few = find_flows(flows / 10);
    double create_many = open_flows(flows / 10, flows);
    double find_many = find_flows(flows);
    size_t gained = resident_bytes() - before;

    uint64_t began = clock_ns();
    uint64_t worst = 0, ticks = 0;
    while (engine_gauges(engine).flows) {
        uint64_t tick = clock_ns();
        now_us = engine_next_due(engine) > now_us ? engine_next_due(engine) : now_us + 1000;
        engine_tick(engine, now_us);
        struct engine_verdict verdict;
        while (engine_next_verdict(engine, &verdict))
            abort();
        tick = clock_ns() - tick;
        worst = tick > worst ? tick : worst;
        ticks++;
    }
    size_t bytes_per_flow = gained / flows;
    printf("1..2\n# {\"flows\":%u,\"bytes_per_flow\":%zu,\"create_ns\":[%.0f,%.0f],\"find_ns\":[%.0f,%.0f],"
           "\"expire_ns\":%.0f,\"ticks\":%llu,\"worst_tick_us\":%.0f}\n",
           flows, bytes_per_flow, create_few, create_many, find_few, find_many, (double)(clock_ns() - began) / flows,
           (unsigned long long)ticks, (double)worst / 1000);
    printf("%sok 1 - %u idle flows in %zu octets each, 512 at most\n", bytes_per_flow > 512 ? "not " : "", flows,
           bytes_per_flow);
    /* Four times leaves room for caches that no longer hold the table and for a busy machine; a list would be ten. */
    bool constant = create_many < 4 * create_few && find_many < 4 * find_few;
    printf("%sok 2 - creating and finding cost %.1f and %.1f times as much as at a tenth of the flows, 4 at most\n",
           constant ? "" : "not ", create_many / create_few, find_many / find_few);
    munmap(memory, bytes);
    return bytes_per_flow > 512 || !constant;
}
