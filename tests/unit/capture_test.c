/* Captures in every form this program reads, built here octet by octet, and every way in which they can be broken. */
#include "io/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define IP_BYTES             28 /* of the packet that most frames here carry */
#define PCAP_HEADER_BYTES    24
#define PCAP_RECORD_BYTES    16
#define MAGIC_US             0xa1b2c3d4
#define MAGIC_NS             0xa1b23c4d
#define PCAPNG_SECTION       0x0a0d0d0a
#define PCAPNG_INTERFACE     1
#define PCAPNG_SIMPLE_PACKET 3
#define PCAPNG_PACKET        6

/* ---- a folder of our own ----------------------------------------------------------------------- */

static char folder[512];
static char path[1024];     /* the file of the running test */
static char message[2048];  /* what was said last */
static int descriptor_next; /* the lowest free one when the test began */

static int lowest_descriptor(void)
{
    const int fd = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static int make_folder(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/capture_test.XXXXXX", parent != NULL ? parent : P_tmpdir);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "%s/case.pcap", folder);
    (void)snprintf(message, sizeof message, "untouched");
    descriptor_next = lowest_descriptor();
    return 0;
}

/* Every test gives back the files it opened, whichever way it went. */
static int end(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "%s/case.pcap", folder);
    (void)unlink(path);
    return lowest_descriptor() == descriptor_next ? 0 : -1;
}

/* ---- octets ------------------------------------------------------------------------------------ */

struct octets {
    uint8_t at[2 * CAPTURE_FRAME_BYTES_MAX];
    size_t len;
    bool swapped; /* numbers of the file format are big-endian */
};

static struct octets file;
static struct octets frame;

static void put8(struct octets *o, uint8_t value)
{
    assert_true(o->len < sizeof o->at);
    o->at[o->len++] = value;
}

static void put_fill(struct octets *o, uint8_t value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put8(o, value);
}

static void put_bytes(struct octets *o, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put8(o, bytes[i]);
}

static void put_be16(struct octets *o, unsigned value)
{
    put8(o, (uint8_t)(value >> 8));
    put8(o, (uint8_t)value);
}

static void put16(struct octets *o, unsigned value)
{
    put_be16(o, o->swapped ? value : (value >> 8 & 0xff) | (value & 0xff) << 8);
}

static void put32(struct octets *o, uint32_t value)
{
    put16(o, o->swapped ? value >> 16 : value & 0xffff);
    put16(o, o->swapped ? value & 0xffff : value >> 16);
}

static void put_ip(struct octets *o)
{
    put8(o, 0x45);
    for (uint8_t i = 1; i < IP_BYTES; i++)
        put8(o, i);
}

/* ---- files ------------------------------------------------------------------------------------- */

static void save(const uint8_t *bytes, size_t len)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, len, stream), len);
    assert_int_equal(fclose(stream), 0);
}

static void start_pcap(bool swapped, uint32_t magic, uint32_t snap_len, uint32_t link_type)
{
    file.len = 0;
    file.swapped = swapped;
    put32(&file, magic);
    put16(&file, 2);
    put16(&file, 4);
    put32(&file, 0);
    put32(&file, 0);
    put32(&file, snap_len);
    put32(&file, link_type);
}

static void put_record(uint32_t seconds, uint32_t fraction, uint32_t lost, const uint8_t *bytes, size_t len)
{
    put32(&file, seconds);
    put32(&file, fraction);
    put32(&file, (uint32_t)len);
    put32(&file, (uint32_t)len + lost);
    put_bytes(&file, bytes, len);
}

static void start_pcapng(bool swapped)
{
    file.len = 0;
    file.swapped = swapped;
    put32(&file, PCAPNG_SECTION);
    put32(&file, 28);
    put32(&file, 0x1a2b3c4d);
    put16(&file, 1);
    put16(&file, 0);
    put32(&file, UINT32_MAX); /* the section's length is not told */
    put32(&file, UINT32_MAX);
    put32(&file, 28);
}

