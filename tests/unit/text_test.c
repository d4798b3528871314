/* Octets of the wire as text: what is shown as it is, what is escaped, and where it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "report/json.h"
#include "report/text.h"

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                                             \
    }

static void test_escape(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct span octets;
        const char *text;
    } rows[] = {
        {"nothing", TEXT(""), ""},
        {"printable ASCII", TEXT(" !~\"'<>"), " !~\"'<>"},
        {"line ends", TEXT("a\r\r\n"), "a"},
        {"a bare CR, a LF inside", TEXT("a\rb\nc"), "a\\x0db\\x0ac"},
        {"control characters", TEXT("\0\t\033[31m\177"), "\\x00\\x09\\x1b[31m\\x7f"},
        {"the backslash", TEXT("\\x0d"), "\\x5cx0d"},
        {"UTF-8", TEXT("\u00e9\u20ac\U0001f4e8"), "\u00e9\u20ac\U0001f4e8"},
        {"Latin-1", TEXT("caf\xe9 x"), "caf\\xe9 x"},
        {"a sequence cut short", TEXT("\xe2\x82"), "\\xe2\\x82"},
        {"a continuation alone", TEXT("\x80\xbf"), "\\x80\\xbf"},
        {"overlong", TEXT("\xc0\x80\xc1\xbf\xe0\x9f\xbf\xf0\x8f\xbf\xbf"),
         "\\xc0\\x80\\xc1\\xbf\\xe0\\x9f\\xbf\\xf0\\x8f\\xbf\\xbf"},
        {"the shortest of each length", TEXT("\xc2\xa0\xe0\xa0\x80\xf0\x90\x80\x80"),
         "\xc2\xa0\xe0\xa0\x80\xf0\x90\x80\x80"},
        {"surrogates", TEXT("\xed\xa0\x80\xed\xbf\xbf"), "\\xed\\xa0\\x80\\xed\\xbf\\xbf"},
        {"beyond the last code point", TEXT("\xf4\x90\x80\x80\xf8\x88\x80\x80\x80\xff"),
         "\\xf4\\x90\\x80\\x80\\xf8\\x88\\x80\\x80\\x80\\xff"},
        {"control characters of Unicode", TEXT("\xc2\x80\xc2\x9f\xe2\x80\xa8"), "\\xc2\\x80\\xc2\\x9f\\xe2\\x80\\xa8"},
        {"directions", TEXT("\xe2\x80\xae\xe2\x81\xa6\xd8\x9c"), "\\xe2\\x80\\xae\\xe2\\x81\\xa6\\xd8\\x9c"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        char text[100];
        if (strcmp(text_escape(rows[i].octets, text, sizeof text), rows[i].text) != 0)
            fail_msg("%s: '%s'", rows[i].label, text);
        json_t *string = json_text(rows[i].octets);
        assert_non_null(string);
        assert_string_equal(json_string_value(string), rows[i].text);
        json_decref(string);
    }
}

static void test_what_is_not_shown(void **state)
{
    (void)state;
    char text[TEXT_BYTES(4)];
    struct span five = span_of("\1\2\3\4\5");
    assert_string_equal(text_escape(span_head(five, 4), text, sizeof text), "\\x01\\x02\\x03\\x04");
    assert_string_equal(text_escape(five, text, sizeof text), "\\x01\\x02\\x03\\x04\\...");
    assert_string_equal(text_escape_line(span_of("abc"), text, sizeof text), "abc\\...");
    assert_string_equal(text_escape_line(span_of("abc\r\n"), text, sizeof text), "abc");
    assert_string_equal(text_escape_line(span_of("abc\n"), text, sizeof text), "abc");
}

static void test_any_octets_in_any_room(void **state)
{
    (void)state;
    uint8_t octets[JSON_LINE_OCTETS_MAX];
    uint32_t value = 1;
    for (size_t len = 0; len < sizeof octets; len++) {
        value = value * 1664525u + 1013904223u;
        octets[len] = (uint8_t)(value >> 24);
        char room[TEXT_BYTES(16)];
        size_t size = 9 + value % (sizeof room - 9);
        const char *text = text_escape_line((struct span){octets, len}, room, size);
        assert_true(strlen(text) < size);
        json_t *string = json_string(text); /* NULL for what is no UTF-8 */
        assert_non_null(string);
        json_decref(string);
        string = json_line((struct span){octets, len});
        assert_non_null(string);
        json_decref(string);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"octets that act, or are no UTF-8, are escaped", test_escape, NULL, NULL, NULL},
        {"what is not shown is marked", test_what_is_not_shown, NULL, NULL, NULL},
        {"any octets become valid UTF-8 in any room", test_any_octets_in_any_room, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
