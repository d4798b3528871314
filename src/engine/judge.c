#include "engine/state.h"

struct smtp_context judge_context(struct engine *engine, const struct flow *flow)
{
    const struct policy *policy = policy_of(engine, flow);
    return (struct smtp_context){
        .blocks = &engine->blocks,
        .keywords = &policy->strip,
        .verbs = policy->watched,
        .refusals = &policy->refusals,
        .whole_replies = policy->whole_replies,
        .judges_early = policy->judges_early,
        .observes = policy->dry_run,
    };
}

/* A line and what may be added to it, cut over pieces at worst. */
enum { PIECES_A_LINE = (SMTP_LINE_BYTES_MAX + SMTP_REFUSAL_BYTES_MAX) / RETAIN_BLOCK_PAYLOAD + 2 };

uint32_t judge_spare_pieces(const struct engine *engine)
{
    uint32_t reserved = engine->waiting_count * PIECES_A_LINE;
    uint32_t available = pool_free_count(&engine->pieces);
    return available > reserved ? available - reserved : 0;
}

bool judge_has_room(const struct engine *engine, const struct half *half, uint32_t len)
{
    enum { BLOCKS_NEEDED = 2 }; /* a line, a long ledger */
    /* What leaves may be longer than what came by a reply's worth; and what will wait takes a reserve. */
    uint32_t retained = retain_blocks_needed(&half->retained, len + half_waiting(half) + SMTP_LINE_BYTES_MAX);
    return pool_free_count(&engine->blocks) >= BLOCKS_NEEDED &&
           retained + PIECES_A_LINE <= judge_spare_pieces(engine) &&
           retain_blocks(&half->retained) + retained <= engine->settings.flow_blocks_max * JUDGE_PIECES_A_BLOCK;
}

uint32_t judge_window_max(const struct engine *engine)
{
    enum { SCARCE_BYTES = 8192 };
    uint32_t blocks = engine->settings.flow_blocks_max > 8 ? engine->settings.flow_blocks_max - 8 : 1;
    uint32_t flow_bytes = blocks * JUDGE_PIECES_A_BLOCK * (uint32_t)RETAIN_BLOCK_PAYLOAD;
    bool scarce = judge_spare_pieces(engine) < engine->pieces.count / 4;
    return scarce && flow_bytes > SCARCE_BYTES ? SCARCE_BYTES : flow_bytes;
}

/* What is known of a unit before the decision about it is carried out, and told of it afterwards. */
struct before {
    const char *reason;     /* which rule or verdict is behind what becomes of it */
    uint32_t exchange;      /* see struct event */
    uint32_t answered;      /* exchanges that are over */
    enum smtp_verb payload; /* what it is, if it is payload */
    bool spoiled;           /* of a reply: to an address that the filter wrote over the recipient's */
    struct span code_left;  /* of a reply of our own, what left with earlier pieces of theirs */
};

/* What left of a line with earlier pieces, into engine->line_left. */
static struct span left_earlier(struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                                const struct before *before)
{
    size_t left = unit->whole.len > unit->octets.len ? unit->whole.len - unit->octets.len : 0;
    if (before->code_left.len)
        return before->code_left;
    smtp_session_left(&flow->smtp, unit, left, engine->line_left);
    return (struct span){engine->line_left, left};
}

/* Tell of a line that is complete. */
static void tell_line(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                      const struct before *before)
{
    struct event *event = tell(engine, unit->role == SMTP_SERVER ? EVENT_REPLY : EVENT_COMMAND, flow);
    if (!event)
        return;
    const struct smtp_change *change = &engine->change;
    event->from_server = unit->side == SMTP_SERVER;
    event->text = tell_keep(engine, unit->whole);
    event->verb = unit->role == SMTP_SERVER ? unit->verb : unit->command.verb;
    event->code = unit->has_reply ? unit->reply.code : 0;
    event->last = unit->has_reply && unit->reply.last;
    event->closes = unit->role == SMTP_SERVER && flow->smtp.answered != before->answered;
    event->exchange = before->exchange;
    if (!change->changed && !change->reset && !unit->judged)
        return;
    event->reason = before->reason;
    event->change = EVENT_REMOVED;
    /* A code of ours that left is the beginning of the reply's last line. */
    bool goes_on = unit->has_reply && !unit->reply.last && before->code_left.len;
    if (change->reset || goes_on)
        return;
    struct span left = tell_keep(engine, left_earlier(engine, flow, unit, before));
    struct span rest = change->changed ? (struct span){change->octets, change->len} : unit->octets;
    rest = tell_keep(engine, span_head(rest, EVENT_TEXT_BYTES_MAX - left.len));
    if (left.len + rest.len)
        event->change = EVENT_REPLACED;
    event->shown = (struct span){left.ptr, left.len + rest.len};
}

