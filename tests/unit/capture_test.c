/* Captures in every form this program reads, built here octet by octet, and every way in which they can be broken. */
#include "io/capture.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

#include "../lib/captures.h"
#include "../lib/one.h"

#define PCAP_HEADER_BYTES    24
#define PCAP_RECORD_BYTES    16
#define PCAPNG_SIMPLE_PACKET 3

static struct captures_octets file;
static struct captures_octets frame;

static void assert_open_fails(enum capture_status expected, const char *word)
{
    struct capture_reader *reader = (struct capture_reader *)captures.path;
    assert_int_equal(capture_open(captures.path, &reader, captures.message, sizeof captures.message), expected);
    assert_null(reader);
    captures_assert_message(captures.path, word);
}

/* ---- link types -------------------------------------------------------------------------------- */

/* Write the frame, then every prefix of it: where a header is not whole there is no IP, whatever stood there before. */
static void check_link_row(const struct captures_link *row)
{
    const size_t header_len = captures_build_frame(&frame, row);
    struct capture_writer *writer;
    assert_int_equal(capture_create(captures.path, row->link_type, &writer, captures.message, sizeof captures.message),
                     CAPTURE_OK);
    for (size_t len = frame.len + 1; len-- > 0;) {
        capture_write(writer, 0, (struct span){0}, (struct span){frame.at, frame.len});
        capture_write(writer, 0, (struct span){0}, (struct span){frame.at, len});
    }
    assert_int_equal(capture_finish(writer, captures.message, sizeof captures.message), CAPTURE_OK);

    struct capture_reader *reader = captures_open_good();
    assert_int_equal(capture_link_type(reader), row->link_type);
    for (size_t len = frame.len + 1; len-- > 0;) {
        struct capture_packet packet = captures_next_good(reader);
        assert_int_equal(packet.frame_len, frame.len);
        assert_memory_equal(packet.frame, frame.at, frame.len);
        if (packet.ip_at != (row->ip ? header_len : frame.len))
            fail_msg("%s: IP at %u", row->label, packet.ip_at);

        packet = captures_next_good(reader);
        assert_int_equal(packet.frame_len, len);
        assert_false(packet.cut_short);
        if (packet.ip_at != (row->ip && len >= header_len ? header_len : len))
            fail_msg("%s, %zu octets of it: IP at %u", row->label, len, packet.ip_at);
    }
    captures_assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

static void test_link_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < CAPTURES_LINKS; i++)
        if (one_row(captures_links[i].label))
            check_link_row(&captures_links[i]);
    assert_string_equal(captures.message, "untouched");
}

/* In version 2 a tag's own octets stand behind the header, not behind the type. */
static void test_cooked_v2_tag(void **state)
{
    (void)state;
    frame.len = 0;
    captures_put_be16(&frame, 0x8100);
    captures_put_fill(&frame, 0xee, 18);
    captures_put_be16(&frame, 5);
    captures_put_be16(&frame, 0x86dd);
    captures_put_ip(&frame);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 276);
    captures_put_record(&file, 1, 2, 0, frame.at, frame.len);
    captures_save(file.at, file.len);

    struct capture_reader *reader = captures_open_good();
    assert_int_equal(captures_next_good(reader).ip_at, 24);
    capture_close(reader);
}

static void test_tag_stacks(void **state)
{
    (void)state;
    for (size_t tags = 0; tags < CAPTURE_FRAME_BYTES_MAX / 4; tags = tags * 3 + 1) {
        frame.len = 0;
        captures_put_fill(&frame, 0xee, 12);
        for (size_t i = 0; i < tags; i++) {
            captures_put_be16(&frame, i % 2 ? 0x8100 : 0x88a8);
            captures_put_be16(&frame, 0x0800);
        }
        const size_t ip_at = frame.len + 2;
        captures_put_be16(&frame, 0x0800);
        captures_put_ip(&frame);

        captures_start_pcap(&file, false, CAPTURES_MAGIC_US, CAPTURE_FRAME_BYTES_MAX, 1);
        captures_put_record(&file, 1, 2, 0, frame.at, frame.len);
        captures_put_record(&file, 1, 2, 0, frame.at, ip_at - 2); /* tags to the very end */
        captures_save(file.at, file.len);

        struct capture_reader *reader = captures_open_good();
        struct capture_packet packet = captures_next_good(reader);
        assert_int_equal(packet.ip_at, ip_at);
        assert_int_equal(packet.ip_len, CAPTURES_IP_BYTES);
        packet = captures_next_good(reader);
        assert_int_equal(packet.ip_at, packet.frame_len);
        assert_int_equal(packet.ip_len, 0);
        capture_close(reader);
    }
}

