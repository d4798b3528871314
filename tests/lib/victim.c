#include "victim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/octets.h"
#include "segment.h"

/* A segment as the victim reads it. */
struct arrival {
    const uint8_t *ip;
    uint32_t len, tcp_at, payload_at;
    bool timestamped, signed_;
    uint32_t timestamp;
};

static bool checksum_good(const struct arrival *a)
{
    return segment_tcp_sum(a->ip, a->len, a->tcp_at) == 0xffff;
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

static void take_octets(struct victim *v, uint32_t seq, const uint8_t *octets, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint32_t place = seq + i - (v->irs + 1);
        if (place >= VICTIM_READ_MAX || place < v->read || (v->have[place] && !v->last_wins))
            continue;
        v->in[place] = octets[i];
        v->have[place] = true;
    }
    while (v->read < VICTIM_READ_MAX && v->have[v->read])
        v->read++;
}

/* RFC 9293 3.10.7.2 and 3.10.7.4, RFC 5961, RFC 7323 5.3. */
static void take_segment(struct victim *v, const struct arrival *a)
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
    if (v->state == VICTIM_LISTEN || (int32_t)(seq - next) >= VICTIM_WINDOW)
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
        if (ack != VICTIM_ISN + 1)
            return;
        v->state = VICTIM_OPEN;
    }
    uint32_t acked = ack - (VICTIM_ISN + 1);
    if (!v->lax && (int32_t)acked != -1 && acked > 100)
        return;
    if (!v->lax && v->timestamps && a->timestamped) {
        if ((int32_t)(a->timestamp - v->timestamp) < 0)
            return;
        v->timestamp = a->timestamp;
    }
    v->owes_ack = v->owes_ack || a->len > a->payload_at;
    take_octets(v, seq, a->ip + a->payload_at, a->len - a->payload_at);
}

/* Where the octets of a fragment begin; 0 where the packet is none. */
static uint32_t fragment_payload_at(const uint8_t *packet)
{
    if (packet[0] >> 4 == 4)
        return load_be16(packet + 6) & 0x3fff ? 20 : 0;
    return packet[6] == 44 ? 48 : 0;
}

/* Put fragments together, later copies over earlier ones or not, as the policy says. False: not all here yet. */
static bool reassemble(struct victim *v, uint8_t *packet, uint32_t *len)
{
    bool v4 = packet[0] >> 4 == 4;
    uint32_t from = fragment_payload_at(packet), header = v4 ? 20 : 40;
    uint32_t at = v4 ? (load_be16(packet + 6) & 0x1fffu) * 8 : load_be16(packet + 42) & 0xfff8u;
    bool more = v4 ? packet[6] & 0x20 : packet[43] & 1;
    for (uint32_t i = 0; i < *len - from && at + i < VICTIM_READ_MAX; i++)
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

void victim_receive(struct victim *v, struct span leaves)
{
    uint8_t packet[VICTIM_READ_MAX];
    uint32_t len = (uint32_t)leaves.len;
    assert_in_range(len, 20, sizeof packet);
    memcpy(packet, leaves.ptr, len);
    if (packet[packet[0] >> 4 == 4 ? 8 : 7] <= VICTIM_HOPS)
        return;
    if (fragment_payload_at(packet) && !reassemble(v, packet, &len))
        return;
    struct arrival arrival;
    if (!read_headers(&arrival, packet, len))
        return;
    if (arrival.len > arrival.payload_at && v->losses >> (v->arrived++ % 8) & 1)
        return;
    take_segment(v, &arrival);
}
