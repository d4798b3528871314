/* What verdicts say of a connection: that it may pass without the engine, that it never may, or nothing. */
#include "../lib/drive.h"
#include "../lib/tls_octets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define OFFER "250-host\r\n250-XEXCH50\r\n250 OK\r\n"

static struct drive *begin_reading(const char *name, bool release, enum drive_cut cut, bool no_handshakes)
{
    struct drive_plan plan = {.name = name, .seed = 3, .release = release, .cut = cut, .no_handshakes = no_handshakes};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 hi\r\n");
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    return drive;
}

static struct drive *begin(const char *name, bool release, enum drive_cut cut)
{
    return begin_reading(name, release, cut, true);
}

static void encrypt(struct drive *drive)
{
    drive_say_text(drive, SMTP_CLIENT, "STARTTLS\r\n");
    drive_say_text(drive, SMTP_SERVER, "220 go\r\n");
}

static void say_hello(struct drive *drive)
{
    static const uint8_t hello[] = {0x16, 3, 1, 0, 2, 1, 0}, answer[] = {0x16, 3, 3, 0, 2, 2, 0};
    drive_say(drive, SMTP_CLIENT, (struct span){hello, sizeof hello});
    drive_say(drive, SMTP_SERVER, (struct span){answer, sizeof answer});
}

/* The mark of a packet that is sent now. */
static enum engine_mark_class mark_now(struct drive *drive)
{
    return drive_mark(drive, drive_acknowledge(drive, SMTP_CLIENT));
}

static size_t ends(const struct drive *drive, const char *reason)
{
    size_t count = 0;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        count += event->kind == EVENT_FLOW_END && strcmp(event->reason, reason) == 0;
    }
    return count;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static void test_nothing_is_released_unasked(void **state)
{
    (void)state;
    struct drive *drive = begin("not released", false, DRIVE_WHOLE);
    drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
    encrypt(drive);
    say_hello(drive);
    assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
    assert_int_equal(drive_counters(drive)->flows_released, 0);
    drive_close(drive, SMTP_CLIENT);
    assert_int_equal(ends(drive, "closed"), 1);
    end(drive);
}

static void test_unchanged_is_released(void **state)
{
    (void)state;
    struct drive *drive = begin("unchanged", true, DRIVE_WHOLE);
    drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
    encrypt(drive);
    say_hello(drive);
    assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
    say_hello(drive); /* it still passes, should it come */
    assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
    assert_int_equal(drive_counters(drive)->flows_released, 1);
    assert_int_equal(ends(drive, "released"), 1);
    end(drive);
}

/* ---- where the handshake is read ---- */

static const struct tls_client client_hello = {.ciphers = {0x1301, 0xc030},
                                               .extensions = {0, 43, 51, TLS_END},
                                               .versions = {0x0304, 0x0303},
                                               .name = "mail.example.com",
                                               .key_share_bytes = 1216};

/* What this side says, in records, as it is cut. */
static void say_message(struct drive *drive, enum smtp_side side, const struct tls_octets *message)
{
    static struct tls_octets records;
    records.len = 0;
    tls_put_records(&records, TLS_RECORD_HANDSHAKE, (struct span){message->at, message->len}, 16384);
    drive_say(drive, side, (struct span){records.at, records.len});
}

static void say_client_hello(struct drive *drive)
{
    static struct tls_octets message;
    message.len = 0;
    tls_put_client_hello(&message, &client_hello);
    say_message(drive, SMTP_CLIENT, &message);
}

static void say_server_hello(struct drive *drive, uint16_t version)
{
    static struct tls_octets message;
    message.len = 0;
    tls_put_server_hello(&message, &(struct tls_server){.version = version, .cipher = 0x1301});
    say_message(drive, SMTP_SERVER, &message);
}

static void say_change_cipher(struct drive *drive, enum smtp_side side)
{
    static struct tls_octets records;
    records.len = 0;
    tls_put_change_cipher(&records);
    drive_say(drive, side, (struct span){records.at, records.len});
}

static const struct tls_seen *seen(const struct drive *drive)
{
    const struct tls_seen *last = NULL;
    size_t count = 0, before_end = 0;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        last = event->kind == EVENT_TLS ? event->tls : last;
        count += event->kind == EVENT_TLS;
        before_end += event->kind == EVENT_FLOW_END;
        assert_false(event->kind == EVENT_TLS && before_end);
    }
    assert_int_equal(count, 1);
    return last;
}