static void test_unknown_link_types(void **state)
{
    (void)state;
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 105);
    captures_save(file.at, file.len);
    assert_open_fails(CAPTURE_LINK_TYPE, "IEEE802_11");
    captures_assert_message(captures.path, "EN10MB, RAW, IPV4, IPV6, LINUX_SLL, LINUX_SLL2, NULL, LOOP");

    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 9999);
    captures_save(file.at, file.len);
    assert_open_fails(CAPTURE_LINK_TYPE, "9999");

    captures_start_pcapng(&file, false);
    captures_put_interface(&file, 127, 0, 6);
    captures_save(file.at, file.len);
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
        {"microseconds", false, CAPTURES_MAGIC_US, 65535, 1700000000, 123456, 0, 1700000000123456},
        {"microseconds, big-endian", true, CAPTURES_MAGIC_US, 65535, 1700000000, 123456, 0, 1700000000123456},
        {"nanoseconds", false, CAPTURES_MAGIC_NS, 65535, 1700000000, 123456789, 0, 1700000000123456},
        {"nanoseconds, big-endian", true, CAPTURES_MAGIC_NS, 65535, 1700000000, 999999999, 0, 1700000000999999},
        {"after 2038", false, CAPTURES_MAGIC_US, 65535, 4000000000, 1, 0, 4000000000000001},
        {"after 2038, big-endian", true, CAPTURES_MAGIC_US, 65535, 4000000000, 1, 0, 4000000000000001},
        {"a senseless fraction", false, CAPTURES_MAGIC_US, 65535, 1700000000, 1000000, 0, 0},
        {"a negative fraction", false, CAPTURES_MAGIC_US, 65535, 1700000000, UINT32_MAX, 0, 0},
        {"no snap length", false, CAPTURES_MAGIC_US, 0, 1, 0, 0, 1000000},
        {"a huge snap length", false, CAPTURES_MAGIC_US, INT32_MAX, 1, 0, 0, 1000000},
        {"a negative snap length", false, CAPTURES_MAGIC_US, UINT32_MAX, 1, 0, 0, 1000000},
        {"octets lost to the snap length", false, CAPTURES_MAGIC_US, CAPTURES_IP_BYTES, 1, 0, 1000, 1000000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        frame.len = 0;
        captures_put_ip(&frame);
        captures_start_pcap(&file, rows[i].swapped, rows[i].magic, rows[i].snap_len, 101);
        captures_put_record(&file, rows[i].seconds, rows[i].fraction, rows[i].lost, frame.at, frame.len);
        captures_save(file.at, file.len);

        struct capture_reader *reader = captures_open_good();
        assert_int_equal(capture_link_type(reader), DLT_RAW);
        const struct capture_packet packet = captures_next_good(reader);
        if (packet.time_us != rows[i].time_us)
            fail_msg("%s: %lld", rows[i].label, (long long)packet.time_us);
        assert_int_equal(packet.frame_len, CAPTURES_IP_BYTES);
        assert_memory_equal(packet.frame, frame.at, CAPTURES_IP_BYTES);
        assert_int_equal(packet.cut_short, rows[i].lost != 0);
        captures_assert_over(reader, CAPTURE_END);
        capture_close(reader);
    }
}

/* A record longer than the header's snap length: libpcap drops the rest, and the packet says so. */
static void test_beyond_snap_length(void **state)
{
    (void)state;
    frame.len = 0;
    captures_put_ip(&frame);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 20, 101);
    captures_put_record(&file, 1, 0, 0, frame.at, frame.len);
    captures_put_record(&file, 2, 0, 0, frame.at, 20);
    captures_save(file.at, file.len);

    struct capture_reader *reader = captures_open_good();
    struct capture_packet packet = captures_next_good(reader);
    assert_int_equal(packet.frame_len, 20);
    assert_true(packet.cut_short);
    packet = captures_next_good(reader);
    assert_int_equal(packet.frame_len, 20);
    assert_false(packet.cut_short);
    captures_assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

/* ---- pcapng ------------------------------------------------------------------------------------ */

