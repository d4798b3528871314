#include "attack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/octets.h"
#include "engines.h"

static const char greeting[] = "220 hi\r\n";

enum { GREETING_LEN = sizeof greeting - 1, STEP_US = 1000 };

static struct policy policy;

struct attack *attack_new(uint8_t ip_version, uint64_t seed)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 8;
    settings.blocks_max = 64;
    settings.held_max = 64;
    settings.events = 1u << EVENT_COMMAND | 1u << EVENT_FLOW_START | 1u << EVENT_UNEDITED;
    settings.seed = seed;
    policy_init_default(&policy);

    struct attack *attack = calloc(1, sizeof *attack);
    assert_non_null(attack);
    attack->ip_version = ip_version;
    attack->random.state = seed;
    attack->now_us = 5000000;
    attack->engine = engines_new(&settings, &policy);
    return attack;
}

static void fetch(struct attack *attack)
{
    struct engine_verdict verdict;
    struct event event;
    while (engine_next_verdict(attack->engine, &verdict)) {
        assert_in_range(verdict.token, 1, attack->token);
        uint8_t *came = attack->packets[verdict.token].bytes;
        assert_non_null(came);
        if (verdict.action == ENGINE_ACCEPT && !attack->packets[verdict.token].from_server)
            victim_receive(&attack->victim,
                           verdict.edited ? verdict.packet : (struct span){came, attack->packets[verdict.token].len});
        free(came);
        attack->packets[verdict.token].bytes = NULL;
    }
    while (engine_next_event(attack->engine, &event)) {
        struct span shown = event.change == EVENT_REPLACED ? event.shown : event.text;
        if (event.kind == EVENT_FLOW_START)
            attack->unedited = NULL; /* that was about what came before */
        if (event.kind == EVENT_UNEDITED)
            attack->unedited = event.reason;
        if (event.kind != EVENT_COMMAND || event.change == EVENT_REMOVED)
            continue;
        assert_in_range(shown.len, 0, VICTIM_READ_MAX - attack->told_len);
        memcpy(attack->told + attack->told_len, shown.ptr, shown.len);
        attack->told_len += (uint32_t)shown.len;
    }
}