static void test_it_is_released_behind_its_handshake(void **state)
{
    (void)state;
    static const enum drive_cut cuts[] = {DRIVE_WHOLE, DRIVE_OCTETS, DRIVE_RANDOM};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        for (unsigned version = 0x0303; version <= 0x0304; version++) {
            struct drive *drive = begin_reading("handshake", true, cuts[i], false);
            drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
            encrypt(drive);
            say_client_hello(drive);
            assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
            say_server_hello(drive, (uint16_t)version);
            assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
            say_change_cipher(drive, SMTP_CLIENT);
            if (version == 0x0303) {
                assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
                say_change_cipher(drive, SMTP_SERVER);
            }
            assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
            assert_int_equal(drive_counters(drive)->flows_released, 1);
            assert_int_equal(ends(drive, "released"), 1);
            assert_int_equal(drive_sessions(drive)->handshakes[version == 0x0303 ? ENGINE_TLS_1_2 : ENGINE_TLS_1_3], 1);
            const struct tls_seen *told = seen(drive);
            assert_int_equal(told->version, version);
            assert_memory_equal(told->name, "mail.example.com", 16);
            assert_memory_equal(told->ja4, "t13d020300_", 11);
            end(drive);
        }
}

/* What is never complete is given up. */
static void test_it_is_released_where_a_handshake_does_not_end(void **state)
{
    (void)state;
    struct drive *drive = begin_reading("endless", true, DRIVE_WHOLE, false);
    drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
    encrypt(drive);
    say_client_hello(drive);
    drive_wait(drive, 29000000);
    assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
    drive_wait(drive, 2000000);
    assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
    const struct tls_seen *told = seen(drive);
    assert_true(told->client_hello && !told->server_hello);
    end(drive);
    drive = begin_reading("no TLS", true, DRIVE_WHOLE, false);
    drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
    encrypt(drive);
    drive_say_text(drive, SMTP_CLIENT, "EHLO again, in clear\r\n");
    drive_say_text(drive, SMTP_SERVER, "what?\r\n");
    assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
    end(drive);
}

/* What is no TLS on one side, while the other says nothing, does not stay for its octets. */
static void test_it_is_released_behind_many_octets(void **state)
{
    (void)state;
    static uint8_t octets[8192];
    struct drive *drive = begin_reading("bulk", true, DRIVE_WHOLE, false);
    drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
    encrypt(drive);
    for (int i = 0; i < 8; i++)
        drive_say(drive, SMTP_CLIENT, (struct span){octets, sizeof octets});
    assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
    drive_say(drive, SMTP_CLIENT, (struct span){octets, 1});
    assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
    assert_int_equal(drive_sessions(drive)->handshakes[ENGINE_TLS_UNKNOWN], 1);
    end(drive);
}

/* In any order, some twice: each leaves at once, and the same is seen. */
static void test_segments_of_a_hello_out_of_order(void **state)
{
    (void)state;
    static struct tls_octets message, records;
    message.len = records.len = 0;
    tls_put_client_hello(&message, &client_hello);
    tls_put_records(&records, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, 700);
    uint32_t third = (uint32_t)records.len / 3;
    static const int orders[][5] = {
        {0, 2, 1, 1, 2}, {0, 1, 1, 2, 0}, {0, 2, 2, 0, 1}, {0, 1, 2, 0, 1}, {1, 2, 1, 2, 0}};
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct drive *drive = begin_reading("out of order", true, DRIVE_WHOLE, false);
        drive_say_text(drive, SMTP_SERVER, "250 host\r\n");
        encrypt(drive);
        uint32_t from = (uint32_t)drive_said(drive, SMTP_CLIENT).len;
        for (int j = 0; j < 5; j++) {
            uint32_t at = (uint32_t)orders[i][j] * third;
            struct span part = {records.at + at, orders[i][j] == 2 ? records.len - at : third};
            struct segment segment = drive_segment(drive, SMTP_CLIENT, from + at, part);
            uint64_t sent = drive_send(drive, SMTP_CLIENT, &segment);
            /* Behind the first octet of TLS nothing waits. */
            if (orders[i][0] == 0)
                assert_int_equal(drive_fate(drive, sent), DRIVE_PASSED);
        }
        say_server_hello(drive, 0x0304);
        say_change_cipher(drive, SMTP_CLIENT);
        assert_int_equal(mark_now(drive), ENGINE_MARK_RELEASED);
        const struct tls_seen *told = seen(drive);
        assert_true(told->client_hello && told->server_hello);
        assert_memory_equal(told->name, "mail.example.com", 16);
        end(drive);
    }
}

