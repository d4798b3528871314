/*
 * sys/program - another program, run with input, for what it prints.
 *
 * Errors: a message of one line with what the program said first on standard error.
 */
#ifndef POSTERN_SYS_PROGRAM_H
#define POSTERN_SYS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* Whether PATH has it. */
bool program_exists(const char *name);

/* What it printed, from malloc; NULL with a message where it cannot be run, or fails. `argv` ends with NULL. */
char *program_run(const char *const *argv, const char *input, char *message, size_t message_size);

#endif
