/* tcp/edit against a slow reference that knows, of each octet, what became of it. */
#include "tcp/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "../lib/random.h"

enum { ENTRIES = 64, DECISIONS = 40, PLACES_MAX = 4096 };

static uint8_t storage[ENTRIES * EDIT_ENTRY_BYTES] __attribute__((aligned(8)));

/* forward[i] is where ingress place i stands in egress space; both begin at 0. */
struct reference {
    uint32_t forward[PLACES_MAX];
    uint32_t ingress, egress;
};

static void reference_decide(struct reference *reference, uint32_t ingress_len, uint32_t egress_len)
{
    for (uint32_t i = 0; i < ingress_len; i++)
        reference->forward[reference->ingress + i] = reference->egress + (i < egress_len ? i : egress_len);
    reference->ingress += ingress_len;
    reference->egress += egress_len;
    reference->forward[reference->ingress] = reference->egress;
}

/* The last ingress place whose egress place is not behind `ack`. */
static uint32_t reference_backward(const struct reference *reference, uint32_t ack)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i <= reference->ingress; i++)
        if (reference->forward[i] <= ack)
            best = i;
    return best;
}

static void compare(const struct edit_log *log, const struct pool *entries, const struct reference *reference,
                    uint32_t start, uint32_t acknowledged)
{
    for (uint32_t i = reference_backward(reference, acknowledged); i <= reference->ingress; i++)
        assert_int_equal(edit_forward(log, entries, start + i) - start, reference->forward[i]);
    for (uint32_t ack = acknowledged; ack <= reference->egress; ack++)
        assert_int_equal(edit_backward(log, entries, start + ack) - start, reference_backward(reference, ack));
    assert_int_equal(edit_offset(log), (int32_t)(reference->egress - reference->ingress));
    /* A block never claims more than it covers: each whole octet of it has left within the block's own bounds. */
    for (uint32_t left = acknowledged; left < reference->egress; left += 3)
        for (uint32_t right = left + 1; right <= reference->egress; right += 5) {
            uint32_t from = start + left, to = start + right;
            if (!edit_backward_block(log, entries, &from, &to))
                continue;
            assert_true(reference->forward[from - start] >= left);
            assert_true(reference->forward[to - start] <= right);
        }
}

static void run(uint64_t seed)
{
    static struct reference reference;
    struct random_source random = {seed};
    uint32_t start = seed % 2 ? UINT32_MAX - random_below(&random, 200) : (uint32_t)random_next(&random);
    struct pool entries;
    struct edit_log log;
    uint32_t acknowledged = 0;
    reference = (struct reference){0};
    pool_init(&entries, storage, EDIT_ENTRY_BYTES, ENTRIES);
    edit_init(&log, start);
    for (int i = 0; i < DECISIONS; i++) {
        uint32_t ingress = random_below(&random, 20);
        uint32_t egress = random_below(&random, 3) ? ingress : random_below(&random, 4) ? 0 : random_below(&random, 20);
        if (ingress == 0)
            egress = 0;
        assert_true(edit_room(&entries));
        edit_decide(&log, &entries, ingress, egress);
        reference_decide(&reference, ingress, egress);
        if (random_below(&random, 4) == 0 && reference.egress > acknowledged) {
            acknowledged += random_below(&random, reference.egress - acknowledged + 1);
            edit_acknowledge(&log, &entries, start + acknowledged);
        }
        if (random_below(&random, 4) == 0)
            edit_acknowledge(&log, &entries, start + acknowledged / 2); /* an old one changes nothing */
        compare(&log, &entries, &reference, start, acknowledged);
    }
    edit_acknowledge(&log, &entries, start + reference.egress);
    assert_int_equal(entries.used, 0);
    assert_int_equal(log.anchor, log.end);
    edit_clear(&log, &entries);
}

static void test_random_decisions_against_a_map_of_octets(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        run(seed);
}

static void test_case_59_inside_an_edit(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        uint32_t ingress, egress, seq, forward, ack, backward; /* behind 10 octets that stayed */
    } rows[] = {
        {"deletion, its start", 5, 0, 10, 10, 10, 15},
        {"deletion, inside", 5, 0, 13, 10, 9, 9},
        {"deletion, behind", 5, 0, 16, 11, 11, 16},
        {"shorter, inside what is left", 5, 3, 12, 12, 12, 12},
        {"shorter, inside what is gone", 5, 3, 14, 13, 13, 15},
        {"longer, inside", 3, 5, 12, 12, 14, 12},
        {"longer, behind", 3, 5, 13, 15, 15, 13},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        struct pool entries;
        struct edit_log log;
        pool_init(&entries, storage, EDIT_ENTRY_BYTES, ENTRIES);
        edit_init(&log, 0);
        edit_decide(&log, &entries, 10, 10);
        edit_decide(&log, &entries, rows[i].ingress, rows[i].egress);
        edit_decide(&log, &entries, 10, 10);
        if (edit_forward(&log, &entries, rows[i].seq) != rows[i].forward ||
            edit_backward(&log, &entries, rows[i].ack) != rows[i].backward)
            fail_msg("%s", rows[i].label);
    }
}

static void test_deletions_side_by_side_take_one_entry(void **state)
{
    (void)state;
    struct pool entries;
    struct edit_log log;
    pool_init(&entries, storage, EDIT_ENTRY_BYTES, 1);
    edit_init(&log, UINT32_MAX - 3);
    for (int i = 0; i < 20; i++)
        edit_decide(&log, &entries, 3, 0);
    assert_int_equal(entries.used, 1);
    assert_false(edit_room(&entries));
    assert_int_equal(edit_offset(&log), -60);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_decisions_against_a_map_of_octets),
        cmocka_unit_test(test_case_59_inside_an_edit),
        cmocka_unit_test(test_deletions_side_by_side_take_one_entry),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("edit", tests, NULL, NULL);
}
