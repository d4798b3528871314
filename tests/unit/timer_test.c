/* engine/timer against a list of deadlines that is searched from end to end. */
#include "engine/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/random.h"

enum { IDS = 40 };

static uint64_t due[IDS + 1]; /* UINT64_MAX: not set */

static uint64_t earliest(void)
{
    uint64_t least = UINT64_MAX;
    for (int id = 1; id <= IDS; id++)
        least = due[id] < least ? due[id] : least;
    return least;
}

/* Spans of all sizes, so that every level of the wheel is used. */
static uint64_t random_span(struct random_source *random)
{
    return random_next(random) >> (20 + random_below(random, 44));
}

static void run(uint64_t seed)
{
    static struct timer_wheel wheel;
    static struct timer_node nodes[IDS + 1];
    struct random_source random = {seed};
    uint64_t now = 0;
    memset(nodes, 0, sizeof nodes);
    memset(due, 0xff, sizeof due);
    timer_init(&wheel, nodes, IDS);
    for (int i = 0; i < 2000; i++) {
        uint32_t id = 1 + random_below(&random, IDS);
        if (random_below(&random, 3)) {
            uint64_t at = random_below(&random, 8) ? now + random_span(&random) : now / 2;
            due[id] = at < UINT64_C(0xffffffffffff) ? at : UINT64_C(0xffffffffffff);
            timer_set(&wheel, id, at);
        } else if (random_below(&random, 2)) {
            due[id] = UINT64_MAX;
            timer_clear(&wheel, id);
        }
        assert_true(timer_due_ms(&wheel, id) == due[id]);
        uint64_t next = timer_next_ms(&wheel);
        uint64_t least = earliest();
        assert_int_equal(next == UINT64_MAX, least == UINT64_MAX);
        assert_true(next <= least || (least <= now && next <= now));
        if (random_below(&random, 2)) {
            /* To where it asks to be called, just before, or far beyond. */
            uint64_t to = next != UINT64_MAX && random_below(&random, 3) ? next : now + random_span(&random) / 4;
            if (to > now && to <= UINT64_C(0xffffffffffff))
                now = to;
            timer_advance(&wheel, now);
        }
        for (uint32_t expired; (expired = timer_expired(&wheel)) != 0;) {
            assert_true(due[expired] <= now);
            due[expired] = UINT64_MAX;
        }
        assert_true(earliest() > now);
    }
}

static void test_random_deadlines_against_a_list(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        run(seed);
}

static void test_time_never_goes_back(void **state)
{
    (void)state;
    static struct timer_wheel wheel;
    static struct timer_node nodes[3];
    timer_init(&wheel, nodes, 2);
    timer_advance(&wheel, 5000);
    timer_set(&wheel, 1, 6000);
    timer_advance(&wheel, 10);
    assert_int_equal(timer_expired(&wheel), 0);
    timer_set(&wheel, 2, 10); /* has passed: due at once */
    assert_int_equal(timer_expired(&wheel), 2);
    timer_advance(&wheel, 6000);
    assert_int_equal(timer_expired(&wheel), 1);
    assert_int_equal(timer_expired(&wheel), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_deadlines_against_a_list),
        cmocka_unit_test(test_time_never_goes_back),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
