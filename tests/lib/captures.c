#include "captures.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCAPNG_SECTION   0x0a0d0d0a
#define PCAPNG_INTERFACE 1
#define PCAPNG_PACKET    6

struct captures captures;

static int descriptor_next; /* the lowest free one when the test began */

static int lowest_descriptor(void)
{
    const int fd = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

int captures_make_folder(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    (void)snprintf(captures.folder, sizeof captures.folder, "%s/captures.XXXXXX", parent != NULL ? parent : P_tmpdir);
    return mkdtemp(captures.folder) == NULL ? -1 : 0;
}

int captures_remove_folder(void **state)
{
    (void)state;
    return rmdir(captures.folder);
}

int captures_begin(void **state)
{
    (void)state;
    (void)snprintf(captures.path, sizeof captures.path, "%s/case.pcap", captures.folder);
    (void)snprintf(captures.message, sizeof captures.message, "untouched");
    descriptor_next = lowest_descriptor();
    return 0;
}

/* Every test gives back the files it opened, whichever way it went. */
int captures_end(void **state)
{
    (void)state;
    (void)snprintf(captures.path, sizeof captures.path, "%s/case.pcap", captures.folder);
    (void)unlink(captures.path);
    return lowest_descriptor() == descriptor_next ? 0 : -1;
}

/* ---- octets ------------------------------------------------------------------------------------ */

static void put8(struct captures_octets *o, uint8_t value)
{
    assert_true(o->len < sizeof o->at);
    o->at[o->len++] = value;
}

void captures_put_fill(struct captures_octets *o, uint8_t value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put8(o, value);
}

void captures_put_bytes(struct captures_octets *o, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put8(o, bytes[i]);
}

void captures_put_be16(struct captures_octets *o, unsigned value)
{
    put8(o, (uint8_t)(value >> 8));
    put8(o, (uint8_t)value);
}

static void put16(struct captures_octets *o, unsigned value)
{
    captures_put_be16(o, o->swapped ? value : (value >> 8 & 0xff) | (value & 0xff) << 8);
}

void captures_put32(struct captures_octets *o, uint32_t value)
{
    put16(o, o->swapped ? value >> 16 : value & 0xffff);
    put16(o, o->swapped ? value & 0xffff : value >> 16);
}

void captures_put_ip(struct captures_octets *o)
{
    put8(o, 0x45);
    for (uint8_t i = 1; i < CAPTURES_IP_BYTES; i++)
        put8(o, i);
}

/* ---- frames ------------------------------------------------------------------------------------ */

const struct captures_link captures_links[CAPTURES_LINKS] = {
    {"Ethernet, IPv4", DLT_EN10MB, 12, {0x0800}, 1, 0, true},
    {"Ethernet, IPv6", DLT_EN10MB, 12, {0x86dd}, 1, 0, true},
    {"Ethernet, ARP", DLT_EN10MB, 12, {0x0806}, 1, 0, false},
    {"Ethernet, a length instead of a type", DLT_EN10MB, 12, {46}, 1, 0, false},
    {"Ethernet, 802.1Q", DLT_EN10MB, 12, {0x8100, 5, 0x0800}, 3, 0, true},
    {"Ethernet, 802.1Q, IPv6", DLT_EN10MB, 12, {0x8100, 0xe005, 0x86dd}, 3, 0, true},
    {"Ethernet, 802.1Q whose number looks like IPv4", DLT_EN10MB, 12, {0x8100, 0x0800, 0x0806}, 3, 0, false},
    {"Ethernet, 802.1ad and 802.1Q", DLT_EN10MB, 12, {0x88a8, 7, 0x8100, 5, 0x0800}, 5, 0, true},
    {"Ethernet, the older stacked tag", DLT_EN10MB, 12, {0x9100, 7, 0x8100, 5, 0x86dd}, 5, 0, true},
    {"Ethernet, four tags", DLT_EN10MB, 12, {0x88a8, 1, 0x88a8, 2, 0x8100, 3, 0x8100, 4, 0x0800}, 9, 0, true},
    {"Ethernet, tags and then MPLS", DLT_EN10MB, 12, {0x88a8, 1, 0x8100, 2, 0x8847}, 5, 0, false},
    {"raw", DLT_RAW, 0, {0}, 0, 0, true},
    {"IPv4", DLT_IPV4, 0, {0}, 0, 0, true},
    {"IPv6", DLT_IPV6, 0, {0}, 0, 0, true},
    {"cooked v1, IPv4", DLT_LINUX_SLL, 14, {0x0800}, 1, 0, true},
    {"cooked v1, IPv6", DLT_LINUX_SLL, 14, {0x86dd}, 1, 0, true},
    {"cooked v1, ARP", DLT_LINUX_SLL, 14, {0x0806}, 1, 0, false},
    {"cooked v1, 802.1Q", DLT_LINUX_SLL, 14, {0x8100, 5, 0x0800}, 3, 0, true},
    {"cooked v2, IPv4", DLT_LINUX_SLL2, 0, {0x0800}, 1, 18, true},
    {"cooked v2, IPv6", DLT_LINUX_SLL2, 0, {0x86dd}, 1, 18, true},
    {"cooked v2, ARP", DLT_LINUX_SLL2, 0, {0x0806}, 1, 18, false},
    {"cooked v2, 802.1Q, and no IP behind it", DLT_LINUX_SLL2, 0, {0x8100}, 1, 18, false},
    {"null, IPv4, big-endian", DLT_NULL, 0, {0, 2}, 2, 0, true},
    {"null, IPv4, little-endian", DLT_NULL, 0, {0x0200, 0}, 2, 0, true},
    {"null, IPv6 of Linux", DLT_NULL, 0, {0x0a00, 0}, 2, 0, true},
    {"null, IPv6 of NetBSD and OpenBSD", DLT_NULL, 0, {0x1800, 0}, 2, 0, true},
    {"null, IPv6 of FreeBSD", DLT_NULL, 0, {0, 28}, 2, 0, true},
    {"null, IPv6 of macOS", DLT_NULL, 0, {0x1e00, 0}, 2, 0, true},
    {"null, OSI", DLT_NULL, 0, {0x0700, 0}, 2, 0, false},
    {"null, neither order", DLT_NULL, 0, {0x0002, 0}, 2, 0, false},
    {"loop, IPv4", DLT_LOOP, 0, {0, 2}, 2, 0, true},
    {"loop, IPv6", DLT_LOOP, 0, {0, 24}, 2, 0, true},
    {"loop, IPv4 in the wrong order", DLT_LOOP, 0, {0x0200, 0}, 2, 0, false},
};

size_t captures_build_frame(struct captures_octets *frame, const struct captures_link *link)
{
    frame->len = 0;
    captures_put_fill(frame, 0xee, link->lead);
    for (size_t i = 0; i < link->word_count; i++)
        captures_put_be16(frame, link->words[i]);
    captures_put_fill(frame, 0xee, link->trail);
    const size_t header_len = frame->len;
    captures_put_ip(frame);
    return header_len;
}

/* ---- files ------------------------------------------------------------------------------------- */

void captures_start_pcap(struct captures_octets *file, bool swapped, uint32_t magic, uint32_t snap_len,
                         uint32_t link_type)
{
    file->len = 0;
    file->swapped = swapped;
    captures_put32(file, magic);
    put16(file, 2);
    put16(file, 4);
    captures_put32(file, 0);
    captures_put32(file, 0);
    captures_put32(file, snap_len);
    captures_put32(file, link_type);
}

void captures_put_record(struct captures_octets *file, uint32_t seconds, uint32_t fraction, uint32_t lost,
                         const uint8_t *bytes, size_t len)
{
    captures_put32(file, seconds);
    captures_put32(file, fraction);
    captures_put32(file, (uint32_t)len);
    captures_put32(file, (uint32_t)len + lost);
    captures_put_bytes(file, bytes, len);
}

void captures_start_pcapng(struct captures_octets *file, bool swapped)
{
    file->len = 0;
    file->swapped = swapped;
    captures_put32(file, PCAPNG_SECTION);
    captures_put32(file, 28);
    captures_put32(file, 0x1a2b3c4d);
    put16(file, 1);
    put16(file, 0);
    captures_put32(file, UINT32_MAX); /* the section's length is not told */
    captures_put32(file, UINT32_MAX);
    captures_put32(file, 28);
}

void captures_put_interface(struct captures_octets *file, unsigned link_type, uint32_t snap_len, uint8_t ticks)
{
    captures_put32(file, PCAPNG_INTERFACE);
    captures_put32(file, 32);
    put16(file, link_type);
    put16(file, 0);
    captures_put32(file, snap_len);
    put16(file, 9);
    put16(file, 1);
    put8(file, ticks);
    captures_put_fill(file, 0, 3);
    captures_put32(file, 0); /* opt_endofopt */
    captures_put32(file, 32);
}

void captures_put_packet(struct captures_octets *file, uint32_t interface, uint64_t stamp, const uint8_t *bytes,
                         size_t len)
{
    const size_t padding = (4 - len % 4) % 4;
    const uint32_t block = (uint32_t)(32 + len + padding);
    captures_put32(file, PCAPNG_PACKET);
    captures_put32(file, block);
    captures_put32(file, interface);
    captures_put32(file, (uint32_t)(stamp >> 32));
    captures_put32(file, (uint32_t)stamp);
    captures_put32(file, (uint32_t)len);
    captures_put32(file, (uint32_t)len);
    captures_put_bytes(file, bytes, len);
    captures_put_fill(file, 0, padding);
    captures_put32(file, block);
}

void captures_save(const uint8_t *bytes, size_t len)
{
    FILE *stream = fopen(captures.path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, len, stream), len);
    assert_int_equal(fclose(stream), 0);
}

