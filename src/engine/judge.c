#include "engine/judge.h"

#include "engine/budget.h"
#include "engine/client.h"
#include "engine/decision.h"
#include "engine/guard.h"
#include "engine/handshake.h"
#include "engine/held.h"
#include "engine/inquiry.h"
#include "engine/message.h"
#include "engine/names.h"
#include "engine/offer.h"
#include "engine/promise.h"
#include "engine/tarpit.h"
#include "engine/tell.h"
#include "smtp/proxy.h"

/* What the session needs to know of its surroundings. */
static struct smtp_context context_of(struct engine *engine, const struct flow *flow)
{
    const struct policy *policy = policy_of(engine, flow);
    return (struct smtp_context){
        .blocks = &engine->blocks,
        .keywords = &policy->strip,
        .verbs = policy->watched,
        .refusals = &policy->refusals,
        .whole_replies = policy->whole_replies,
        .judges_early = policy->judges_early,
        .addresses = policy->addresses,
        .canonical = engine->canonical,
        .strict = flow->facts.may_be_acted_on,
        .would_act = flow->facts.would_be_acted_on,
        .observes = policy->dry_run,
        .by_keyword = !tell_wants(engine, EVENT_REPLY) && flow->tarpit == POOL_NONE && !policy->dry_run &&
                      !policy_looks_at(policy, RULE_ON_KEYWORD) && !flow->facts.exempt_from,
        .awaits_helo = policy->helo_count > 0,
        .holds = policy->watched && !policy->dry_run && engine->settings.peers == ENGINE_PEERS_LIVE,
    };
}

/* What is known of a unit before the decision about it is carried out, and told of it afterwards. */
struct before {
    const char *reason;     /* which rule or verdict is behind what becomes of it */
    uint32_t exchange;      /* see struct event */
    uint32_t answered;      /* exchanges that are over */
    enum smtp_verb payload; /* what it is, if it is payload */
    bool spoiled;           /* of a reply: to an address that the filter wrote over the recipient's */
    bool withheld;          /* of a reply: what came of its line before was kept back */
    struct span code_left;  /* of a reply of our own, what left with earlier pieces of theirs */
    uint8_t in_place;       /* the reply of our own that leaves at the length of theirs; SMTP_REFUSAL_NONE: none */
};

/* `shown`, the beginning of a line that came, as it left with our own text in place of theirs. */
static void show_in_place(struct span form, size_t left, uint8_t *shown)
{
    for (size_t i = 0; i < left; i++)
        if (i != SMTP_REFUSAL_CODE_LEN)
            shown[i] = i < form.len ? form.ptr[i] : ' ';
}

