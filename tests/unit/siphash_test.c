/* SipHash-2-4 with 128 bits against the vectors of its reference code, in siphash128.txt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/siphash.h"

enum { VECTORS = 64 };

static void test_vectors(void **state)
{
    (void)state;
    uint8_t key[SIPHASH_KEY_BYTES], octets[VECTORS], hash[SIPHASH_BYTES];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)i;
    FILE *file = fopen("tests/unit/siphash128.txt", "r");
    assert_non_null(file);
    char line[160], hex[2 * SIPHASH_BYTES + 1];
    size_t count = 0;
    while (fgets(line, sizeof line, file)) {
        if (line[0] == '#')
            continue;
        assert_true(count < VECTORS);
        siphash128(key, (struct span){octets, count++}, hash);
        for (size_t i = 0; i < sizeof hash; i++)
            snprintf(hex + 2 * i, 3, "%02x", hash[i]);
        assert_memory_equal(line, hex, sizeof hex - 1);
    }
    fclose(file);
    assert_int_equal(count, VECTORS);
}

static void test_pairs(void **state)
{
    (void)state;
    uint8_t key[SIPHASH_KEY_BYTES] = {7}, octets[VECTORS], one[2][SIPHASH_BYTES], both[2][SIPHASH_BYTES];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(3 * i);
    for (size_t a = 0; a <= VECTORS; a++)
        for (size_t b = 0; b <= VECTORS; b++) {
            const struct span spans[] = {{octets, a}, {octets + (VECTORS - b), b}};
            siphash128(key, spans[0], one[0]);
            siphash128(key, spans[1], one[1]);
            siphash128_pair(key, spans, (uint8_t *const[]){both[0], both[1]});
            assert_memory_equal(one, both, sizeof one);
        }
}

static void test_key_matters(void **state)
{
    (void)state;
    uint8_t key[SIPHASH_KEY_BYTES] = {0}, first[SIPHASH_BYTES], second[SIPHASH_BYTES];
    for (size_t bit = 0; bit < 8 * sizeof key; bit++) {
        siphash128(key, span_of("a@example.net"), first);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        siphash128(key, span_of("a@example.net"), second);
        assert_memory_not_equal(first, second, sizeof first);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"the reference's vectors", test_vectors, NULL, NULL, NULL},
        {"two at once are as one and the other", test_pairs, NULL, NULL, NULL},
        {"each bit of the key changes the hash", test_key_matters, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}
