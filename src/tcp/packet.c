#include "tcp/packet.h"

#include "base/octets.h"
#include "tcp/checksum.h"

enum {
    IPV4_HEADER_MIN = 20,
    IPV4_LENGTH_AT = 2,
    IPV4_FRAGMENT_AT = 6,
    IPV4_PROTOCOL_AT = 9,
    IPV4_CHECKSUM_AT = 10,
    IPV4_SOURCE_AT = 12,
    IPV6_HEADER = 40,
    IPV6_LENGTH_AT = 4,
    IPV6_NEXT_AT = 6,
    IPV6_SOURCE_AT = 8,
    TCP_HEADER_MIN = 20,
    TCP_FLAGS_AT = 13,
    TCP_WINDOW_AT = 14,
    TCP_CHECKSUM_AT = 16,
    WINDOW_SHIFT_MAX = 14, /* RFC 7323 2.3 */
};

enum {
    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_TCP = 6,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_AUTHENTICATION = 51,
    PROTOCOL_DESTINATION = 60,
};

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_WINDOW_SCALE = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_TIMESTAMPS = 8,
    OPTION_MD5 = 19,
    OPTION_AO = 29,
    OPTION_MPTCP = 30,
};

static enum packet_status parse_ipv4(struct packet *packet)
{
    const uint8_t *ip = packet->bytes;
    if (packet->len < IPV4_HEADER_MIN)
        return PACKET_MALFORMED;
    uint32_t header = (uint32_t)(ip[0] & 0x0f) * 4;
    uint32_t total = load_be16(ip + IPV4_LENGTH_AT);
    if (header < IPV4_HEADER_MIN || header > total || total > packet->len)
        return PACKET_MALFORMED;
    packet->len = total;
    /* More fragments to come, or an offset: conntrack has reassembled them before us, so this is none of ours. */
    if (ip[IPV4_PROTOCOL_AT] != PROTOCOL_TCP)
        return PACKET_OTHER;
    if (load_be16(ip + IPV4_FRAGMENT_AT) & 0x3fff)
        return PACKET_FRAGMENT;
    packet->source_at = IPV4_SOURCE_AT;
    packet->address_len = 4;
    packet->tcp_at = (uint16_t)header;
    return PACKET_TCP;
}

static enum packet_status parse_ipv6(struct packet *packet)
{
    const uint8_t *ip = packet->bytes;
    if (packet->len < IPV6_HEADER)
        return PACKET_MALFORMED;
    uint32_t total = IPV6_HEADER + load_be16(ip + IPV6_LENGTH_AT);
    if (total > packet->len)
        return PACKET_MALFORMED;
    packet->len = total;
    packet->source_at = IPV6_SOURCE_AT;
    packet->address_len = 16;

    uint8_t next = ip[IPV6_NEXT_AT];
    uint32_t at = IPV6_HEADER;
    for (int i = 0; i <= PACKET_EXTENSIONS_MAX; i++) {
        if (next == PROTOCOL_TCP) {
            packet->tcp_at = (uint16_t)at;
            return PACKET_TCP;
        }
        bool extension = next == PROTOCOL_HOP_BY_HOP || next == PROTOCOL_ROUTING || next == PROTOCOL_DESTINATION;
        if (next == PROTOCOL_FRAGMENT) {
            if (total - at < 8)
                return PACKET_MALFORMED;
            /* An atomic fragment (RFC 6946) is a whole packet; any other has no TCP header to trust. */
            if (load_be16(ip + at + 2) & 0xfff9)
                return PACKET_FRAGMENT;
            next = ip[at];
            at += 8;
            continue;
        }
        if (!extension && next != PROTOCOL_AUTHENTICATION)
            return PACKET_OTHER;
        if (total - at < 8)
            return PACKET_MALFORMED;
        uint32_t len = extension ? ((uint32_t)ip[at + 1] + 1) * 8 : ((uint32_t)ip[at + 1] + 2) * 4;
        if (len > total - at)
            return PACKET_MALFORMED;
        next = ip[at];
        at += len;
    }
    return PACKET_MALFORMED; /* more headers than anybody sends (RFC 8504 5.3): TCP may hide behind them */
}