/* What left of a line with earlier pieces, into engine->line_left. */
static struct span left_earlier(struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                                const struct before *before)
{
    size_t left = smtp_unit_left_before(unit);
    if (before->code_left.len || before->withheld)
        return before->code_left;
    smtp_session_left(&flow->smtp, unit, left, engine->line_left);
    if (before->in_place != SMTP_REFUSAL_NONE)
        show_in_place(smtp_refusal_form(&policy_of(engine, flow)->refusals, before->in_place, left), left,
                      engine->line_left);
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
    event->text = tell_keep(engine, unit->rewritten ? unit->came : unit->whole);
    event->verb = unit->role == SMTP_SERVER ? unit->verb : unit->command.verb;
    event->code = unit->has_reply ? unit->reply.code : 0;
    event->last = unit->has_reply && unit->reply.last;
    event->closes = unit->role == SMTP_SERVER && flow->smtp.answered != before->answered;
    event->exchange = before->exchange;
    bool as_it_came = change->changed && before->withheld && change->len == unit->whole.len &&
                      memcmp(change->octets, unit->whole.ptr, change->len) == 0;
    if (as_it_came || (!change->changed && !change->reset && !unit->judged))
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

/* What rules say of a client, once it is known who that is. */
static void judge_client(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    const struct policy *policy = policy_of(engine, flow);
    struct policy_decision decision;
    judge_facts(engine, flow);
    flow->client_sought = false;
    flow->smtp.may_begin = offer_stands(engine, flow);
    engine->counters.flows_by_direction[flow->facts.direction]++;
    if (flow->answered)
        names_ask(engine, index); /* else once it has: anybody can send a SYN in its name */
    inquiry_client(engine, index);
    if (!policy_looks_at(policy, RULE_ON_CONNECT))
        return;
    struct rule_case what = {.event = RULE_ON_CONNECT, .verb = SMTP_VERB_CONNECT};
    policy_judge_case(policy, &what, &flow->facts, &decision);
    decision_take(engine, flow, &(struct decision_subject){0}, &decision);
    if (decision.action.kind == SMTP_ACTION_RESET)
        flow->reset = FLOW_RESET_CLIENT;
}

void judge_facts(struct engine *engine, struct flow *flow)
{
    struct event_client client = client_of(engine, flow);
    policy_facts_begin(policy_of(engine, flow), (struct policy_address){client.ip_version, client.end.address},
                       (struct policy_address){flow->ip_version, flow->ends[SMTP_SERVER].address}, &flow->facts);
}

void judge_connect(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct policy_address client = {flow->ip_version, flow->ends[SMTP_CLIENT].address};
    flow->client_sought = policy_is_balancer(policy_of(engine, flow), client);
    flow->smtp.proxied = flow->client_sought;
    if (flow->client_sought)
        judge_facts(engine, flow); /* the balancer's own, so far */
    else
        judge_client(engine, index);
}

/* The first that a balancer sends says whose the connection is, or that it is its own. */
static void seek_client(struct engine *engine, uint32_t index, const struct smtp_unit *unit)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool header = unit->role == SMTP_CLIENT && unit->verb == SMTP_VERB_PROXY_HEADER;
    struct smtp_proxy proxy;
    if (header && unit->kind == SMTP_UNIT_FRAGMENT && !unit->anomaly)
        return; /* its rest is to come */
    if (header && smtp_proxy_parse(unit->whole, &proxy) == SMTP_PROXY_GOOD) {
        struct event_client told = {.ip_version = proxy.ip_version, .end.port = proxy.port};
        memcpy(told.end.address, proxy.address, sizeof told.end.address);
        client_set_told(engine, flow, &told);
    }
    judge_client(engine, index);
}

static void count_change(struct engine *engine, const struct smtp_unit *unit, struct smtp_action action)
{
    struct engine_counters *counters = &engine->counters;
    if (unit->kind == SMTP_UNIT_FRAGMENT)
        counters->fragments_out++;
    if (action.kind == SMTP_ACTION_STRIP)
        counters->keywords_stripped++;
    else if (action.kind == SMTP_ACTION_REFUSE || action.kind == SMTP_ACTION_REFUSE_ALL ||
             action.kind == SMTP_ACTION_VOID || action.kind == SMTP_ACTION_VOID_LATE)
        counters->commands_refused += unit->kind == SMTP_UNIT_COMMAND;
    else if (action.kind == SMTP_ACTION_CLOSE && !engine->change.reset)
        counters->connections_closed++;
    counters->connections_reset += engine->change.reset;
    counters->offset_bounded += engine->change.bounded;
    if (unit->role == SMTP_CLIENT)
        return;
    if (action.kind == SMTP_ACTION_PASS && unit->kind == SMTP_UNIT_REPLY && unit->reply.last && engine->change.changed)
        counters->replies_replaced++;
}

/* The server forgets its transaction, and nothing comes in clear. */
#define KEPT_BY_ENCRYPTION ((unsigned)SMTP_PROMISE_VOID | (unsigned)SMTP_PROMISE_CLOSE)

/*
 * Which of the promises that were outstanding hold no more, now that the session is not read on behind `unit`: none
 * where the server closes it, and encryption makes a server forget its transaction (RFC 3207 4.2).
 */
static unsigned promises_lost(const struct smtp_unit *unit, unsigned outstanding)
{
    if (unit->anomaly || unit->kind != SMTP_UNIT_REPLY)
        return outstanding;
    if (unit->has_reply && unit->reply.code >= 400)
        return 0;
    return smtp_verb_is(unit->verb, SMTP_TRAIT_ENCRYPTS) ? outstanding & ~KEPT_BY_ENCRYPTION : outstanding;
}

static const char *why_opaque(const struct smtp_unit *unit)
{
    if (unit->anomaly)
        return smtp_anomaly_name(unit->anomaly);
    if (unit->has_reply && unit->reply.code >= 400)
        return "server-closes";
    return unit->kind == SMTP_UNIT_REPLY ? "encrypted" : "ledger-full";
}

