/*
 * Evasion: a hostile client tries to show the server another stream than the one that was inspected. One test for each
 * strategy that inspection is known to fall for (and some that this engine invites), in both IP families.
 *
 * The client has two versions of what it says, of the same length: a harmless one and one with XEXCH50 in it. Each
 * strategy is played with either version as the chaff, in pieces of several sizes, through a network behind the filter
 * that loses different packets, to victims that keep the first or the last copy of an octet, and that are strict or
 * lax about what RFC 9293, 5961, 7323 and 2385 have them drop.
 *
 * Property: what the victim reads is what the engine told in its events, and no line of it begins with XEXCH50.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "../lib/segment.h"
#include "base/octets.h"
#include "engine/engine.h"
#include "policy/policy.h"

static const char harmless[] = "EHLO client\r\nNOOP    13 2 \r\nRSET\r\n";
static const char harmful[] = "EHLO client\r\nXEXCH50 13 2 \r\nRSET\r\n";
static const uint32_t server_isn = 777000, client_isn = UINT32_MAX - 20; /* wraps inside the stream */
static_assert(sizeof harmless == sizeof harmful, "each octet of one stands in place of one of the other");

enum {
    STREAM_LEN = sizeof harmless - 1,
    GREETING_LEN = sizeof "220 hi\r\n" - 1,
    STRAY_SEQ = 123456789,
    WINDOW = 30000,
    HOPS_BEHIND = 3, /* from the gateway to the victim */
    STEP_US = 1000,
    READ_MAX = 4096,
    PACKETS_MAX = 8192,
};

/* ---- the victim -------------------------------------------------------------------------------------------------- */

enum victim_state { VICTIM_LISTEN, VICTIM_SYN_RECEIVED, VICTIM_OPEN, VICTIM_GONE };

struct victim {
    bool last_wins;  /* of two copies of an octet that the application has not read yet */
    bool lax;        /* takes segments with a bad checksum, acknowledgment or timestamp, or an unwanted signature */
    unsigned losses; /* bit k % 8: the k-th segment with octets is lost on its way from the gateway */
    unsigned arrived;

    enum victim_state state;
    uint32_t irs, read; /* octets that the application has */
    uint8_t in[READ_MAX];
    bool have[READ_MAX];
    uint32_t timestamp;
    bool timestamps;
    bool owes_ack;

    uint8_t fragment[READ_MAX]; /* the payload of the IP packet that is being put together again */
    bool fragment_have[READ_MAX];
    uint32_t fragment_len;
};

/* A segment as the victim reads it; own parser, so that none of the filter's mistakes are made twice. */
struct arrival {
    const uint8_t *ip;
    uint32_t len, tcp_at, payload_at;
    bool timestamped, signed_;
    uint32_t timestamp;
};