static void tell_payload(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                         const struct before *before)
{
    struct event *event = tell(engine, EVENT_PAYLOAD, flow);
    if (event) {
        event->from_server = unit->side == SMTP_SERVER;
        event->verb = before->payload;
        event->exchange = before->exchange;
        event->octets = flow->smtp.payload_octets;
        event->change = engine->change.changed ? EVENT_REMOVED : EVENT_KEPT;
    }
}

static void tell_anomaly(struct engine *engine, struct flow *flow, const struct smtp_unit *unit)
{
    struct event *event = tell(engine, EVENT_ANOMALY, flow);
    if (event) {
        event->from_server = unit->side == SMTP_SERVER;
        event->reason = smtp_anomaly_name(unit->anomaly);
        if (unit->kind != SMTP_UNIT_OPAQUE) /* which may be cut anywhere */
            event->text = tell_keep(engine, unit->whole);
    }
}

static const char *action_name(const struct smtp_action *action, bool logs)
{
    static const char *const names[] = {
        [SMTP_ACTION_PASS] = "pass",     [SMTP_ACTION_STRIP] = "strip", [SMTP_ACTION_MAKE_LAST] = "strip",
        [SMTP_ACTION_REFUSE] = "refuse", [SMTP_ACTION_VOID] = "refuse", [SMTP_ACTION_VOID_LATE] = "refuse",
        [SMTP_ACTION_CLOSE] = "close",   [SMTP_ACTION_RESET] = "reset",
    };
    if (action->ask)
        return "greylist";
    if (logs && action->kind == SMTP_ACTION_PASS && action->delay_ms == 0)
        return "log";
    return action->kind == SMTP_ACTION_PASS && action->delay_ms ? "tarpit" : names[action->kind];
}

/* Tell of a rule, and of what it looked at. */
static void tell_rule(struct engine *engine, struct flow *flow, bool from_server, struct span text,
                      const struct smtp_action *action, const char *name, bool dry_run)
{
    struct event *event = tell(engine, EVENT_RULE, flow);
    if (!event)
        return;
    event->from_server = from_server;
    event->reason = name;
    event->action = action_name(action, !dry_run);
    event->dry_run = dry_run;
    event->text = tell_keep(engine, text);
}

/* Let go of the action, and tell of it. */
static void only_tell(struct engine *engine, struct flow *flow, bool from_server, struct span text, bool tells,
                      struct smtp_action *action)
{
    bool changes = action->kind != SMTP_ACTION_PASS || action->delay_ms;
    if (tells && changes && action->kind != SMTP_ACTION_MAKE_LAST)
        tell_rule(engine, flow, from_server, text, action, action->reason ? action->reason : "", true);
    *action = (struct smtp_action){.kind = SMTP_ACTION_PASS};
}

void judge_take_decision(struct engine *engine, struct flow *flow, bool from_server, struct span text, bool whole,
                         struct policy_decision *decision)
{
    bool dry_run = policy_of(engine, flow)->dry_run;
    /* A line that passes in pieces is judged again when it is whole. */
    bool tells = whole || (decision->action.kind != SMTP_ACTION_PASS && !dry_run);
    for (uint32_t i = 0; tells && i < decision->logged_count; i++)
        tell_rule(engine, flow, from_server, text, &decision->logged[i]->action, decision->logged[i]->name, false);
    if (dry_run)
        only_tell(engine, flow, from_server, text, tells, &decision->action);
    else if (decision->marks)
        flow->mark = decision->mark;
}

