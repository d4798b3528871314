/* What workers tell, added up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/figures.h"

enum { SESSION_KINDS = sizeof(struct engine_sessions) / sizeof(uint64_t) };

/* A value of its own for each field. */
static struct worker_status status_from(uint64_t first)
{
    struct worker_status status = {0};
    for (size_t i = 0; i < worker_figure_count; i++) {
        uint64_t value = first + i;
        uint32_t short_value = (uint32_t)value;
        uint8_t *at = (uint8_t *)&status + worker_figures[i].offset;
        if (worker_figures[i].bytes == sizeof short_value)
            memcpy(at, &short_value, sizeof short_value);
        else
            memcpy(at, &value, sizeof value);
    }
    for (unsigned reason = 0; reason < GREYLIST_REASONS; reason++)
        status.greylist.reasons[reason] = 100 * first + reason;
    for (unsigned rule = 0; rule < RULES_MAX; rule++)
        status.rule_hits[rule] = 1000 * first + rule;
    for (unsigned kind = 0; kind < SESSION_KINDS; kind++)
        (&status.sessions.ended[0][0][0])[kind] = 1000 * first + kind;
    return status;
}

static void test_sum(void **state)
{
    (void)state;
    struct worker_status sum = {0}, one = status_from(1000), other = status_from(3000);
    figures_add(&sum, &one);
    figures_add(&sum, &other);
    for (size_t i = 0; i < worker_figure_count; i++)
        assert_int_equal(figure_value(&worker_figures[i], &sum), 4000 + 2 * i);
    for (unsigned reason = 0; reason < GREYLIST_REASONS; reason++)
        assert_int_equal(sum.greylist.reasons[reason], 400000 + 2 * reason);
    for (unsigned rule = 0; rule < RULES_MAX; rule++)
        assert_int_equal(sum.rule_hits[rule], 4000000 + 2 * rule);
    for (unsigned kind = 0; kind < SESSION_KINDS; kind++)
        assert_int_equal((&sum.sessions.ended[0][0][0])[kind], 4000000 + 2 * kind);
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < worker_figure_count; i++) {
        assert_string_not_equal(worker_figures[i].name, FIGURES_REASONS);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(worker_figures[i].name, worker_figures[k].name);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"figures of workers and answers by reason are added up", test_sum, NULL, NULL, NULL},
        {"each figure has a name of its own", test_names, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
