/*
 * cmd/ask - the commands that ask a running service.
 */
#ifndef POSTERN_CMD_ASK_H
#define POSTERN_CMD_ASK_H

#include <jansson.h>
#include <stdint.h>

/*
 * The answer to a request: an object with `code` and `message`, the caller's to release. NULL where there was none, and
 * the reason was said on standard error.
 */
json_t *ask(const char *path, const char *request);

/* The rule file of the service that listens at `path`, to be freed; NULL where none does, or it has none. Says
 * nothing. */
char *ask_rules(const char *path);

/* A number of a status, by the names that lead there ("figures", "packets"); 0 where it is not. */
uint64_t ask_number(const json_t *status, const char *object, const char *name);

#endif
