#include "engine/progress.h"

#include "engine/handshake.h"
#include "engine/held.h"
#include "engine/judge.h"
#include "engine/lifecycle.h"
#include "engine/room.h"
#include "engine/segment.h"
#include "engine/tarpit.h"

/* What waits on this side goes on: it is read, and what is decided by then leaves. */
static void go_on(struct engine *engine, uint32_t index, enum smtp_side side)
{
    struct flow *flow = flow_at(&engine->table, index);
    unsigned of_side = (1u << side) | ((unsigned)FLOW_RELEASE << side);
    bool release = flow->resume & (unsigned)FLOW_RELEASE << side;
    flow->resume = flow->resume & ~of_side & 15u;
    if (release || half_waiting(&flow->halves[side]) > 0)
        judge_feed(engine, index, side, (struct span){0}, release);
    segment_settle(engine, index, side);
}

/* All that may go on does. */
static void run(struct engine *engine, uint32_t index)
{
    enum { CAUSES = 8, SIDES = 2 };
    struct flow *flow = flow_at(&engine->table, index);
    uint32_t held = flow->halves[SMTP_CLIENT].held_count + flow->halves[SMTP_SERVER].held_count;
    for (uint32_t rounds = 0; flow->resume; rounds++) {
        assert(rounds < SIDES * (2 * held + SIDES + CAUSES)); /* each held packet may leave a line that waits */
        bool client = flow->resume & (1u << SMTP_CLIENT | (unsigned)FLOW_RELEASE << SMTP_CLIENT);
        go_on(engine, index, client ? SMTP_CLIENT : SMTP_SERVER);
    }
}

/* Its class and its deadline, once nothing goes on any more. */
static void conclude(struct engine *engine, uint32_t index)
{
    flow_at(&engine->table, index)->changed = false;
    lifecycle_classify(engine, index);
    lifecycle_arm(engine, index);
}

void progress_all(struct engine *engine, uint32_t index)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (flow->resume)
        run(engine, index);
    if (flow->changed)
        conclude(engine, index);
}

void progress_packet(struct engine *engine, uint32_t index, enum fate fate)
{
    struct current *current = &engine->current;
    const struct flow *flow = flow_at(&engine->table, index);
    if (flow->resume)
        run(engine, index);
    current->fate = fate;
    if (current->settles) {
        current->fate = segment_fate(engine, index, current->side, fate);
        segment_settle(engine, index, current->side);
        segment_look_ahead(engine, index, current->side);
    }
    progress(engine, index);
}

void progress_due(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    room_turn_to(engine, index);
    if (tarpit_due_us(engine, flow) <= engine->now_us)
        tarpit_end(engine, index, TARPIT_END_TIME);
    if (handshake_due_us(engine, flow) <= engine->now_us)
        handshake_end(engine, flow);
    if (flow->await_due_us && flow->await_due_us <= engine->now_us)
        judge_await_no_more(flow);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        if (flow->line_due_us[side] && flow->line_due_us[side] <= engine->now_us)
            flow_release(flow, (enum smtp_side)side);
    run(engine, index);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        if (held_probe_due_us(engine, index, (enum smtp_side)side) <= engine->now_us)
            held_probe(engine, index, (enum smtp_side)side);
        /* Packets whose gap did not fill in time: their sender sends them again. */
        int64_t stale_us = engine->now_us - (int64_t)engine->settings.order_hold_ms * 1000;
        engine->counters.stale += held_drop_before(engine, &flow->halves[side], stale_us);
    }
    conclude(engine, index); /* its timer is not set any more */
    if (lifecycle_is_idle(engine, flow))
        lifecycle_expire(engine, index);
}