/* `ticks`: stamps are in units of 10^-ticks seconds (if_tsresol). */
static void put_interface(unsigned link_type, uint32_t snap_len, uint8_t ticks)
{
    put32(&file, PCAPNG_INTERFACE);
    put32(&file, 32);
    put16(&file, link_type);
    put16(&file, 0);
    put32(&file, snap_len);
    put16(&file, 9);
    put16(&file, 1);
    put8(&file, ticks);
    put_fill(&file, 0, 3);
    put32(&file, 0); /* opt_endofopt */
    put32(&file, 32);
}

static void put_packet(uint32_t interface, uint64_t stamp, const uint8_t *bytes, size_t len)
{
    const size_t padding = (4 - len % 4) % 4;
    const uint32_t block = (uint32_t)(32 + len + padding);
    put32(&file, PCAPNG_PACKET);
    put32(&file, block);
    put32(&file, interface);
    put32(&file, (uint32_t)(stamp >> 32));
    put32(&file, (uint32_t)stamp);
    put32(&file, (uint32_t)len);
    put32(&file, (uint32_t)len);
    put_bytes(&file, bytes, len);
    put_fill(&file, 0, padding);
    put32(&file, block);
}

/* ---- what is expected -------------------------------------------------------------------------- */

/* One line: the file, what is wrong with `word` in it, what to do. */
static void assert_message(const char *name, const char *word)
{
    if (strncmp(message, name, strlen(name)) != 0 || strncmp(message + strlen(name), ": ", 2) != 0 ||
        strstr(message, word) == NULL || strstr(message, "; ") == NULL || strpbrk(message, "\r\n\t") != NULL)
        fail_msg("not the expected message about \"%s\": %s", word, message);
}

static struct capture_reader *open_good(void)
{
    struct capture_reader *reader;
    const enum capture_status status = capture_open(path, &reader, message, sizeof message);
    if (status != CAPTURE_OK)
        fail_msg("%s", message);
    assert_non_null(reader);
    return reader;
}

static void assert_open_fails(enum capture_status expected, const char *word)
{
    struct capture_reader *reader = (struct capture_reader *)path;
    assert_int_equal(capture_open(path, &reader, message, sizeof message), expected);
    assert_null(reader);
    assert_message(path, word);
}

static struct capture_packet next_good(struct capture_reader *reader)
{
    struct capture_packet packet;
    if (capture_next(reader, &packet, message, sizeof message) != CAPTURE_OK)
        fail_msg("no packet: %s", message);
    assert_true(packet.frame_len <= CAPTURE_FRAME_BYTES_MAX);
    assert_true(packet.ip_at <= packet.frame_len);
    assert_int_equal(packet.ip_len, packet.frame_len - packet.ip_at);
    packet.frame[CAPTURE_FRAME_BYTES_MAX - 1] ^= 1; /* all of the room is there */
    packet.frame[CAPTURE_FRAME_BYTES_MAX - 1] ^= 1;
    return packet;
}

/* The end is the end, however often one asks. */
static void assert_over(struct capture_reader *reader, enum capture_status expected)
{
    struct capture_packet packet = {.frame_len = 7};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(capture_next(reader, &packet, message, sizeof message), expected);
        assert_int_equal(packet.frame_len, 7);
    }
}

/* ---- link types -------------------------------------------------------------------------------- */

