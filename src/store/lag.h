/*
 * store/lag - a store's own time, for clocks that are set.
 *
 * Records expire by the time that the store has seen pass, not by how far a clock was set in between. A gateway without
 * a battery starts in 1970, or in a year to come, and its clock is set later, or only when it starts again; by the
 * clock alone all that came before would have expired, or would never.
 *
 * The store's own time is its user's clock less a lag, which is 0 as long as clocks are right. It is noted in the store
 * now and then, with the lag. Who opens it compares: where its clock has gone on from what was noted, by at most
 * LAG_GAP_S, so does the store's time; where it has jumped, forward or back, the store's time goes on from where it
 * was. So a store that nobody used for more than that counts the time between for nothing too: records then live as
 * much longer, which does no harm.
 *
 * Nothing in here reads a clock. Times are seconds since 1970.
 */
#ifndef POSTERN_STORE_LAG_H
#define POSTERN_STORE_LAG_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LAG_GAP_S = 86400,     /* a store may have been out of use for so long */
    LAG_BACK_S = 60,       /* and a clock may be set back by so much, or be another machine's */
    LAG_NOTE_S = 60,       /* after so long a note is made where something is written anyway */
    LAG_NOTE_IDLE_S = 3600 /* and on its own */
};

struct lag_note {
    int64_t seen_s; /* the store's own time */
    int64_t lag_s;  /* that its user's clock was ahead of it */
};

/* By how much a clock that says `now_s` is ahead of the store's own time. `note` is what was noted last; NULL: nothing.
 */
int64_t lag_of(const struct lag_note *note, int64_t now_s);

/* A time of the store's user as the store's own, and back; what is for ever (UINT32_MAX and beyond) stays. */
int64_t lag_own(int64_t lag_s, int64_t time_s);
int64_t lag_users(int64_t lag_s, int64_t time_s);

#endif
