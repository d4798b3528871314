/*
 * cmd/watch - the guard's memory of all workers together: retries of one mail may come to any of them.
 *
 * In:     events of the kind EVENT_GUARD, of any engine.
 * Out:    which attempt it was; counters.
 * Thread: any, one at a time inside. Workers meet here when mail of a guarded server is put off or taken, not
 *         otherwise.
 * Note:   without a store it is gone with the process; then the next attempt counts as a first one. With one, which
 *         other gateways may share, what a record of it says is loaded before an attempt is counted (cmd/watcher).
 */
#ifndef POSTERN_CMD_WATCH_H
#define POSTERN_CMD_WATCH_H

#include "engine/event.h"
#include "policy/guard.h"
#include "store/store.h"

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

/* Keys are those of this store from here on; what was counted under others is forgotten by and by. */
void watch_share(struct watch *watch, const struct store *store);

/* Where the store has what is known of a message. */
struct watch_place {
    struct store_key key;
    uint32_t counted; /* attempts that were counted here by then; for watch_take_shared */
};

struct watch_place watch_place(struct watch *watch, const struct event *event);

/*
 * As watch_take, by the record that the store had at this place; NULL: none, or it was not to be had. What has been
 * counted here meanwhile is newer than the record. The store is told by `client`.
 */
bool watch_take_shared(struct watch *watch, struct event *event, const struct watch_place *place,
                       const struct store_record *record, struct store_client *client);

/* Say on standard error, where the administrator's log is, that this was the last attempt: the mail may be lost. */
void watch_complain(const struct event *event);

struct watch_counters watch_counters(struct watch *watch);

#endif