static uint32_t sum_words(uint32_t sum, const uint8_t *octets, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        sum += i % 2 ? octets[i] : (uint32_t)octets[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static bool checksum_good(const struct arrival *a)
{
    uint32_t sum = a->ip[0] >> 4 == 4 ? sum_words(0, a->ip + 12, 8) : sum_words(0, a->ip + 8, 32);
    sum = sum_words(sum + 6 + (a->len - a->tcp_at), a->ip + a->tcp_at, a->len - a->tcp_at);
    return sum == 0xffff;
}

/* False where it is no TCP segment. */
static bool read_headers(struct arrival *a, const uint8_t *ip, uint32_t len)
{
    *a = (struct arrival){.ip = ip, .len = len};
    if (ip[0] >> 4 == 4) {
        a->tcp_at = (ip[0] & 15u) * 4;
        a->len = load_be16(ip + 2);
    } else {
        uint8_t next = ip[6];
        a->tcp_at = 40;
        a->len = 40 + (uint32_t)load_be16(ip + 4);
        while (next != 6 && a->tcp_at + 8 <= a->len) { /* destination options only; any number of them */
            next = ip[a->tcp_at];
            a->tcp_at += (ip[a->tcp_at + 1] + 1u) * 8;
        }
    }
    if (a->len > len || a->tcp_at + 20 > a->len)
        return false;
    uint32_t header = (uint32_t)(ip[a->tcp_at + 12] >> 4) * 4;
    if (header < 20 || a->tcp_at + header > a->len)
        return false;
    a->payload_at = a->tcp_at + header;
    for (uint32_t at = a->tcp_at + 20; at < a->payload_at && ip[at] != 0;) {
        if (ip[at] == 1) {
            at++;
            continue;
        }
        if (at + 1 >= a->payload_at || ip[at + 1] < 2 || at + ip[at + 1] > a->payload_at)
            return false;
        if (ip[at] == 8 && ip[at + 1] == 10) {
            a->timestamped = true;
            a->timestamp = load_be32(ip + at + 2);
        }
        a->signed_ = a->signed_ || ip[at] == 19;
        at += ip[at + 1];
    }
    return true;
}

static void victim_take(struct victim *v, uint32_t seq, const uint8_t *octets, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint32_t place = seq + i - (v->irs + 1);
        if (place >= READ_MAX || place < v->read || (v->have[place] && !v->last_wins))
            continue;
        v->in[place] = octets[i];
        v->have[place] = true;
    }
    while (v->read < READ_MAX && v->have[v->read])
        v->read++;
}

/* RFC 9293 3.10.7.2 and 3.10.7.4, RFC 5961, RFC 7323 5.3. */
static void victim_segment(struct victim *v, const struct arrival *a)
{
    const uint8_t *tcp = a->ip + a->tcp_at;
    uint32_t seq = load_be32(tcp + 4), ack = load_be32(tcp + 8);
    uint8_t flags = tcp[13];
    if (v->state == VICTIM_GONE || (!v->lax && (!checksum_good(a) || a->signed_)))
        return;
    if (flags & PACKET_SYN) {
        v->owes_ack = true; /* a SYN-ACK, or a challenge */
        if (v->state == VICTIM_LISTEN || (v->state == VICTIM_SYN_RECEIVED && v->last_wins)) {
            v->state = VICTIM_SYN_RECEIVED;
            v->irs = seq;
            v->timestamp = a->timestamp;
            v->timestamps = a->timestamped;
        }
        return;
    }
    uint32_t next = v->irs + 1 + v->read;
    if (v->state == VICTIM_LISTEN || (int32_t)(seq - next) >= WINDOW)
        return;
    if (flags & PACKET_RST) {
        v->owes_ack = true;
        if (seq == next)
            v->state = VICTIM_GONE;
        return;
    }
    if (!(flags & PACKET_ACK) && !v->lax)
        return;
    if (v->state == VICTIM_SYN_RECEIVED) {
        if (ack != server_isn + 1)
            return;
        v->state = VICTIM_OPEN;
    }
    uint32_t acked = ack - (server_isn + 1);
    if (!v->lax && (int32_t)acked != -1 && acked > 100)
        return;
    if (!v->lax && v->timestamps && a->timestamped) {
        if ((int32_t)(a->timestamp - v->timestamp) < 0)
            return;
        v->timestamp = a->timestamp;
    }
    v->owes_ack = v->owes_ack || a->len > a->payload_at;
    victim_take(v, seq, a->ip + a->payload_at, a->len - a->payload_at);
}

/* Where the octets of a fragment begin; 0 where the packet is none. */
static uint32_t fragment_payload_at(const uint8_t *packet)
{
    if (packet[0] >> 4 == 4)
        return load_be16(packet + 6) & 0x3fff ? 20 : 0;
    return packet[6] == 44 ? 48 : 0;
}

/* Put fragments together, later copies over earlier ones or not, as the policy says. False: not all here yet. */
static bool victim_reassemble(struct victim *v, uint8_t *packet, uint32_t *len)
{
    bool v4 = packet[0] >> 4 == 4;
    uint32_t from = fragment_payload_at(packet), header = v4 ? 20 : 40;
    uint32_t at = v4 ? (load_be16(packet + 6) & 0x1fffu) * 8 : load_be16(packet + 42) & 0xfff8u;
    bool more = v4 ? packet[6] & 0x20 : packet[43] & 1;
    for (uint32_t i = 0; i < *len - from && at + i < READ_MAX; i++)
        if (!v->fragment_have[at + i] || v->last_wins) {
            v->fragment[at + i] = packet[from + i];
            v->fragment_have[at + i] = true;
        }
    if (!more)
        v->fragment_len = at + *len - from;
    for (uint32_t i = 0; i < v->fragment_len; i++)
        if (!v->fragment_have[i])
            return false;
    if (v->fragment_len == 0)
        return false;
    memcpy(packet + header, v->fragment, v->fragment_len);
    *len = header + v->fragment_len;
    packet[6] = v4 ? 0 : 6;
    packet[7] = 0;
    store_be16(packet + (v4 ? 2 : 4), (uint16_t)(v4 ? *len : *len - 40));
    v->fragment_len = 0;
    memset(v->fragment_have, 0, sizeof v->fragment_have);
    return true;
}

static void victim_receive(struct victim *v, struct span leaves)
{
    uint8_t packet[READ_MAX];
    uint32_t len = (uint32_t)leaves.len;
    assert_in_range(len, 20, sizeof packet);
    memcpy(packet, leaves.ptr, len);
    if (packet[packet[0] >> 4 == 4 ? 8 : 7] <= HOPS_BEHIND)
        return;
    if (fragment_payload_at(packet) && !victim_reassemble(v, packet, &len))
        return;
    struct arrival arrival;
    if (!read_headers(&arrival, packet, len))
        return;
    if (arrival.len > arrival.payload_at && v->losses >> (v->arrived++ % 8) & 1)
        return;
    victim_segment(v, &arrival);
}

/* ---- the attack -------------------------------------------------------------------------------------------------- */

struct attack {
    uint8_t ip_version;
    const char *real, *chaff;
    uint32_t piece; /* octets a segment */
    bool timestamps;
    struct random_source random;

    struct victim victim;
    struct engine *engine;
    int64_t now_us;
    uint64_t token;
    struct {
        uint8_t *bytes; /* as it came; NULL once it has its verdict */
        uint32_t len;
        bool from_server;
    } packets[PACKETS_MAX]; /* by token */
    uint8_t told[READ_MAX]; /* the commands as the events have them */
    uint32_t told_len;
    const char *unedited; /* why the engine ceased to edit; NULL where it did not */
    bool greeted;
};

/* What makes a packet one that an endpoint, or the network, drops. */
struct flaw {
    uint8_t ttl;         /* 0: enough */
    uint8_t header_len;  /* in words; 0: the right one */
    uint32_t ip_shorter; /* octets that the IP header does not count */
    bool fragments;      /* in pieces of 8 octets */
};

static struct policy policy;

static void server_sends(struct attack *attack, uint8_t flags, const char *text);

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
        assert_in_range(shown.len, 0, READ_MAX - attack->told_len);
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
    assert_in_range(token, 1, PACKETS_MAX - 1);
    attack->packets[token].bytes = copy_of(bytes, len);
    attack->packets[token].len = len;
    attack->packets[token].from_server = from_server;
    /* In an allocation of its own, so that a sanitizer sees a read behind it. */
    uint8_t *copy = copy_of(bytes, len);
    struct engine_packet packet = {copy, len, len, token, ENGINE_CHECKSUM_UNSEEN, false};
    engine_packet(attack->engine, &packet, attack->now_us);
    fetch(attack);
    free(copy);
}

