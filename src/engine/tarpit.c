#include "engine/tarpit.h"

#include "engine/held.h"
#include "engine/inquiry.h"
#include "engine/promise.h"
#include "engine/tell.h"

enum tarpit_state {
    TARPIT_IDLE,
    TARPIT_HOLDS,
    TARPIT_LEFT, /* it is over; that the client has read the reply is not known yet */
};

/* The reply of a connection that leaves later, and those before it. */
struct tarpit {
    uint32_t flow;
    struct list_link age; /* among those that hold */
    uint8_t state;        /* enum tarpit_state */
    uint8_t side;         /* enum smtp_side that sent it */
    uint8_t resends;      /* of its packet since the last progress that its sender saw */
    bool probed;          /* the first of these was no timeout of its sender's */
    bool backs_off;       /* the last came after about twice the time of the one before */
    bool lossy;           /* a piece of it was lost */
    bool whole;           /* it must not leave in pieces */
    bool continued;       /* it has several lines */
    bool consents;        /* it is a server's consent to STARTTLS */
    bool shared_told;     /* a recipient of this transaction has waited for what others share */
    uint32_t from, to;    /* egress */
    uint32_t allowed;     /* egress: what stands before may leave */
    uint32_t line;        /* egress: where the line begins in which that is */
    uint32_t exchanges;   /* up to the last reply that was delayed: it is not delayed twice */
    uint32_t group_end;   /* exchanges from this one on were not asked for when the last one was over */
    uint32_t group_ms;    /* waited for those before */
    uint32_t waited_ms;   /* for the last one */
    uint32_t delay_ms;    /* meant for it */
    uint8_t verb;         /* enum smtp_verb that it answers */
    const char *rule;     /* whose delay it is */
    uint64_t about;       /* the question that it refuses; 0: none */
    int64_t began_us, due_us;
    int64_t shown_us; /* when the last piece left */
    int64_t copy_us;  /* when its packet came last */
    int64_t gap_us;   /* and how long behind the one before, once resent */
    int64_t since_us; /* the copy from which on its sender counts its resends, once resent */
};

enum {
    /* A server gives up after a number of resends without progress, Windows after 5 (TcpMaxDataRetransmissions), Linux
       after 15. At this one progress is shown, so that there is another time if it is lost; on a path that has lost a
       piece, sooner. */
    RESENDS = 4,
    RESENDS_LOSSY = 3,
    TIMEOUTS_LEAST = 5,      /* so many resends every server sends */
    ANSWER_US = 100000,      /* so soon behind a piece it is not a timer, but the progress that makes a server resend */
    LAST_OCTETS = 2,         /* CRLF: no client goes on without it */
    CODE_OCTETS = 4,         /* with the hyphen or blank behind it */
    GROUP_MS_MAX = 240000,   /* of what a client waits for at once: RFC 5321 4.5.3.2 gives it five minutes */
    DATA_MS_MAX = 100000,    /* DATA: two (RFC 5321 4.5.3.2.4) */
    CONSENT_MS_MAX = 270000, /* STARTTLS: five, and what the server has taken for its reply counts */
};

size_t tarpit_bytes(const struct engine_settings *settings)
{
    return pool_bytes(sizeof(struct tarpit), settings->flows_max);
}

void tarpit_init(struct engine *engine, void *storage)
{
    pool_init(&engine->tarpits, storage, sizeof(struct tarpit), engine->settings.flows_max);
}

static struct tarpit *tarpit_at(const struct engine *engine, uint32_t id)
{
    return pool_at(&engine->tarpits, id);
}

static struct tarpit *tarpit_of(const struct engine *engine, const struct flow *flow)
{
    return flow->tarpit == POOL_NONE ? NULL : tarpit_at(engine, flow->tarpit);
}

bool tarpit_holds(const struct engine *engine, const struct flow *flow, enum smtp_side side)
{
    const struct tarpit *tarpit = tarpit_of(engine, flow);
    return tarpit && tarpit->state == TARPIT_HOLDS && tarpit->side == (uint8_t)side;
}