static void raise_outcome(struct flow *flow, enum engine_outcome outcome)
{
    if (flow->outcome < outcome)
        flow->outcome = outcome;
}

/*
 * The session is not read on. What the server does, or encrypts, it may; else nobody passes unread who could be acted
 * on.
 */
static void leave_unread(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, unsigned outstanding)
{
    bool by_reply = unit->kind == SMTP_UNIT_REPLY;
    if (!by_reply || unit->anomaly || !unit->has_reply || unit->reply.code < 400)
        raise_outcome(flow, ENGINE_OUTCOME_UNREAD);
    if (promise_leave(engine, flow, promises_lost(unit, outstanding), why_opaque(unit)))
        return;
    if (!unit->anomaly && !by_reply && policy_ends_unread(policy_of(engine, flow), &flow->facts)) {
        flow->reset = FLOW_RESET_NEXT;
        engine->counters.connections_reset++;
    }
}

/* The client has read that it may encrypt, later than the server said so. */
static void leave_encrypted(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    unsigned outstanding = smtp_session_promises(&flow->smtp) & ~KEPT_BY_ENCRYPTION;
    smtp_session_encrypt(&flow->smtp, &engine->blocks);
    message_forget(engine, flow);
    raise_outcome(flow, ENGINE_OUTCOME_UNREAD);
    promise_leave(engine, flow, outstanding, "encrypted");
    if (!flow->reset)
        handshake_begin(engine, index);
}

/* Which rule or verdict is behind what becomes of a unit; for a reply, of the command in `slot` that it answers. */
static const char *why(const struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                       const struct smtp_slot *slot, struct smtp_action action)
{
    if (action.reason)
        return action.reason;
    if (!slot)
        return flow->smtp.closing ? "closing" : flow->smtp.void_refusal ? "void" : unit->rewritten ? "canonical" : "";
    return policy_of(engine, flow)->refusals.texts[slot->refusal].reason;
}

static struct before look_before(const struct engine *engine, const struct flow *flow,
                                 const struct smtp_context *context, const struct smtp_unit *unit,
                                 struct smtp_action action)
{
    const struct smtp_session *smtp = &flow->smtp;
    const struct smtp_slot *slot = NULL;
    if (unit->role == SMTP_SERVER)
        slot = smtp_ledger_oldest(&smtp->ledger, &engine->blocks);
    struct before before = {
        .reason = why(engine, flow, unit, slot, action),
        .exchange = smtp->answered + (unit->role == SMTP_SERVER ? 0u : smtp->ledger.count),
        .answered = smtp->answered,
        .payload = smtp_session_payload(smtp),
        .withheld = unit->role == SMTP_SERVER && smtp_session_withholds(smtp, context, unit),
    };
    before.spoiled = slot && smtp_slot_fate(*slot) == SMTP_FATE_REPLACE_SPOILED;
    if (smtp->reply_sent == 0 || !slot)
        return before;
    if (smtp->reply_sent == SMTP_REPLACED_IN_PLACE)
        before.in_place = slot->refusal;
    else
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
    if (smtp_verb_is(unit->verb, SMTP_TRAIT_AUTHENTICATES) && code / 100 == 2)
        facts->authenticated = true;
}

/* What a reply, once it is complete, and as the client reads it, makes of the connection. */
static void note_outcome(struct flow *flow, const struct smtp_context *context, const struct smtp_unit *unit,
                         uint16_t code)
{
    static const uint64_t verbs = UINT64_C(1) << SMTP_VERB_CONNECT | UINT64_C(1) << SMTP_VERB_MAIL |
                                  UINT64_C(1) << SMTP_VERB_RCPT | UINT64_C(1) << SMTP_VERB_DATA |
                                  UINT64_C(1) << SMTP_VERB_BDAT;
    if (unit->kind != SMTP_UNIT_REPLY || !unit->has_reply || !unit->reply.last)
        return;
    bool ends = smtp_verb_is(unit->verb, SMTP_TRAIT_ENDS_MESSAGE);
    bool encrypts = smtp_verb_is(unit->verb, SMTP_TRAIT_ENCRYPTS);
    flow->encrypted = flow->encrypted || (encrypts && code / 100 == 2);
    if (ends && code / 100 == 2)
        raise_outcome(flow, ENGINE_OUTCOME_ACCEPTED);
    if (code / 100 != 4 && code / 100 != 5)
        return;
    /* What a rule refuses the server has not seen as what it was. */
    bool refuses = ends || encrypts || verbs >> unit->verb & 1 ||
                   smtp_session_reply_refusal(&flow->smtp, context, unit) != SMTP_REFUSAL_NONE;
    if (code == 421 || (refuses && code / 100 == 4))
        raise_outcome(flow, ENGINE_OUTCOME_PUT_OFF);
    else if (refuses)
        raise_outcome(flow, ENGINE_OUTCOME_REFUSED);
}