/* One of several octets, which all are there. Where its length is not that of its kind it says nothing. */
static void take_option(struct packet *packet, uint32_t at, uint32_t len)
{
    enum { MD5_LEN = 18, AO_LEN_MIN = 4 };
    const uint8_t *option = packet->bytes + at;
    bool syn = packet->flags & PACKET_SYN;
    switch (option[0]) {
    case OPTION_MSS:
        if (len == 4 && syn)
            packet->mss = load_be16(option + 2);
        return;
    case OPTION_WINDOW_SCALE:
        if (len == 3 && syn) {
            packet->window_scaled = true;
            packet->window_shift = option[2] > WINDOW_SHIFT_MAX ? WINDOW_SHIFT_MAX : option[2];
        }
        return;
    case OPTION_SACK_PERMITTED:
        if (len == 2 && syn)
            packet->sack_permitted = true;
        return;
    case OPTION_SACK:
        if (len >= 10 && (len - 2) % 8 == 0)
            packet->sack_at = (uint16_t)at;
        return;
    case OPTION_TIMESTAMPS:
        if (len == 10)
            packet->timestamp_at = (uint16_t)at;
        return;
    case OPTION_MPTCP:
        packet->mptcp_at = (uint16_t)at;
        return;
    case OPTION_MD5:
        packet->protected = packet->protected || len == MD5_LEN;
        return;
    case OPTION_AO:
        packet->protected = packet->protected || len >= AO_LEN_MIN;
        return;
    default:
        return;
    }
}

/*
 * As Linux reads them (tcp_parse_options): an option of a length that is not its kind's is stepped over, and behind one
 * that is shorter than its header, or longer than what is left, nothing is read. The segment is taken all the same.
 */
static void parse_options(struct packet *packet)
{
    uint32_t end = packet->payload_at, len;
    for (uint32_t at = packet->tcp_at + (uint32_t)TCP_HEADER_MIN; at < end; at += len) {
        uint8_t kind = packet->bytes[at];
        if (kind == OPTION_END)
            return;
        len = 1;
        if (kind == OPTION_NOP)
            continue;
        if (end - at < 2)
            return;
        len = packet->bytes[at + 1];
        if (len < 2 || len > end - at)
            return;
        take_option(packet, at, len);
    }
}

/* Two NOPs and timestamps: what nearly every segment of an established connection carries. */
static bool only_timestamps(const struct packet *packet)
{
    const uint8_t *option = packet->bytes + packet->tcp_at + TCP_HEADER_MIN;
    return packet->payload_at - packet->tcp_at == TCP_HEADER_MIN + 12 && load_be32(option) == 0x0101080a;
}

enum packet_status packet_parse(struct packet *packet, uint8_t *bytes, uint32_t len)
{
    *packet = (struct packet){.bytes = bytes, .len = len};
    if (len == 0)
        return PACKET_MALFORMED;
    packet->ip_version = bytes[0] >> 4;
    if (packet->ip_version != 4 && packet->ip_version != 6)
        return PACKET_MALFORMED;
    enum packet_status status = packet->ip_version == 4 ? parse_ipv4(packet) : parse_ipv6(packet);
    if (status != PACKET_TCP)
        return status;

    uint32_t left = packet->len - packet->tcp_at;
    if (left < TCP_HEADER_MIN)
        return PACKET_MALFORMED;
    const uint8_t *tcp = bytes + packet->tcp_at;
    uint32_t header = (uint32_t)(tcp[12] >> 4) * 4;
    if (header < TCP_HEADER_MIN || header > left)
        return PACKET_MALFORMED;
    packet->source_port = load_be16(tcp);
    packet->destination_port = load_be16(tcp + 2);
    packet->seq = load_be32(tcp + 4);
    packet->ack = load_be32(tcp + 8);
    packet->flags = tcp[TCP_FLAGS_AT] & 0x3f;
    packet->window = load_be16(tcp + TCP_WINDOW_AT);
    packet->payload_at = (uint16_t)(packet->tcp_at + header);
    packet->payload_len = left - header;
    if (header == TCP_HEADER_MIN)
        return PACKET_TCP;
    if (only_timestamps(packet)) {
        packet->timestamp_at = (uint16_t)(packet->tcp_at + TCP_HEADER_MIN + 2);
        return PACKET_TCP;
    }
    parse_options(packet);
    return PACKET_TCP;
}

static void adjust(struct packet *packet, uint32_t from, uint32_t to, bool checksum_absent)
{
    if (checksum_absent)
        return;
    uint8_t *at = packet->bytes + packet->tcp_at + TCP_CHECKSUM_AT;
    store_be16(at, checksum_adjust32(load_be16(at), from, to));
}