bool tarpit_is_over(const struct engine *engine, const struct flow *flow)
{
    const struct tarpit *tarpit = tarpit_of(engine, flow);
    return !tarpit || tarpit->state == TARPIT_IDLE;
}

bool tarpit_holds_consent(const struct engine *engine, const struct flow *flow)
{
    const struct tarpit *tarpit = tarpit_of(engine, flow);
    return tarpit && tarpit->state == TARPIT_HOLDS && tarpit->consents;
}

uint32_t tarpit_allowed(const struct engine *engine, const struct flow *flow)
{
    return tarpit_at(engine, flow->tarpit)->allowed;
}

int64_t tarpit_due_us(const struct engine *engine, const struct flow *flow)
{
    const struct tarpit *tarpit = tarpit_of(engine, flow);
    return tarpit && tarpit->state == TARPIT_HOLDS ? tarpit->due_us : INT64_MAX;
}

/* ---- by age ---- */

/* Those of the same client network. */
static struct list *list_of(const struct engine *engine, const struct tarpit *tarpit)
{
    return &engine->room.tarpits[flow_at(&engine->table, tarpit->flow)->network];
}

/* ---- telling ---- */

static const char *end_name(enum tarpit_end why)
{
    static const char *const names[] = {
        [TARPIT_END_TIME] = "time",         [TARPIT_END_HUNG_UP] = "hung-up",     [TARPIT_END_SHORTENED] = "shortened",
        [TARPIT_END_RELIEVED] = "relieved", [TARPIT_END_UNREAD] = "unread",       [TARPIT_END_RESET] = "reset",
        [TARPIT_END_STOPPED] = "stopped",   [TARPIT_END_FORGOTTEN] = "forgotten", [TARPIT_END_RECORDED] = "recorded",
    };
    return names[why];
}

static void tell_tarpit(struct engine *engine, struct flow *flow, const struct tarpit *tarpit, enum tarpit_end why)
{
    struct event *event = tell(engine, EVENT_TARPIT, flow);
    if (!event)
        return;
    event->from_server = tarpit->side == SMTP_SERVER;
    event->verb = (enum smtp_verb)tarpit->verb;
    event->exchange = tarpit->exchanges - 1;
    event->action = tarpit->rule;
    event->reason = end_name(why);
    event->delay_ms = tarpit->delay_ms;
    event->waited_ms = tarpit->waited_ms;
}

/* ---- beginning ---- */

uint32_t tarpit_imposed_ms(const struct engine *engine, const struct flow *flow, uint32_t exchange)
{
    const struct tarpit *tarpit = tarpit_of(engine, flow);
    bool this = tarpit && tarpit->state == TARPIT_HOLDS && tarpit->exchanges == exchange + 1;
    return this ? tarpit->delay_ms : 0;
}

uint32_t tarpit_delay_ms(const struct flow *flow, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action)
{
    bool begins = unit->role == SMTP_SERVER && unit->line_index == 0 &&
                  (unit->kind == SMTP_UNIT_REPLY || unit->kind == SMTP_UNIT_FRAGMENT);
    if (!begins || action.kind == SMTP_ACTION_RESET)
        return 0;
    uint8_t refusal = smtp_session_reply_refusal(&flow->smtp, context, unit);
    if (refusal == SMTP_REFUSAL_NONE)
        refusal = smtp_session_reply_consent(&flow->smtp, context, unit);
    uint32_t delay_ms = refusal == SMTP_REFUSAL_NONE ? 0 : context->refusals->texts[refusal].delay_ms;
    return delay_ms > action.delay_ms ? delay_ms : action.delay_ms;
}