/* What is to be told, counted and marked of a decision. */
static void tell_decision(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                          struct policy_decision *decision)
{
    struct decision_subject subject = {unit->side == SMTP_SERVER, unit->whole, unit->kind == SMTP_UNIT_FRAGMENT, false};
    bool passes = decision->action.kind == SMTP_ACTION_PASS;
    decision_take(engine, flow, &subject, decision);
    if (passes && unit->would_leave.len)
        decision_tell_rewritten(engine, flow, &subject, unit->would_leave);
}

/*
 * Whether a command would pass in clear what its sender wanted to encrypt, and was told not to: anything but what asks
 * again, ends, or says nothing. Of one that is not whole nobody knows.
 */
static bool is_refused_in_clear(const struct flow *flow, const struct smtp_unit *unit)
{
    if (!flow->smtp.clear_refused || flow->smtp.opaque || unit->role != SMTP_CLIENT || unit->judged)
        return false;
    uint64_t passing = smtp_verbs_that_are(SMTP_TRAIT_ENCRYPTS | SMTP_TRAIT_HELLO) | UINT64_C(1) << SMTP_VERB_QUIT |
                       UINT64_C(1) << SMTP_VERB_RSET | UINT64_C(1) << SMTP_VERB_NOOP;
    return !(passing >> unit->command.verb & 1);
}

/* The decision about a unit, with all that it is besides an action carried out. */
static struct smtp_action decide(struct engine *engine, struct flow *flow, const struct smtp_context *context,
                                 const struct smtp_unit *unit)
{
    struct policy_decision decision;
    const struct policy *policy = policy_of(engine, flow);
    uint16_t code = unit->role == SMTP_SERVER ? smtp_session_reply_code(&flow->smtp, context, unit) : 0;
    if (unit->role == SMTP_CLIENT)
        count_command(&flow->facts, unit);
    policy_judge(policy, unit, &flow->facts, flow->smtp.recipients, code, &decision);
    if (is_refused_in_clear(flow, unit) && decision.action.kind != SMTP_ACTION_RESET)
        decision.action =
            (struct smtp_action){.kind = SMTP_ACTION_CLOSE, .refusal = SMTP_REFUSAL_CLOSING, .reason = "in-clear"};
    bool observes = policy->dry_run && decision.action.ask && unit->kind == SMTP_UNIT_COMMAND;
    if (observes)
        inquiry_observe(engine, flow_index(&engine->table, flow), unit, decision.action.reason);
    if (unit->role == SMTP_SERVER) {
        count_reply(&flow->facts, unit, code);
        note_outcome(flow, context, unit, code);
    }
    if (decision.taken_count || decision.marks || decision.undecided || policy->dry_run)
        tell_decision(engine, flow, unit, &decision);
    message_judge(engine, flow, unit, &decision.action);
    if (flow->facts.content_counts && unit->kind == SMTP_UNIT_COMMAND && unit->command.verb == SMTP_VERB_RCPT &&
        decision.action.kind == SMTP_ACTION_PASS)
        decision.action.ask = true;
    return decision.action;
}

/* A recipient is refused for what the mail contained when it came before. */
static void note_refused(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                         const struct rule *rule)
{
    struct policy_decision decision = {.action = rule->action, .rule = rule, .taken_count = 1, .taken = {rule}};
    engine->counters.recipients_refused_again++;
    tell_decision(engine, flow, unit, &decision);
}

static void guard_note(struct engine *engine, uint32_t index, const struct smtp_unit *unit, struct smtp_action action,
                       const struct before *before)
{
    if (unit->kind == SMTP_UNIT_COMMAND && action.kind == SMTP_ACTION_PASS)
        guard_note_command(engine, index, unit, before->exchange);
    if (unit->kind != SMTP_UNIT_REPLY || !unit->has_reply || unit->line_index > 0)
        return;
    const struct flow *flow = flow_at(&engine->table, index);
    struct guard_reply reply = {before->answered, action.guard, tarpit_imposed_ms(engine, flow, before->answered)};
    guard_note_reply(engine, index, unit, &reply);
}

