/*
 * What 50,000 sessions in a tarpit cost: the memory of their connections, held packets and octets, and how fast other
 * sessions are beside them. Prints TAP, and the figures as JSON. (What they cost the kernel is measured by
 * tests/bench/run.)
 *
 *   tarpit_main [SESSIONS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lib/rules.h"
#include "base/octets.h"
#include "clock.h"
#include "engine/engine.h"
#include "tcp/packet.h"

enum { HEADERS = 40, TEXT_MAX = 128, ROUNDS = 15, OTHERS = 2000, BYTES_MAX = 100 * 1000 * 1000 };

static const double SPEED_MIN = 0.9; /* of other sessions, beside their speed alone */

static struct engine *engine;
static struct policy policy;
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

/* How many verdicts came of it. */
static uint32_t send_segment(uint32_t flow, bool from_client, uint8_t flags, uint32_t seq, uint32_t ack,
                             const char *text)
{
    uint8_t bytes[HEADERS + TEXT_MAX] = {0x45};
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
    uint32_t verdicts = 0;
    engine_packet(engine, &packet, now_us++);
    while (engine_next_verdict(engine, &verdict))
        verdicts++;
    return verdicts;
}

/* A session up to its RCPT, which `to` names; returns the verdicts about the server's reply to it. */
static uint32_t ask(uint32_t flow, const char *command)
{
    uint32_t asked = 121 + (uint32_t)strlen(command);
    send_segment(flow, true, PACKET_SYN, 99, 0, "");
    send_segment(flow, false, PACKET_SYN | PACKET_ACK, 999, 100, "");
    send_segment(flow, true, PACKET_ACK, 100, 1000, "");
    send_segment(flow, false, PACKET_ACK, 1000, 100, "220 ready\r\n");
    send_segment(flow, true, PACKET_ACK, 100, 1011, "EHLO client.example\r\n");
    send_segment(flow, false, PACKET_ACK, 1011, 121, "250-server.example\r\n250-XEXCH50\r\n250 DSN\r\n");
    send_segment(flow, true, PACKET_ACK, 121, 1040, "");
    send_segment(flow, true, PACKET_ACK, 121, 1040, command);
    return send_segment(flow, false, PACKET_ACK, 1053, asked, "250 2.1.5 Recipient OK\r\n");
}

/* Other sessions, one after the other, in this engine; nanoseconds of a packet. */
static double others(struct engine *in, uint32_t first)
{
    uint64_t began = clock_ns();
    engine = in;
    for (uint32_t flow = first; flow < first + OTHERS; flow++) {
        if (ask(flow, "RCPT TO:<quick@b>\r\n") != 1)
            abort();
        send_segment(flow, true, PACKET_RST, 140, 0, "");
    }
    return (double)(clock_ns() - began) / OTHERS / 10;
}

static struct engine *new_engine(const struct engine_settings *settings)
{
    void *memory =
        mmap(NULL, engine_bytes(settings), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return engine_init(memory, settings, &policy);
}

int main(int argc, char **argv)
{
    uint32_t sessions = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 50000;
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 2 * sessions;
    settings.held_max = sessions + sessions / 4;
    settings.seed = 0x5eed;
    policy_init_default(&policy);
    rules_add(&policy, "late", RULE_ON_RECIPIENT, "slow@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    policy.refusals.texts[policy.rules[0].action.refusal].delay_ms = 120000;
    size_t before = resident_bytes();
    struct engine *busy = engine = new_engine(&settings);
    uint32_t waiting = 0;
    for (uint32_t flow = 0; flow < sessions; flow++)
        waiting += ask(flow, "RCPT TO:<slow@b>\r\n") == 0;
    size_t gained = resident_bytes() - before;
    bool all = waiting == sessions && engine_gauges(busy).tarpitted == sessions;
    struct engine *quiet = new_engine(&settings);
    double alone = 0, beside = 0;
    for (uint32_t turn = 0; clock_again(turn, alone >= SPEED_MIN * beside); turn++) {
        for (int i = 0; i < ROUNDS; i++) { /* in turns, so that what disturbs one disturbs the other */
            clock_keep_least(&alone, others(quiet, sessions));
            clock_keep_least(&beside, others(busy, sessions));
        }
    }
    double speed = alone / beside;
    printf("1..3\n# {\"sessions\":%u,\"tarpitted\":%u,\"bytes\":%zu,\"bytes_each\":%zu,\"packet_ns\":[%.0f,%.0f]}\n",
           sessions, engine_gauges(busy).tarpitted, gained, gained / sessions, alone, beside);
    printf("%sok 1 - %u sessions in a tarpit at once\n", all ? "" : "not ", sessions);
    printf("%sok 2 - in %.1f MB of resident memory, 100 at most\n", gained <= BYTES_MAX ? "" : "not ",
           (double)gained / 1e6);
    printf("%sok 3 - other sessions at %.2f of their speed, %.1f at least\n", speed >= SPEED_MIN ? "" : "not ", speed,
           SPEED_MIN);
    return !all || gained > BYTES_MAX || speed < SPEED_MIN;
}