/* A link header: `lead` octets, then numbers of 16 bits, then `trail` octets. */
static const struct link_row {
    const char *label;
    int link_type;
    size_t lead;
    uint16_t words[9];
    size_t word_count;
    size_t trail;
    bool ip; /* IP is what follows */
} link_rows[] = {
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

#define LINK_ROWS (sizeof link_rows / sizeof link_rows[0])

/* Build the row's frame and return the length of its link header. */
static size_t build_frame(const struct link_row *row)
{
    frame.len = 0;
    put_fill(&frame, 0xee, row->lead);
    for (size_t i = 0; i < row->word_count; i++)
        put_be16(&frame, row->words[i]);
    put_fill(&frame, 0xee, row->trail);
    const size_t header_len = frame.len;
    put_ip(&frame);
    return header_len;
}

/* Write the frame, then every prefix of it: where a header is not whole there is no IP, whatever stood there before. */
static void check_link_row(const struct link_row *row)
{
    const size_t header_len = build_frame(row);
    struct capture_writer *writer;
    assert_int_equal(capture_create(path, row->link_type, &writer, message, sizeof message), CAPTURE_OK);
    for (size_t len = frame.len + 1; len-- > 0;) {
        capture_write(writer, 0, (struct span){0}, (struct span){frame.at, frame.len});
        capture_write(writer, 0, (struct span){0}, (struct span){frame.at, len});
    }
    assert_int_equal(capture_finish(writer, message, sizeof message), CAPTURE_OK);

    struct capture_reader *reader = open_good();
    assert_int_equal(capture_link_type(reader), row->link_type);
    for (size_t len = frame.len + 1; len-- > 0;) {
        struct capture_packet packet = next_good(reader);
        assert_int_equal(packet.frame_len, frame.len);
        assert_memory_equal(packet.frame, frame.at, frame.len);
        if (packet.ip_at != (row->ip ? header_len : frame.len))
            fail_msg("%s: IP at %u", row->label, packet.ip_at);

        packet = next_good(reader);
        assert_int_equal(packet.frame_len, len);
        assert_false(packet.cut_short);
        if (packet.ip_at != (row->ip && len >= header_len ? header_len : len))
            fail_msg("%s, %zu octets of it: IP at %u", row->label, len, packet.ip_at);
    }
    assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

static void test_link_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINK_ROWS; i++)
        check_link_row(&link_rows[i]);
    assert_string_equal(message, "untouched");
}

/* In version 2 a tag's own octets stand behind the header, not behind the type. */
static void test_cooked_v2_tag(void **state)
{
    (void)state;
    frame.len = 0;
    put_be16(&frame, 0x8100);
    put_fill(&frame, 0xee, 18);
    put_be16(&frame, 5);
    put_be16(&frame, 0x86dd);
    put_ip(&frame);
    start_pcap(false, MAGIC_US, 65535, 276);
    put_record(1, 2, 0, frame.at, frame.len);
    save(file.at, file.len);

    struct capture_reader *reader = open_good();
    assert_int_equal(next_good(reader).ip_at, 24);
    capture_close(reader);
}

static void test_tag_stacks(void **state)
{
    (void)state;
    for (size_t tags = 0; tags < CAPTURE_FRAME_BYTES_MAX / 4; tags = tags * 3 + 1) {
        frame.len = 0;
        put_fill(&frame, 0xee, 12);
        for (size_t i = 0; i < tags; i++) {
            put_be16(&frame, i % 2 ? 0x8100 : 0x88a8);
            put_be16(&frame, 0x0800);
        }
        const size_t ip_at = frame.len + 2;
        put_be16(&frame, 0x0800);
        put_ip(&frame);

        start_pcap(false, MAGIC_US, CAPTURE_FRAME_BYTES_MAX, 1);
        put_record(1, 2, 0, frame.at, frame.len);
        put_record(1, 2, 0, frame.at, ip_at - 2); /* tags to the very end */
        save(file.at, file.len);

        struct capture_reader *reader = open_good();
        struct capture_packet packet = next_good(reader);
        assert_int_equal(packet.ip_at, ip_at);
        assert_int_equal(packet.ip_len, IP_BYTES);
        packet = next_good(reader);
        assert_int_equal(packet.ip_at, packet.frame_len);
        assert_int_equal(packet.ip_len, 0);
        capture_close(reader);
    }
}

static void test_unknown_link_types(void **state)
{
    (void)state;
    start_pcap(false, MAGIC_US, 65535, 105);
    save(file.at, file.len);
    assert_open_fails(CAPTURE_LINK_TYPE, "IEEE802_11");
    assert_message(path, "EN10MB, RAW, IPV4, IPV6, LINUX_SLL, LINUX_SLL2, NULL, LOOP");

    start_pcap(false, MAGIC_US, 65535, 9999);
    save(file.at, file.len);
    assert_open_fails(CAPTURE_LINK_TYPE, "9999");

    start_pcapng(false);
    put_interface(127, 0, 6);
    save(file.at, file.len);
    assert_open_fails(CAPTURE_LINK_TYPE, "IEEE802_11_RADIO");
}

/* ---- forms of the pcap format ------------------------------------------------------------------ */

