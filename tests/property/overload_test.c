/*
 * No room for the octets of a connection: by default its packets are dropped and come again, and nothing passes unread;
 * where the rules prefer it, the connection passes unedited from there on. One that has an offset is translated in any
 * case.
 */
#include "../lib/dialogue.h"

enum { SEGMENT_BYTES = 1400, SEGMENTS = 60, BLOCKS = 40 };

static uint8_t octets[SEGMENT_BYTES];

/* A session with an offset in which the server no longer acknowledges what the client sends. */
static struct drive *begin(bool passes)
{
    struct drive_plan plan = {
        .name = "overload", .seed = 7, .blocks_max = BLOCKS, .pass_on_overload = passes, .no_acknowledgments = true};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 mail\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO x\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 10, "250-mail\r\n250-XEXCH50\r\n250 SIZE\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 8, "DATA\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 43, "354 go\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    return drive;
}

/* Segments of a message that nobody acknowledges; how many left. */
static uint32_t flood(struct drive *drive)
{
    uint32_t left = 0;
    memset(octets, 'x', sizeof octets);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        struct segment segment =
            drive_segment(drive, SMTP_CLIENT, 14 + i * SEGMENT_BYTES, (struct span){octets, sizeof octets});
        uint64_t number = drive_send(drive, SMTP_CLIENT, &segment);
        enum drive_fate fate = drive_fate(drive, number);
        left += fate == DRIVE_PASSED || fate == DRIVE_EDITED;
    }
    return left;
}

static bool told(const struct drive *drive, const char *reason)
{
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        if (event->kind == EVENT_UNEDITED && strcmp(event->reason, reason) == 0)
            return true;
    }
    return false;
}

static void test_dropped(void **state)
{
    (void)state;
    struct drive *drive = begin(false);
    uint32_t left = flood(drive);
    assert_in_range(left, 1, SEGMENTS - 1);
    assert_false(told(drive, "overload"));
    drive_free(drive);
}

static void test_passed(void **state)
{
    (void)state;
    struct drive *drive = begin(true);
    assert_int_equal(flood(drive), SEGMENTS);
    assert_true(told(drive, "overload"));
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, 14 + SEGMENTS * SEGMENT_BYTES);
    drive_acknowledge(drive, SMTP_SERVER);
    assert_int_equal(drive_acknowledged(drive, SMTP_CLIENT), 14 + SEGMENTS * SEGMENT_BYTES);
    /* The server's numbers are still moved along: its reply arrives where the client waits for it. */
    drive_send_text(drive, SMTP_SERVER, 51, "250-XEXCH50 passes now\r\n");
    assert_non_null(strstr((const char *)drive_read(drive, SMTP_CLIENT).ptr, "354 go\r\n250-XEXCH50 passes now\r\n"));
    drive_free(drive);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_passed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("overload", tests, NULL, NULL);
}