static void wait_us(struct attack *attack, int64_t us)
{
    int64_t end = attack->now_us + us;
    for (int64_t due; (due = engine_next_due(attack->engine)) <= end;) {
        attack->now_us = due > attack->now_us ? due : attack->now_us;
        engine_tick(attack->engine, attack->now_us);
        fetch(attack);
    }
    attack->now_us = end;
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

static void server_sends(struct attack *attack, uint8_t flags, const char *text)
{
    const struct victim *v = &attack->victim;
    struct segment s = {
        .ip_version = attack->ip_version,
        .source = 2,
        .destination = 1,
        .source_port = 25,
        .destination_port = 40000,
        .seq = server_isn + !(flags & PACKET_SYN) + (attack->greeted ? (uint32_t)GREETING_LEN : 0),
        .ack = v->irs + 1 + v->read,
        .flags = flags,
        .window = WINDOW,
        .payload = span_of(text),
    };
    if (v->timestamps)
        segment_add_timestamps(&s.options, (uint32_t)(attack->now_us / 1000), v->timestamp);
    uint32_t len;
    uint8_t *packet = segment_build(&s, &len);
    pass(attack, packet, len, true);
    free(packet);
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
            store_be16(piece + 10, (uint16_t)~sum_words(0, piece, 20));
        } else {
            store_be16(piece + 4, (uint16_t)(8 + count));
            piece[6] = 44;
            piece[40] = 6;
            store_be16(piece + 42, (uint16_t)(at - header + more));
        }
        pass(attack, piece, from + count, false);
    }
}

static void send_flawed(struct attack *attack, const struct segment *segment, struct flaw flaw)
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
        uint32_t tcp_len = len - tcp_at - flaw.ip_shorter;
        store_be16(packet + tcp_at + 16, 0);
        uint32_t sum = v4 ? sum_words(0, packet + 12, 8) : sum_words(0, packet + 8, 32);
        store_be16(packet + tcp_at + 16, (uint16_t)~sum_words(sum + 6 + tcp_len, packet + tcp_at, tcp_len));
    }
    if (v4) {
        store_be16(packet + 10, 0);
        store_be16(packet + 10, (uint16_t)~sum_words(0, packet, 20));
    }
    attack->now_us += STEP_US;
    if (flaw.fragments)
        send_fragments(attack, packet, len);
    else
        pass(attack, packet, len, false);
    free(packet);
    answer(attack);
}