static void test_pcap_forms(void **state)
{
    static const struct {
        const char *label;
        bool swapped;
        uint32_t magic, snap_len, seconds, fraction, lost;
        int64_t time_us;
    } rows[] = {
        {"microseconds", false, MAGIC_US, 65535, 1700000000, 123456, 0, 1700000000123456},
        {"microseconds, big-endian", true, MAGIC_US, 65535, 1700000000, 123456, 0, 1700000000123456},
        {"nanoseconds", false, MAGIC_NS, 65535, 1700000000, 123456789, 0, 1700000000123456},
        {"nanoseconds, big-endian", true, MAGIC_NS, 65535, 1700000000, 999999999, 0, 1700000000999999},
        {"after 2038", false, MAGIC_US, 65535, 4000000000, 1, 0, 4000000000000001},
        {"after 2038, big-endian", true, MAGIC_US, 65535, 4000000000, 1, 0, 4000000000000001},
        {"a senseless fraction", false, MAGIC_US, 65535, 1700000000, 1000000, 0, 0},
        {"a negative fraction", false, MAGIC_US, 65535, 1700000000, UINT32_MAX, 0, 0},
        {"no snap length", false, MAGIC_US, 0, 1, 0, 0, 1000000},
        {"a huge snap length", false, MAGIC_US, INT32_MAX, 1, 0, 0, 1000000},
        {"a negative snap length", false, MAGIC_US, UINT32_MAX, 1, 0, 0, 1000000},
        {"octets lost to the snap length", false, MAGIC_US, IP_BYTES, 1, 0, 1000, 1000000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        frame.len = 0;
        put_ip(&frame);
        start_pcap(rows[i].swapped, rows[i].magic, rows[i].snap_len, 101);
        put_record(rows[i].seconds, rows[i].fraction, rows[i].lost, frame.at, frame.len);
        save(file.at, file.len);

        struct capture_reader *reader = open_good();
        assert_int_equal(capture_link_type(reader), DLT_RAW);
        const struct capture_packet packet = next_good(reader);
        if (packet.time_us != rows[i].time_us)
            fail_msg("%s: %lld", rows[i].label, (long long)packet.time_us);
        assert_int_equal(packet.frame_len, IP_BYTES);
        assert_memory_equal(packet.frame, frame.at, IP_BYTES);
        assert_int_equal(packet.cut_short, rows[i].lost != 0);
        assert_over(reader, CAPTURE_END);
        capture_close(reader);
    }
}

/* A record longer than the header's snap length: libpcap drops the rest, and the packet says so. */
static void test_beyond_snap_length(void **state)
{
    (void)state;
    frame.len = 0;
    put_ip(&frame);
    start_pcap(false, MAGIC_US, 20, 101);
    put_record(1, 0, 0, frame.at, frame.len);
    put_record(2, 0, 0, frame.at, 20);
    save(file.at, file.len);

    struct capture_reader *reader = open_good();
    struct capture_packet packet = next_good(reader);
    assert_int_equal(packet.frame_len, 20);
    assert_true(packet.cut_short);
    packet = next_good(reader);
    assert_int_equal(packet.frame_len, 20);
    assert_false(packet.cut_short);
    assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

/* ---- pcapng ------------------------------------------------------------------------------------ */

static void test_pcapng(void **state)
{
    (void)state;
    for (int swapped = 0; swapped < 2; swapped++) {
        (void)build_frame(&link_rows[0]);
        start_pcapng(swapped);
        put_interface(1, 0, 6);
        put_interface(1, 0, 9); /* a second one of the same type, with nanoseconds */
        put_packet(0, 1700000000123456, frame.at, frame.len);
        put_packet(1, 1700000000123456789, frame.at, frame.len);
        put32(&file, PCAPNG_SIMPLE_PACKET); /* it has no stamp */
        put32(&file, 16 + 40);
        put32(&file, 40);
        put_bytes(&file, frame.at, 40);
        put32(&file, 16 + 40);
        put_packet(0, UINT64_MAX, frame.at, frame.len);
        save(file.at, file.len);

        struct capture_reader *reader = open_good();
        assert_int_equal(capture_link_type(reader), DLT_EN10MB);
        static const int64_t times[] = {1700000000123456, 1700000000123456, 0, 0};
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            const struct capture_packet packet = next_good(reader);
            assert_int_equal(packet.time_us, times[i]);
            assert_int_equal(packet.ip_at, 14);
            assert_int_equal(packet.frame_len, i == 2 ? 40 : frame.len);
            assert_memory_equal(packet.frame, frame.at, packet.frame_len);
        }
        assert_over(reader, CAPTURE_END);
        capture_close(reader);
    }
}

/* Stamps in whole seconds: a 64-bit number of them, which must not overflow on the way to microseconds. */
static void test_pcapng_senseless_times(void **state)
{
    (void)state;
    static const uint64_t stamps[] = {5, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX / 1000000, UINT64_MAX};
    static const int64_t times[] = {5000000, 4294967295000000, 0, 0, INT64_MAX};

    frame.len = 0;
    put_ip(&frame);
    start_pcapng(false);
    put_interface(228, 0, 0);
    for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++)
        put_packet(0, stamps[i], frame.at, frame.len);
    save(file.at, file.len);

    struct capture_reader *reader = open_good();
    assert_int_equal(capture_link_type(reader), DLT_IPV4);
    for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
        const struct capture_packet packet = next_good(reader);
        if (times[i] != INT64_MAX) /* 2^64 - 1 seconds are -1 to libpcap; which of the two is not ours to say */
            assert_int_equal(packet.time_us, times[i]);
        assert_true(packet.time_us >= 0);
    }
    assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