void judge_connect(struct engine *engine, struct flow *flow)
{
    const struct policy *policy = policy_of(engine, flow);
    struct policy_decision decision;
    policy_facts_begin(policy, flow->ip_version, flow->ends[SMTP_CLIENT].address, flow->ends[SMTP_SERVER].address,
                       &flow->facts);
    if (!policy_looks_at(policy, RULE_ON_CONNECT))
        return;
    struct rule_case what = {.event = RULE_ON_CONNECT, .verb = SMTP_VERB_CONNECT};
    policy_judge_case(policy, &what, &flow->facts, &decision);
    judge_take_decision(engine, flow, false, (struct span){0}, true, &decision);
    if (decision.action.kind == SMTP_ACTION_RESET)
        flow->reset = FLOW_RESET_CLIENT;
}

static void tell_unedited(struct engine *engine, struct flow *flow, const char *reason)
{
    if (flow->told_unedited)
        return;
    flow->told_unedited = true;
    engine->counters.flows_unedited++;
    tell_break(engine, EVENT_UNEDITED, flow, reason);
}

static void count_change(struct engine *engine, const struct smtp_unit *unit, struct smtp_action action)
{
    struct engine_counters *counters = &engine->counters;
    if (unit->kind == SMTP_UNIT_FRAGMENT)
        counters->fragments_out++;
    if (action.kind == SMTP_ACTION_STRIP)
        counters->keywords_stripped++;
    else if (action.kind == SMTP_ACTION_REFUSE || action.kind == SMTP_ACTION_VOID ||
             action.kind == SMTP_ACTION_VOID_LATE)
        counters->commands_refused += unit->kind == SMTP_UNIT_COMMAND;
    else if (action.kind == SMTP_ACTION_CLOSE && !engine->change.reset)
        counters->connections_closed++;
    counters->connections_reset += engine->change.reset;
    if (unit->role == SMTP_CLIENT)
        return;
    if (action.kind == SMTP_ACTION_PASS && unit->kind == SMTP_UNIT_REPLY && unit->reply.last && engine->change.changed)
        counters->replies_replaced++;
}

static const char *why_opaque(const struct smtp_unit *unit)
{
    if (unit->anomaly)
        return smtp_anomaly_name(unit->anomaly);
    if (unit->has_reply && unit->reply.code >= 400)
        return "server-closes";
    return unit->kind == SMTP_UNIT_REPLY ? "encrypted" : "ledger-full";
}

/* Which rule or verdict is behind what becomes of a unit; for a reply, of the command it answers. */
static const char *why(const struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                       struct smtp_action action)
{
    if (action.reason)
        return action.reason;
    const struct smtp_slot *slot = smtp_ledger_oldest(&flow->smtp.ledger, &engine->blocks);
    if (unit->role == SMTP_CLIENT || !slot)
        return flow->smtp.closing ? "closing" : flow->smtp.void_refusal ? "void" : "";
    return policy_of(engine, flow)->refusals.texts[slot->refusal].reason;
}

static struct before look_before(const struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                                 struct smtp_action action)
{
    const struct smtp_session *smtp = &flow->smtp;
    struct before before = {
        .reason = why(engine, flow, unit, action),
        .exchange = smtp->answered + (unit->role == SMTP_SERVER ? 0u : smtp->ledger.count),
        .answered = smtp->answered,
        .payload = smtp_session_payload(smtp),
    };
    const struct smtp_slot *slot = smtp_ledger_oldest(&smtp->ledger, &engine->blocks);
    before.spoiled = unit->role == SMTP_SERVER && slot && smtp_slot_fate(*slot) == SMTP_FATE_REPLACE_SPOILED;
    if (unit->role == SMTP_SERVER && smtp->reply_sent > 0 && slot)
        before.code_left =
            span_head(smtp_refusal_form(&policy_of(engine, flow)->refusals, slot->refusal, 0), smtp->reply_sent);
    return before;
}

/* What a unit adds to what is known of its session. Before it is judged: a rule may count it. */
static void count_command(struct policy_facts *facts, const struct smtp_unit *unit)
{
    if (unit->kind == SMTP_UNIT_COMMAND && facts->commands < UINT16_MAX)
        facts->commands++;
    if (unit->anomaly == SMTP_ANOMALY_EARLY_TALKER)
        facts->early_talker = true;
}