static void send(struct attack *attack, const struct segment *segment)
{
    send_flawed(attack, segment, (struct flaw){0});
}

static struct segment bare(const struct attack *attack, uint8_t flags, uint32_t seq, bool timestamps)
{
    struct segment s = {
        .ip_version = attack->ip_version,
        .source = 1,
        .destination = 2,
        .source_port = 40000,
        .destination_port = 25,
        .seq = seq,
        .ack = flags & PACKET_ACK ? server_isn + 1 + (attack->greeted ? (uint32_t)GREETING_LEN : 0) : 0,
        .flags = flags,
        .window = WINDOW,
    };
    if (timestamps)
        segment_add_timestamps(&s.options, (uint32_t)(attack->now_us / 1000), 0);
    return s;
}

/* Octets [from, from + len) of one of the two versions. */
static struct segment piece_of(const struct attack *attack, const char *stream, uint32_t from, uint32_t len)
{
    struct segment s = bare(attack, PACKET_ACK, client_isn + 1 + from, attack->timestamps);
    s.payload = span_head(span_tail((struct span){(const uint8_t *)stream, STREAM_LEN}, from), len);
    return s;
}

static void send_piece(struct attack *attack, const char *stream, uint32_t from)
{
    struct segment s = piece_of(attack, stream, from, attack->piece);
    send(attack, &s);
}

static void send_syn(struct attack *attack, uint32_t isn)
{
    struct segment s = bare(attack, PACKET_SYN, isn, attack->timestamps);
    segment_add_mss(&s.options, 1460);
    send(attack, &s);
}

static void send_third_ack(struct attack *attack)
{
    struct segment s = bare(attack, PACKET_ACK, client_isn + 1, attack->timestamps);
    send(attack, &s);
}

/* ---- the strategies ---------------------------------------------------------------------------------------------- */

static void in_order(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece)
        send_piece(attack, attack->real, at);
}

static void tiny(struct attack *attack)
{
    attack->piece = 1;
    in_order(attack);
}

static void tiny_and_slow(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        send_piece(attack, attack->real, at);
        wait_us(attack, 40000); /* longer than the beginning of a line is held */
    }
}

static void reverse(struct attack *attack)
{
    for (uint32_t at = STREAM_LEN; at-- > 0;)
        if (at % attack->piece == 0)
            send_piece(attack, attack->real, at);
}

static void reverse_with_chaff(struct attack *attack)
{
    for (uint32_t at = STREAM_LEN; at-- > 0;)
        if (at % attack->piece == 0) {
            send_piece(attack, attack->real, at);
            send_piece(attack, attack->chaff, at);
        }
}

/* New octets in a segment that begins with old ones, which are others now. */
static void overlap_old(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        uint32_t back = at < attack->piece ? at : attack->piece;
        send_piece(attack, attack->real, at);
        struct segment s = piece_of(attack, attack->chaff, at - back, 2 * attack->piece + back);
        send(attack, &s);
    }
}

/* Octets ahead of the gap first; then a segment that fills it and brings others for those ahead. */
static void overlap_new(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += 2 * attack->piece) {
        send_piece(attack, attack->chaff, at + attack->piece < STREAM_LEN ? at + attack->piece : at);
        struct segment s = piece_of(attack, attack->real, at, 2 * attack->piece);
        send(attack, &s);
    }
}

static void duplicates(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece)
        for (int copy = 0; copy < 4; copy++)
            send_piece(attack, copy % 2 ? attack->chaff : attack->real, at);
}

static void delayed(struct attack *attack)
{
    for (uint32_t at = attack->piece; at < STREAM_LEN; at += attack->piece)
        send_piece(attack, attack->chaff, at);
    wait_us(attack, 2900000); /* nearly as long as what is out of order is held */
    send_piece(attack, attack->real, 0);
    wait_us(attack, 2000000);
}

static void bad_checksum(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        s.bad_checksum = true;
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void flawed_chaff(struct attack *attack, struct flaw flaw)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        send_flawed(attack, &s, flaw);
        send_piece(attack, attack->real, at);
    }
}

static void short_ttl(struct attack *attack)
{
    flawed_chaff(attack, (struct flaw){.ttl = HOPS_BEHIND});
}

