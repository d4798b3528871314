/*
 * tests/sim/fault - the first thing that was wrong in a simulated run.
 *
 * Note:   what follows from it is wrong, too, and tells nothing: later faults are not kept.
 */
#ifndef POSTERN_TESTS_FAULT_H
#define POSTERN_TESTS_FAULT_H

struct fault {
    char text[256]; /* empty: none */
};

void fault_note(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