static void test_pcapng_mixed_interfaces(void **state)
{
    (void)state;
    static const struct {
        unsigned link_type;
        uint32_t snap_len;
    } seconds[] = {{113, 0}, {1, 96}};

    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        (void)build_frame(&link_rows[0]);
        start_pcapng(false);
        put_interface(1, 0, 6);
        put_packet(0, 1, frame.at, frame.len);
        put_interface(seconds[i].link_type, seconds[i].snap_len, 6);
        put_packet(1, 2, frame.at, frame.len);
        save(file.at, file.len);

        struct capture_reader *reader = open_good();
        (void)next_good(reader);
        assert_over(reader, CAPTURE_DAMAGED);
        assert_message(path, "after packet 1 ");
        assert_message(path, "each interface");
        capture_close(reader);
    }
}

static void test_pcapng_without_interface(void **state)
{
    (void)state;
    start_pcapng(false);
    save(file.at, file.len);
    assert_open_fails(CAPTURE_NOT_ONE, "is not a capture file");
}

/* Longest frames: the limit itself passes in both formats, one octet more is damage. */
static void test_longest_frames(void **state)
{
    (void)state;
    frame.len = 0;
    put_fill(&frame, 0x45, CAPTURE_FRAME_BYTES_MAX + 1);
    for (int is_pcapng = 0; is_pcapng < 2; is_pcapng++)
        for (size_t over = 0; over < 2; over++) {
            const size_t len = CAPTURE_FRAME_BYTES_MAX + over;
            if (is_pcapng) {
                start_pcapng(false);
                put_interface(101, 1000000, 6);
                put_packet(0, 0, frame.at, len);
            } else {
                start_pcap(false, MAGIC_US, 1000000, 101);
                put_record(0, 0, 0, frame.at, len);
            }
            save(file.at, file.len);

            struct capture_reader *reader = open_good();
            if (over == 0) {
                assert_int_equal(next_good(reader).ip_len, CAPTURE_FRAME_BYTES_MAX);
                assert_over(reader, CAPTURE_END);
            } else {
                assert_over(reader, CAPTURE_DAMAGED);
                assert_message(path, "262145");
            }
            capture_close(reader);
        }
}

/* A record that claims more than any file holds must cost no such memory. */
static void test_claimed_length(void **state)
{
    (void)state;
    frame.len = 0;
    put_ip(&frame);
    start_pcap(false, MAGIC_US, INT32_MAX, 101);
    put_record(1, 0, 0, frame.at, frame.len);
    put_record(1, 0, 0, frame.at, 0);
    file.at[file.len - 5] = 0x7f; /* the captured length's highest octet */
    put_bytes(&file, frame.at, frame.len);
    save(file.at, file.len);

    struct capture_reader *reader = open_good();
    (void)next_good(reader);
    assert_over(reader, CAPTURE_DAMAGED);
    assert_message(path, "after packet 1 ");
    capture_close(reader);
}

