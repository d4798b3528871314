/* base/uri: whatever may be a password is not shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/uri.h"

static void test_what_may_be_shown(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *shown;
    } rows[] = {
        {"", ""},
        {"memory:", "memory:"},
        {"lmdb:/var/lib/postern", "lmdb:/var/lib/postern"},
        {"/var/lib/postern", "/var/lib/postern"},
        {"redis://", "redis://"},
        {"redis://host", "redis://host"},
        {"redis://host:6379/3", "redis://host:6379/3"},
        {"redis://host:70000", "redis://host:70000"},
        {"redis://:secret@host:1/2", "redis://...@host:1/2"},
        {"redis://a:1,[::1]:2,c/3", "redis://a:1,[::1]:2,c/3"},
        {"redis://a:secret,b:2", "redis://..."},
        {"redis+sentinel://u:secret@a,b/gate", "redis+sentinel://...@a,b/gate"},
        {"redis+unix:///run/x.sock?db=1", "redis+unix:///run/x.sock?db=1"},
        {"redis+unix://:secret@/run/x", "redis+unix://...@/run/x"},
        {"redis://user:secret@[::1]", "redis://...@[::1]"},
        {"redis://user@:sec@ret@host", "redis://...@host"},
        {"redis://:se/cret@host", "redis://...@host"},
        {"redis:/:secret@host", "redis:/...@host"},
        {"redis:secret@host", "redis:...@host"},
        {"rediss://:secret@host", "rediss://...@host"},
        {"redis//:secret@host", "redis//:...@host"},
        {"secret@host", "...@host"},
        {"sec:ret@host", "sec:...@host"},
        {"secret@host:6379", "...@host:6379"},
        {"redis://:secret", "redis://..."},
        {"redis://user:secret", "redis://..."},
        {"redis://:secret:6379", "redis://..."},
        {"redis://:12345", "redis://..."},
        {"redis://:secret@", "redis://...@"},
    };
    char out[64];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(uri_shown(rows[i].uri, out, sizeof out), rows[i].shown);
}

static void test_it_is_cut_behind_what_is_left_out(void **state)
{
    (void)state;
    char out[14];
    assert_string_equal(uri_shown("redis://:a-long-secret@host", out, sizeof out), "redis://...@h");
    assert_string_equal(uri_shown("lmdb:/var/lib/postern", out, sizeof out), "lmdb:/var/lib");
    assert_string_equal(uri_shown("lmdb:/var/lib/postern", out, 1), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_be_shown),
        cmocka_unit_test(test_it_is_cut_behind_what_is_left_out),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("uri", tests, NULL, NULL);
}