static void bad_header_length(struct attack *attack)
{
    static const uint8_t lengths[] = {1, 4, 15, 6};
    flawed_chaff(attack, (struct flaw){.header_len = lengths[random_below(&attack->random, 4)]});
}

static void shortened_ip_length(struct attack *attack)
{
    flawed_chaff(attack, (struct flaw){.ip_shorter = 1 + random_below(&attack->random, attack->piece)});
}

static void bad_acknowledgment(struct attack *attack)
{
    static const int32_t moves[] = {1000000, -1000000, 1, INT32_MAX};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        s.ack += (uint32_t)moves[random_below(&attack->random, 4)];
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void stale_timestamp(struct attack *attack)
{
    wait_us(attack, 100000);
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        store_be32(s.options.octets + 2, 1);
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void signed_chaff(struct attack *attack)
{
    static const uint8_t digest[16] = {1, 2, 3};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        segment_add_option(&s.options, 19, digest, sizeof digest);
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void no_ack_flag(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        s.flags = at % 2 ? 0 : PACKET_PSH;
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void urgent(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->real, at, attack->piece);
        s.flags |= PACKET_URG;
        s.urgent = (uint16_t)(1 + random_below(&attack->random, attack->piece));
        send(attack, &s);
    }
}

static void reset_with_octets(struct attack *attack)
{
    in_order(attack);
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        s.flags = PACKET_RST | PACKET_ACK;
        s.seq++; /* never exactly what the victim waits for: that would end the connection */
        s.seq += s.seq == attack->victim.irs + 1 + attack->victim.read;
        send(attack, &s);
    }
}

static void reset_out_of_window(struct attack *attack)
{
    static const int32_t moves[] = {-1000, WINDOW + 5, 1000000, INT32_MIN};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = bare(attack, PACKET_RST, client_isn + 1 + at, false);
        s.seq += (uint32_t)moves[random_below(&attack->random, 4)];
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void fin_out_of_window(struct attack *attack)
{
    static const int32_t moves[] = {-1000, WINDOW + 5, 1000000};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        s.flags |= PACKET_FIN;
        s.seq += (uint32_t)moves[random_below(&attack->random, 3)];
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

static void syn_in_between(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->chaff, at, attack->piece);
        s.flags = PACKET_SYN;
        s.ack = 0;
        s.seq -= random_below(&attack->random, 2);
        send(attack, &s);
        send_piece(attack, attack->real, at);
    }
}

/*
 * Where conntrack is at work the kernel has put fragments together, and dropped those that overlap, before they come to
 * the queue: they are segments like any other, which is "in order". This is what comes where it is not (case 79).
 */
static void fragments(struct attack *attack)
{
    struct segment s = piece_of(attack, attack->chaff, 0, STREAM_LEN);
    send_flawed(attack, &s, (struct flaw){.fragments = true});
    s = piece_of(attack, attack->real, 0, STREAM_LEN);
    send_flawed(attack, &s, (struct flaw){.fragments = true});
}

static void extension_headers(struct attack *attack, uint32_t count)
{
    static uint8_t headers[16 * 8];
    memset(headers, 0, sizeof headers);
    for (uint32_t i = 0; i < count; i++) {
        headers[i * 8] = i + 1 < count ? 60 : 6;
        headers[i * 8 + 2] = 1; /* PadN */
        headers[i * 8 + 3] = 4;
    }
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = piece_of(attack, attack->real, at, attack->piece);
        if (attack->ip_version == 6) {
            s.before_tcp = (struct span){headers, count * 8};
            s.first_extension = 60;
        }
        send(attack, &s);
    }
}

static void extension_headers_few(struct attack *attack)
{
    extension_headers(attack, 3);
}

static void extension_headers_many(struct attack *attack)
{
    extension_headers(attack, 12);
}

/* A reset that the server does not believe (RFC 5961 3.2), or does not get; then a SYN; then the old connection. */
static void reset_then_syn(struct attack *attack, struct flaw flaw, uint32_t beyond)
{
    struct segment s = bare(attack, PACKET_RST, client_isn + 1 + beyond, false);
    send_flawed(attack, &s, flaw);
    s = bare(attack, PACKET_SYN, STRAY_SEQ, false);
    send_flawed(attack, &s, flaw);
    in_order(attack);
}

static void reset_challenged_then_syn(struct attack *attack)
{
    reset_then_syn(attack, (struct flaw){0}, 5);
}