/* A reply, once it is complete, as the client reads it. */
static void count_reply(struct policy_facts *facts, const struct smtp_unit *unit, uint16_t code)
{
    if (unit->kind != SMTP_UNIT_REPLY || !unit->has_reply || !unit->reply.last)
        return;
    if (code >= 400 && facts->errors < UINT16_MAX)
        facts->errors++;
    if (code >= 400 && unit->verb == SMTP_VERB_RCPT && facts->refused < UINT16_MAX)
        facts->refused++;
    bool auth = unit->verb == SMTP_VERB_AUTH || unit->verb == SMTP_VERB_AUTH_RESPONSE || unit->verb == SMTP_VERB_X_EXPS;
    facts->authenticated = facts->authenticated || (auth && code / 100 == 2);
}

/* The decision about a unit, with all that it is besides an action carried out. */
static struct smtp_action decide(struct engine *engine, struct flow *flow, const struct smtp_context *context,
                                 const struct smtp_unit *unit)
{
    struct policy_decision decision;
    uint16_t code = unit->role == SMTP_SERVER ? smtp_session_reply_code(&flow->smtp, context, unit) : 0;
    if (unit->role == SMTP_CLIENT)
        count_command(&flow->facts, unit);
    policy_judge(policy_of(engine, flow), unit, &flow->facts, flow->smtp.recipients, code, &decision);
    if (unit->role == SMTP_SERVER)
        count_reply(&flow->facts, unit, code);
    if (decision.logged_count || decision.marks || policy_of(engine, flow)->dry_run)
        judge_take_decision(engine, flow, unit->side == SMTP_SERVER, unit->whole, unit->kind != SMTP_UNIT_FRAGMENT,
                            &decision);
    message_judge(engine, flow, unit, &decision.action);
    return decision.action;
}

static void guard_note(struct engine *engine, uint32_t index, const struct smtp_unit *unit, struct smtp_action action,
                       const struct before *before)
{
    if (unit->kind == SMTP_UNIT_COMMAND && action.kind == SMTP_ACTION_PASS)
        guard_note_command(engine, index, unit, before->exchange);
    else if (unit->kind == SMTP_UNIT_REPLY && unit->has_reply && unit->line_index == 0)
        guard_note_reply(engine, index, unit, before->answered, action.guard);
}

/* One unit: decide, and remember what leaves. True where that is not what came. */
static bool judge_unit(struct engine *engine, uint32_t index, const struct smtp_context *context,
                       const struct smtp_unit *unit, struct smtp_action action)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[unit->side];
    struct smtp_change *change = &engine->change;
    bool was_opaque = flow->smtp.opaque;
    int32_t offset = edit_offset(&half->log);
    struct smtp_room room = {
        .saved =
            (offset < 0 ? (uint32_t)-offset : 0) + (engine->settings.liberal_conntrack ? SMTP_REFUSAL_BYTES_MAX : 0),
        .resize = edit_room(&engine->entries) &&
                  (unit->side == SMTP_SERVER || engine->settings.peers == ENGINE_PEERS_RECORDED),
    };
    struct before before = look_before(engine, flow, unit, action);
    struct tarpit_reply reply = {
        .delay_ms = tarpit_delay_ms(flow, context, unit, action),
        .rule = before.reason,
        .from_egress = half->log.end_egress,
        .exchange = before.answered,
        .shared = action.guard,
    };
    smtp_session_commit(&flow->smtp, context, unit, action, room, change);
    if (flow->smtp.opaque)
        message_forget(engine, flow);

    struct span leaves = change->changed ? (struct span){change->octets, change->len} : unit->octets;
    edit_decide(&half->log, &engine->entries, (uint32_t)unit->octets.len, (uint32_t)leaves.len);
    if (unit->kind != SMTP_UNIT_OPAQUE) {
        bool kept = retain_append(&half->retained, &engine->pieces, leaves);
        assert(kept); /* judge_has_room */
    }
    count_change(engine, unit, action);
    if (unit->anomaly)
        tell_anomaly(engine, flow, unit);
    if (unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY)
        tell_line(engine, flow, unit, &before);
    else if (unit->ends_payload)
        tell_payload(engine, flow, unit, &before);
    if (unit->role == SMTP_SERVER)
        tarpit_note_reply(engine, index, unit, &reply);
    if (policy_guards(policy_of(engine, flow), &flow->facts))
        guard_note(engine, index, unit, action, &before);
    if (unit->role == SMTP_SERVER && !change->changed)
        offer_note(engine, flow, unit);
    if (unit->role == SMTP_CLIENT)
        question_note_command(engine, index, unit, before.exchange,
                              change->changed || action.kind == SMTP_ACTION_REFUSE);
    else if (flow->smtp.answered != before.answered)
        question_note_reply(engine, index, unit, before.answered, before.spoiled);
    if (change->reset)
        flow->reset = unit->side == SMTP_CLIENT ? FLOW_RESET_CLIENT : FLOW_RESET_SERVER;
    else if (flow->smtp.opaque && !was_opaque)
        tell_unedited(engine, flow, why_opaque(unit));
    return change->changed;
}