/* ---- truncated files --------------------------------------------------------------------------- */

#define PACKETS 3

/* The file's first `len` octets; `header_len` are its header's, `ends` where each packet ends. */
static void check_truncated(size_t len, size_t header_len, const size_t ends[PACKETS])
{
    save(file.at, len);
    if (len < header_len) {
        assert_open_fails(CAPTURE_NOT_ONE, len == 0 ? "is empty" : "is not a capture file");
        return;
    }
    unsigned whole = 0;
    while (whole < PACKETS && ends[whole] <= len)
        whole++;

    struct capture_reader *reader = open_good();
    for (unsigned i = 0; i < whole; i++)
        assert_int_equal(next_good(reader).time_us, i);

    if (len == header_len || (whole > 0 && len == ends[whole - 1])) {
        assert_over(reader, CAPTURE_END);
    } else {
        char place[32];
        (void)snprintf(place, sizeof place, "after packet %u ", whole);
        assert_over(reader, CAPTURE_DAMAGED);
        assert_message(path, place);
        assert_message(path, "truncated");
    }
    capture_close(reader);
}

static void test_truncated_pcap(void **state)
{
    (void)state;
    size_t ends[PACKETS];
    (void)build_frame(&link_rows[0]);
    start_pcap(false, MAGIC_US, 65535, 1);
    assert_int_equal(file.len, PCAP_HEADER_BYTES);
    for (uint32_t i = 0; i < PACKETS; i++) {
        put_record(0, i, 0, frame.at, frame.len - i);
        ends[i] = file.len;
    }
    assert_int_equal(ends[0], PCAP_HEADER_BYTES + PCAP_RECORD_BYTES + frame.len);
    for (size_t len = 0; len <= file.len; len++)
        check_truncated(len, PCAP_HEADER_BYTES, ends);
}

static void test_truncated_pcapng(void **state)
{
    (void)state;
    size_t ends[PACKETS];
    (void)build_frame(&link_rows[0]);
    start_pcapng(false);
    put_interface(1, 0, 6);
    const size_t header_len = file.len;
    for (uint32_t i = 0; i < PACKETS; i++) {
        put_packet(0, i, frame.at, frame.len - i);
        ends[i] = file.len;
    }
    for (size_t len = 0; len <= file.len; len++)
        check_truncated(len, header_len, ends);
}

/* ---- what cannot be opened, and what is no capture --------------------------------------------- */

static void test_not_a_capture(void **state)
{
    static const char *const texts[] = {"",         "x",
                                        "abc",      "EHLO example.org\r\nMAIL FROM:<>\r\n",
                                        "\n\r\r\n", "\n\r\r\nno section header at all, only text that begins so\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        save((const uint8_t *)texts[i], strlen(texts[i]));
        assert_open_fails(CAPTURE_NOT_ONE, i == 0 ? "is empty" : "is not a capture file");
    }

    start_pcap(false, MAGIC_US, 65535, 1);
    file.at[4] = 9; /* the version */
    save(file.at, file.len);
    assert_open_fails(CAPTURE_NOT_ONE, "version");
}

static void test_cannot_open(void **state)
{
    (void)state;
    assert_open_fails(CAPTURE_CANNOT, strerror(ENOENT));
    (void)snprintf(path, sizeof path, "%s", folder);
    assert_open_fails(CAPTURE_CANNOT, strerror(EISDIR));
}

