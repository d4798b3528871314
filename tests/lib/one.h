/*
 * tests/lib/one - one test of a program, one row of its table: `make one T=... CASE=... ROW=...`.
 *
 * In:     CASE in the environment: only tests of cmocka with this text in their names run, where * and ? stand for any
 *         octets and for one. Every program that is linked with this takes it into account, and need not ask.
 *         ROW: of tables that a test goes through by itself, only rows with this text in their labels.
 * Note:   that nothing is named so is told by tests/one, which counts what ran.
 */
#ifndef POSTERN_TESTS_ONE_H
#define POSTERN_TESTS_ONE_H

#include <stdbool.h>

/* Whether the row of this label is to be tested; prints "# row: LABEL" where ROW has chosen it. */
bool one_row(const char *label);

#endif
