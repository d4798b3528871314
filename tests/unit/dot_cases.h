/*
 * tests/unit/dot_cases - smtp/dot against a search octet by octet; one program for each kind of processor.
 */
#ifndef POSTERN_TESTS_DOT_CASES_H
#define POSTERN_TESTS_DOT_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "smtp/dot.h"

enum { OCTETS_MAX = 700, ALIGNMENTS = 33 };

static size_t naive_find(struct span octets, size_t at)
{
    for (; at < octets.len; at++) {
        uint8_t before = octets.ptr[at - 1];
        if (octets.ptr[at] == '.' && (before == '\n' || before == '\r' || before == '\0'))
            break;
    }
    return at;
}

/* From each place on, in a copy that ends where the octets end and begins anywhere. */
static void check_from_each_place(struct span octets, size_t alignment)
{
    uint8_t *copy = malloc(octets.len + alignment);
    assert_non_null(copy);
    memcpy(copy + alignment, octets.ptr, octets.len);
    struct span aligned = {copy + alignment, octets.len};
    for (size_t at = 1; at <= octets.len; at++)
        assert_int_equal(smtp_dot_find(aligned, at), naive_find(aligned, at));
    free(copy);
}

static void test_each_place_of_each_length(void **state)
{
    (void)state;
    uint8_t octets[OCTETS_MAX];
    for (size_t len = 2; len < OCTETS_MAX; len += len < 300 ? 1 : 37)
        for (size_t at = 1; at < len; at += 1 + len / 40) {
            memset(octets, 'x', len);
            octets[at - 1] = (uint8_t) "\n\r\0"[at % 3];
            octets[at] = '.';
            check_from_each_place((struct span){octets, len}, at % ALIGNMENTS);
        }
}

static void test_every_pair_of_octets(void **state)
{
    (void)state;
    uint8_t octets[200];
    for (unsigned pair = 0; pair < 65536; pair++) {
        memset(octets, 'x', sizeof octets);
        octets[70] = (uint8_t)(pair >> 8);
        octets[71] = (uint8_t)pair;
        struct span all = {octets, sizeof octets};
        assert_int_equal(smtp_dot_find(all, 1), naive_find(all, 1));
    }
}

static void test_random_octets(void **state)
{
    (void)state;
    static const uint8_t alphabet[] = {'.', '\n', '\r', '\0', '/', '-', ',', '\t', 0x0b, 0x80, 0xff};
    struct random_source random = {46};
    uint8_t octets[OCTETS_MAX];
    for (int i = 0; i < 3000; i++) {
        size_t len = 1 + random_below(&random, OCTETS_MAX - 1);
        uint32_t rarity = 1 + random_below(&random, 60);
        for (size_t k = 0; k < len; k++)
            octets[k] = random_below(&random, rarity) ? 'z' : alphabet[random_below(&random, sizeof alphabet)];
        check_from_each_place((struct span){octets, len}, random_below(&random, ALIGNMENTS));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_place_of_each_length),
        cmocka_unit_test(test_every_pair_of_octets),
        cmocka_unit_test(test_random_octets),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("dot", tests, NULL, NULL);
}

#endif
