#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/guard.h"

enum { SECOND = 1000, DELAY = 110 * SECOND };

static struct guard guard;
static struct guard_settings settings;

static int set_up(void **state)
{
    (void)state;
    memset(&guard, 0, sizeof guard);
    settings = guard_settings_default();
    return 0;
}

static struct guard_mail mail_of(const char *sender, const char *recipient)
{
    return (struct guard_mail){
        .ip_version = 4, .server = {10, 0, 0, 25}, .sender = span_of(sender), .recipient = span_of(recipient)};
}

/* GlitchRetrySeconds 60, each refusal 110 s late. */
static void test_attempts_are_counted(void **state)
{
    (void)state;
    struct guard_mail mail = mail_of("a@b", "c@d");
    int64_t now = 5000000;
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        assert_int_equal(guard_refused(&guard, &settings, &mail, now, DELAY), attempt);
        now += DELAY + 60 * SECOND;
    }
    assert_int_equal(guard_taken(&guard, &settings, &mail, now), 4);
    assert_int_equal(guard_taken(&guard, &settings, &mail, now), 0);
    assert_int_equal(guard_refused(&guard, &settings, &mail, now, DELAY), 1);
}

static void test_whose_mail(void **state)
{
    (void)state;
    struct guard_mail mail = mail_of("a@b", "c@d");
    assert_int_equal(guard_refused(&guard, &settings, &mail, 0, 0), 1);
    struct guard_mail other = mail_of("a@b", "e@d");
    assert_int_equal(guard_refused(&guard, &settings, &other, 1, 0), 1);
    other = mail_of("a@bc", "@d"); /* the same octets one behind the other */
    assert_int_equal(guard_refused(&guard, &settings, &other, 1, 0), 1);
    other = mail_of("a@b", "c@d");
    other.server[3]++;
    assert_int_equal(guard_refused(&guard, &settings, &other, 1, 0), 1);
    other = mail_of("A@B", "C@D");
    assert_int_equal(guard_refused(&guard, &settings, &other, 1, 0), 2);
    other.size = 1904;
    assert_int_equal(guard_refused(&guard, &settings, &other, 1, 0), 1);
    other = mail_of("a@b", "");
    assert_int_equal(guard_refused(&guard, &settings, &other, 1, 0), 1);
}

/* What comes when the last retry is long past comes from the queue. */
static void test_the_queue_begins_anew(void **state)
{
    (void)state;
    struct guard_mail mail = mail_of("a@b", "c@d");
    int64_t gap = (int64_t)settings.retry_gap_s * SECOND;
    assert_int_equal(guard_refused(&guard, &settings, &mail, 0, DELAY), 1);
    assert_int_equal(guard_refused(&guard, &settings, &mail, DELAY + gap, DELAY), 2);
    assert_int_equal(guard_refused(&guard, &settings, &mail, 2 * DELAY + 2 * gap + 1, DELAY), 1);
    assert_int_equal(guard_taken(&guard, &settings, &mail, 3 * DELAY + 3 * gap + 2), 0);
}

/* The same writes to the same twice at once, and each is tried again as often. */
static void test_two_messages_at_once(void **state)
{
    (void)state;
    struct guard_mail mail = mail_of("a@b", "c@d");
    int64_t now = 0;
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        assert_int_equal(guard_refused(&guard, &settings, &mail, now, DELAY), attempt);
        assert_int_equal(guard_refused(&guard, &settings, &mail, now + 5 * SECOND, DELAY), attempt);
        now += DELAY + 60 * SECOND;
    }
    assert_int_equal(guard_taken(&guard, &settings, &mail, now), 4);
    assert_int_equal(guard_refused(&guard, &settings, &mail, now + 5 * SECOND, DELAY), 5);
}

/* A refusal that left sooner than it was meant to, since the server outside would have given up. */
static void test_a_shorter_delay(void **state)
{
    (void)state;
    struct guard_mail mail = mail_of("a@b", "c@d");
    assert_int_equal(guard_refused(&guard, &settings, &mail, 0, DELAY), 1);
    assert_int_equal(guard_refused(&guard, &settings, &mail, DELAY / 2, DELAY), 2);
    assert_int_equal(guard_refused(&guard, &settings, &mail, DELAY - 1, DELAY), 1);
}

/* More than there is room for: it makes room, and what is left is right. */
static void test_more_than_there_is_room_for(void **state)
{
    (void)state;
    char sender[32];
    enum { MAILS = 3 * GUARD_SERIES_MAX };
    for (int i = 0; i < MAILS; i++) {
        snprintf(sender, sizeof sender, "user%d@example.net", i);
        struct guard_mail mail = mail_of(sender, "c@d");
        assert_int_equal(guard_refused(&guard, &settings, &mail, i, 0), 1);
    }
    uint32_t kept = 0;
    for (int i = MAILS - GUARD_SETS; i < MAILS; i++) { /* the newest, one a set: hardly one can have been displaced */
        snprintf(sender, sizeof sender, "user%d@example.net", i);
        struct guard_mail mail = mail_of(sender, "c@d");
        kept += guard_taken(&guard, &settings, &mail, MAILS) == 1;
    }
    assert_int_equal(kept, GUARD_SETS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_attempts_are_counted, set_up),
        cmocka_unit_test_setup(test_whose_mail, set_up),
        cmocka_unit_test_setup(test_the_queue_begins_anew, set_up),
        cmocka_unit_test_setup(test_two_messages_at_once, set_up),
        cmocka_unit_test_setup(test_a_shorter_delay, set_up),
        cmocka_unit_test_setup(test_more_than_there_is_room_for, set_up),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
