#include "one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Before main, so that no main needs to know of it. */
__attribute__((constructor)) static void choose_tests(void)
{
    static char filter[256];
    const char *text = getenv("CASE");
    if (!text || !*text)
        return;
    (void)snprintf(filter, sizeof filter, "*%s*", text);
    cmocka_set_test_filter(filter);
}

bool one_row(const char *label)
{
    const char *text = getenv("ROW");
    if (!text || !*text)
        return true;
    if (!strstr(label, text))
        return false;
    printf("# row: %s\n", label);
    return true;
}