/* So much of a delay that the client, which may wait for a whole group of replies at once, does not give up. */
static uint32_t bounded(struct tarpit *tarpit, const struct smtp_unit *unit, const struct tarpit_reply *reply,
                        uint32_t passed_ms)
{
    if (reply->exchange >= tarpit->group_end)
        tarpit->group_ms = 0;
    uint32_t left_ms = GROUP_MS_MAX - tarpit->group_ms, delay_ms = reply->delay_ms;
    uint32_t consent_ms = passed_ms < CONSENT_MS_MAX ? CONSENT_MS_MAX - passed_ms : 0;
    if (reply->consents && left_ms > consent_ms)
        left_ms = consent_ms;
    if (unit->verb == SMTP_VERB_DATA && left_ms > DATA_MS_MAX)
        left_ms = DATA_MS_MAX;
    return delay_ms < left_ms ? delay_ms : left_ms;
}

/* Clients do not expect a 354 in pieces (KB 912341), some not an EHLO reply (case 31). */
static bool stays_whole(const struct smtp_unit *unit)
{
    return (unit->has_reply && unit->reply.code == 354) || smtp_verb_is(unit->verb, SMTP_TRAIT_OFFERS);
}

static void settle_lesson(struct engine *engine, uint32_t index, struct tarpit *tarpit, bool hung_up)
{
    tarpit->state = TARPIT_IDLE;
    if (tarpit->about)
        inquiry_waited(engine, index, tarpit->about, tarpit->waited_ms, hung_up, tarpit->consents);
    tarpit->about = 0;
}

static void begin(struct engine *engine, uint32_t index, const struct smtp_unit *unit, const struct tarpit_reply *reply)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->tarpit == POOL_NONE) {
        flow->tarpit = pool_borrow(&engine->tarpits); /* there is one for each flow */
        *tarpit_at(engine, flow->tarpit) = (struct tarpit){.flow = index};
    }
    struct tarpit *tarpit = tarpit_at(engine, flow->tarpit);
    if (tarpit->state == TARPIT_LEFT)
        settle_lesson(engine, index, tarpit, false);
    uint32_t delay_ms = bounded(tarpit, unit, reply, inquiry_encrypts_ms(engine, flow));
    /* Who shares the lot of another recipient does not wait for it again. */
    bool shares = reply->shared || (flow->smtp.void_refusal && unit->verb == SMTP_VERB_RCPT);
    /* Nor does what an older process may have held: its server has been sending it again since, and gives up. */
    if (tarpit->state != TARPIT_IDLE || delay_ms == 0 || (shares && tarpit->shared_told) ||
        tarpit->exchanges == reply->exchange + 1 || reply->exchange < flow->undelayed)
        return;
    tarpit->exchanges = reply->exchange + 1;
    tarpit->shared_told = shares;
    tarpit->state = TARPIT_HOLDS;
    tarpit->side = (uint8_t)unit->side;
    tarpit->verb = (uint8_t)unit->verb;
    tarpit->rule = reply->rule;
    tarpit->delay_ms = delay_ms;
    tarpit->began_us = engine->now_us;
    tarpit->due_us = engine->now_us + (int64_t)delay_ms * 1000;
    tarpit->shown_us = 0;
    tarpit->from = tarpit->to = tarpit->allowed = tarpit->line = reply->from_egress;
    tarpit->resends = 0;
    tarpit->copy_us = engine->now_us;
    tarpit->probed = false;
    tarpit->lossy = false;
    tarpit->consents = reply->consents;
    tarpit->whole = stays_whole(unit);
    tarpit->continued = unit->has_reply && !unit->reply.last;
    tarpit->about = inquiry_about(engine, flow, unit->verb, reply->exchange);
    flow->smtp.greeting_waits = unit->verb == SMTP_VERB_CONNECT;
    list_append(list_of(engine, tarpit), &engine->tarpits, offsetof(struct tarpit, age), flow->tarpit);
    engine->tarpitted++;
    engine->counters.tarpits++;
    flow->changed = true;
}