/* A message is one line even where the name is not, and never more than it has room for. */
static void test_messages(void **state)
{
    (void)state;
    struct capture_reader *reader;
    (void)snprintf(path, sizeof path, "%s/two\nlines\t\x7f", folder);
    assert_int_equal(capture_open(path, &reader, message, sizeof message), CAPTURE_CANNOT);
    assert_non_null(strstr(message, "two?lines??: "));
    assert_null(strpbrk(message, "\n\t\x7f"));

    for (size_t size = 0; size < 40; size++) {
        memset(message, 'x', sizeof message);
        assert_int_equal(capture_open(path, &reader, message, size), CAPTURE_CANNOT);
        assert_null(reader);
        assert_int_equal(message[size], 'x');
        if (size > 0)
            assert_int_equal(strnlen(message, size), size - 1);
    }
    assert_int_equal(capture_open(path, &reader, NULL, 0), CAPTURE_CANNOT);
    capture_close(NULL);
    assert_int_equal(capture_finish(NULL, NULL, 0), CAPTURE_OK);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
    static const int64_t times[] = {0, 999999, 1700000000123456, INT64_C(4294967295) * 1000000 + 999999, -1, INT64_MAX};

    (void)state;
    for (size_t r = 0; r < LINK_ROWS; r++) {
        const size_t header_len = build_frame(&link_rows[r]);
        const struct span header = {frame.at, header_len};
        const struct span ip = {frame.at + header_len, frame.len - header_len};

        struct capture_writer *writer;
        assert_int_equal(capture_create(path, link_rows[r].link_type, &writer, message, sizeof message), CAPTURE_OK);
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
            capture_write(writer, times[i], header, span_head(ip, ip.len - i));
        assert_int_equal(capture_finish(writer, message, sizeof message), CAPTURE_OK);

        struct capture_reader *reader = open_good();
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            const struct capture_packet packet = next_good(reader);
            assert_int_equal(packet.time_us, times[i] < 0 ? 0 : times[i] == INT64_MAX ? times[3] : times[i]);
            assert_int_equal(packet.frame_len, frame.len - i);
            assert_memory_equal(packet.frame, frame.at, frame.len - i);
            assert_false(packet.cut_short);
        }
        assert_over(reader, CAPTURE_END);
        capture_close(reader);
    }
}

/* The reader's own frame, edited in place, straight into the writer. */
static void test_edit_in_place(void **state)
{
    (void)state;
    char copy[sizeof path + 8];
    (void)snprintf(copy, sizeof copy, "%s.copy", path);
    const size_t header_len = build_frame(&link_rows[0]);
    start_pcap(false, MAGIC_US, 65535, 1);
    put_record(1, 2, 0, frame.at, frame.len);
    save(file.at, file.len);

    struct capture_reader *reader = open_good();
    struct capture_writer *writer;
    assert_int_equal(capture_create(copy, capture_link_type(reader), &writer, message, sizeof message), CAPTURE_OK);
    struct capture_packet packet = next_good(reader);
    packet.frame[packet.ip_at + packet.ip_len] = 0xab; /* one octet longer than it came */
    packet.ip_len++;
    capture_write(writer, packet.time_us, (struct span){packet.frame, packet.ip_at},
                  (struct span){packet.frame + packet.ip_at, packet.ip_len});
    assert_int_equal(capture_finish(writer, message, sizeof message), CAPTURE_OK);
    capture_close(reader);

    assert_int_equal(rename(copy, path), 0);
    reader = open_good();
    packet = next_good(reader);
    assert_int_equal(packet.ip_at, header_len);
    assert_int_equal(packet.ip_len, IP_BYTES + 1);
    assert_int_equal(packet.frame[packet.frame_len - 1], 0xab);
    capture_close(reader);
}

