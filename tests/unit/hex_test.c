/* Octets as hexadecimal digits, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/hex.h"

static void test_there_and_back(void **state)
{
    (void)state;
    uint8_t octets[256], back[256];
    char text[512];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)i;
    hex_write(octets, sizeof octets, text);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 2 * 0xab, "abacad", 6);
    assert_true(hex_read((struct span){(const uint8_t *)text, sizeof text}, back, sizeof back));
    assert_memory_equal(back, octets, sizeof octets);
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",   "0",  "000", "0000", "0g", "g0", "0A",
                                        "A0", " 0", "0x",  "0:",   "0/", "`0", "@0"};
    uint8_t octet;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(hex_read(span_of(texts[i]), &octet, 1));
    assert_true(hex_read(span_of("0a"), &octet, 1));
    assert_int_equal(octet, 10);
}

static void test_digits(void **state)
{
    (void)state;
    for (int octet = 0; octet < 256; octet++) {
        bool lower = (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'f');
        bool upper = octet >= 'A' && octet <= 'F';
        assert_int_equal(hex_digit((uint8_t)octet) >= 0, lower);
        assert_int_equal(hex_digit_any((uint8_t)octet) >= 0, lower || upper);
    }
    assert_int_equal(hex_digit_any('F'), 15);
    assert_int_equal(hex_digit_any('f'), 15);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"all octets, there and back", test_there_and_back, NULL, NULL, NULL},
        {"what is something else is refused", test_what_is_none, NULL, NULL, NULL},
        {"digits in lower case, and in either", test_digits, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("hex", tests, NULL, NULL);
}