static void test_pcapng(void **state)
{
    (void)state;
    for (int swapped = 0; swapped < 2; swapped++) {
        (void)captures_build_frame(&frame, &captures_links[0]);
        captures_start_pcapng(&file, swapped);
        captures_put_interface(&file, 1, 0, 6);
        captures_put_interface(&file, 1, 0, 9); /* a second one of the same type, with nanoseconds */
        captures_put_packet(&file, 0, 1700000000123456, frame.at, frame.len);
        captures_put_packet(&file, 1, 1700000000123456789, frame.at, frame.len);
        captures_put32(&file, PCAPNG_SIMPLE_PACKET); /* it has no stamp */
        captures_put32(&file, 16 + 40);
        captures_put32(&file, 40);
        captures_put_bytes(&file, frame.at, 40);
        captures_put32(&file, 16 + 40);
        captures_put_packet(&file, 0, UINT64_MAX, frame.at, frame.len);
        captures_save(file.at, file.len);

        struct capture_reader *reader = captures_open_good();
        assert_int_equal(capture_link_type(reader), DLT_EN10MB);
        static const int64_t times[] = {1700000000123456, 1700000000123456, 0, 0};
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            const struct capture_packet packet = captures_next_good(reader);
            assert_int_equal(packet.time_us, times[i]);
            assert_int_equal(packet.ip_at, 14);
            assert_int_equal(packet.frame_len, i == 2 ? 40 : frame.len);
            assert_memory_equal(packet.frame, frame.at, packet.frame_len);
        }
        captures_assert_over(reader, CAPTURE_END);
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
    captures_put_ip(&frame);
    captures_start_pcapng(&file, false);
    captures_put_interface(&file, 228, 0, 0);
    for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++)
        captures_put_packet(&file, 0, stamps[i], frame.at, frame.len);
    captures_save(file.at, file.len);

    struct capture_reader *reader = captures_open_good();
    assert_int_equal(capture_link_type(reader), DLT_IPV4);
    for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
        const struct capture_packet packet = captures_next_good(reader);
        if (times[i] != INT64_MAX) /* 2^64 - 1 seconds are -1 to libpcap; which of the two is not ours to say */
            assert_int_equal(packet.time_us, times[i]);
        assert_true(packet.time_us >= 0);
    }
    captures_assert_over(reader, CAPTURE_END);
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
        (void)captures_build_frame(&frame, &captures_links[0]);
        captures_start_pcapng(&file, false);
        captures_put_interface(&file, 1, 0, 6);
        captures_put_packet(&file, 0, 1, frame.at, frame.len);
        captures_put_interface(&file, seconds[i].link_type, seconds[i].snap_len, 6);
        captures_put_packet(&file, 1, 2, frame.at, frame.len);
        captures_save(file.at, file.len);

        struct capture_reader *reader = captures_open_good();
        (void)captures_next_good(reader);
        captures_assert_over(reader, CAPTURE_DAMAGED);
        captures_assert_message(captures.path, "after packet 1 ");
        captures_assert_message(captures.path, "each interface");
        capture_close(reader);
    }
}

static void test_pcapng_without_interface(void **state)
{
    (void)state;
    captures_start_pcapng(&file, false);
    captures_save(file.at, file.len);
    assert_open_fails(CAPTURE_NOT_ONE, "is not a capture file");
}

/* Longest frames: the limit itself passes in both formats, one octet more is damage. */
static void test_longest_frames(void **state)
{
    (void)state;
    frame.len = 0;
    captures_put_fill(&frame, 0x45, CAPTURE_FRAME_BYTES_MAX + 1);
    for (int is_pcapng = 0; is_pcapng < 2; is_pcapng++)
        for (size_t over = 0; over < 2; over++) {
            const size_t len = CAPTURE_FRAME_BYTES_MAX + over;
            if (is_pcapng) {
                captures_start_pcapng(&file, false);
                captures_put_interface(&file, 101, 1000000, 6);
                captures_put_packet(&file, 0, 0, frame.at, len);
            } else {
                captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 1000000, 101);
                captures_put_record(&file, 0, 0, 0, frame.at, len);
            }
            captures_save(file.at, file.len);

            struct capture_reader *reader = captures_open_good();
            if (over == 0) {
                assert_int_equal(captures_next_good(reader).ip_len, CAPTURE_FRAME_BYTES_MAX);
                captures_assert_over(reader, CAPTURE_END);
            } else {
                captures_assert_over(reader, CAPTURE_DAMAGED);
                captures_assert_message(captures.path, "262145");
            }
            capture_close(reader);
        }
}

/* A record that claims more than any file holds must cost no such memory. */
static void test_claimed_length(void **state)
{
    (void)state;
    frame.len = 0;
    captures_put_ip(&frame);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, INT32_MAX, 101);
    captures_put_record(&file, 1, 0, 0, frame.at, frame.len);
    captures_put_record(&file, 1, 0, 0, frame.at, 0);
    file.at[file.len - 5] = 0x7f; /* the captured length's highest octet */
    captures_put_bytes(&file, frame.at, frame.len);
    captures_save(file.at, file.len);

    struct capture_reader *reader = captures_open_good();
    (void)captures_next_good(reader);
    captures_assert_over(reader, CAPTURE_DAMAGED);
    captures_assert_message(captures.path, "after packet 1 ");
    capture_close(reader);
}

