/* tcp/packet and tcp/checksum: options, extension headers, every truncation, setters against a sum of our own. */
#include "tcp/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "../lib/random.h"
#include "../lib/segment.h"
#include "base/octets.h"
#include "tcp/checksum.h"

static struct segment plain(uint8_t ip_version)
{
    struct segment s = {.ip_version = ip_version,
                        .source = 1,
                        .destination = 2,
                        .source_port = 40000,
                        .destination_port = 25,
                        .seq = 0xfffffff0,
                        .ack = 7,
                        .flags = PACKET_SYN | PACKET_ACK,
                        .window = 1234,
                        .payload = span_of("EHLO odd\r\n!")};
    segment_add_mss(&s.options, 1400);
    segment_add_window_scale(&s.options, 15);
    segment_add_timestamps(&s.options, 5, 6);
    segment_add_sack(&s.options, 1, 2);
    return s;
}

static void test_fields_and_options(void **state)
{
    (void)state;
    for (uint8_t version = 4; version <= 6; version = (uint8_t)(version + 2)) {
        struct segment s = plain(version);
        uint32_t len;
        uint8_t *bytes = segment_build(&s, &len);
        struct packet packet;
        assert_int_equal(packet_parse(&packet, bytes, len), PACKET_TCP);
        assert_int_equal(packet.ip_version, version);
        assert_int_equal(packet.seq, s.seq);
        assert_int_equal(packet.ack, s.ack);
        assert_int_equal(packet.mss, 1400);
        assert_int_equal(packet.window_shift, 14); /* case 61 */
        assert_true(packet.window_scaled && packet.sack_at && packet.timestamp_at && !packet.protected);
        assert_true(span_equal(packet_payload(&packet), s.payload));
        assert_true(packet_checksum_good(&packet));
        bytes[len - 1] ^= 1;
        assert_false(packet_checksum_good(&packet));
        free(bytes);
    }
}

/* As Linux reads them: what has another length than its kind says nothing, and behind what has none nothing is read. */
static void test_case_68_options_of_odd_length(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        uint8_t octets[12];
        uint16_t mss;
        bool scaled, protected, sack;
    } rows[] = {
        {"MSS of 3, and one behind it", {2, 3, 9, 2, 4, 5, 120, 1}, 1400, false, false, false},
        {"MSS of 5", {2, 5, 5, 120, 0, 3, 3, 7}, 0, true, false, false},
        {"window scale of 4", {3, 4, 7, 7, 2, 4, 5, 120}, 1400, false, false, false},
        {"SACK of 9", {5, 9, 0, 0, 0, 0, 0, 0, 0, 3, 3, 7}, 0, true, false, false},
        {"timestamps of 6", {8, 6, 0, 0, 0, 0, 2, 4, 5, 120}, 1400, false, false, false},
        {"MD5 of 4 is no signature", {19, 4, 0, 0, 2, 4, 5, 120}, 1400, false, false, false},
        {"AO of 3 is none", {29, 3, 0, 2, 4, 5, 120}, 1400, false, false, false},
        {"length 0 ends them", {2, 0, 3, 3, 7}, 0, false, false, false},
        {"length 1 ends them", {254, 1, 3, 3, 7}, 0, false, false, false},
        {"longer than the header ends them", {254, 200, 3, 3, 7}, 0, false, false, false},
        {"a kind without length at the end", {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}, 0, false, false, false},
        {"MSS cut short at the end", {1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 5}, 0, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct segment s = plain(4);
        memcpy(s.options.octets, rows[i].octets, sizeof rows[i].octets);
        s.options.len = sizeof rows[i].octets;
        uint32_t len;
        uint8_t *bytes = segment_build(&s, &len);
        struct packet packet;
        if (packet_parse(&packet, bytes, len) != PACKET_TCP || packet.mss != rows[i].mss ||
            packet.window_scaled != rows[i].scaled || packet.protected != rows[i].protected || packet.timestamp_at ||
            !packet.sack_at != !rows[i].sack || !span_equal(packet_payload(&packet), s.payload))
            fail_msg("%s", rows[i].label);
        free(bytes);
    }
}

/* Cut off anywhere, in an allocation of that length: never a TCP segment, nothing read behind it. */
static void test_case_68_each_truncation_is_malformed(void **state)
{
    (void)state;
    for (uint8_t version = 4; version <= 6; version = (uint8_t)(version + 2)) {
        struct segment s = plain(version);
        uint32_t len;
        uint8_t *bytes = segment_build(&s, &len);
        for (uint32_t cut = 0; cut < len; cut++) {
            uint8_t *copy = malloc(cut ? cut : 1);
            assert_non_null(copy);
            memcpy(copy, bytes, cut);
            struct packet packet;
            assert_int_equal(packet_parse(&packet, copy, cut), PACKET_MALFORMED);
            /* The same with an IP header that admits it: only the TCP header can be too short then. */
            if (cut >= (version == 4 ? 20u : 40u)) {
                store_be16(copy + (version == 4 ? 2 : 4), (uint16_t)(version == 4 ? cut : cut - 40));
                enum packet_status status = packet_parse(&packet, copy, cut);
                assert_int_equal(status, cut < len - s.payload.len ? PACKET_MALFORMED : PACKET_TCP);
            }
            free(copy);
        }
        free(bytes);
    }
}

