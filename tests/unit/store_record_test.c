/* The stored form of records: what a file or a server holds today must be read by every later version. */
#include "store/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/one.h"

static const struct store_key key = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

static const struct {
    const char *label;
    struct store_record record;
    const char *text, *stored; /* in hexadecimal digits; the check reckoned by another program */
} rows[] = {
    {"short, with a text",
     {.kind = 5, .len = 3, .expires_s = 0x6a000000, .value = "abc"},
     "<a@b>",
     "252e8b84d36a000000036162633c6140623e"},
    {"mostly zeros, a large kind, for ever",
     {.kind = 200, .len = 40, .expires_s = UINT32_MAX, .value = {1, [9] = 2, [39] = 3}},
     "",
     "5f626467e6ffffffffc88040000001010203"},
};

static void hex_of(const uint8_t *octets, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        snprintf(out + 2 * i, 3, "%02x", octets[i]);
}

static void test_records_are_stored_as_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        uint8_t stored[RECORD_BYTES_MAX];
        char hex[2 * RECORD_BYTES_MAX + 1];
        struct store_record read;
        struct span text;
        size_t len = record_encode(stored, &key, &rows[i].record, span_of(rows[i].text));
        hex_of(stored, len, hex);
        assert_string_equal(hex, rows[i].stored);
        assert_int_equal(record_decode(&key, (struct span){stored, len}, &read, &text), RECORD_GOOD);
        assert_int_equal(read.kind, rows[i].record.kind);
        assert_int_equal(read.len, rows[i].record.len);
        assert_true(read.expires_s == rows[i].record.expires_s);
        assert_memory_equal(read.value, rows[i].record.value, sizeof read.value);
        assert_true(span_equal(text, span_of(rows[i].text)));
    }
}

static void test_no_changed_octet_and_no_other_length_is_believed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        uint8_t stored[RECORD_BYTES_MAX + 1] = {0};
        struct store_record read;
        struct span text;
        size_t len = record_encode(stored, &key, &rows[i].record, span_of(rows[i].text));
        for (size_t other = 0; other <= sizeof stored; other++)
            if (other != len)
                assert_int_equal(record_decode(&key, (struct span){stored, other}, &read, &text), RECORD_DAMAGED);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            stored[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            assert_int_equal(record_decode(&key, (struct span){stored, len}, &read, &text), RECORD_DAMAGED);
            stored[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
}

static void test_times_outside_of_the_format_become_its_ends(void **state)
{
    (void)state;
    static const struct {
        int64_t put, read;
    } times[] = {{-1, 0}, {0, 0}, {UINT32_MAX, UINT32_MAX}, {INT64_MAX, UINT32_MAX}, {INT64_MIN, 0}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        uint8_t stored[RECORD_BYTES_MAX];
        struct store_record record = {.expires_s = times[i].put}, read;
        struct span text;
        size_t len = record_encode(stored, &key, &record, (struct span){0});
        assert_int_equal(record_decode(&key, (struct span){stored, len}, &read, &text), RECORD_GOOD);
        assert_true(read.expires_s == times[i].read);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"records are stored as documented", test_records_are_stored_as_documented, NULL, NULL, NULL},
        {"no changed octet, and no other length, is believed", test_no_changed_octet_and_no_other_length_is_believed,
         NULL, NULL, NULL},
        {"times outside of the format become its ends", test_times_outside_of_the_format_become_its_ends, NULL, NULL,
         NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store record", tests, NULL, NULL);
}
