/*
 * cmd/watch - the guard's memory of all workers together: retries of one mail may come to any of them.
 *
 * In:     events of the kind EVENT_GUARD, of any engine.
 * Out:    which attempt it was; counters.
 * Thread: any, one at a time inside. Workers meet here when mail of a guarded server is put off or taken, not
 * otherwise. Note:   it is gone with the process; then the next attempt counts as a first one.
 */
#ifndef POSTERN_CMD_WATCH_H
#define POSTERN_CMD_WATCH_H

#include "engine/event.h"
#include "policy/guard.h"

struct watch;

struct watch_counters {
    uint64_t retries; /* mails put off at their second attempt or a later one */
    uint64_t last;    /* of these, at their last one: they may be lost */
    uint64_t taken;   /* mails taken that had been put off */
};

/* NULL where there is no memory, or no random numbers. */
struct watch *watch_new(const struct guard_settings *settings);
void watch_free(struct watch *watch); /* NULL is allowed */

/* These settings hold from now on. */
void watch_use(struct watch *watch, const struct guard_settings *settings);

/* Fill in what the engine could not know. False where there is nothing to tell: mail that was never put off. */
bool watch_take(struct watch *watch, struct event *event);

/* Say on standard error, where the administrator's log is, that this was the last attempt: the mail may be lost. */
void watch_complain(const struct event *event);

struct watch_counters watch_counters(struct watch *watch);

#endif