/* What came then came then: that it would leave later is all there is to say. */
static void note_recorded(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                          const struct tarpit_reply *reply)
{
    struct tarpit tarpit = {.side = (uint8_t)unit->side,
                            .verb = (uint8_t)unit->verb,
                            .rule = reply->rule,
                            .delay_ms = reply->delay_ms,
                            .exchanges = reply->exchange + 1};
    tell_tarpit(engine, flow, &tarpit, TARPIT_END_RECORDED);
}

void tarpit_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                       const struct tarpit_reply *reply)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool delays = reply->delay_ms && !flow->smtp.opaque && !flow->reset && !engine->stopping;
    if (delays && engine->settings.peers == ENGINE_PEERS_RECORDED)
        note_recorded(engine, flow, unit, reply);
    else if (delays && !tarpit_holds(engine, flow, unit->side))
        begin(engine, index, unit, reply);
    struct tarpit *tarpit = tarpit_of(engine, flow);
    if (tarpit && unit->verb == SMTP_VERB_MAIL)
        tarpit->shared_told = false; /* another transaction */
    if (!tarpit || !tarpit_holds(engine, flow, unit->side))
        return;
    tarpit->to = flow->halves[unit->side].log.end_egress;
    flow->halves[unit->side].paused = unit->kind == SMTP_UNIT_REPLY && unit->reply.last;
}

/* ---- stuttering ---- */

/* Where the line begins of which `cut` is the end so far. */
static uint32_t line_at(const struct engine *engine, const struct half *half, const struct tarpit *tarpit, uint32_t cut)
{
    uint8_t part[256];
    uint32_t line = tarpit->line;
    for (uint32_t at = tarpit->allowed, len; seq_before(at, cut); at += len) {
        len = cut - at < sizeof part ? cut - at : (uint32_t)sizeof part;
        retain_read(&half->retained, &engine->pieces, at - half->log.anchor_egress, part, len);
        const uint8_t *feed = memrchr(part, '\n', len);
        if (feed)
            line = at + (uint32_t)(feed - part) + 1;
    }
    return line;
}

/* Not within the code of a line of several: a client that looks at a reply in pieces sees its beginning. */
static uint32_t cut_at(const struct engine *engine, const struct flow *flow, struct tarpit *tarpit, uint32_t cut,
                       uint32_t end)
{
    if (!tarpit->continued)
        return cut;
    tarpit->line = line_at(engine, &flow->halves[tarpit->side], tarpit, cut);
    if (cut == tarpit->line || cut - tarpit->line >= CODE_OCTETS)
        return cut;
    return end - tarpit->line >= CODE_OCTETS ? tarpit->line + CODE_OCTETS : tarpit->line;
}

/* What the time that has passed has earned. */
static uint32_t share(const struct engine *engine, const struct tarpit *tarpit)
{
    uint64_t passed_us = (uint64_t)(engine->now_us - tarpit->began_us);
    uint64_t delay_us = (uint64_t)(tarpit->due_us - tarpit->began_us);
    uint32_t spare = tarpit->to - tarpit->from > LAST_OCTETS ? tarpit->to - tarpit->from - LAST_OCTETS : 0;
    return tarpit->whole ? 0 : (uint32_t)(spare * passed_us / delay_us);
}

/*
 * Whether there are octets to spare for showing progress sooner than the server must see it: a reply that has run out
 * of them ends its tarpit. What is left of it must last when it is shown at half this pace.
 */
static bool spares(const struct engine *engine, const struct tarpit *tarpit)
{
    int64_t since_us = tarpit->shown_us ? tarpit->shown_us : tarpit->began_us;
    int64_t left = tarpit->to - tarpit->allowed;
    return 2 * (engine->now_us - since_us) * left >= tarpit->due_us - engine->now_us;
}

/*
 * Whether the server, which waits twice as long each time, will still send the reply again once it has left at the
 * deadline, without having seen progress: a copy that is lost then costs time, and not the connection.
 */
