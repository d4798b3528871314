#include "engine/promise.h"

#include "engine/tell.h"

unsigned promise_of(const struct flow *flow)
{
    const struct half *client = &flow->halves[SMTP_CLIENT];
    const struct half *server = &flow->halves[SMTP_SERVER];
    if (flow->state == FLOW_OPENING || flow->state == FLOW_MIDSTREAM)
        return flow->reset ? PROMISE_RESET : 0;
    bool closed = client->closed && server->closed;
    return (closed ? 0 : smtp_session_promises(&flow->smtp)) |
           ((edit_offset(&client->log) | edit_offset(&server->log)) != 0 ? (unsigned)PROMISE_OFFSET : 0) |
           (client->changed | server->changed ? (unsigned)PROMISE_UNREAD : 0) |
           (flow->reset ? (unsigned)PROMISE_RESET : 0);
}

bool promise_break(struct engine *engine, struct flow *flow, unsigned outstanding, const char *reason)
{
    if (flow->reset || outstanding == 0)
        return false;
    flow->reset = FLOW_RESET_NEXT;
    flow->changed = true;
    engine->counters.promises_broken++;
    engine->counters.connections_reset++;
    tell_anomaly(engine, flow, false, "promise-broken", span_of(reason), true);
    return true;
}

bool promise_leave(struct engine *engine, struct flow *flow, unsigned outstanding, const char *reason)
{
    if (promise_break(engine, flow, outstanding, reason))
        return true;
    if (flow->told_unedited)
        return false;
    flow->told_unedited = true;
    engine->counters.flows_unedited++;
    if (flow->owes_end) /* behind its end nobody asks */
        tell_break(engine, EVENT_UNEDITED, flow, reason);
    return false;
}