void packet_set_be32(struct packet *packet, uint32_t at, uint32_t value, bool checksum_absent)
{
    /* The octets may stand at an odd place: their value then enters the sum with its octets swapped. */
    uint32_t from = load_be32(packet->bytes + at);
    bool odd = (at - packet->tcp_at) & 1;
    store_be32(packet->bytes + at, value);
    if (odd)
        adjust(packet, from << 8 | from >> 24, value << 8 | value >> 24, checksum_absent);
    else
        adjust(packet, from, value, checksum_absent);
}

/* packet_set_be32 of a field of the header: at an even place, so that nothing need be swapped. */
static inline void set_field(struct packet *packet, uint32_t field, uint32_t value, bool checksum_absent)
{
    uint8_t *tcp = packet->bytes + packet->tcp_at;
    uint32_t from, to;
    memcpy(&from, tcp + field, sizeof from);
    store_be32(tcp + field, value);
    memcpy(&to, tcp + field, sizeof to);
    if (checksum_absent)
        return;
    uint16_t checksum;
    memcpy(&checksum, tcp + TCP_CHECKSUM_AT, sizeof checksum);
    checksum = checksum_adjust32(checksum, from, to);
    memcpy(tcp + TCP_CHECKSUM_AT, &checksum, sizeof checksum);
}

void packet_set_seq(struct packet *packet, uint32_t seq, bool checksum_absent)
{
    set_field(packet, 4, seq, checksum_absent);
    packet->seq = seq;
}

void packet_set_ack(struct packet *packet, uint32_t ack, bool checksum_absent)
{
    set_field(packet, 8, ack, checksum_absent);
    packet->ack = ack;
}

void packet_set_window(struct packet *packet, uint16_t window, bool checksum_absent)
{
    adjust(packet, packet->window, window, checksum_absent);
    store_be16(packet->bytes + packet->tcp_at + TCP_WINDOW_AT, window);
    packet->window = window;
}

void packet_set_flags(struct packet *packet, uint8_t flags, bool checksum_absent)
{
    uint8_t *at = packet->bytes + packet->tcp_at + TCP_FLAGS_AT - 1;
    uint16_t from = load_be16(at);
    uint16_t to = (uint16_t)((from & ~0x3f) | (flags & 0x3f));
    adjust(packet, from, to, checksum_absent);
    store_be16(at, to);
    packet->flags = flags & 0x3f;
}

void packet_blank_option(struct packet *packet, uint32_t at)
{
    memset(packet->bytes + at, OPTION_NOP, packet->bytes[at + 1]);
}

void packet_set_payload_len(struct packet *packet, uint32_t payload_len)
{
    uint8_t *ip = packet->bytes;
    uint32_t total = packet->payload_at + payload_len;
    assert(total <= 65535);
    packet->payload_len = payload_len;
    packet->len = total;
    if (packet->ip_version == 4) {
        uint16_t from = load_be16(ip + IPV4_LENGTH_AT);
        store_be16(ip + IPV4_LENGTH_AT, (uint16_t)total);
        store_be16(ip + IPV4_CHECKSUM_AT, checksum_adjust16(load_be16(ip + IPV4_CHECKSUM_AT), from, (uint16_t)total));
    } else {
        store_be16(ip + IPV6_LENGTH_AT, (uint16_t)(total - IPV6_HEADER));
    }
}

/* The pseudo-header of RFC 9293 3.1 and RFC 8200 8.1, the TCP header and the payload. */
static uint64_t sum_all(const struct packet *packet)
{
    uint32_t tcp_len = packet->len - packet->tcp_at;
    uint8_t pseudo[8] = {0};
    store_be32(pseudo, tcp_len);
    pseudo[7] = PROTOCOL_TCP;
    uint64_t sum = checksum_add(0, pseudo, sizeof pseudo);
    sum = checksum_add(sum, packet->bytes + packet->source_at, 2u * packet->address_len);
    return checksum_add(sum, packet->bytes + packet->tcp_at, tcp_len);
}

void packet_checksum_fill(struct packet *packet)
{
    uint8_t *at = packet->bytes + packet->tcp_at + TCP_CHECKSUM_AT;
    store_be16(at, 0);
    uint16_t checksum = checksum_finish(sum_all(packet));
    memcpy(at, &checksum, sizeof checksum);
}

bool packet_checksum_good(const struct packet *packet)
{
    return checksum_finish(sum_all(packet)) == 0;
}