static void test_write_too_long(void **state)
{
    (void)state;
    frame.len = 0;
    put_fill(&frame, 0x45, CAPTURE_FRAME_BYTES_MAX);
    struct capture_writer *writer;
    assert_int_equal(capture_create(path, DLT_RAW, &writer, message, sizeof message), CAPTURE_OK);
    const struct span longest = {frame.at, frame.len};
    capture_write(writer, 1, span_head(longest, 14), longest);
    capture_write(writer, 2, longest, span_head(longest, 14));
    capture_write(writer, 3, longest, (struct span){0});
    assert_int_equal(capture_finish(writer, message, sizeof message), CAPTURE_OK);

    struct capture_reader *reader = open_good();
    for (int i = 1; i <= 3; i++) {
        const struct capture_packet packet = next_good(reader);
        assert_int_equal(packet.time_us, i);
        assert_int_equal(packet.frame_len, CAPTURE_FRAME_BYTES_MAX);
        assert_int_equal(packet.cut_short, i < 3);
    }
    assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

static void assert_create_fails(int link_type, enum capture_status expected, const char *word)
{
    struct capture_writer *writer = (struct capture_writer *)path;
    assert_int_equal(capture_create(path, link_type, &writer, message, sizeof message), expected);
    assert_null(writer);
    assert_message(path, word);
}

static void test_cannot_create(void **state)
{
    (void)state;
    assert_create_fails(DLT_IEEE802_11, CAPTURE_LINK_TYPE, "IEEE802_11");
    assert_int_equal(access(path, F_OK), -1);
    (void)snprintf(path, sizeof path, "%s/none/x.pcap", folder);
    assert_create_fails(DLT_EN10MB, CAPTURE_CANNOT, strerror(ENOENT));
    (void)snprintf(path, sizeof path, "%s", folder);
    assert_create_fails(DLT_EN10MB, CAPTURE_CANNOT, strerror(EISDIR));
}

/* A full disk is found at once or only by the flush, and both end in capture_finish. */
static void test_disk_full(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/dev/full");
    if (access(path, W_OK) != 0)
        skip();
    frame.len = 0;
    put_ip(&frame);
    for (int count = 0; count <= 1000; count = count * 10 + 1) {
        struct capture_writer *writer;
        assert_int_equal(capture_create(path, DLT_RAW, &writer, message, sizeof message), CAPTURE_OK);
        for (int i = 0; i < count; i++)
            capture_write(writer, i, (struct span){0}, (struct span){frame.at, frame.len});
        assert_int_equal(capture_finish(writer, message, sizeof message), CAPTURE_CANNOT);
        assert_message(path, strerror(ENOSPC));
    }
}

/* ---- standard input and output ----------------------------------------------------------------- */

/* Let `fd` be another file for a while; the old one is returned. */
static int borrow_descriptor(int fd, int flags)
{
    const int old = dup(fd);
    const int new = open(path, flags, 0600);
    assert_true(old >= 0 && new >= 0);
    assert_int_equal(dup2(new, fd), fd);
    close(new);
    return old;
}

static void return_descriptor(int fd, int old)
{
    assert_int_equal(dup2(old, fd), fd);
    close(old);
}

static void test_standard_streams(void **state)
{
    (void)state;
    frame.len = 0;
    put_ip(&frame);

    /* Nothing is asserted while the test's own output goes into the file. */
    (void)fflush(stdout);
    int old = borrow_descriptor(STDOUT_FILENO, O_WRONLY | O_CREAT | O_TRUNC);
    struct capture_writer *writer;
    const enum capture_status created = capture_create("-", DLT_RAW, &writer, message, sizeof message);
    if (created == CAPTURE_OK)
        capture_write(writer, 42, (struct span){0}, (struct span){frame.at, frame.len});
    const enum capture_status finished =
        created == CAPTURE_OK ? capture_finish(writer, message, sizeof message) : created;
    return_descriptor(STDOUT_FILENO, old);
    assert_int_equal(finished, CAPTURE_OK);

    for (int round = 0; round < 2; round++) {
        old = borrow_descriptor(STDIN_FILENO, O_RDONLY);
        struct capture_reader *reader;
        const enum capture_status opened = capture_open("-", &reader, message, sizeof message);
        if (round == 0) {
            assert_int_equal(opened, CAPTURE_OK);
            assert_int_equal(next_good(reader).time_us, 42);
            assert_over(reader, CAPTURE_END);
            capture_close(reader);
            save(frame.at, 0);
        } else {
            assert_int_equal(opened, CAPTURE_NOT_ONE);
            assert_message("standard input", "is empty");
        }
        clearerr(stdin);
        return_descriptor(STDIN_FILENO, old);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_link_types),
        TEST(test_cooked_v2_tag),
        TEST(test_tag_stacks),
        TEST(test_unknown_link_types),
        TEST(test_pcap_forms),
        TEST(test_beyond_snap_length),
        TEST(test_pcapng),
        TEST(test_pcapng_senseless_times),
        TEST(test_pcapng_mixed_interfaces),
        TEST(test_pcapng_without_interface),
        TEST(test_longest_frames),
        TEST(test_claimed_length),
        TEST(test_truncated_pcap),
        TEST(test_truncated_pcapng),
        TEST(test_not_a_capture),
        TEST(test_cannot_open),
        TEST(test_messages),
        TEST(test_round_trip),
        TEST(test_edit_in_place),
        TEST(test_write_too_long),
        TEST(test_cannot_create),
        TEST(test_disk_full),
        TEST(test_standard_streams),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