/* ---- truncated files --------------------------------------------------------------------------- */

#define PACKETS 3

/* The file's first `len` octets; `header_len` are its header's, `ends` where each packet ends. */
static void check_truncated(size_t len, size_t header_len, const size_t ends[PACKETS])
{
    captures_save(file.at, len);
    if (len < header_len) {
        assert_open_fails(CAPTURE_NOT_ONE, len == 0 ? "is empty" : "is not a capture file");
        return;
    }
    unsigned whole = 0;
    while (whole < PACKETS && ends[whole] <= len)
        whole++;

    struct capture_reader *reader = captures_open_good();
    for (unsigned i = 0; i < whole; i++)
        assert_int_equal(captures_next_good(reader).time_us, i);

    if (len == header_len || (whole > 0 && len == ends[whole - 1])) {
        captures_assert_over(reader, CAPTURE_END);
    } else {
        char place[32];
        (void)snprintf(place, sizeof place, "after packet %u ", whole);
        captures_assert_over(reader, CAPTURE_DAMAGED);
        captures_assert_message(captures.path, place);
        captures_assert_message(captures.path, "truncated");
    }
    capture_close(reader);
}

static void test_truncated_pcap(void **state)
{
    (void)state;
    size_t ends[PACKETS];
    (void)captures_build_frame(&frame, &captures_links[0]);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 1);
    assert_int_equal(file.len, PCAP_HEADER_BYTES);
    for (uint32_t i = 0; i < PACKETS; i++) {
        captures_put_record(&file, 0, i, 0, frame.at, frame.len - i);
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
    (void)captures_build_frame(&frame, &captures_links[0]);
    captures_start_pcapng(&file, false);
    captures_put_interface(&file, 1, 0, 6);
    const size_t header_len = file.len;
    for (uint32_t i = 0; i < PACKETS; i++) {
        captures_put_packet(&file, 0, i, frame.at, frame.len - i);
        ends[i] = file.len;
    }
    for (size_t len = 0; len <= file.len; len++)
        check_truncated(len, header_len, ends);
}

/* ---- compressed files -------------------------------------------------------------------------- */

enum { PACKED_BYTES_MAX = 4096 };

static size_t pack_gzip(uint8_t *out, const uint8_t *octets, size_t len)
{
    z_stream gzip = {
        .next_in = (Bytef *)(uintptr_t)octets, .avail_in = (uInt)len, .next_out = out, .avail_out = PACKED_BYTES_MAX};
    assert_int_equal(deflateInit2(&gzip, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&gzip, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&gzip), Z_OK);
    return gzip.total_out;
}

static size_t pack_zstd(uint8_t *out, const uint8_t *octets, size_t len)
{
    size_t made = ZSTD_compress(out, PACKED_BYTES_MAX, octets, len, 3);
    assert_false(ZSTD_isError(made));
    return made;
}

/* The first `len` octets of a packed file. What ends in the middle never looks like an end. */
static void check_packed(const uint8_t *packed, size_t len, size_t first_len, size_t whole_len)
{
    captures_save(packed, len);
    struct capture_reader *reader;
    enum capture_status status = capture_open(captures.path, &reader, captures.message, sizeof captures.message);
    unsigned count = 0;
    if (status == CAPTURE_OK) {
        struct capture_packet packet;
        while ((status = capture_next(reader, &packet, captures.message, sizeof captures.message)) == CAPTURE_OK)
            assert_int_equal(packet.time_us, count++);
        captures_assert_over(reader, status);
        capture_close(reader);
    } else {
        assert_int_equal(status, CAPTURE_NOT_ONE);
    }
    bool is_whole = len == first_len || len == whole_len;
    assert_int_equal(status == CAPTURE_END, is_whole);
    if (is_whole)
        assert_int_equal(count, len == whole_len ? PACKETS : 1);
    else if (len > 0)
        captures_assert_message(captures.path, "it ends in the middle");
}

