/*
 * engine/promise - what a connection has been promised, and what becomes of that when it leaves the filter's sight.
 *
 * A promise is anything that one end has been shown and the other end does not know of. Who passes a connection with a
 * promise outstanding without keeping it shows an end what it was not meant to see: the server's 250 to a NOOP as the
 * reply to the client's DATA, and a mail bounces. So law 7: a promise is kept, or the connection ends.
 *
 *   - flow->promises is the one word that says what is outstanding: engine/progress brings it up to date.
 *   - While it is not 0, packets leave with ENGINE_MARK_PROMISED, whose connections nobody else may pass, and
 *     engine/handover has a record of the connection; it is the last one that is forgotten.
 *   - Every way out of sight is promise_leave.
 *
 * Thread: as the engine.
 * Source: ../../docs/overload.md has a row for each way out.
 */
#ifndef POSTERN_ENGINE_PROMISE_H
#define POSTERN_ENGINE_PROMISE_H

#include "engine/state.h"

/* Bits, the lowest four being those of enum smtp_promise. */
enum promise {
    PROMISE_SESSION = 0xf,   /* what is outstanding between the two ends of SMTP, see smtp_session_promises */
    PROMISE_OFFSET = 1 << 4, /* sequence numbers must be translated */
    PROMISE_UNREAD =
        1 << 5, /* octets left in another form, and are not acknowledged: a resend must not show the others */
    PROMISE_RESET = 1 << 6, /* both ends are to be reset */
};

/* What is outstanding now. */
unsigned promise_of(const struct flow *flow);

/* The streams, the session or the reset of a connection changed: where flow->promises is not what it was, note it. */
static inline void promise_note(struct flow *flow)
{
    if (flow->promises != promise_of(flow))
        flow->changed = true;
}

/*
 * What is `outstanding`, bits of enum promise without those that hold all the same, cannot be kept, for `reason`. Where
 * there is any both ends are reset instead, which is told as the anomaly "promise-broken", and true is returned.
 */
bool promise_break(struct engine *engine, struct flow *flow, unsigned outstanding, const char *reason);

/* The same of a connection that leaves the filter's sight: with nothing outstanding it passes, which is told once. */
bool promise_leave(struct engine *engine, struct flow *flow, unsigned outstanding, const char *reason);

#endif
