/*
 * tcp/packet - views of the IPv4 or IPv6 header and the TCP header of one packet.
 *
 * In:     octets from the IP version field on.
 * Out:    where things are, as offsets from the first octet, and TCP's fields in host byte order.
 * Owner:  the caller owns the octets; the view lives as long as they do.
 * Limits: an IPv6 extension chain of PACKET_EXTENSIONS_MAX headers.
 * Errors: enum packet_status. Nothing is read behind `len`, nothing behind the length that IP states.
 * Source: RFC 791, RFC 8200, RFC 9293 3.1, RFC 7323, RFC 2018, RFC 8684, RFC 2385, RFC 5925.
 */
#ifndef POSTERN_TCP_PACKET_H
#define POSTERN_TCP_PACKET_H

#include "base/span.h"

#define PACKET_EXTENSIONS_MAX 8

enum packet_status {
    PACKET_TCP,       /* a TCP segment, all fields below are set */
    PACKET_OTHER,     /* IP, but no TCP */
    PACKET_FRAGMENT,  /* a part of a packet that may be TCP */
    PACKET_MALFORMED, /* lengths that contradict each other: an endpoint would drop it too */
};

enum packet_flags {
    PACKET_FIN = 0x01,
    PACKET_SYN = 0x02,
    PACKET_RST = 0x04,
    PACKET_PSH = 0x08,
    PACKET_ACK = 0x10,
    PACKET_URG = 0x20,
};

struct packet {
    uint8_t *bytes;
    uint32_t len;          /* octets by the IP header; what follows them is padding */
    uint8_t ip_version;    /* 4 or 6 */
    uint8_t flags;         /* of enum packet_flags */
    uint8_t window_shift;  /* from a SYN's window scale option, 0 where none; above 14 is taken as 14 (RFC 7323 2.3) */
    bool window_scaled;    /* the option was there */
    bool sack_permitted;   /* the option was there (SYN) */
    bool protected;        /* TCP-MD5 or TCP-AO signs the segment: an edit would break it */
    uint16_t source_at;    /* where the source address is */
    uint16_t address_len;  /* 4 or 16; the destination address follows the source address */
    uint16_t tcp_at;       /* where the TCP header is */
    uint16_t payload_at;   /* where the payload is */
    uint16_t sack_at;      /* where the SACK option (its kind octet) is; 0 where none */
    uint16_t timestamp_at; /* where the timestamps option (its kind octet) is; 0 where none */
    uint16_t mptcp_at;     /* where an MPTCP option (its kind octet) is; 0 where none */
    uint16_t mss;          /* from a SYN's option; 0 where none */
    uint16_t source_port;
    uint16_t destination_port;
    uint16_t window; /* as in the header, unscaled */
    uint32_t seq;
    uint32_t ack; /* only with PACKET_ACK */
    uint32_t payload_len;
};

/* Look at `len` octets. Sets every field of *packet for PACKET_TCP; for the others only bytes, len and ip_version. */
enum packet_status packet_parse(struct packet *packet, uint8_t *bytes, uint32_t len);

/* Sequence space the segment takes: payload, and one each for SYN and FIN. */
static inline uint32_t packet_seq_len(const struct packet *packet)
{
    return packet->payload_len + !!(packet->flags & PACKET_SYN) + !!(packet->flags & PACKET_FIN);
}

static inline struct span packet_payload(const struct packet *packet)
{
    return (struct span){packet->bytes + packet->payload_at, packet->payload_len};
}

static inline struct span packet_source(const struct packet *packet)
{
    return (struct span){packet->bytes + packet->source_at, packet->address_len};
}

static inline struct span packet_destination(const struct packet *packet)
{
    return (struct span){packet->bytes + packet->source_at + packet->address_len, packet->address_len};
}

/*
 * The setters write the field and, unless `checksum_absent`, adjust the TCP checksum for the change (RFC 1624). They
 * keep *packet in step.
 */
void packet_set_seq(struct packet *packet, uint32_t seq, bool checksum_absent);
void packet_set_ack(struct packet *packet, uint32_t ack, bool checksum_absent);
void packet_set_window(struct packet *packet, uint16_t window, bool checksum_absent);
void packet_set_flags(struct packet *packet, uint8_t flags, bool checksum_absent);
/* Four octets at `at` (any place in the TCP header), for options. */
void packet_set_be32(struct packet *packet, uint32_t at, uint32_t value, bool checksum_absent);

/* Put no-operations in place of the option at `at` (of its stated length). The checksum is left stale. */
void packet_blank_option(struct packet *packet, uint32_t at);

/* State a new payload length in the IP header, header checksum included. The octets themselves are the caller's. */
void packet_set_payload_len(struct packet *packet, uint32_t payload_len);

/* Compute the TCP checksum anew over header and payload. */
void packet_checksum_fill(struct packet *packet);

/* Whether the TCP checksum is right. */
bool packet_checksum_good(const struct packet *packet);

#endif
