/* tcp/retain and base/pool against a plain array. */
#include "tcp/retain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/random.h"

enum { BLOCKS = 12, PLAIN_BYTES = BLOCKS * RETAIN_BLOCK_BYTES };

static uint8_t storage[BLOCKS * RETAIN_BLOCK_BYTES] __attribute__((aligned(8)));

static void test_random_use_against_a_plain_array(void **state)
{
    (void)state;
    static uint8_t plain[PLAIN_BYTES], read[PLAIN_BYTES], fresh[6000];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct random_source random = {seed};
        struct pool blocks;
        struct retain retain = {0};
        uint32_t len = 0;
        pool_init(&blocks, storage, RETAIN_BLOCK_BYTES, BLOCKS);
        for (int i = 0; i < 400; i++) {
            uint32_t bound = random_below(&random, 2) ? 100 : sizeof fresh;
            uint32_t count = random_below(&random, bound);
            for (uint32_t k = 0; k < count; k++)
                fresh[k] = (uint8_t)random_next(&random);
            uint32_t needed = retain_blocks_needed(&retain, count);
            uint32_t used = blocks.used;
            bool kept = retain_append(&retain, &blocks, (struct span){fresh, count});
            assert_int_equal(kept, needed <= BLOCKS - used);
            assert_int_equal(blocks.used, used + (kept ? needed : 0));
            assert_int_equal(blocks.used, retain_blocks(&retain));
            if (kept) {
                memcpy(plain + len, fresh, count);
                len += count;
            }
            assert_int_equal(retain.len, len);
            uint32_t from = len ? random_below(&random, len) : 0;
            uint32_t part = len > from ? random_below(&random, len - from + 1) : 0;
            retain_read(&retain, &blocks, from, read, part);
            assert_memory_equal(read, plain + from, part);
            assert_true(retain_equal(&retain, &blocks, from, (struct span){plain + from, part}));
            if (part) {
                read[part - 1] ^= 1;
                assert_false(retain_equal(&retain, &blocks, from, (struct span){read, part}));
            }
            uint32_t gone = random_below(&random, 3) ? random_below(&random, 3000) : 0;
            retain_release(&retain, &blocks, gone);
            gone = gone < len ? gone : len;
            len -= gone;
            memmove(plain, plain + gone, len);
            assert_int_equal(blocks.used, retain_blocks(&retain));
        }
        retain_release(&retain, &blocks, UINT32_MAX);
        assert_int_equal(blocks.used, 0);
    }
}

static void test_a_pool_hands_out_each_object_once(void **state)
{
    (void)state;
    struct pool pool;
    bool out[BLOCKS + 1] = {false};
    struct random_source random = {5};
    pool_init(&pool, storage, RETAIN_BLOCK_BYTES, BLOCKS);
    uint32_t used = 0;
    for (int i = 0; i < 5000; i++) {
        uint32_t index = 1 + random_below(&random, BLOCKS);
        if (random_below(&random, 2) && out[index]) {
            pool_return(&pool, index);
            out[index] = false;
            used--;
        } else {
            uint32_t borrowed = pool_borrow(&pool);
            assert_int_equal(borrowed == POOL_NONE, used == BLOCKS);
            if (borrowed != POOL_NONE) {
                assert_true(borrowed <= BLOCKS && !out[borrowed]);
                out[borrowed] = true;
                memset(pool_at(&pool, borrowed), 0xa5, RETAIN_BLOCK_BYTES);
                used++;
            }
        }
        assert_int_equal(pool_free_count(&pool), BLOCKS - used);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_use_against_a_plain_array),
        cmocka_unit_test(test_a_pool_hands_out_each_object_once),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("retain", tests, NULL, NULL);
}
