/*
 * tests/sim/reference - what each side must have read, said by somebody who knows whole streams and no code of
 * src/smtp.
 *
 * In:     the applications once both endpoints have finished; answers that were given, NULL where there was no filter.
 * Out:    the fault.
 * Note:   slow, and independent: where the filter had a choice (a line stripped, or its keyword spoiled), each outcome
 *         that is right is taken.
 */
#ifndef POSTERN_TESTS_REFERENCE_H
#define POSTERN_TESTS_REFERENCE_H

#include "answers.h"
#include "apps.h"

void reference_check(const struct apps *apps, const struct answers *answers, struct fault *fault);

#endif
