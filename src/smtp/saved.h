/*
 * smtp/saved - a session in a form that outlives its process.
 *
 * In:     a session between two lines, with its ledger.
 * Out:    plain octets without pointers or blocks, and the session again, in this process or another.
 * Owner:  the caller owns the storage; a restored session holds blocks as any other does.
 * Limits: SMTP_SAVED_SLOTS_MAX unanswered commands. What waits unread of an unfinished line is not saved: its sender
 * was not told that it came, and sends it again. Errors: a status that must be used. A saved session that comes from
 * elsewhere is looked at before it is believed.
 */
#ifndef POSTERN_SMTP_SAVED_H
#define POSTERN_SMTP_SAVED_H

#include "smtp/session.h"

#define SMTP_SAVED_SLOTS_MAX 256

struct smtp_saved {
    struct smtp_session session; /* its lines and its ledger are empty */
    uint32_t slot_count;
    struct smtp_slot slots[SMTP_SAVED_SLOTS_MAX]; /* the oldest first */
};

/* Octets of *saved that mean something. */
static inline size_t smtp_saved_bytes(const struct smtp_saved *saved)
{
    return offsetof(struct smtp_saved, slots) + saved->slot_count * sizeof saved->slots[0];
}

/* False where the beginning of a line has left without its end, or too many commands are unanswered. */
bool smtp_session_save(const struct smtp_session *session, const struct pool *blocks, struct smtp_saved *saved);

/*
 * False, and *session is as after smtp_session_init, where *saved is no session that this program could have saved
 * under `refusals`, or `blocks` has no room. `same_refusals`: numbers mean what they meant as it was saved; else the
 * refusals of rules become SMTP_REFUSAL_TRY_AGAIN, so that what was to be refused is deferred.
 */
bool smtp_session_restore(struct smtp_session *session, struct pool *blocks, const struct smtp_saved *saved,
                          const struct smtp_refusals *refusals, bool same_refusals);

#endif
