/* smtp/body: each cut of the terminator, every variant of case 43, random bodies against one octet at a time. */
#include "smtp/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "../lib/random.h"

/* The place behind the first CRLF . CRLF (the message begins as if behind CRLF); SIZE_MAX where there is none. */
static size_t naive_end(struct span body)
{
    for (size_t i = 0; i + 3 <= body.len; i++)
        if (memcmp(body.ptr + i, ".\r\n", 3) == 0 &&
            (i == 0 || (i >= 2 && body.ptr[i - 2] == '\r' && body.ptr[i - 1] == '\n')))
            return i + 3;
    return SIZE_MAX;
}

/* In a copy of its own, so that a sanitizer sees what is read beside it. */
static struct smtp_body_scan scan_copy(enum smtp_body_state *state, struct span octets)
{
    uint8_t *copy = malloc(octets.len ? octets.len : 1);
    assert_non_null(copy);
    if (octets.len)
        memcpy(copy, octets.ptr, octets.len);
    struct smtp_body_scan scan = smtp_body_scan(state, (struct span){copy, octets.len});
    free(copy);
    return scan;
}

static void check_cut(struct span body, size_t cut, const struct smtp_body_scan *whole)
{
    enum smtp_body_state state = SMTP_BODY_LINE;
    struct smtp_body_scan first = scan_copy(&state, span_head(body, cut));
    struct smtp_body_scan second = {0};
    if (!first.ended)
        second = scan_copy(&state, span_tail(body, cut));
    assert_int_equal(first.taken + second.taken, whole->taken);
    assert_int_equal(first.ended || second.ended, whole->ended);
    assert_int_equal(first.ambiguous || second.ambiguous, whole->ambiguous);
}

static struct smtp_body_scan octet_by_octet(struct span body)
{
    struct smtp_body_scan all = {0};
    enum smtp_body_state state = SMTP_BODY_LINE;
    for (size_t i = 0; i < body.len && !all.ended; i++) {
        struct smtp_body_scan scan = scan_copy(&state, span_head(span_tail(body, i), 1));
        all.taken += scan.taken;
        all.ended = scan.ended;
        all.ambiguous = all.ambiguous || scan.ambiguous;
    }
    return all;
}

static struct smtp_body_scan check(struct span body)
{
    enum smtp_body_state state = SMTP_BODY_LINE;
    struct smtp_body_scan whole = scan_copy(&state, body);
    size_t end = naive_end(body);
    assert_int_equal(whole.ended, end != SIZE_MAX);
    assert_int_equal(whole.taken, end == SIZE_MAX ? body.len : end);
    struct smtp_body_scan slow = octet_by_octet(body);
    assert_int_equal(whole.taken, slow.taken);
    assert_int_equal(whole.ambiguous, slow.ambiguous);
    for (size_t cut = 0; cut <= body.len; cut++)
        check_cut(body, cut, &whole);
    return whole;
}

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                                             \
    }

static void test_case_43_44_ends(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct span body;
        bool ended, ambiguous;
    } rows[] = {
        {"CRLF.CRLF", TEXT("a\r\n.\r\n"), true, false},
        {"at once", TEXT(".\r\n"), true, false},
        {"with more behind it", TEXT("a\r\n.\r\nQUIT\r\n"), true, false},
        {"dot-stuffed", TEXT("a\r\n..\r\n.a\r\n"), false, false},
        {"dot in the line", TEXT("a.\r\nb.\r\n"), false, false},
        {"LF.LF", TEXT("a\n.\nb"), false, true},
        {"CR.CR", TEXT("a\r.\rb"), false, true},
        {"CR.LF", TEXT("a\r.\nb"), false, true},
        {"LF.CR", TEXT("a\n.\rb"), false, true},
        {"LF.CRLF", TEXT("a\n.\r\nb"), false, true},
        {"CRLF.LF", TEXT("a\r\n.\nb"), false, true},
        {"CR.CRLF", TEXT("a\r.\r\nb"), false, true},
        {"CRLF.CR", TEXT("a\r\n.\rb"), false, true},
        {"CRLF NUL . CRLF", TEXT("a\r\n\0.\r\nb"), false, true},
        {"ambiguous, then the end", TEXT("a\n.\nb\r\n.\r\n"), true, true},
        {"CR CRLF . CRLF", TEXT("a\r\r\n.\r\n"), true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        struct smtp_body_scan scan = check(rows[i].body);
        if (scan.ended != rows[i].ended || scan.ambiguous != rows[i].ambiguous)
            fail_msg("%s: ended %d, ambiguous %d", rows[i].label, scan.ended, scan.ambiguous);
    }
}

static void test_case_44_end_at_each_place_of_a_long_body(void **state)
{
    (void)state;
    uint8_t body[120];
    for (size_t at = 0; at + 5 <= sizeof body; at++) {
        memset(body, 'x', sizeof body);
        memcpy(body + at, "\r\n.\r\n", 5);
        struct smtp_body_scan scan = check((struct span){body, sizeof body});
        assert_int_equal(scan.taken, at + 5);
    }
}

/* Longer than the blocks that are searched at once. */
static void test_case_44_end_at_each_place_of_a_longer_body(void **state)
{
    (void)state;
    uint8_t body[700];
    for (size_t at = 0; at + 5 <= sizeof body; at++) {
        memset(body, 'x', sizeof body);
        memcpy(body + at, "\r\n.\r\n", 5);
        struct span octets = {body, sizeof body};
        enum smtp_body_state from = SMTP_BODY_LINE;
        struct smtp_body_scan whole = scan_copy(&from, octets);
        assert_true(whole.ended);
        assert_int_equal(whole.taken, at + 5);
        for (size_t cut = at; cut <= at + 5; cut++)
            check_cut(octets, cut, &whole);
    }
}

static void test_random_bodies_against_a_naive_search(void **state)
{
    (void)state;
    static const uint8_t alphabet[] = {'\r', '\n', '.', 'a', '\r', '\n', '.', '\0', 0x0b, 0xff};
    struct random_source random = {43};
    uint8_t body[100];
    for (int i = 0; i < 4000; i++) {
        size_t len = random_below(&random, sizeof body);
        uint32_t letters = i % 2 ? 10 : 4;
        for (size_t k = 0; k < len; k++)
            body[k] = random_below(&random, 3) && i % 3 == 0 ? 'z' : alphabet[random_below(&random, letters)];
        check((struct span){body, len});
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_43_44_ends),
        cmocka_unit_test(test_case_44_end_at_each_place_of_a_long_body),
        cmocka_unit_test(test_case_44_end_at_each_place_of_a_longer_body),
        cmocka_unit_test(test_random_bodies_against_a_naive_search),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("body", tests, NULL, NULL);
}
