/*
 * Records of connections as another process left them. The input: how far a dialogue has come, then three octets a
 * change: where in what the record says of the streams (two, little-endian), and what is added to the octet there. The
 * checksum is made right, so that what lies behind it is reached. What the record says of the dialogue is the program's
 * own structures: their layout is part of the record (HANDOVER_LAYOUT), and a record of another one is refused.
 *
 * Whatever a record says: it is taken or refused, and packets of that connection, and the end of the filter, cannot
 * crash what took it; and what it keeps is given back.
 */
#include "fuzz.h"

#include "../lib/engines.h"
#include "../lib/rules.h"
#include "../lib/segment.h"
#include "engine/engine.h"
#include "engine/handover.h"
#include "policy/policy.h"

enum { FLOWS = 2, CLIENT_ISN = 1000, SERVER_ISN = 5000, LEN_AT = 20, STREAMS_BYTES = 584, TURNS = 14 };

static struct policy policy;

static const struct turn {
    bool from_server;
    uint8_t flags;
    const char *text;
} turns[TURNS] = {
    {false, PACKET_SYN, ""},
    {true, PACKET_SYN | PACKET_ACK, ""},
    {false, PACKET_ACK, ""},
    {true, PACKET_ACK, "220 host\r\n"},
    {false, PACKET_ACK, "EHLO x\r\n"},
    {true, PACKET_ACK, "250-host\r\n250-XEXCH50\r\n250-PIPELINING\r\n250 CHUNKING\r\n"},
    {false, PACKET_ACK, "XEXCH50 12 2\r\n"},
    {false, PACKET_ACK, "MAIL FROM:<a@b.example>\r\nRCPT TO:<void@example.com>\r\nRCPT TO:<spoil@example.com>\r\n"},
    {true, PACKET_ACK, "250 nothing\r\n250 ok\r\n250 ok\r\n"},
    {false, PACKET_ACK, "BDAT 5\r\nab"},
    {true, PACKET_ACK, "501 no\r\n250 ok\r\n"},
    {false, PACKET_ACK, "cde"},
    {false, PACKET_ACK, "DATA\r\n"},
    {true, PACKET_ACK, "250 reset\r\n"},
};

static void give(struct engine *engine, const struct turn *turn, uint32_t seq[2], int64_t now_us)
{
    bool server = turn->from_server;
    struct segment segment = {.ip_version = 4,
                              .source = server ? 25 : 2,
                              .destination = server ? 2 : 25,
                              .source_port = server ? 25 : 40000,
                              .destination_port = server ? 40000 : 25,
                              .seq = seq[server],
                              .ack = turn->flags & PACKET_ACK ? seq[!server] : 0,
                              .flags = turn->flags,
                              .window = 60000,
                              .payload = span_of(turn->text)};
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    struct engine_verdict verdict;
    engine_packet(engine, &(struct engine_packet){.bytes = bytes, .len = len, .room = len, .token = 1}, now_us);
    while (engine_next_verdict(engine, &verdict))
        look_at(verdict.packet.ptr, verdict.packet.len);
    free(bytes);
    seq[server] += (uint32_t)segment.payload.len + (turn->flags & PACKET_SYN ? 1 : 0);
}

static struct engine *begin(uint8_t **records)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = FLOWS;
    settings.blocks_max = 64;
    settings.held_max = 8;
    settings.questions = 1u << QUESTION_RECIPIENT;
    settings.events = UINT32_MAX;
    struct engine *engine = engines_new(&settings, &policy);
    *records = calloc(1, handover_bytes(FLOWS));
    handover_begin(engine, *records);
    return engine;
}

static void end(struct engine *engine, uint8_t *records)
{
    struct engine_verdict verdict;
    engine_stop(engine, INT64_C(10000000));
    while (engine_next_verdict(engine, &verdict))
        look_at(verdict.packet.ptr, verdict.packet.len);
    engine_tick(engine, INT64_C(40) * 24 * 3600 * 1000000); /* longer than anything is kept */
    while (engine_next_verdict(engine, &verdict))
        look_at(verdict.packet.ptr, verdict.packet.len);
    struct engine_gauges gauges = engine_gauges(engine);
    MUST(gauges.flows == 0 && gauges.held == 0 && gauges.blocks == 0);
    engines_free(engine);
    free(records);
}

/* As engine/handover makes it. */
static uint64_t checksum(const uint8_t *octets, size_t len)
{
    uint64_t sum = UINT64_C(0x9e3779b97f4a7c15), word;
    for (size_t at = 0; at < len; at += sizeof word) {
        word = 0;
        memcpy(&word, octets + at, len - at < sizeof word ? len - at : sizeof word);
        sum = (sum ^ word) * UINT64_C(0xff51afd7ed558ccd);
        sum ^= sum >> 32;
    }
    return sum;
}

static void change(uint8_t *copy, const uint8_t *data, size_t size)
{
    uint32_t len;
    for (size_t i = 0; i + 3 <= size; i += 3)
        copy[(data[i] | (size_t)data[i + 1] << 8) % STREAMS_BYTES] += data[i + 2];
    memcpy(&len, copy + LEN_AT, sizeof len);
    if (len < 8 || len > HANDOVER_COPY_BYTES)
        return;
    uint64_t sum = checksum(copy + 8, len - 8);
    memcpy(copy, &sum, sizeof sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    uint32_t seq[2] = {CLIENT_ISN, SERVER_ISN}, again[2];
    uint8_t *records[2];
    if (!ready) {
        policy_init_default(&policy);
        rules_add(&policy, "void", RULE_ON_RECIPIENT, "void@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
        rules_add(&policy, "spoil", RULE_ON_RECIPIENT, "spoil@*", SMTP_ACTION_REFUSE, "550 5.7.1 Not to you");
        ready = true;
    }
    size_t said = size ? data[0] % (TURNS + 1u) : TURNS;
    struct engine *first = begin(&records[0]), *next = begin(&records[1]);
    for (size_t i = 0; i < said; i++)
        give(first, &turns[i], seq, 1000000 + (int64_t)i);
    for (size_t at = 0; at < handover_bytes(FLOWS); at += HANDOVER_COPY_BYTES)
        if (size > 1)
            change(records[0] + at, data + 1, size - 1);
    engine_take_over(next, records[0], handover_bytes(FLOWS), 2000000);
    memcpy(again, seq, sizeof again);
    for (size_t i = said > 0 ? said - 1 : 0; i < TURNS; i++) {
        if (i + 1 == said) /* the last one comes again */
            again[turns[i].from_server] -= (uint32_t)strlen(turns[i].text) + (turns[i].flags & PACKET_SYN ? 1 : 0);
        give(next, &turns[i], again, 3000000 + (int64_t)i);
    }
    engine_tick(next, 5000000);
    struct engine_verdict verdict;
    while (engine_next_verdict(next, &verdict))
        look_at(verdict.packet.ptr, verdict.packet.len);
    end(first, records[0]);
    end(next, records[1]);
    return 0;
}
