/* report/feed and sys/ring: everything in order, bounds, what is lost is said, and two threads at once. */
#include "report/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "../lib/random.h"
#include "report/reasons.h"
#include "sys/ring.h"

enum { RECORDS = 50000, RECORD_BYTES_MAX = 700 };

/* A record's octets follow from its number; its length too. */
static size_t record_len(uint32_t number)
{
    return number * 7919u % RECORD_BYTES_MAX;
}

static void *produce(void *argument)
{
    struct ring *ring = argument;
    for (uint32_t number = 0; number < RECORDS;) {
        uint8_t *at = ring_reserve(ring, record_len(number));
        if (!at)
            continue;
        memset(at, (int)(number & 0xff), record_len(number));
        ring_commit(ring);
        number++;
    }
    return NULL;
}

static void test_ring_between_two_threads(void **state)
{
    (void)state;
    struct ring *ring = ring_new(4096);
    pthread_t producer;
    assert_non_null(ring);
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    for (uint32_t number = 0; number < RECORDS;) {
        size_t len;
        const uint8_t *at = ring_front(ring, &len);
        if (!at)
            continue;
        assert_int_equal(len, record_len(number));
        for (size_t i = 0; i < len; i++)
            if (at[i] != (number & 0xff))
                fail_msg("record %u differs at octet %zu", number, i);
        ring_pop(ring);
        number++;
    }
    pthread_join(producer, NULL);
    ring_free(ring);
}

static void test_ring_is_bounded(void **state)
{
    (void)state;
    struct ring *ring = ring_new(4096);
    size_t len, all = ring_room(ring);
    assert_null(ring_front(ring, &len));
    assert_null(ring_reserve(ring, all));
    assert_null(ring_reserve(ring, SIZE_MAX));
    assert_non_null(ring_reserve(ring, all - ring_record_bytes(0)));
    ring_commit(ring);
    assert_int_equal(ring_room(ring), 0);
    assert_null(ring_reserve(ring, 0));
    assert_non_null(ring_front(ring, &len));
    ring_pop(ring);
    assert_int_equal(ring_room(ring), all);
    ring_free(ring);
}

/* ---- the feed ---- */

static struct event event_of(enum event_kind kind, uint64_t flow_id, uint32_t place)
{
    static const uint8_t text[1024] = "text";
    struct event event = {.kind = kind, .flow_id = flow_id, .flow_place = place, .reason = ""};
    if (kind == EVENT_COMMAND)
        event.text = (struct span){text, sizeof text};
    return event;
}

static void put(struct feed *feed, enum event_kind kind, uint64_t flow_id, uint32_t place)
{
    struct event event = event_of(kind, flow_id, place);
    feed_put(feed, &event);
}

static void test_feed_copies_texts(void **state)
{
    (void)state;
    uint8_t text[] = "MAIL", shown[] = "NOOP";
    char reason[] = "no guests";
    struct feed *feed = feed_new(4, UINT32_MAX);
    struct event event = event_of(EVENT_FLOW_START, 1, 1), got;
    feed_put(feed, &event);
    event = event_of(EVENT_COMMAND, 1, 1);
    event.text = (struct span){text, 4};
    event.shown = (struct span){shown, 4};
    event.reason = reason;
    feed_put(feed, &event);
    memset(reason, 'x', sizeof reason - 1);
    memset(text, 0, sizeof text);
    memset(shown, 0, sizeof shown);
    assert_true(feed_waits(feed) && feed_take(feed, &got) && got.kind == EVENT_FLOW_START);
    assert_true(feed_take(feed, &got) && got.kind == EVENT_COMMAND);
    assert_memory_equal(got.text.ptr, "MAIL", 4);
    assert_memory_equal(got.shown.ptr, "NOOP", 4);
    assert_string_equal(got.reason, "no guests");
    assert_false(feed_take(feed, &got));
    assert_false(feed_waits(feed));
    feed_free(feed);
}

/* What a reader of the feed knows of each connection. */
struct told {
    bool begun;
    bool ended;
    bool lost;     /* an event of it said so */
    uint32_t seen; /* commands */
};

static void read_all(struct feed *feed, struct told *told)
{
    struct event event;
    while (feed_take(feed, &event)) {
        struct told *one = &told[event.flow_id];
        assert_true(one->begun || event.kind == EVENT_FLOW_START);
        assert_false(one->ended);
        one->begun = true;
        one->lost = one->lost || event.lost;
        one->seen += event.kind == EVENT_COMMAND;
        one->ended = event.kind == EVENT_FLOW_END;
    }
}

