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

#include "clock.h"
#include "many.h"
#include "policy/policy.h"

static struct many many;

static double open_flows(uint32_t from, uint32_t to)
{
    uint64_t began = clock_ns();
    for (uint32_t flow = from; flow < to; flow++)
        many_greet(&many, flow);
    return (double)(clock_ns() - began) / (to - from) / MANY_GREETED;
}

/* A packet to a flow chosen at random among `count`. */
static double find_flows(uint32_t count)
{
    enum { PROBES = 200000 };
    uint32_t state = 12345;
    uint64_t began = clock_ns();
    for (uint32_t i = 0; i < PROBES; i++) {
        state = state * 1664525u + 1013904223u;
        uint32_t flow = (uint32_t)((uint64_t)state * count >> 32);
        if (many_send(&many, flow, true, PACKET_ACK, MANY_SEQ, MANY_ACK, "") != 1)
            abort();
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
    settings.network_percent = 100; /* of how many clients is not asked here */
    settings.seed = 0x5eed;
    size_t before = many_resident_bytes();
    many_begin(&many, &settings, &policy);

    double create_few = open_flows(0, flows / 10);
    double find_few = find_flows(flows / 10);
    double create_many = open_flows(flows / 10, flows);
    double find_many = find_flows(flows);
    size_t gained = many_resident_bytes() - before;

    uint64_t began = clock_ns();
    uint64_t worst = 0, ticks = 0;
    while (engine_gauges(many.engine).flows) {
        uint64_t tick = clock_ns();
        int64_t due = engine_next_due(many.engine);
        many.now_us = due > many.now_us ? due : many.now_us + 1000;
        engine_tick(many.engine, many.now_us);
        struct engine_verdict verdict;
        while (engine_next_verdict(many.engine, &verdict))
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
    return bytes_per_flow > 512 || !constant;
}