/* Two members, or frames, in a row: of the first packet, and of the others. Cut at each octet. */
static void test_packed(void **state)
{
    static uint8_t packed[2 * PACKED_BYTES_MAX];
    static size_t (*const packs[])(uint8_t * out, const uint8_t *octets, size_t len) = {pack_gzip, pack_zstd};

    (void)state;
    (void)captures_build_frame(&frame, &captures_links[0]);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 1);
    size_t first_end = 0;
    for (uint32_t i = 0; i < PACKETS; i++) {
        captures_put_record(&file, 0, i, 0, frame.at, frame.len);
        first_end = first_end ? first_end : file.len;
    }
    for (size_t i = 0; i < sizeof packs / sizeof packs[0]; i++) {
        size_t first_len = packs[i](packed, file.at, first_end);
        size_t whole_len = first_len + packs[i](packed + first_len, file.at + first_end, file.len - first_end);
        for (size_t len = 0; len <= whole_len; len++)
            check_packed(packed, len, first_len, whole_len);
    }
}

/* A checksum that does not fit: gzip has one of each member. */
static void test_packed_damaged(void **state)
{
    static uint8_t packed[PACKED_BYTES_MAX];

    (void)state;
    (void)captures_build_frame(&frame, &captures_links[0]);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 1);
    captures_put_record(&file, 0, 0, 0, frame.at, frame.len);
    size_t len = pack_gzip(packed, file.at, file.len);
    packed[len - 6] ^= 0x55;
    captures_save(packed, len);
    struct capture_reader *reader = captures_open_good();
    (void)captures_next_good(reader);
    captures_assert_over(reader, CAPTURE_DAMAGED);
    captures_assert_message(captures.path, "incorrect data check");
    capture_close(reader);
}

/* ---- what cannot be opened, and what is no capture --------------------------------------------- */

static void test_not_a_capture(void **state)
{
    static const char *const texts[] = {"",         "x",
                                        "abc",      "EHLO example.org\r\nMAIL FROM:<>\r\n",
                                        "\n\r\r\n", "\n\r\r\nno section header at all, only text that begins so\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        captures_save((const uint8_t *)texts[i], strlen(texts[i]));
        assert_open_fails(CAPTURE_NOT_ONE, i == 0 ? "is empty" : "is not a capture file");
    }

    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 1);
    file.at[4] = 9; /* the version */
    captures_save(file.at, file.len);
    assert_open_fails(CAPTURE_NOT_ONE, "version");
}

static void test_cannot_open(void **state)
{
    (void)state;
    assert_open_fails(CAPTURE_CANNOT, strerror(ENOENT));
    (void)snprintf(captures.path, sizeof captures.path, "%s", captures.folder);
    assert_open_fails(CAPTURE_CANNOT, strerror(EISDIR));
}

/* A message is one line even where the name is not, and never more than it has room for. */
static void test_messages(void **state)
{
    (void)state;
    struct capture_reader *reader;
    (void)snprintf(captures.path, sizeof captures.path, "%s/two\nlines\t\x7f", captures.folder);
    assert_int_equal(capture_open(captures.path, &reader, captures.message, sizeof captures.message), CAPTURE_CANNOT);
    assert_non_null(strstr(captures.message, "two?lines??: "));
    assert_null(strpbrk(captures.message, "\n\t\x7f"));

    for (size_t size = 0; size < 40; size++) {
        memset(captures.message, 'x', sizeof captures.message);
        assert_int_equal(capture_open(captures.path, &reader, captures.message, size), CAPTURE_CANNOT);
        assert_null(reader);
        assert_int_equal(captures.message[size], 'x');
        if (size > 0)
            assert_int_equal(strnlen(captures.message, size), size - 1);
    }
    assert_int_equal(capture_open(captures.path, &reader, NULL, 0), CAPTURE_CANNOT);
    capture_close(NULL);
    assert_int_equal(capture_finish(NULL, NULL, 0), CAPTURE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAPTURES_TEST(test_link_types),
        CAPTURES_TEST(test_cooked_v2_tag),
        CAPTURES_TEST(test_tag_stacks),
        CAPTURES_TEST(test_unknown_link_types),
        CAPTURES_TEST(test_pcap_forms),
        CAPTURES_TEST(test_beyond_snap_length),
        CAPTURES_TEST(test_pcapng),
        CAPTURES_TEST(test_pcapng_senseless_times),
        CAPTURES_TEST(test_pcapng_mixed_interfaces),
        CAPTURES_TEST(test_pcapng_without_interface),
        CAPTURES_TEST(test_longest_frames),
        CAPTURES_TEST(test_claimed_length),
        CAPTURES_TEST(test_truncated_pcap),
        CAPTURES_TEST(test_truncated_pcapng),
        CAPTURES_TEST(test_packed),
        CAPTURES_TEST(test_packed_damaged),
        CAPTURES_TEST(test_not_a_capture),
        CAPTURES_TEST(test_cannot_open),
        CAPTURES_TEST(test_messages),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, captures_make_folder, captures_remove_folder);
}