/* Whether a command that was committed does not reach the server as what it is. */
static bool is_kept_back(const struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                         struct smtp_action action)
{
    const struct smtp_ledger *ledger = &flow->smtp.ledger;
    return action.kind == SMTP_ACTION_REFUSE || action.kind == SMTP_ACTION_REFUSE_ALL || ledger->count == 0 ||
           smtp_slot_verb(smtp_ledger_at(ledger, &engine->blocks, ledger->count - 1)) != unit->command.verb;
}

/* The client's name is the last one that it gave and the server took (RFC 5321 4.1.4); `answers`: this is a reply. */
static void note_helo(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, struct smtp_action action,
                      bool answers)
{
    struct policy_facts *facts = &flow->facts;
    bool says = unit->kind == SMTP_UNIT_COMMAND && smtp_verb_is(unit->command.verb, SMTP_TRAIT_HELLO);
    if (says && !is_kept_back(engine, flow, unit, action)) {
        facts->helo_before = facts->helo_holds;
        policy_note_helo(policy_of(engine, flow), unit->command.argument, facts);
    } else if (answers && smtp_verb_is(unit->verb, SMTP_TRAIT_HELLO) && unit->reply.code >= 400) {
        facts->helo_holds = facts->helo_before;
    }
}

/* Whether what `side` says may become shorter or longer (law 3). */
static bool may_resize(struct engine *engine, const struct flow *flow, enum smtp_side side)
{
    return edit_room(&engine->entries) && room_allows(engine, ROOM_EDITS, 2) &&
           (engine->settings.peers == ENGINE_PEERS_RECORDED || (side == SMTP_SERVER && flow->answered));
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
        .spare = half_spare(half),
        .resize = may_resize(engine, flow, unit->side),
    };
    struct before before = look_before(engine, flow, context, unit, action);
    struct tarpit_reply reply = {
        .delay_ms = tarpit_delay_ms(flow, context, unit, action),
        .rule = before.reason,
        .from_egress = half->log.end_egress,
        .exchange = before.answered,
        .shared = action.guard,
        .consents = flow->smtp.tls_asked && smtp_session_reply_consent(&flow->smtp, context, unit) != SMTP_REFUSAL_NONE,
    };
    unsigned outstanding = smtp_session_promises(&flow->smtp);
    smtp_session_commit(&flow->smtp, context, unit, action, room, change);
    if (flow->smtp.opaque)
        message_forget(engine, flow);

    struct span leaves = change->changed ? (struct span){change->octets, change->len} : unit->octets;
    edit_decide(&half->log, &engine->entries, (uint32_t)unit->octets.len, (uint32_t)leaves.len);
    if (change->changed)
        half_note_change(half, half->log.end - (uint32_t)unit->octets.len);
    if (unit->kind != SMTP_UNIT_OPAQUE) {
        bool kept = retain_append(&half->retained, &engine->pieces, leaves);
        assert(kept); /* budget_has_room */
    }
    count_change(engine, unit, action);
    bool cut = unit->kind == SMTP_UNIT_OPAQUE; /* anywhere */
    if (unit->anomaly)
        tell_anomaly(engine, flow, unit->side == SMTP_SERVER, smtp_anomaly_name(unit->anomaly),
                     cut ? (struct span){0} : unit->whole, false);
    if (unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY)
        tell_line(engine, flow, unit, &before);
    else if (unit->ends_payload && unit->verb != SMTP_VERB_PROXY_HEADER)
        tell_payload(engine, flow, unit, &before);
    if (unit->role == SMTP_SERVER)
        tarpit_note_reply(engine, index, unit, &reply);
    if (policy_guards(policy_of(engine, flow), &flow->facts))
        guard_note(engine, index, unit, action, &before);
    if (unit->role == SMTP_SERVER && !change->changed)
        offer_note(engine, flow, unit);
    if (policy_of(engine, flow)->helo_count)
        note_helo(engine, flow, unit, action, flow->smtp.answered != before.answered);
    if (unit->role == SMTP_CLIENT)
        inquiry_note_command(engine, index, unit, before.exchange, is_kept_back(engine, flow, unit, action));
    else if (flow->smtp.answered != before.answered)
        inquiry_note_reply(engine, index, unit, before.answered, before.spoiled);
    if (change->reset) {
        flow->reset = unit->side == SMTP_CLIENT ? FLOW_RESET_CLIENT : FLOW_RESET_SERVER;
    } else if (flow->smtp.tls_waits && tarpit_is_over(engine, flow)) {
        leave_encrypted(engine, index);
    } else if (flow->smtp.opaque && !was_opaque) {
        leave_unread(engine, flow, unit, outstanding);
        if (flow->smtp.tls_awaited && !flow->reset)
            handshake_begin(engine, index);
    }
    return change->changed;
}