static void reset_lost_then_syn(struct attack *attack)
{
    reset_then_syn(attack, (struct flaw){.ttl = HOPS_BEHIND}, 0);
}

/* So long that a connection which was reset is forgotten, and not so long that a server hangs up (RFC 5321 4.5.3.2.7).
 */
static void reset_lost_then_silence(struct attack *attack)
{
    struct segment s = bare(attack, PACKET_RST, client_isn + 1, false);
    send_flawed(attack, &s, (struct flaw){.ttl = HOPS_BEHIND});
    wait_us(attack, INT64_C(240000000));
    in_order(attack);
}

static void syn_lost_then_old(struct attack *attack)
{
    struct segment s = bare(attack, PACKET_SYN, STRAY_SEQ, false);
    send_flawed(attack, &s, (struct flaw){.ttl = HOPS_BEHIND});
    in_order(attack);
}

static void any(struct attack *attack);

/* ---- ways to open ------------------------------------------------------------------------------------------------ */

static void open_plainly(struct attack *attack)
{
    send_syn(attack, client_isn);
}

static void open_with_octets(struct attack *attack)
{
    struct segment s = piece_of(attack, attack->chaff, 0, attack->piece);
    s.seq--;
    s.flags = PACKET_SYN;
    s.ack = 0;
    send(attack, &s);
}

static void open_with_several_syns(struct attack *attack)
{
    /* The one that counts is the first for some victims and the last for others. */
    bool first = !attack->victim.last_wins;
    send_syn(attack, first ? client_isn : STRAY_SEQ);
    send_syn(attack, first ? STRAY_SEQ : client_isn);
}

static void open_after_lost_syn(struct attack *attack)
{
    struct segment s = bare(attack, PACKET_SYN, STRAY_SEQ, false);
    send_flawed(attack, &s, (struct flaw){.ttl = HOPS_BEHIND});
    send_syn(attack, client_isn);
    s = bare(attack, PACKET_SYN, STRAY_SEQ, false);
    send_flawed(attack, &s, (struct flaw){.ttl = HOPS_BEHIND});
}

static void open_after_a_stray_ack(struct attack *attack)
{
    struct segment s = bare(attack, PACKET_ACK, STRAY_SEQ, false);
    send(attack, &s);
    send_syn(attack, client_isn);
}

static void open_after_a_signed_syn(struct attack *attack)
{
    static const uint8_t digest[16] = {1, 2, 3};
    struct segment s = bare(attack, PACKET_SYN, STRAY_SEQ, false);
    segment_add_option(&s.options, 19, digest, sizeof digest);
    send_flawed(attack, &s, (struct flaw){.ttl = HOPS_BEHIND});
    send_syn(attack, client_isn);
}

struct strategy {
    const char *name;
    void (*open)(struct attack *attack);
    void (*play)(struct attack *attack);
    bool timestamps;
    bool may_fail; /* the connection may come to nothing, or end */
};

static const struct strategy strategies[] = {
    {.name = "in order", .play = in_order},
    {.name = "tiny segments", .play = tiny},
    {.name = "tiny segments, slowly", .play = tiny_and_slow},
    {.name = "reverse order", .play = reverse},
    {.name = "reverse order with chaff", .play = reverse_with_chaff},
    {.name = "overlap old", .play = overlap_old},
    {.name = "overlap new", .play = overlap_new},
    {.name = "duplicates", .play = duplicates},
    {.name = "delayed", .play = delayed},
    {.name = "bad checksum", .play = bad_checksum},
    {.name = "short TTL", .play = short_ttl},
    {.name = "bad header length", .play = bad_header_length},
    {.name = "shortened IP length", .play = shortened_ip_length},
    {.name = "bad acknowledgment", .play = bad_acknowledgment},
    {.name = "stale timestamp", .play = stale_timestamp, .timestamps = true},
    {.name = "signature option", .play = signed_chaff},
    {.name = "no ACK flag", .play = no_ack_flag},
    {.name = "urgent", .play = urgent},
    {.name = "RST with octets", .play = reset_with_octets, .may_fail = true},
    {.name = "RST out of window", .play = reset_out_of_window},
    {.name = "FIN out of window", .play = fin_out_of_window},
    {.name = "SYN in between, with octets", .play = syn_in_between},
    {.name = "SYN with octets", .open = open_with_octets, .play = in_order},
    {.name = "several SYNs", .open = open_with_several_syns, .play = in_order, .may_fail = true},
    {.name = "SYNs that get lost", .open = open_after_lost_syn, .play = in_order, .may_fail = true},
    {.name = "case 79: fragments of 8 octets", .play = fragments},
    {.name = "extension headers", .play = extension_headers_few},
    {.name = "extension headers, too many", .play = extension_headers_many},
    {.name = "RST that is challenged, then SYN", .play = reset_challenged_then_syn, .may_fail = true},
    {.name = "RST that gets lost, then SYN", .play = reset_lost_then_syn, .may_fail = true},
    {.name = "RST that gets lost, then silence", .play = reset_lost_then_silence, .may_fail = true},
    {.name = "SYN that gets lost, then the old connection", .play = syn_lost_then_old, .may_fail = true},
    {.name = "ACK before the SYN", .open = open_after_a_stray_ack, .play = in_order, .may_fail = true},
    {.name = "signed SYN that gets lost", .open = open_after_a_signed_syn, .play = in_order, .may_fail = true},
    {.name = "any of these, one after the other", .play = any, .may_fail = true},
};