static bool outlasts(const struct engine *engine, const struct tarpit *tarpit)
{
    unsigned timeouts = tarpit->resends - tarpit->probed;
    int64_t passed = (1 << timeouts) - 1, all = (1 << TIMEOUTS_LEAST) - 1; /* of the first timeout: 1 + 2 + 4 ... */
    return tarpit->backs_off && timeouts < TIMEOUTS_LEAST &&
           tarpit->due_us <= tarpit->since_us + (engine->now_us - tarpit->since_us) * all / passed;
}

/* Whether the server must see progress now. */
static bool is_pressing(const struct engine *engine, const struct tarpit *tarpit)
{
    bool late =
        tarpit->resends >= RESENDS || (tarpit->lossy && tarpit->resends >= RESENDS_LOSSY && spares(engine, tarpit));
    return late && !outlasts(engine, tarpit);
}

/* How far the reply may leave now. */
static uint32_t allow(const struct engine *engine, const struct flow *flow, struct tarpit *tarpit)
{
    uint32_t len = tarpit->to - tarpit->from;
    bool first = tarpit->allowed == tarpit->from, pressing = is_pressing(engine, tarpit);
    if (tarpit->whole || len <= LAST_OCTETS + (first ? CODE_OCTETS - 1 : 0) || (first && !pressing))
        return tarpit->allowed;
    uint32_t end = tarpit->to - LAST_OCTETS;
    uint32_t cut = tarpit->from + share(engine, tarpit);
    if (first)
        cut = seq_max(cut, tarpit->from + CODE_OCTETS);
    else if (!seq_after(cut, tarpit->allowed) && pressing)
        cut = tarpit->allowed + 1;
    cut = seq_min(cut, end);
    return seq_after(cut, tarpit->allowed) ? seq_max(cut_at(engine, flow, tarpit, cut, end), tarpit->allowed)
                                           : tarpit->allowed;
}

/*
 * A copy that no progress has drawn. Each comes after twice the time of the one before, so one that comes after six
 * times had another one before it, which was lost. A probe for a lost tail (RFC 8985 7) comes before the first timeout
 * and by a time of its own; no server counts it with its timeouts.
 */
static void count_resend(const struct engine *engine, struct tarpit *tarpit)
{
    int64_t gap_us = engine->now_us - tarpit->copy_us, before_us = tarpit->gap_us;
    bool lost = tarpit->resends > 0 && gap_us > 5 * before_us;
    if (tarpit->resends == 0)
        tarpit->since_us = tarpit->copy_us;
    if (tarpit->resends == 1 && !lost && (4 * gap_us < 5 * before_us || 4 * gap_us > 10 * before_us)) {
        tarpit->probed = true;
        tarpit->since_us = tarpit->copy_us;
    }
    tarpit->backs_off = 2 * gap_us > 3 * before_us;
    tarpit->gap_us = lost ? 4 * before_us : gap_us;
    tarpit->resends = (uint8_t)(tarpit->resends + 1 + lost);
}

enum tarpit_turn tarpit_resent(struct engine *engine, uint32_t index, bool again, bool unread)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct tarpit *tarpit = tarpit_at(engine, flow->tarpit);
    if (again && engine->now_us - tarpit->shown_us > ANSWER_US)
        count_resend(engine, tarpit);
    tarpit->copy_us = engine->now_us;
    if (!again)
        return TARPIT_KEEP;
    tarpit->lossy = tarpit->lossy || unread;
    uint32_t allowed = allow(engine, flow, tarpit);
    if (allowed != tarpit->allowed) {
        tarpit->allowed = allowed;
        tarpit->resends = 0;
        tarpit->probed = false;
        tarpit->shown_us = engine->now_us;
        return TARPIT_STUTTER;
    }
    if (!is_pressing(engine, tarpit))
        return TARPIT_KEEP;
    return TARPIT_OVER; /* there is nothing to show any more */
}

/* ---- the end ---- */