static uint8_t *copy_of(const uint8_t *bytes, uint32_t len)
{
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void pass(struct attack *attack, const uint8_t *bytes, uint32_t len, bool from_server)
{
    uint64_t token = ++attack->token;
    assert_in_range(token, 1, ATTACK_PACKETS_MAX - 1);
    attack->packets[token].bytes = copy_of(bytes, len);
    attack->packets[token].len = len;
    attack->packets[token].from_server = from_server;
    /* In an allocation of its own, so that a sanitizer sees a read behind it. */
    uint8_t *copy = copy_of(bytes, len);
    struct engine_packet packet = {
        .bytes = copy, .len = len, .room = len, .token = token, .checksum = ENGINE_CHECKSUM_UNSEEN};
    engine_packet(attack->engine, &packet, attack->now_us);
    fetch(attack);
    free(copy);
}

void attack_wait_us(struct attack *attack, int64_t us)
{
    int64_t end = attack->now_us + us;
    for (int64_t due; (due = engine_next_due(attack->engine)) <= end;) {
        attack->now_us = due > attack->now_us ? due : attack->now_us;
        engine_tick(attack->engine, attack->now_us);
        fetch(attack);
    }
    attack->now_us = end;
}

static void server_sends(struct attack *attack, uint8_t flags, const char *text)
{
    const struct victim *v = &attack->victim;
    struct segment s = {
        .ip_version = attack->ip_version,
        .source = 2,
        .destination = 1,
        .source_port = 25,
        .destination_port = 40000,
        .seq = VICTIM_ISN + !(flags & PACKET_SYN) + (attack->greeted ? GREETING_LEN : 0),
        .ack = v->irs + 1 + v->read,
        .flags = flags,
        .window = VICTIM_WINDOW,
        .payload = span_of(text),
    };
    if (v->timestamps)
        segment_add_timestamps(&s.options, (uint32_t)(attack->now_us / 1000), v->timestamp);
    uint32_t len;
    uint8_t *packet = segment_build(&s, &len);
    pass(attack, packet, len, true);
    free(packet);
}

/* What the victim has to say to what came. */
static void answer(struct attack *attack)
{
    struct victim *v = &attack->victim;
    if (!v->owes_ack)
        return;
    v->owes_ack = false;
    if (v->state == VICTIM_SYN_RECEIVED)
        server_sends(attack, PACKET_SYN | PACKET_ACK, "");
    else if (v->state == VICTIM_OPEN)
        server_sends(attack, PACKET_ACK, "");
}

void attack_greet(struct attack *attack)
{
    server_sends(attack, PACKET_ACK, greeting);
    attack->greeted = true;
}

static void send_fragments(struct attack *attack, const uint8_t *packet, uint32_t len)
{
    bool v4 = attack->ip_version == 4;
    uint32_t header = v4 ? 20 : 40, from = v4 ? 20 : 48;
    for (uint32_t at = header; at < len; at += 8) {
        uint8_t piece[56] = {0};
        uint32_t count = len - at < 8 ? len - at : 8;
        bool more = at + count < len;
        memcpy(piece, packet, header);
        memcpy(piece + from, packet + at, count);
        if (v4) {
            store_be16(piece + 2, (uint16_t)(from + count));
            store_be16(piece + 6, (uint16_t)((at - header) / 8 | (more ? 0x2000 : 0)));
            store_be16(piece + 10, 0);
            store_be16(piece + 10, (uint16_t)~segment_sum(0, piece, 20));
        } else {
            store_be16(piece + 4, (uint16_t)(8 + count));
            piece[6] = 44;
            piece[40] = 6;
            store_be16(piece + 42, (uint16_t)(at - header + more));
        }
        pass(attack, piece, from + count, false);
    }
}

void attack_send_flawed(struct attack *attack, const struct segment *segment, struct attack_flaw flaw)
{
    uint32_t len;
    uint8_t *packet = segment_build(segment, &len);
    bool v4 = attack->ip_version == 4;
    uint32_t tcp_at = (v4 ? 20 : 40) + (uint32_t)segment->before_tcp.len;
    if (flaw.ttl)
        packet[v4 ? 8 : 7] = flaw.ttl;
    if (flaw.header_len)
        packet[tcp_at + 12] = (uint8_t)(flaw.header_len << 4);
    if (flaw.ip_shorter)
        store_be16(packet + (v4 ? 2 : 4), (uint16_t)(load_be16(packet + (v4 ? 2 : 4)) - flaw.ip_shorter));
    if (flaw.header_len || flaw.ip_shorter) {
        store_be16(packet + tcp_at + 16, 0);
        store_be16(packet + tcp_at + 16, (uint16_t)~segment_tcp_sum(packet, len - flaw.ip_shorter, tcp_at));
    }
    if (v4) {
        store_be16(packet + 10, 0);
        store_be16(packet + 10, (uint16_t)~segment_sum(0, packet, 20));
    }
    attack->now_us += STEP_US;
    if (flaw.fragments)
        send_fragments(attack, packet, len);
    else
        pass(attack, packet, len, false);
    free(packet);
    answer(attack);
}

void attack_send(struct attack *attack, const struct segment *segment)
{
    attack_send_flawed(attack, segment, (struct attack_flaw){0});
}

struct segment attack_bare(const struct attack *attack, uint8_t flags, uint32_t seq, bool timestamps)
{
    struct segment s = {
        .ip_version = attack->ip_version,
        .source = 1,
        .destination = 2,
        .source_port = 40000,
        .destination_port = 25,
        .seq = seq,
        .ack = flags & PACKET_ACK ? VICTIM_ISN + 1 + (attack->greeted ? GREETING_LEN : 0) : 0,
        .flags = flags,
        .window = VICTIM_WINDOW,
    };
    if (timestamps)
        segment_add_timestamps(&s.options, (uint32_t)(attack->now_us / 1000), 0);
    return s;
}

struct segment attack_piece(const struct attack *attack, const char *stream, uint32_t from, uint32_t len)
{
    struct segment s = attack_bare(attack, PACKET_ACK, ATTACK_ISN + 1 + from, attack->timestamps);
    s.payload = span_head(span_tail(span_of(stream), from), len);
    return s;
}

void attack_send_piece(struct attack *attack, const char *stream, uint32_t from)
{
    struct segment s = attack_piece(attack, stream, from, attack->piece);
    attack_send(attack, &s);
}

void attack_send_syn(struct attack *attack, uint32_t isn)
{
    struct segment s = attack_bare(attack, PACKET_SYN, isn, attack->timestamps);
    segment_add_mss(&s.options, 1460);
    attack_send(attack, &s);
}

void attack_send_third_ack(struct attack *attack)
{
    struct segment s = attack_bare(attack, PACKET_ACK, ATTACK_ISN + 1, attack->timestamps);
    attack_send(attack, &s);
}

void attack_finish(struct attack *attack)
{
    engine_stop(attack->engine, attack->now_us);
    fetch(attack);
    for (uint64_t token = 1; token <= attack->token; token++)
        assert_null(attack->packets[token].bytes); /* each got its verdict */
}

void attack_free(struct attack *attack)
{
    engines_free(attack->engine);
    free(attack);
}