/* Cut `octets` into units, to the first that waits for an answer; true where something leaves in another form. */
static bool judge_all(struct engine *engine, uint32_t index, enum smtp_side side, struct span octets, bool release)
{
    bool changed = false;
    struct smtp_unit unit;
    struct flow *flow = flow_at(&engine->table, index);
    const struct smtp_context context = judge_context(engine, flow);
    struct half *half = &flow->halves[side];
    half->next += (uint32_t)octets.len;
    while (!half->paused && smtp_session_next(&flow->smtp, &context, side, &octets, release, &unit)) {
        struct smtp_action action;
        if (!question_take(engine, flow, &unit, &action))
            action = decide(engine, flow, &context, &unit);
        if (action.ask && question_waits(engine, index, &unit, release, &action))
            smtp_session_put_back(&flow->smtp, &context, &unit);
        else
            changed = judge_unit(engine, index, &context, &unit, action) || changed;
    }
    half->next -= (uint32_t)octets.len;
    return changed;
}

/* `anew`: what waits now is another line than what waited before. */
static void arm_line(struct engine *engine, uint32_t index, struct flow *flow, enum smtp_side side, bool anew)
{
    bool waits = half_waiting(&flow->halves[side]) > 0;
    bool asks = question_pends(engine, flow, side);
    uint32_t hold_ms = asks ? engine->settings.ask_hold_ms : engine->settings.line_hold_ms;
    if (!waits && flow->line_due_us[side] != 0) {
        flow->line_due_us[side] = 0;
        engine->waiting_count--;
    } else if (waits && (anew || flow->line_due_us[side] == 0)) {
        engine->waiting_count += flow->line_due_us[side] == 0;
        flow->line_due_us[side] = engine->now_us + (int64_t)hold_ms * 1000;
        lifecycle_arm(engine, index);
    }
}

bool judge_feed(struct engine *engine, uint32_t index, enum smtp_side side, struct span octets, bool release)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool waited = half_waiting(&flow->halves[side]) > 0;
    bool was_opaque = flow->smtp.opaque;
    int32_t offset = edit_offset(&flow->halves[side].log);
    uint32_t decided = flow->halves[side].log.end;
    if (release && question_pends(engine, flow, side))
        question_give_up(engine, flow); /* its time is over */
    bool asked = question_pends(engine, flow, side);
    bool changed = judge_all(engine, index, side, octets, release || question_releases(engine, flow));
    bool anew = flow->halves[side].log.end != decided || asked != question_pends(engine, flow, side);
    arm_line(engine, index, flow, side, anew);
    if (edit_offset(&flow->halves[side].log) != offset)
        lifecycle_classify(engine, index);
    if (flow->reset) {
        if (tarpit_due_us(engine, flow) != INT64_MAX)
            tarpit_end(engine, index, TARPIT_END_RESET);
        segment_drop_held(engine, index);
    } else if (flow->smtp.opaque && !was_opaque) {
        /* What waits on the other side will not be judged any more. */
        if (tarpit_due_us(engine, flow) != INT64_MAX)
            tarpit_end(engine, index, TARPIT_END_UNREAD);
        question_end(engine, index);
        guard_forget(engine, index);
        judge_all(engine, index, !side, (struct span){0}, true);
        arm_line(engine, index, flow, !side, false);
        segment_settle(engine, index, !side);
    }
    return changed || waited;
}

void judge_give_up(struct engine *engine, uint32_t index, const char *reason)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (!flow->smtp.opaque)
        smtp_session_give_up(&flow->smtp, &engine->blocks);
    message_forget(engine, flow);
    tell_unedited(engine, flow, reason);
    segment_release_all(engine, index);
}
