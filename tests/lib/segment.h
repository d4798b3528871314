/*
 * tests/lib/segment - TCP segments from plain fields.
 *
 * Out:    an IPv4 or IPv6 packet with right checksums, in an allocation of exactly its length, so that a sanitizer
 *         sees a read behind it.
 * Owner:  the caller frees what segment_build returns.
 * Source: RFC 791, RFC 8200, RFC 9293 3.1; computed with a checksum of its own, not the one under test.
 */
#ifndef POSTERN_TESTS_SEGMENT_H
#define POSTERN_TESTS_SEGMENT_H

#include "base/span.h"
#include "tcp/packet.h"

/* TCP options in the order in which they were added; padded with no-operations to whole words when built. */
struct segment_options {
    uint8_t octets[40];
    size_t len;
};

struct segment {
    uint8_t ip_version; /* 4 or 6; 0 is 4 */
    uint8_t source;     /* last octet of the source address */
    uint8_t destination;
    uint16_t source_port;
    uint16_t destination_port;
    uint32_t seq;
    uint32_t ack;
    uint8_t flags; /* of enum packet_flags */
    uint16_t window;
    uint16_t urgent;
    struct segment_options options;
    struct span payload;
    struct span before_tcp;  /* IPv4: options (whole words). IPv6: extension headers */
    uint8_t first_extension; /* IPv6: what the first extension header is; used where before_tcp is not empty */
    bool bad_checksum;       /* make the TCP checksum wrong */
};

void segment_add_option(struct segment_options *options, uint8_t kind, const void *value, size_t len);
void segment_add_mss(struct segment_options *options, uint16_t mss);
void segment_add_window_scale(struct segment_options *options, uint8_t shift);
void segment_add_timestamps(struct segment_options *options, uint32_t value, uint32_t echo);
/* One block more; blocks that are added one after the other share one option. */
void segment_add_sack(struct segment_options *options, uint32_t left, uint32_t right);

/* The packet, *len octets. */
uint8_t *segment_build(const struct segment *segment, uint32_t *len);

/* RFC 1071, not yet complemented: `sum` and these octets; a TCP segment and its pseudo header. */
uint32_t segment_sum(uint32_t sum, const uint8_t *octets, size_t len);
uint32_t segment_tcp_sum(const uint8_t *ip, uint32_t len, uint32_t tcp_at);

/* Whether the IPv4 header checksum (true for IPv6) and the TCP checksum are right, summed octet by octet. */
bool segment_checksums_good(const uint8_t *ip, uint32_t len);

#endif
