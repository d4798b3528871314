#include "laws.h"

#include <string.h>

/* The sum of both ports: of ours, unless it was corrupted. */
enum { PORTS = 40025, MSS_DEFAULT = 536 };

void laws_init(struct laws *laws, const struct endpoint *ends, struct fault *fault)
{
    memset(laws, 0, sizeof *laws);
    for (int side = 0; side < 2; side++)
        laws->streams[side].isn = ends[side].plan.isn;
    laws->fault = fault;
}

/* Packets come late and twice; but none is ahead of what the other end showed or sent. */
static void check_conntrack(struct laws *laws, enum smtp_side side, const struct packet *p)
{
    switch (conntrack_judge(&laws->conntrack, side, p)) {
    case CONNTRACK_BEHIND_WINDOW:
        fault_note(laws->fault, "side %d sends octets behind the window, for conntrack (law 3)", (int)side);
        break;
    case CONNTRACK_ACK_UNSEEN:
        fault_note(laws->fault, "side %d acknowledges octets that conntrack has not seen (law 3)", (int)side);
        break;
    case CONNTRACK_TAKES:
    case CONNTRACK_BEFORE_WINDOW:
    case CONNTRACK_ACK_OLD:
        break;
    }
}

void laws_note_arrival(struct laws *laws, int side, uint8_t *packet, uint32_t len)
{
    struct packet p;
    struct law_stream *own = &laws->streams[side], *other = &laws->streams[!side];
    if (packet_parse(&p, packet, len) != PACKET_TCP || !segment_checksums_good(packet, len))
        return;
    if (p.source_port + p.destination_port == PORTS)
        check_conntrack(laws, (enum smtp_side)side, &p);
    uint32_t acked = p.ack - (other->isn + 1);
    if (p.flags & PACKET_ACK && acked < ENDPOINT_STREAM_BYTES && acked > other->acked)
        other->acked = acked;
    if (p.payload_len > own->largest)
        own->largest = p.payload_len;
}

static void check_growth(struct laws *laws, const struct gateway_packet *arrived, const struct packet *p)
{
    struct packet came;
    if (packet_parse(&came, arrived->bytes, arrived->len) != PACKET_TCP)
        came = (struct packet){0};
    if (!(p->flags & (PACKET_SYN | PACKET_RST)) && (int32_t)(p->seq + p->payload_len - came.seq - came.payload_len) > 0)
        fault_note(laws->fault, "packet %llu shows octets beyond those that were sent (law 3)",
                   (unsigned long long)arrived->token);
    if (arrived->side == 0 && p->payload_len > 1 && p->seq != came.seq)
        fault_note(laws->fault, "packet %llu was moved on its way to the server (law 3)",
                   (unsigned long long)arrived->token);
}

static void check_octets(struct laws *laws, const struct gateway_packet *arrived, const struct packet *p)
{
    struct law_stream *stream = &laws->streams[arrived->side];
    const uint8_t *octets = packet_payload(p).ptr;
    for (uint32_t i = 0; i < p->payload_len && !(p->flags & PACKET_RST); i++) {
        uint32_t place = p->seq + i - (stream->isn + 1);
        if (place >= ENDPOINT_STREAM_BYTES || (int32_t)(place - stream->acked) < 0)
            continue;
        if (stream->has_left[place] && stream->left[place] != octets[i])
            fault_note(laws->fault, "packet %llu: octet %u of side %d left as another one before (law 2)",
                       (unsigned long long)arrived->token, place, arrived->side);
        stream->left[place] = octets[i];
        stream->has_left[place] = true;
    }
}

void laws_check(struct laws *laws, const struct gateway_packet *arrived, uint8_t *packet, uint32_t len)
{
    struct packet p;
    bool is_tcp = packet_parse(&p, packet, len) == PACKET_TCP;
    if (is_tcp && p.source_port + p.destination_port != PORTS)
        return; /* corrupted on its way to the gateway, and not known for one of ours */
    if (!is_tcp || !segment_checksums_good(packet, len)) {
        fault_note(laws->fault, "packet %llu left malformed or with a wrong checksum",
                   (unsigned long long)arrived->token);
        return;
    }
    check_growth(laws, arrived, &p);
    check_octets(laws, arrived, &p);
    uint32_t largest = laws->streams[arrived->side].largest;
    if (p.payload_len > (largest > MSS_DEFAULT ? largest : MSS_DEFAULT))
        fault_note(laws->fault, "packet %llu is longer than the path is known to carry",
                   (unsigned long long)arrived->token);
}