void judge_note_awaits(struct flow *flow)
{
    bool awaits = false;
    if (!flow->smtp.awaits && !flow->halves[SMTP_CLIENT].awaits && !flow->halves[SMTP_SERVER].awaits)
        return; /* as nearly always */
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        struct half *half = &flow->halves[side];
        half->awaits = smtp_session_awaits(&flow->smtp, (enum smtp_side)side);
        awaits = awaits || half->awaits;
    }
    flow->await_due_us = awaits ? flow->await_due_us : 0;
}

/* Lines of an EHLO reply that need no units, all kept or all taken out. True where more of them may follow. */
static bool take_lines(struct engine *engine, struct flow *flow, const struct smtp_context *context,
                       enum smtp_side side, struct span *octets, bool *changed)
{
    struct half *half = &flow->halves[side];
    uint32_t spare = context->by_keyword && may_resize(engine, flow, side) ? half_spare(half) : 0;
    struct smtp_lines lines = smtp_session_take_lines(&flow->smtp, context, side, spare, octets);
    uint32_t came = (uint32_t)lines.octets.len, leaves = lines.stripped ? 0 : came;
    if (came == 0)
        return false;
    edit_decide(&half->log, &engine->entries, came, leaves);
    bool kept = leaves == 0 || retain_append(&half->retained, &engine->pieces, lines.octets);
    assert(kept); /* budget_has_room */
    if (lines.stripped)
        half_note_change(half, half->log.end - came);
    engine->counters.keywords_stripped += lines.stripped;
    *changed = *changed || lines.stripped > 0;
    return lines.more;
}

/* Cut `octets` into units, to the first that waits for an answer; true where something leaves in another form. */
static bool judge_all(struct engine *engine, uint32_t index, enum smtp_side side, struct span octets, bool release)
{
    bool changed = false;
    struct smtp_unit unit;
    struct flow *flow = flow_at(&engine->table, index);
    struct smtp_context context;
    bool stale = true; /* the context */
    struct half *half = &flow->halves[side];
    half->next += (uint32_t)octets.len;
    while (!half_stops(half) && (octets.len || !smtp_session_is_drained(&flow->smtp, side))) {
        if (stale)
            context = context_of(engine, flow);
        stale = false;
        while (flow->smtp.reply_lines > 0 && take_lines(engine, flow, &context, side, &octets, &changed))
            continue;
        if (!smtp_session_next(&flow->smtp, &context, side, &octets, release, &unit))
            break;
        struct smtp_action action;
        if (flow->client_sought) {
            seek_client(engine, index, &unit);
            stale = true; /* what follows is this client's */
        }
        const struct rule *refuses = NULL;
        if (flow->inquiry == POOL_NONE || !inquiry_take(engine, index, &unit, &action, &refuses)) {
            if (flow->name_pending && inquiry_waits_for_name(engine, index, &unit)) {
                smtp_session_put_back(&flow->smtp, &context, &unit);
                break;
            }
            action = decide(engine, flow, &context, &unit);
        } else if (refuses) {
            note_refused(engine, flow, &unit, refuses);
        }
        if (action.ask && inquiry_waits(engine, index, &unit, release, &action))
            smtp_session_put_back(&flow->smtp, &context, &unit);
        else
            changed = judge_unit(engine, index, &context, &unit, action) || changed;
    }
    judge_note_awaits(flow);
    half->next -= (uint32_t)octets.len;
    return changed;
}