static void any(struct attack *attack)
{
    static void (*const plays[])(struct attack *) = {
        reverse_with_chaff,  overlap_old,        overlap_new,    duplicates,        bad_checksum,
        short_ttl,           bad_acknowledgment, signed_chaff,   no_ack_flag,       urgent,
        reset_out_of_window, fin_out_of_window,  syn_in_between, bad_header_length, shortened_ip_length};
    for (int i = 0; i < 4; i++)
        plays[random_below(&attack->random, sizeof plays / sizeof plays[0])](attack);
}

/* ---- the test ---------------------------------------------------------------------------------------------------- */

struct variant {
    uint8_t ip_version;
    bool chaff_harmful, last_wins, lax;
    unsigned losses;
    uint32_t piece;
};

static void check(const struct attack *attack, const struct strategy *strategy, const struct variant *variant)
{
    const struct victim *v = &attack->victim;
    const char *wrong = NULL;
    for (uint32_t at = 0; at + 7 < v->read; at++)
        if ((at == 0 || v->in[at - 1] == '\n') && memcmp(v->in + at, "XEXCH50", 7) == 0 && v->in[at + 7] <= ' ')
            wrong = "XEXCH50 reached the server";
    if (!wrong && attack->unedited)
        wrong = "the filter was switched off";
    if (!wrong && v->read > attack->told_len)
        wrong = "the server read octets that were not inspected";
    if (!wrong && memcmp(v->in, attack->told, v->read) != 0)
        wrong = "the server read other octets than those inspected";
    if (!wrong && !strategy->may_fail && v->read != STREAM_LEN)
        wrong = "the connection was stalled";
    if (wrong)
        fail_msg("%s: %s; IPv%d, pieces of %u, chaff %s, %s copy wins, %s, losses %02x, reason '%s'; read %u, told %u: "
                 "%.*s",
                 strategy->name, wrong, variant->ip_version, variant->piece,
                 variant->chaff_harmful ? "harmful" : "harmless", variant->last_wins ? "last" : "first",
                 variant->lax ? "lax" : "strict", variant->losses, attack->unedited ? attack->unedited : "", v->read,
                 attack->told_len, (int)v->read, (const char *)v->in);
}

static void run(const struct strategy *strategy, const struct variant *variant, void *memory, uint64_t seed)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 8;
    settings.blocks_max = 64;
    settings.held_max = 64;
    settings.events = 1u << EVENT_COMMAND | 1u << EVENT_FLOW_START | 1u << EVENT_UNEDITED;
    settings.seed = seed;
    memset(memory, 0, engine_bytes(&settings));

    struct attack *attack = calloc(1, sizeof *attack);
    assert_non_null(attack);
    attack->ip_version = variant->ip_version;
    attack->real = variant->chaff_harmful ? harmless : harmful;
    attack->chaff = variant->chaff_harmful ? harmful : harmless;
    attack->piece = variant->piece;
    attack->timestamps = strategy->timestamps;
    attack->random.state = seed;
    attack->victim.last_wins = variant->last_wins;
    attack->victim.lax = variant->lax;
    attack->victim.losses = variant->losses;
    attack->now_us = 5000000;
    attack->engine = engine_init(memory, &settings, &policy);

    (strategy->open ? strategy->open : open_plainly)(attack);
    send_third_ack(attack);
    if (attack->victim.state == VICTIM_OPEN) {
        server_sends(attack, PACKET_ACK, "220 hi\r\n");
        attack->greeted = true;
    }
    strategy->play(attack);

    /* At last the truth, again and again, until it has arrived. */
    attack->piece = variant->piece;
    for (int round = 0; round < 12 && attack->victim.read < STREAM_LEN; round++) {
        attack->victim.losses = round < 3 ? variant->losses : 0;
        in_order(attack);
        wait_us(attack, 50000);
    }
    wait_us(attack, 50000);
    engine_stop(attack->engine, attack->now_us);
    fetch(attack);
    for (uint64_t token = 1; token <= attack->token; token++)
        assert_null(attack->packets[token].bytes); /* each got its verdict */
    check(attack, strategy, variant);
    free(attack);
}