/* ---- what is expected -------------------------------------------------------------------------- */

void captures_assert_message(const char *name, const char *word)
{
    if (strncmp(captures.message, name, strlen(name)) != 0 || strncmp(captures.message + strlen(name), ": ", 2) != 0 ||
        strstr(captures.message, word) == NULL || strstr(captures.message, "; ") == NULL ||
        strpbrk(captures.message, "\r\n\t") != NULL)
        fail_msg("not the expected message about \"%s\": %s", word, captures.message);
}

struct capture_reader *captures_open_good(void)
{
    struct capture_reader *reader;
    const enum capture_status status = capture_open(captures.path, &reader, captures.message, sizeof captures.message);
    if (status != CAPTURE_OK)
        fail_msg("%s", captures.message);
    assert_non_null(reader);
    return reader;
}

struct capture_packet captures_next_good(struct capture_reader *reader)
{
    struct capture_packet packet;
    if (capture_next(reader, &packet, captures.message, sizeof captures.message) != CAPTURE_OK)
        fail_msg("no packet: %s", captures.message);
    assert_true(packet.frame_len <= CAPTURE_FRAME_BYTES_MAX);
    assert_true(packet.ip_at <= packet.frame_len);
    assert_int_equal(packet.ip_len, packet.frame_len - packet.ip_at);
    packet.frame[CAPTURE_FRAME_BYTES_MAX - 1] ^= 1; /* all of the room is there */
    packet.frame[CAPTURE_FRAME_BYTES_MAX - 1] ^= 1;
    return packet;
}

void captures_assert_over(struct capture_reader *reader, enum capture_status expected)
{
    struct capture_packet packet = {.frame_len = 7};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(capture_next(reader, &packet, captures.message, sizeof captures.message), expected);
        assert_int_equal(packet.frame_len, 7);
    }
}
