/*
 * cmd/watcher - a worker's events of guarded mail, numbered together with other gateways that share the store.
 *
 * In:     events of the kind EVENT_GUARD, of one engine; what the store answers.
 * Out:    the same events with the number of the attempt, at once where the store answers at once, else from
 *         watcher_next.
 * Owner:  a watcher owns its store client and copies of the events that wait; the watch and the store outlive it.
 * Thread: the engine's. No packet waits for an answer, only the event does.
 * Limits: WATCHER_EVENTS_MAX wait at once; beyond, and where the store gives no answer for WATCHER_STORE_MS, the number
 *         is by what this process has seen.
 */
#ifndef POSTERN_CMD_WATCHER_H
#define POSTERN_CMD_WATCHER_H

#include "cmd/watch.h"

enum { WATCHER_EVENTS_MAX = 256, WATCHER_STORE_MS = 2000 };

struct watcher;

/* NULL where there is no memory, or the store has as many clients as it was opened for. watch_share comes before. */
struct watcher *watcher_new(struct watch *watch, struct store *store);
void watcher_free(struct watcher *watcher); /* NULL is allowed */

/* As watch_take; false also where it waits for the store. */
bool watcher_take(struct watcher *watcher, struct event *event);

/* The next event that waited and is worth telling; its spans live until the next call. False where there is none. */
bool watcher_next(struct watcher *watcher, int64_t now_us, struct event *event);

/* Becomes readable when watcher_next should be called; -1: never. */
int watcher_fd(const struct watcher *watcher);

/* When it should be called at the latest; INT64_MAX: never. */
int64_t watcher_due_us(const struct watcher *watcher);

#endif
