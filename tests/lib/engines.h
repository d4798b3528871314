/*
 * tests/lib/engines - an engine in pages of its own.
 *
 * Tests make engines by the thousand, of some megabytes each. Pages that were never touched are zero and cost nothing,
 * while an allocation has to be cleared, and a sanitizer marks all of it when it is made and when it is freed.
 * An engine ends, but for less than a line of the processor's cache, where a page begins that may not be touched.
 */
#ifndef POSTERN_TESTS_ENGINES_H
#define POSTERN_TESTS_ENGINES_H

#include "engine/engine.h"

/* `policy` as engine_init has it. Ends the process where there is no memory. */
struct engine *engines_new(const struct engine_settings *settings, const struct policy *policy);

/* NULL is allowed. */
void engines_free(struct engine *engine);

#endif