/* A line is taken out, so the stream is shorter for good. */
static void test_offset_is_never_released(void **state)
{
    (void)state;
    for (int run = 0; run < 4; run++) {
        struct drive *drive = begin("offset", run & 1, run & 2 ? DRIVE_LINES : DRIVE_WHOLE);
        drive_say_text(drive, SMTP_SERVER, OFFER);
        assert_true(drive_read(drive, SMTP_CLIENT).len != drive_said(drive, SMTP_SERVER).len);
        assert_int_equal(mark_now(drive), ENGINE_MARK_PROMISED);
        encrypt(drive);
        say_hello(drive);
        assert_int_equal(mark_now(drive), ENGINE_MARK_PROMISED);
        drive_close(drive, SMTP_SERVER);
        assert_int_equal(mark_now(drive), ENGINE_MARK_PROMISED);
        assert_int_equal(drive_counters(drive)->flows_released, 0);
        end(drive);
    }
}

/* The octets of "220 go" were decided: a resend must leave with them, so all is followed until they are acknowledged.
 */
static void test_what_may_be_sent_again_is_not_released(void **state)
{
    (void)state;
    static const uint8_t hello[] = {0x16, 3, 1, 0, 2, 1, 0};
    struct drive_plan plan = {
        .name = "unacknowledged", .seed = 5, .release = true, .no_acknowledgments = true, .no_handshakes = true};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 hi\r\n");
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO x\r\n");
    drive_send_text(drive, SMTP_SERVER, 8, "250 host\r\n");
    drive_send_text(drive, SMTP_CLIENT, 8, "STARTTLS\r\n");
    uint32_t before = drive_segment(drive, SMTP_CLIENT, 18, (struct span){0}).ack;
    drive_send_text(drive, SMTP_SERVER, 18, "220 go\r\n");
    struct segment segment = drive_segment(drive, SMTP_CLIENT, 18, (struct span){hello, sizeof hello});
    segment.ack = before;
    assert_int_equal(drive_mark(drive, drive_send(drive, SMTP_CLIENT, &segment)), ENGINE_MARK_NONE);
    segment = drive_segment(drive, SMTP_SERVER, 26, (struct span){hello, sizeof hello});
    assert_int_equal(drive_mark(drive, drive_send(drive, SMTP_SERVER, &segment)), ENGINE_MARK_NONE);
    assert_int_equal(drive_mark(drive, drive_acknowledge(drive, SMTP_CLIENT)), ENGINE_MARK_RELEASED);
    end(drive);
}

/*
 * An acknowledgment of nothing is no older connection: what it marks as let go, the next SYN would be part of. Only
 * what the server has to say to it, but a reset, shows that there is one.
 */
static void test_case_92_only_both_ends_show_an_older_connection(void **state)
{
    (void)state;
    for (int alive = 0; alive < 2; alive++) {
        struct drive_plan plan = {.name = "older", .seed = 6, .release = true, .no_acknowledgments = true};
        struct drive *drive = drive_new(&plan);
        struct segment segment = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
        assert_int_equal(drive_mark(drive, drive_send(drive, SMTP_CLIENT, &segment)), ENGINE_MARK_NONE);
        segment = drive_segment(drive, SMTP_SERVER, 0, (struct span){0});
        segment.flags = alive ? PACKET_ACK : PACKET_RST;
        enum engine_mark_class expected = alive ? ENGINE_MARK_RELEASED : ENGINE_MARK_NONE;
        assert_int_equal(drive_mark(drive, drive_send(drive, SMTP_SERVER, &segment)), expected);
        segment = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
        assert_int_equal(drive_mark(drive, drive_send(drive, SMTP_CLIENT, &segment)), expected);
        drive_handshake(drive);
        assert_int_equal(mark_now(drive), ENGINE_MARK_NONE);
        assert_int_equal(drive_counters(drive)->flows_created, 1);
        end(drive);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_released_unasked),
        cmocka_unit_test(test_unchanged_is_released),
        cmocka_unit_test(test_it_is_released_behind_its_handshake),
        cmocka_unit_test(test_it_is_released_where_a_handshake_does_not_end),
        cmocka_unit_test(test_segments_of_a_hello_out_of_order),
        cmocka_unit_test(test_it_is_released_behind_many_octets),
        cmocka_unit_test(test_offset_is_never_released),
        cmocka_unit_test(test_what_may_be_sent_again_is_not_released),
        cmocka_unit_test(test_case_92_only_both_ends_show_an_older_connection),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("mark", tests, NULL, NULL);
}
