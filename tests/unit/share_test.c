/* base/share and base/fit: who has how much, and objects as large as they must be. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/fit.h"
#include "base/share.h"

enum { A, B, RESOURCES };

static struct share share;
static void *counts;

static int begin(void **state)
{
    (void)state;
    counts = calloc(1, share_bytes(RESOURCES));
    share_init(&share, counts, 24, 64, 0x5eed);
    return counts ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    free(counts);
    return 0;
}

static uint16_t v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    const uint8_t address[4] = {a, b, c, d};
    return share_network(&share, 4, address);
}

static void test_a_network_is_its_prefix(void **state)
{
    (void)state;
    const uint8_t one[16] = {0x20, 1, 0x0d, 0xb8, [7] = 1, [15] = 1},
                  same[16] = {0x20, 1, 0x0d, 0xb8, [7] = 1, [8] = 9};
    const uint8_t other[16] = {0x20, 1, 0x0d, 0xb8, [7] = 2, [15] = 1};
    assert_int_equal(v4(192, 0, 2, 1), v4(192, 0, 2, 254));
    assert_int_not_equal(v4(192, 0, 2, 1), v4(192, 0, 3, 1));
    assert_int_equal(share_network(&share, 6, one), share_network(&share, 6, same));
    assert_int_not_equal(share_network(&share, 6, one), share_network(&share, 6, other));
    share_init(&share, counts, 20, 60, 0x5eed); /* a part of an octet */
    assert_int_equal(v4(192, 0, 2, 1), v4(192, 0, 15, 1));
    assert_int_not_equal(v4(192, 0, 2, 1), v4(192, 0, 16, 1));
    assert_int_equal(share_network(&share, 6, one), share_network(&share, 6, other));
}

/* Nobody can choose whose count he adds to: with another secret other networks go together. */
static void test_networks_are_spread(void **state)
{
    (void)state;
    static uint32_t seen[SHARE_NETWORKS];
    uint32_t most = 0, moved = 0;
    for (uint32_t i = 0; i < 16 * SHARE_NETWORKS; i++) {
        uint16_t network = v4((uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 1);
        assert_in_range(network, 0, SHARE_NETWORKS - 1);
        most = ++seen[network] > most ? seen[network] : most;
    }
    assert_in_range(most, 16, 64);
    uint16_t before = v4(192, 0, 2, 1);
    for (uint64_t seed = 1; seed <= 16; seed++) {
        share_init(&share, counts, 24, 64, seed);
        moved += v4(192, 0, 2, 1) != before;
    }
    assert_in_range(moved, 15, 16);
}

static void test_bounds_and_the_greediest(void **state)
{
    (void)state;
    share_bound(&share, A, 100, 25, 10);
    share_bound(&share, B, 100, 5, 10);
    assert_true(share_allows(&share, A, 7, 25));
    assert_false(share_allows(&share, A, 7, 26));
    assert_true(share_allows(&share, B, 7, 10)); /* as many as one connection needs */
    assert_false(share_allows(&share, B, 7, 11));
    share_add(&share, A, 7, 20);
    share_add(&share, A, 9, 25);
    assert_true(share_allows(&share, A, 7, 5));
    assert_false(share_allows(&share, A, 7, 6));
    assert_false(share_allows(&share, A, 9, 1));
    assert_true(share_allows(&share, A, 8, 25));
    assert_int_equal(share_greediest(&share, A), 9);
    share_add(&share, A, 9, -10);
    assert_int_equal(share_greediest(&share, A), 7);
    assert_int_equal(share_count(&share, A, 9), 15);
    share_add(&share, A, 9, 100); /* what was taken all the same is counted */
    assert_false(share_allows(&share, A, 9, 0));
}

enum { SMALL = 64, MIDDLE = 512, LARGE = 2048, COUNT = 3 };

static void test_an_object_is_as_large_as_it_must_be(void **state)
{
    (void)state;
    static alignas(8) uint8_t storage[COUNT * (SMALL + MIDDLE + LARGE)];
    struct pool small, middle, large;
    pool_init(&small, storage, SMALL, COUNT);
    pool_init(&middle, storage + COUNT * SMALL, MIDDLE, COUNT);
    pool_init(&large, storage + COUNT * (SMALL + MIDDLE), LARGE, COUNT);
    large.smaller = &middle;
    middle.smaller = &small;
    uint32_t one = fit_borrow(&large, 1);
    assert_int_equal(fit_bytes(&large, one), SMALL);
    assert_int_equal(fit_bytes(&large, fit_borrow(&large, SMALL)), SMALL);
    assert_int_equal(fit_bytes(&large, fit_borrow(&large, SMALL + 1)), MIDDLE);
    assert_int_equal(fit_bytes(&large, fit_borrow(&large, LARGE)), LARGE);
    assert_int_equal(fit_used_bytes(&large), 2 * SMALL + MIDDLE + LARGE);
    /* What it holds goes with it. */
    memset(fit_at(&large, one), 0xa5, SMALL);
    assert_int_equal(fit_grow(&large, one, SMALL, SMALL), one);
    uint32_t grown = fit_grow(&large, one, SMALL, MIDDLE);
    assert_int_equal(fit_bytes(&large, grown), MIDDLE);
    for (int i = 0; i < SMALL; i++)
        assert_int_equal(((uint8_t *)fit_at(&large, grown))[i], 0xa5);
    assert_int_equal(fit_used_bytes(&large), SMALL + 2 * MIDDLE + LARGE);
    /* What is large stays for what is large. */
    assert_int_not_equal(fit_borrow(&large, 1), POOL_NONE);
    assert_int_not_equal(fit_borrow(&large, 1), POOL_NONE);
    assert_int_equal(fit_borrow(&large, 1), POOL_NONE);
    fit_return(&large, grown);
    assert_int_equal(fit_used_bytes(&large), COUNT * SMALL + MIDDLE + LARGE);
    grown = fit_grow(&large, fit_borrow(&large, MIDDLE), 0, LARGE);
    assert_int_equal(fit_bytes(&large, grown), LARGE);
    assert_int_not_equal(fit_borrow(&large, LARGE), POOL_NONE);
    uint32_t kept = fit_borrow(&large, MIDDLE);
    assert_int_equal(fit_grow(&large, kept, 0, LARGE), POOL_NONE);
    assert_int_equal(fit_bytes(&large, kept), MIDDLE);
}

/* A pool alone is one size. */
static void test_a_pool_alone(void **state)
{
    (void)state;
    static alignas(8) uint8_t storage[COUNT * LARGE];
    struct pool pool;
    pool_init(&pool, storage, LARGE, COUNT);
    uint32_t one = fit_borrow(&pool, 1);
    assert_ptr_equal(fit_at(&pool, one), pool_at(&pool, one));
    assert_int_equal(fit_grow(&pool, one, 1, LARGE), one);
    fit_return(&pool, one);
    assert_int_equal(pool.used, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_network_is_its_prefix, begin, end),
        cmocka_unit_test_setup_teardown(test_networks_are_spread, begin, end),
        cmocka_unit_test_setup_teardown(test_bounds_and_the_greediest, begin, end),
        cmocka_unit_test(test_an_object_is_as_large_as_it_must_be),
        cmocka_unit_test(test_a_pool_alone),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