/* It is over: what it keeps may leave. */
static void stop(struct engine *engine, uint32_t index, enum tarpit_end why)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct tarpit *tarpit = tarpit_at(engine, flow->tarpit);
    int64_t waited_us = engine->now_us - tarpit->began_us;
    tarpit->waited_ms = (uint32_t)(waited_us / 1000);
    tarpit->group_ms += tarpit->waited_ms;
    tarpit->group_ms = tarpit->group_ms < GROUP_MS_MAX ? tarpit->group_ms : GROUP_MS_MAX;
    tarpit->group_end = flow->smtp.answered + flow->smtp.ledger.count;
    tarpit->state = TARPIT_LEFT;
    if (tarpit->consents && why != TARPIT_END_TIME && why != TARPIT_END_HUNG_UP)
        tarpit->about = 0; /* neither patience nor the lack of it is shown */
    flow->halves[tarpit->side].paused = false;
    held_keep_no_more(engine, &flow->halves[tarpit->side]);
    list_remove(list_of(engine, tarpit), &engine->tarpits, offsetof(struct tarpit, age), flow->tarpit);
    engine->tarpitted--;
    flow->smtp.greeting_waits = false;
    struct engine_counters *counters = &engine->counters;
    counters->tarpit_ms += tarpit->waited_ms;
    counters->tarpit_hangups += why == TARPIT_END_HUNG_UP;
    counters->tarpit_hangup_ms += why == TARPIT_END_HUNG_UP ? tarpit->waited_ms : 0;
    counters->tarpits_shortened += why == TARPIT_END_SHORTENED;
    counters->tarpits_relieved += why == TARPIT_END_RELIEVED;
    tell_tarpit(engine, flow, tarpit, why);
}

void tarpit_reset_consent(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    stop(engine, index, TARPIT_END_RESET);
    flow->reset = tarpit_at(engine, flow->tarpit)->side == SMTP_SERVER ? FLOW_RESET_SERVER : FLOW_RESET_CLIENT;
    engine->counters.connections_reset++;
    held_drop_all(engine, flow);
    promise_note(flow);
}

void tarpit_end(struct engine *engine, uint32_t index, enum tarpit_end why)
{
    struct flow *flow = flow_at(&engine->table, index);
    flow_resume(flow, (enum smtp_side)tarpit_at(engine, flow->tarpit)->side);
    stop(engine, index, why);
}

void tarpit_hung_up(struct engine *engine, uint32_t index, enum smtp_side side)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (tarpit_holds(engine, flow, (enum smtp_side) !side))
        tarpit_end(engine, index, TARPIT_END_HUNG_UP);
    struct tarpit *tarpit = tarpit_of(engine, flow);
    if (tarpit && tarpit->state == TARPIT_LEFT && tarpit->side != (uint8_t)side)
        settle_lesson(engine, index, tarpit, true);
}

void tarpit_acknowledged(struct engine *engine, uint32_t index, enum smtp_side side)
{
    const struct flow *flow = flow_at(&engine->table, index);
    struct tarpit *tarpit = tarpit_of(engine, flow);
    if (tarpit && tarpit->state == TARPIT_LEFT && tarpit->side == (uint8_t)side &&
        !seq_before(flow->halves[side].log.anchor_egress, tarpit->to))
        settle_lesson(engine, index, tarpit, false);
}

uint32_t tarpit_oldest(const struct engine *engine, uint16_t network)
{
    uint32_t oldest = engine->room.tarpits[network].oldest;
    return oldest == POOL_NONE ? POOL_NONE : tarpit_at(engine, oldest)->flow;
}

void tarpit_forget(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->tarpit == POOL_NONE)
        return;
    struct tarpit *tarpit = tarpit_at(engine, flow->tarpit);
    if (tarpit->state == TARPIT_HOLDS)
        stop(engine, index, TARPIT_END_FORGOTTEN);
    if (tarpit->state == TARPIT_LEFT)
        settle_lesson(engine, index, tarpit, true);
    pool_return(&engine->tarpits, flow->tarpit);
    flow->tarpit = POOL_NONE;
}