static void test_strategy(const struct strategy *strategy, uint8_t ip_version)
{
    static const uint32_t pieces[] = {1, 3, 7, 13, STREAM_LEN};
    static const unsigned losses[] = {0x00, 0x01, 0x55, 0x6e};
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 8;
    settings.blocks_max = 64;
    settings.held_max = 64;
    void *memory = aligned_alloc(64, engine_bytes(&settings));
    assert_non_null(memory);
    policy_init_default(&policy);
    for (unsigned i = 0; i < 5 * 4 * 8; i++) {
        struct variant variant = {
            .ip_version = ip_version,
            .piece = pieces[i / 32],
            .losses = losses[i / 8 % 4],
            .chaff_harmful = i & 4,
            .last_wins = i & 2,
            .lax = i & 1,
        };
        run(strategy, &variant, memory, i + 1);
    }
    free(memory);
}

static void test_ipv4(void **state)
{
    test_strategy(*state, 4);
}

static void test_ipv6(void **state)
{
    test_strategy(*state, 6);
}

/* Case 50, MS03-046: what no count can be read from is covered like any other, whole or in pieces. */
static void test_case_50_xexch50_that_cannot_be_counted(void **state)
{
    (void)state;
    static char long_line[3000];
    memset(long_line, ' ', sizeof long_line - 1);
    memcpy(long_line, "XEXCH50 5 2", 11);
    memcpy(long_line + sizeof long_line - 3, "\r\n", 2);
    static const struct {
        const char *label, *line;
    } rows[] = {
        {"negative", "XEXCH50 -1 2\r\n"}, {"huge", "XEXCH50 99999999999999999999 2\r\n"}, {"no number", "XEXCH50\r\n"},
        {"a word", "XEXCH50 five 2\r\n"}, {"hexadecimal", "XEXCH50 0x5 2\r\n"},           {"very long", long_line},
    };
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 8;
    settings.blocks_max = 64;
    settings.held_max = 64;
    void *memory = aligned_alloc(64, engine_bytes(&settings));
    assert_non_null(memory);
    policy_init_default(&policy);
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        memset(memory, 0, engine_bytes(&settings));
        struct attack *attack = calloc(1, sizeof *attack);
        assert_non_null(attack);
        attack->ip_version = 4;
        attack->now_us = 5000000;
        attack->engine = engine_init(memory, &settings, &policy);
        open_plainly(attack);
        send_third_ack(attack);
        struct span line = span_of(rows[i / 2].line);
        uint32_t piece = i % 2 ? 700 : 1400;
        for (uint32_t at = 0; at < line.len; at += piece) {
            struct segment s = bare(attack, PACKET_ACK, client_isn + 1 + at, false);
            s.payload = span_head(span_tail(line, at), piece);
            send(attack, &s);
        }
        wait_us(attack, 100000);
        if (attack->victim.read >= 7 && memcmp(attack->victim.in, "XEXCH50", 7) == 0)
            fail_msg("%s: XEXCH50 reached the server", rows[i / 2].label);
        engine_stop(attack->engine, attack->now_us);
        fetch(attack);
        free(attack);
    }
    free(memory);
}

int main(void)
{
    enum { COUNT = sizeof strategies / sizeof strategies[0] };
    static struct CMUnitTest tests[2 * COUNT + 1];
    static char names[2 * COUNT][80];
    for (size_t i = 0; i < 2 * COUNT; i++) {
        const struct strategy *strategy = &strategies[i / 2];
        snprintf(names[i], sizeof names[i], "%s, IPv%d", strategy->name, i % 2 ? 6 : 4);
        union {
            const struct strategy *in;
            void *out;
        } row = {.in = strategy}; /* cmocka's state is not const */
        tests[i] =
            (struct CMUnitTest){.name = names[i], .test_func = i % 2 ? test_ipv6 : test_ipv4, .initial_state = row.out};
    }
    tests[2 * COUNT] = (struct CMUnitTest)cmocka_unit_test(test_case_50_xexch50_that_cannot_be_counted);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("evasion", tests, NULL, NULL);
}
