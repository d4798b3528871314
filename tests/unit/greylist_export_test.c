/* An exported record is whole, or there is none. */
#include "greylist/export.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int allocations_that_work; /* -1: all */

static void *allocate(size_t octets)
{
    if (allocations_that_work == 0)
        return NULL;
    allocations_that_work -= allocations_that_work > 0;
    return malloc(octets);
}

static json_t *export_one(int allocations)
{
    static const struct store_key key;
    const struct greylist_record record = {.first_ms = 1000, .last_ms = 2000, .attempts = 2, .passes = 1};
    allocations_that_work = allocations;
    json_t *object = export_record("store", &key, GREYLIST_TRIPLET, &record, 3,
                                   span_of("192.0.2.0/24\ta@example.net\tb@example.com"));
    allocations_that_work = -1;
    return object;
}

static void test_without_memory_there_is_none(void **state)
{
    (void)state;
    json_t *whole = export_one(-1), *object = NULL;
    int allocations = 0;
    assert_int_equal(json_object_size(whole), 17);
    assert_int_equal(json_object_size(json_object_get(whole, "about")), 3);
    for (; !object; allocations++)
        object = export_one(allocations);
    assert_true(allocations > 30);
    assert_true(json_equal(object, whole));
    json_decref(object);
    json_decref(whole);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"without memory for all of a record there is none", test_without_memory_there_is_none, NULL, NULL, NULL},
    };
    json_set_alloc_funcs(allocate, free);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("greylist export", tests, NULL, NULL);
}
