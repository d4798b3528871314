#include "segment.h"

#include <stdlib.h>

#include "base/octets.h"

/* Word by word in network order. */
uint32_t segment_sum(uint32_t sum, const uint8_t *octets, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? octets[i] : (uint32_t)octets[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

uint32_t segment_tcp_sum(const uint8_t *ip, uint32_t len, uint32_t tcp_at)
{
    uint32_t sum = ip[0] >> 4 == 4 ? segment_sum(0, ip + 12, 8) : segment_sum(0, ip + 8, 32);
    sum += 6 + (len - tcp_at);
    sum = (sum & 0xffff) + (sum >> 16);
    return segment_sum(sum, ip + tcp_at, len - tcp_at);
}

void segment_add_option(struct segment_options *options, uint8_t kind, const void *value, size_t len)
{
    assert(len + 2 <= sizeof options->octets - options->len);
    uint8_t *at = options->octets + options->len;
    at[0] = kind;
    at[1] = (uint8_t)(len + 2);
    if (len)
        memcpy(at + 2, value, len);
    options->len += len + 2;
}

void segment_add_mss(struct segment_options *options, uint16_t mss)
{
    uint8_t value[2];
    store_be16(value, mss);
    segment_add_option(options, 2, value, sizeof value);
}

void segment_add_window_scale(struct segment_options *options, uint8_t shift)
{
    segment_add_option(options, 3, &shift, 1);
}

void segment_add_timestamps(struct segment_options *options, uint32_t value, uint32_t echo)
{
    uint8_t octets[8];
    store_be32(octets, value);
    store_be32(octets + 4, echo);
    segment_add_option(options, 8, octets, sizeof octets);
}

void segment_add_sack(struct segment_options *options, uint32_t left, uint32_t right)
{
    uint8_t block[8];
    store_be32(block, left);
    store_be32(block + 4, right);
    for (size_t at = 0; at + 1 < options->len; at += options->octets[at + 1])
        if (options->octets[at] == 5) {
            assert(at + options->octets[at + 1] == options->len && options->len + 8 <= sizeof options->octets);
            memcpy(options->octets + options->len, block, 8);
            options->octets[at + 1] = (uint8_t)(options->octets[at + 1] + 8);
            options->len += 8;
            return;
        }
    segment_add_option(options, 5, block, sizeof block);
}

static uint32_t build_ip(uint8_t *ip, const struct segment *segment, uint32_t len)
{
    uint32_t before = (uint32_t)segment->before_tcp.len;
    if (segment->ip_version == 6) {
        store_be32(ip, 0x60000000);
        store_be16(ip + 4, (uint16_t)(len - 40));
        ip[6] = before ? segment->first_extension : 6;
        ip[7] = 64;
        static const uint8_t prefix[4] = {0x20, 0x01, 0x0d, 0xb8};
        memcpy(ip + 8, prefix, sizeof prefix);
        memcpy(ip + 24, prefix, sizeof prefix);
        ip[23] = segment->source;
        ip[39] = segment->destination;
        if (before)
            memcpy(ip + 40, segment->before_tcp.ptr, before);
        return 40 + before;
    }
    ip[0] = (uint8_t)(0x40 | (20 + before) / 4);
    store_be16(ip + 2, (uint16_t)len);
    ip[8] = 64;
    ip[9] = 6;
    store_be32(ip + 12, 0x0a010000u | segment->source);
    store_be32(ip + 16, 0x0a010000u | segment->destination);
    if (before)
        memcpy(ip + 20, segment->before_tcp.ptr, before);
    store_be16(ip + 10, (uint16_t)~segment_sum(0, ip, 20 + before));
    return 20 + before;
}

uint8_t *segment_build(const struct segment *segment, uint32_t *len)
{
    uint32_t options = (uint32_t)(segment->options.len + 3) / 4 * 4;
    uint32_t tcp_at = (segment->ip_version == 6 ? 40 : 20) + (uint32_t)segment->before_tcp.len;
    *len = tcp_at + 20 + options + (uint32_t)segment->payload.len;
    assert(*len <= 65535);
    uint8_t *ip = calloc(1, *len);
    assert(ip && build_ip(ip, segment, *len) == tcp_at);

    uint8_t *tcp = ip + tcp_at;
    store_be16(tcp, segment->source_port);
    store_be16(tcp + 2, segment->destination_port);
    store_be32(tcp + 4, segment->seq);
    store_be32(tcp + 8, segment->ack);
    tcp[12] = (uint8_t)((20 + options) / 4 << 4);
    tcp[13] = segment->flags;
    store_be16(tcp + 14, segment->window);
    store_be16(tcp + 18, segment->urgent);
    memset(tcp + 20, 1, options);
    memcpy(tcp + 20, segment->options.octets, segment->options.len);
    if (segment->payload.len)
        memcpy(tcp + 20 + options, segment->payload.ptr, segment->payload.len);
    store_be16(tcp + 16, (uint16_t)(~segment_tcp_sum(ip, *len, tcp_at) ^ segment->bad_checksum));
    return ip;
}

bool segment_checksums_good(const uint8_t *ip, uint32_t len)
{
    struct packet packet;
    uint8_t *copy = malloc(len);
    assert(copy);
    memcpy(copy, ip, len);
    bool good = packet_parse(&packet, copy, len) == PACKET_TCP && packet.len == len;
    good = good && segment_tcp_sum(ip, len, packet.tcp_at) == 0xffff;
    if (good && ip[0] >> 4 == 4)
        good = segment_sum(0, ip, (size_t)(ip[0] & 15) * 4) == 0xffff;
    free(copy);
    return good;
}
