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

/* Each attempt is seen by another gateway, which has its own clock's idea of the store's time. */
static void test_counted_by_two(void **state)
{
    (void)state;
    static struct guard other;
    struct guard *gateways[] = {&guard, &other};
    uint8_t value[GUARD_VALUE_BYTES], key[SIPHASH_BYTES];
    memset(&other, 0, sizeof other);
    struct guard_mail mail = mail_of("a@b", "c@d");
    guard_key(&guard, &mail, key);
    int64_t now = 5000000;
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        struct guard *gateway = gateways[attempt % 2];
        if (attempt > 1)
            assert_true(guard_load(gateway, &settings, key, now, 0, (struct span){value, sizeof value}));
        /* One that is alike begins right behind the first. */
        assert_int_equal(guard_refused(gateway, &settings, &mail, now, DELAY), attempt);
        assert_int_equal(guard_refused(gateway, &settings, &mail, now + SECOND, DELAY), attempt);
        guard_save(gateway, &settings, key, now + SECOND, 0, value);
        now += DELAY + 60 * SECOND;
    }
    assert_true(guard_load(&guard, &settings, key, now, 0, (struct span){value, sizeof value}));
    assert_int_equal(guard_taken(&guard, &settings, &mail, now), 4);
    assert_int_equal(guard_taken(&guard, &settings, &mail, now), 4);
    guard_save(&guard, &settings, key, now, 0, value);
    assert_true(guard_load(&other, &settings, key, now, 0, (struct span){value, sizeof value}));
    assert_int_equal(guard_taken(&other, &settings, &mail, now), 0); /* it hears of that, too */
}

static void test_saved_values(void **state)
{
    (void)state;
    static struct guard other;
    uint8_t value[GUARD_VALUE_BYTES], key[SIPHASH_BYTES];
    memset(&other, 0, sizeof other);
    struct guard_mail mail = mail_of("a@b", "c@d");
    int64_t now = 5000000, lag = 3600 * SECOND;
    guard_key(&guard, &mail, key);
    for (int i = 0; i < GUARD_KEPT_MAX + 1; i++) /* more of them than a record tells of */
        assert_int_equal(guard_refused(&guard, &settings, &mail, now + i, DELAY), 1);
    guard_save(&guard, &settings, key, now + GUARD_KEPT_MAX, lag, value);
    assert_true(guard_load(&other, &settings, key, now, lag, (struct span){value, sizeof value}));
    for (int i = 0; i < GUARD_KEPT_MAX; i++)
        assert_int_equal(guard_refused(&other, &settings, &mail, now + DELAY, DELAY), 2);
    assert_int_equal(guard_refused(&other, &settings, &mail, now + DELAY, DELAY), 1);
    /* Of another clock, that is long ago. */
    assert_true(guard_load(&other, &settings, key, now + DELAY, 0, (struct span){value, sizeof value}));
    assert_int_equal(guard_refused(&other, &settings, &mail, now + DELAY, DELAY), 1);
    assert_false(guard_load(&other, &settings, key, now, 0, (struct span){value, sizeof value - 1}));
    value[0]++;
    assert_false(guard_load(&other, &settings, key, now, 0, (struct span){value, sizeof value}));
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
        cmocka_unit_test_setup(test_counted_by_two, set_up),
        cmocka_unit_test_setup(test_saved_values, set_up),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
