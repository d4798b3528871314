/*
 * cmd/late_store - a store that could not be opened at the start, tried again until it can be.
 *
 * In:     its URI, and what was wrong.
 * Out:    the store, once it is open; until then store/lost stands in.
 * Thread: the main one calls; one of its own tries, every second at first, each minute at last.
 */
#ifndef POSTERN_CMD_LATE_STORE_H
#define POSTERN_CMD_LATE_STORE_H

#include "store/store.h"

struct late_store;

/* `fault` is what is wrong now, and was said. NULL where there is no memory, or no thread. `uri` outlives it. */
struct late_store *late_store_new(const char *uri, const struct store_settings *settings, const char *fault);

/* The store, once it is open; then it is the caller's. NULL: not yet. `message` says what is wrong; empty: nothing new.
 */
struct store *late_store_take(struct late_store *late, char *message, size_t size);

/* NULL is allowed. An attempt that goes on is waited for, up to two seconds. */
void late_store_free(struct late_store *late);

#endif