/* Any octet of the headers changed: any answer, but no crash, and no field that points outside. */
static void test_case_68_random_octets(void **state)
{
    (void)state;
    struct random_source random = {68};
    for (int i = 0; i < 40000; i++) {
        struct segment s = plain(i % 2 ? 4 : 6);
        uint32_t len;
        uint8_t *bytes = segment_build(&s, &len);
        for (uint32_t k = 0; k < 1 + random_below(&random, 4); k++)
            bytes[random_below(&random, len - 11)] = (uint8_t)random_next(&random);
        struct packet packet;
        if (packet_parse(&packet, bytes, len) == PACKET_TCP) {
            assert_true(packet.len <= len && packet.payload_at + packet.payload_len == packet.len);
            if (packet.sack_at)
                assert_true(packet.sack_at + bytes[packet.sack_at + 1] <= packet.payload_at);
            if (packet.timestamp_at)
                assert_true(packet.timestamp_at + 10 <= packet.payload_at);
            packet_checksum_fill(&packet);
            assert_true(packet_checksum_good(&packet));
        }
        free(bytes);
    }
}

static void test_ipv6_extension_headers(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        uint8_t first;
        uint8_t octets[16];
        size_t len;
        enum packet_status status;
    } rows[] = {
        {"hop by hop", 0, {6, 0}, 8, PACKET_TCP},
        {"routing, then destination options", 43, {60, 0, 0, 0, 0, 0, 0, 0, 6, 0}, 16, PACKET_TCP},
        {"atomic fragment", 44, {6, 0, 0, 0}, 8, PACKET_TCP},
        {"first fragment", 44, {6, 0, 0, 1}, 8, PACKET_FRAGMENT},
        {"later fragment", 44, {6, 0, 0, 8}, 8, PACKET_FRAGMENT},
        {"authentication header", 51, {6, 0}, 8, PACKET_TCP},
        {"no next header", 59, {6, 0}, 8, PACKET_OTHER},
        {"longer than the packet", 0, {6, 255}, 8, PACKET_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        struct segment s = plain(6);
        s.first_extension = rows[i].first;
        s.before_tcp = (struct span){rows[i].octets, rows[i].len};
        uint32_t len;
        uint8_t *bytes = segment_build(&s, &len);
        struct packet packet;
        if (packet_parse(&packet, bytes, len) != rows[i].status)
            fail_msg("%s", rows[i].label);
        if (rows[i].status == PACKET_TCP)
            assert_true(packet_checksum_good(&packet));
        free(bytes);
    }
}

static void test_setters_keep_the_checksum(void **state)
{
    (void)state;
    struct random_source random = {1624};
    for (int i = 0; i < 5000; i++) {
        struct segment s = plain(i % 2 ? 4 : 6);
        uint32_t len;
        uint8_t *bytes = segment_build(&s, &len);
        struct packet packet;
        assert_int_equal(packet_parse(&packet, bytes, len), PACKET_TCP);
        packet_set_seq(&packet, (uint32_t)random_next(&random), false);
        packet_set_ack(&packet, (uint32_t)random_next(&random), false);
        packet_set_window(&packet, (uint16_t)random_next(&random), false);
        packet_set_flags(&packet, (uint8_t)random_next(&random), false);
        packet_set_be32(&packet, packet.timestamp_at + 2u, (uint32_t)random_next(&random), false);
        packet_set_be32(&packet, packet.sack_at + 2u, i % 5 ? (uint32_t)random_next(&random) : 0, false);
        assert_true(segment_checksums_good(bytes, len));
        packet_set_payload_len(&packet, random_below(&random, 11));
        packet_checksum_fill(&packet);
        assert_true(segment_checksums_good(bytes, packet.len));
        free(bytes);
    }
}

static void test_sum_of_each_length_against_a_naive_one(void **state)
{
    (void)state;
    struct random_source random = {1071};
    for (size_t len = 0; len < 200; len++) {
        uint8_t *octets = malloc(len ? len : 1);
        assert_non_null(octets);
        uint32_t naive = 0;
        for (size_t i = 0; i < len; i++) {
            octets[i] = len % 3 ? (uint8_t)random_next(&random) : 0xff;
            naive += i % 2 ? octets[i] : (uint32_t)octets[i] << 8;
            naive = (naive & 0xffff) + (naive >> 16);
        }
        uint8_t stored[2];
        uint16_t checksum = checksum_finish(checksum_add(0, octets, len));
        memcpy(stored, &checksum, sizeof stored);
        assert_int_equal(load_be16(stored), (uint16_t)~naive);
        free(octets);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_and_options),
        cmocka_unit_test(test_case_68_options_of_odd_length),
        cmocka_unit_test(test_case_68_each_truncation_is_malformed),
        cmocka_unit_test(test_case_68_random_octets),
        cmocka_unit_test(test_ipv6_extension_headers),
        cmocka_unit_test(test_setters_keep_the_checksum),
        cmocka_unit_test(test_sum_of_each_length_against_a_naive_one),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