enum { PLACES = 100, FLOWS = 1000 };

/* Connections come and go while nobody reads for long times; each place is used by one after the other. */
static void test_feed_never_loses_an_end(void **state)
{
    (void)state;
    struct random_source random = {42};
    static struct told told[FLOWS + 1];
    static uint64_t at[PLACES + 1];
    static uint32_t sent[FLOWS + 1];
    struct feed *feed = feed_new(PLACES, UINT32_MAX);
    uint64_t flows = 0, put_count = 0, taken = 0;
    memset(told, 0, sizeof told);
    while (flows < FLOWS) {
        uint32_t place = 1 + random_below(&random, PLACES);
        if (at[place] == 0) {
            at[place] = ++flows;
            put(feed, EVENT_FLOW_START, at[place], place);
        } else if (random_below(&random, 50) == 0) {
            put(feed, EVENT_FLOW_END, at[place], place);
            at[place] = 0;
        } else {
            put(feed, EVENT_COMMAND, at[place], place);
            sent[at[place]]++;
        }
        put_count++;
        if (random_below(&random, 20000) == 0)
            read_all(feed, told);
    }
    for (uint32_t place = 1; place <= PLACES; place++)
        if (at[place])
            put(feed, EVENT_FLOW_END, at[place], place), put_count++;
    read_all(feed, told);
    uint32_t silent = 0, partly = 0;
    for (uint32_t id = 1; id <= FLOWS; id++) {
        assert_int_equal(told[id].begun, told[id].ended);
        if (told[id].begun)
            assert_int_equal(told[id].lost, told[id].seen != sent[id]);
        silent += !told[id].begun;
        partly += told[id].lost;
        taken += told[id].seen + 2u * told[id].begun;
    }
    assert_int_equal(taken + feed_dropped(feed), put_count);
    assert_true(silent > 0 && silent < FLOWS && partly > 0);
    feed_free(feed);
}

static void test_feed_tells_what_is_not_followed(void **state)
{
    (void)state;
    struct feed *feed = feed_new(4, UINT32_MAX);
    struct event got;
    put(feed, EVENT_UNEDITED, 7, 2);
    assert_true(feed_take(feed, &got) && got.kind == EVENT_UNEDITED && got.flow_id == 7);
    put(feed, EVENT_COMMAND, 7, 2); /* of a connection whose first event was not told */
    assert_false(feed_take(feed, &got));
    assert_int_equal(feed_dropped(feed), 1);
    feed_free(feed);
}

/* The number of an attempt may be known only when the connection is over, and another one has its place. */
static void test_feed_tells_of_guarded_mail_late(void **state)
{
    (void)state;
    struct feed *feed = feed_new(4, UINT32_MAX);
    struct event got;
    put(feed, EVENT_FLOW_START, 7, 2);
    put(feed, EVENT_FLOW_END, 7, 2);
    put(feed, EVENT_FLOW_START, 8, 2);
    put(feed, EVENT_GUARD, 7, 2);
    put(feed, EVENT_FLOW_END, 8, 2);
    static const enum event_kind kinds[] = {EVENT_FLOW_START, EVENT_FLOW_END, EVENT_FLOW_START, EVENT_GUARD,
                                            EVENT_FLOW_END};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        assert_true(feed_take(feed, &got) && got.kind == kinds[i] && !got.lost);
    assert_false(feed_take(feed, &got));
    feed_free(feed);
}

static void test_names_are_kept_once(void **state)
{
    (void)state;
    struct reasons *reasons = reasons_new();
    char name[32];
    const char *kept[3000];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 3000; i++) {
            snprintf(name, sizeof name, "rule %d", i);
            const char *copy = reasons_keep(reasons, name);
            assert_string_equal(copy, name);
            assert_true(round == 0 || copy == kept[i]);
            kept[i] = copy;
        }
    assert_string_equal(reasons_keep(reasons, ""), "");
    reasons_free(reasons);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_between_two_threads),
        cmocka_unit_test(test_ring_is_bounded),
        cmocka_unit_test(test_feed_copies_texts),
        cmocka_unit_test(test_feed_never_loses_an_end),
        cmocka_unit_test(test_feed_tells_what_is_not_followed),
        cmocka_unit_test(test_feed_tells_of_guarded_mail_late),
        cmocka_unit_test(test_names_are_kept_once),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("feed", tests, NULL, NULL);
}
