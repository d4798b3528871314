#include "store/lag.h"

#include <stddef.h>

static bool went_on(int64_t from_s, int64_t to_s)
{
    return to_s >= from_s - LAG_BACK_S && to_s <= from_s + LAG_GAP_S;
}

int64_t lag_of(const struct lag_note *note, int64_t now_s)
{
    if (!note)
        return 0;
    if (went_on(note->seen_s + note->lag_s, now_s))
        return note->lag_s;
    if (went_on(note->seen_s, now_s)) /* the last user's clock was wrong, this one's is right */
        return 0;
    return now_s - note->seen_s;
}

int64_t lag_own(int64_t lag_s, int64_t time_s)
{
    return time_s >= UINT32_MAX ? time_s : time_s - lag_s;
}

int64_t lag_users(int64_t lag_s, int64_t time_s)
{
    return time_s >= UINT32_MAX ? time_s : time_s + lag_s;
}
