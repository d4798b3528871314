/* What is remembered of a mail that was cut for what it contains: its value in a store, and who has its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "policy/refused.h"

static const uint8_t secret[GREYLIST_SECRET_BYTES] = "secret of a test";
static const uint8_t v4[4] = {192, 0, 2, 7}, v4_beside[4] = {192, 0, 2, 200}, v4_else[4] = {192, 0, 3, 7};
static const uint8_t v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 7};

static void test_values(void **state)
{
    (void)state;
    struct refused rows[] = {refused_of(4, v4, 24, 0), refused_of(6, v6, 64, 0), refused_of(6, v6, 128, 0),
                             refused_of(4, v4, 24, 1), refused_of(6, v6, 64, UINT32_MAX)};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t value[GREYLIST_VALUE_BYTES], again[GREYLIST_VALUE_BYTES];
        struct refused read;
        rows[i].at_ms = GREYLIST_TIME_MS_MAX;
        rows[i].rule = 0x89abcdef;
        refused_encode(&rows[i], value);
        assert_true(refused_decode((struct span){value, sizeof value}, &read));
        refused_encode(&read, again);
        assert_memory_equal(value, again, sizeof value);
        assert_true(read.at_ms == rows[i].at_ms && read.rule == rows[i].rule && read.size == rows[i].size);
        assert_memory_equal(&read.network, &rows[i].network, sizeof read.network);
        for (size_t len = 0; len < sizeof value; len++)
            assert_false(refused_decode((struct span){value, len}, &read));
    }
}

/* Another version, a time that is none, a network beside a size, none without; what stands behind the fields. */
static void test_damaged_values(void **state)
{
    static const struct {
        const char *label;
        size_t at;
        uint8_t octet;
        uint32_t size;
    } rows[] = {
        {"another version", 0, 2, 9},       {"a time before 1970", 1, 0x80, 9},   {"a time too late", 2, 1, 9},
        {"a network and a size", 17, 4, 9}, {"no network and no size", 17, 0, 0}, {"no family", 17, 5, 0},
        {"octets behind", 39, 1, 9},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t value[GREYLIST_VALUE_BYTES];
        struct refused refused = refused_of(4, v4, 24, rows[i].size);
        if (!one_row(rows[i].label))
            continue;
        refused_encode(&refused, value);
        value[rows[i].at] = rows[i].octet;
        if (refused_decode((struct span){value, sizeof value}, &refused))
            fail_msg("%s: decodes", rows[i].label);
    }
}

static bool same_key(struct refused a, const char *sender_a, const char *recipient_a, struct refused b,
                     const char *sender_b, const char *recipient_b)
{
    uint8_t one[GREYLIST_KEY_BYTES], other[GREYLIST_KEY_BYTES];
    a.at_ms = 1; /* what is known of it is no part */
    a.rule = 2;
    refused_key(secret, &a, span_of(sender_a), span_of(recipient_a), one);
    refused_key(secret, &b, span_of(sender_b), span_of(recipient_b), other);
    return memcmp(one, other, sizeof one) == 0;
}

static void test_keys(void **state)
{
    (void)state;
    const struct refused sized = refused_of(4, v4, 24, 1234), plain = refused_of(4, v4, 24, 0);
    const struct {
        const char *label;
        struct refused a, b;
        const char *sender, *recipient; /* of b; those of a are below */
        bool same;
    } rows[] = {
        {"the same", sized, sized, "a@example.net", "b@example.com", true},
        {"case", sized, sized, "A@Example.NET", "B@EXAMPLE.com", true},
        {"a tag of the sender that is of the day", sized, sized, "prvs=0123ABCDEF=a@example.net", "b@example.com",
         true},
        {"another client", sized, refused_of(6, v6, 64, 1234), "a@example.net", "b@example.com", true},
        {"another size", sized, refused_of(4, v4, 24, 1235), "a@example.net", "b@example.com", false},
        {"no size", sized, plain, "a@example.net", "b@example.com", false},
        {"another sender", sized, sized, "x@example.net", "b@example.com", false},
        {"the null sender", sized, sized, "", "b@example.com", false},
        {"another recipient", sized, sized, "a@example.net", "c@example.com", false},
        {"octets from one address in the other", sized, sized, "a@example.netb", "@example.com", false},
        {"no size, the same network", plain, refused_of(4, v4_beside, 24, 0), "a@example.net", "b@example.com", true},
        {"no size, another network", plain, refused_of(4, v4_else, 24, 0), "a@example.net", "b@example.com", false},
        {"no size, a narrower network", plain, refused_of(4, v4, 32, 0), "a@example.net", "b@example.com", false},
        {"no size, of the other family", plain, refused_of(6, v6, 64, 0), "a@example.net", "b@example.com", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (one_row(rows[i].label) && same_key(rows[i].a, "a@example.net", "b@example.com", rows[i].b, rows[i].sender,
                                               rows[i].recipient) != rows[i].same)
            fail_msg("%s: keys are %s", rows[i].label, rows[i].same ? "different" : "the same");
}

/* Addresses longer than are kept are cut, not overrun. */
static void test_long_addresses(void **state)
{
    static uint8_t octets[2 * GREYLIST_ADDRESS_BYTES_MAX];
    uint8_t key[GREYLIST_KEY_BYTES], other[GREYLIST_KEY_BYTES];
    (void)state;
    memset(octets, 'x', sizeof octets);
    struct refused refused = refused_of(6, v6, 64, 0);
    struct span all = {octets, sizeof octets};
    refused_key(secret, &refused, all, all, key);
    refused_key(secret, &refused, all, span_head(all, GREYLIST_ADDRESS_BYTES_MAX), other);
    assert_memory_equal(key, other, sizeof key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_damaged_values),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_long_addresses),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