/* `anew`: what waits now is another line than what waited before. */
static void arm_line(struct engine *engine, struct flow *flow, enum smtp_side side, bool anew)
{
    bool waits = half_waiting(&flow->halves[side]) > 0 && !flow->halves[side].awaits;
    budget_reserve(engine, flow, side, half_waiting(&flow->halves[side]));
    uint32_t hold_ms = inquiry_pends(engine, flow, side) ? engine->settings.ask_hold_ms : engine->settings.line_hold_ms;
    if (!waits && flow->line_due_us[side] != 0) {
        flow->line_due_us[side] = 0;
    } else if (waits && (anew || flow->line_due_us[side] == 0)) {
        flow->line_due_us[side] = engine->now_us + (int64_t)hold_ms * 1000;
        flow->changed = true;
    }
}

static void end_tarpit(struct engine *engine, uint32_t index, enum tarpit_end why)
{
    if (tarpit_due_us(engine, flow_at(&engine->table, index)) != INT64_MAX)
        tarpit_end(engine, index, why);
}

/* Nothing is read any more: what waits on the other side will not be judged. */
static void end_reading(struct engine *engine, uint32_t index, enum smtp_side other)
{
    end_tarpit(engine, index, TARPIT_END_UNREAD);
    inquiry_end(engine, index);
    guard_forget(engine, index);
    flow_release(flow_at(&engine->table, index), other);
}

bool judge_feed(struct engine *engine, uint32_t index, enum smtp_side side, struct span octets, bool release)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool waited = half_waiting(&flow->halves[side]) > 0;
    bool was_opaque = flow->smtp.opaque;
    uint32_t decided = flow->halves[side].log.end;
    bool other_awaited = flow->halves[!side].awaits;
    if (flow->smtp.tls_waits && tarpit_is_over(engine, flow)) {
        leave_encrypted(engine, index);
        handshake_take(engine, index, side, flow->halves[side].next, octets); /* they have passed it already */
    }
    if (release && flow->halves[side].awaits)
        smtp_session_await_no_more(&flow->smtp);
    if (release)
        judge_note_awaits(flow);
    if (release && inquiry_pends(engine, flow, side))
        inquiry_give_up(engine, flow); /* its time is over */
    bool asked = inquiry_pends(engine, flow, side);
    bool changed = judge_all(engine, index, side, octets, release || inquiry_releases(engine, flow));
    bool anew = flow->halves[side].log.end != decided || asked != inquiry_pends(engine, flow, side);
    arm_line(engine, flow, side, anew);
    promise_note(flow);
    if (flow->reset) {
        end_tarpit(engine, index, TARPIT_END_RESET);
        held_drop_all(engine, flow);
    } else if (flow->smtp.opaque && !was_opaque) {
        end_reading(engine, index, (enum smtp_side) !side);
    } else if (other_awaited && !flow->halves[!side].awaits) {
        flow_resume(flow, (enum smtp_side) !side); /* the reply has come */
    }
    return changed || waited;
}

void judge_await_no_more(struct flow *flow)
{
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        if (flow->halves[side].awaits)
            flow_release(flow, (enum smtp_side)side);
}

void judge_release(struct engine *engine, uint32_t index)
{
    end_tarpit(engine, index, engine->stopping ? TARPIT_END_STOPPED : TARPIT_END_UNREAD);
    flow_release(flow_at(&engine->table, index), SMTP_CLIENT);
    flow_release(flow_at(&engine->table, index), SMTP_SERVER);
}

void judge_give_up(struct engine *engine, uint32_t index, const char *reason)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool live = engine->settings.peers == ENGINE_PEERS_LIVE; /* a record has nobody to be harmed */
    unsigned outstanding = live ? smtp_session_promises(&flow->smtp) : 0;
    if (!flow->smtp.opaque) {
        smtp_session_give_up(&flow->smtp, &engine->blocks);
        raise_outcome(flow, ENGINE_OUTCOME_UNREAD);
    }
    message_forget(engine, flow);
    promise_leave(engine, flow, outstanding, reason);
    end_tarpit(engine, index, engine->stopping ? TARPIT_END_STOPPED : TARPIT_END_UNREAD);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        judge_feed(engine, index, (enum smtp_side)side, (struct span){0}, true);
        flow_resume(flow, (enum smtp_side)side);
    }
}

void judge_tls(struct engine *engine, uint32_t index)
{
    flow_at(&engine->table, index)->encrypted = true;
    judge_give_up(engine, index, "encrypted");
    handshake_begin(engine, index);
}
