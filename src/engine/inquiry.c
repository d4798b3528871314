#include "engine/inquiry.h"

#include "engine/client.h"
#include "engine/room.h"
#include "engine/tell.h"
#include "smtp/path.h"
#include "smtp/treatment.h"

enum { QUESTIONS_MAX = 1024 }; /* that nobody has fetched yet */

/* Whether a line waits for an answer. */
enum inquiry_state {
    INQUIRY_IDLE,
    INQUIRY_WAITS,
    INQUIRY_ANSWERED, /* the line is about to be decided */
};

/* What a client said of itself, or of its mail. */
struct question_said {
    uint32_t exchange; /* in which; of the sender, that of MAIL */
    uint32_t size;     /* of the sender: octets of the mail as MAIL announces it; 0: it does not */
    uint16_t len;
    bool known;
    bool unread; /* an address that cannot be read in one way, as it was written */
    uint8_t text[QUESTION_TEXT_BYTES_MAX];
};

/* What a connection asks, and what must be known of it to ask. */
struct inquiry {
    uint32_t next; /* in its bucket */
    uint32_t flow;
    uint32_t number;           /* of the exchange that the question is about */
    uint16_t sender_code;      /* the last reply to a MAIL */
    uint8_t state;             /* enum inquiry_state */
    uint8_t side;              /* enum smtp_side that sent the line */
    bool release;              /* it must leave though its end has not come */
    bool for_name;             /* what waits does so for the client's name: it is decided like any other then */
    bool told;                 /* of this connection something was asked */
    bool open;                 /* a recipient of the transaction was asked about, and nothing has come of it yet */
    struct finding finding;    /* once ANSWERED */
    struct smtp_action action; /* that depends on it */
    int64_t encrypts_us;       /* when it last said STARTTLS to the server; 0: it did not */
    uint64_t asked;            /* exchanges that questions were about and that are not over: bits 1 << number % 64 */
    struct question_said helo, sender; /* accepted, or the first that may be; of the name its beginning */
    struct question_said proposed;     /* said in the place of one of them: its reply says whether it counts */
    bool proposed_is_helo;
};

struct question_entry {
    struct question question;
    uint8_t text[3 * QUESTION_TEXT_BYTES_MAX];
};

static const struct finding unanswered = {.answer = ANSWER_FAILED}, busy = {.answer = ANSWER_DEFER, .reason = "busy"};

/* Of a question's id: behind the connection's. */
enum { NUMBER_BITS = 20 };

size_t inquiry_bytes(const struct engine_settings *settings)
{
    return settings->questions ? pool_bytes(sizeof(struct inquiry), settings->flows_max) : 0;
}

size_t inquiry_buckets_bytes(const struct engine_settings *settings)
{
    return settings->questions ? flow_table_buckets_bytes(settings->flows_max) : 0;
}

size_t inquiry_questions_bytes(const struct engine_settings *settings)
{
    return settings->questions ? QUESTIONS_MAX * sizeof(struct question_entry) : 0;
}

void inquiry_init(struct engine *engine, void *storage, void *buckets, void *questions)
{
    const struct engine_settings *settings = &engine->settings;
    if (!settings->questions)
        return;
    pool_init(&engine->inquiries, storage, sizeof(struct inquiry), settings->flows_max);
    engine->inquiry_buckets = buckets;
    engine->inquiry_mask = (uint32_t)(inquiry_buckets_bytes(settings) / sizeof(uint32_t)) - 1;
    engine->questions = questions;
}

static struct inquiry *inquiry_at(const struct engine *engine, uint32_t id)
{
    return pool_at(&engine->inquiries, id);
}

static bool wanted(const struct engine *engine, enum question_kind kind)
{
    return engine->settings.questions >> kind & 1;
}

static uint64_t id_of(const struct flow *flow, uint32_t number)
{
    return (flow->id << NUMBER_BITS) + number; /* the later exchange, the higher, whatever their number */
}

/* ---- what is known of a connection that asks ---- */

static uint32_t *bucket_of(const struct engine *engine, uint64_t flow_id)
{
    return &engine->inquiry_buckets[flow_id & engine->inquiry_mask];
}

static struct inquiry *inquiry_of(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->inquiry != POOL_NONE)
        return inquiry_at(engine, flow->inquiry);
    flow->inquiry = pool_borrow(&engine->inquiries); /* there is one for each flow */
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    uint32_t *bucket = bucket_of(engine, flow->id);
    *inquiry = (struct inquiry){.flow = index, .next = *bucket};
    *bucket = flow->inquiry;
    return inquiry;
}

static struct inquiry *find(const struct engine *engine, uint64_t flow_id)
{
    uint32_t id = engine->inquiry_mask ? *bucket_of(engine, flow_id) : POOL_NONE;
    while (id != POOL_NONE && flow_at(&engine->table, inquiry_at(engine, id)->flow)->id != flow_id)
        id = inquiry_at(engine, id)->next;
    return id == POOL_NONE ? NULL : inquiry_at(engine, id);
}

static void forget(struct engine *engine, struct flow *flow)
{
    uint32_t *place = bucket_of(engine, flow->id);
    while (*place != flow->inquiry)
        place = &inquiry_at(engine, *place)->next;
    *place = inquiry_at(engine, flow->inquiry)->next;
    pool_return(&engine->inquiries, flow->inquiry);
    flow->inquiry = POOL_NONE;
}

static bool is_outbound(const struct flow *flow)
{
    return flow->facts.direction == POLICY_OUTBOUND;
}

/* ---- out ---- */

static struct span text_of(const struct question_said *said)
{
    return (struct span){said->text, said->len};
}

/* Of an address that is longer than a path may be its end: whose domain it is must not depend on what stands before. */
static struct span end_of_address(struct span address)
{
    return span_tail(address, address.len > QUESTION_TEXT_BYTES_MAX ? address.len - QUESTION_TEXT_BYTES_MAX : 0);
}

static struct span keep(struct question_entry *entry, size_t *used, struct span text)
{
    uint8_t *copy = entry->text + *used;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    *used += text.len;
    return (struct span){copy, text.len};
}

/* One more question or lesson to be filled in, NULL where there is no room. */
static struct question *add(struct engine *engine, uint32_t index, enum question_kind kind, struct span recipient)
{
    if (engine->question_count == QUESTIONS_MAX) {
        engine->counters.questions_lost++;
        return NULL;
    }
    const struct flow *flow = flow_at(&engine->table, index);
    struct inquiry *inquiry = inquiry_of(engine, index);
    inquiry->told = true;
    struct question_entry *entry =
        &engine->questions[(engine->question_first + engine->question_count++) % QUESTIONS_MAX];
    struct question *question = &entry->question;
    size_t used = 0;
    struct event_client client = client_of(engine, flow);
    *question = (struct question){.kind = kind, .flow_id = flow->id, .ip_version = client.ip_version};
    memcpy(question->client, client.end.address, sizeof question->client);
    if (client.ip_version == flow->ip_version)
        memcpy(question->server, flow->ends[SMTP_SERVER].address, sizeof question->server);
    question->early_talker = flow->smtp.early_told;
    question->outbound = is_outbound(flow);
    question->helo = keep(entry, &used, text_of(&inquiry->helo));
    uint8_t room[ADDRESS_BYTES_MAX];
    address_to_ascii *to_ascii = policy_of(engine, flow)->domain_to_ascii;
    struct span sender = address_compared(to_ascii, text_of(&inquiry->sender), room);
    question->sender = keep(entry, &used, end_of_address(sender));
    question->recipient = keep(entry, &used, end_of_address(address_compared(to_ascii, recipient, room)));
    return question;
}

bool inquiry_next(struct engine *engine, struct question *question)
{
    if (engine->question_count == 0)
        return false;
    *question = engine->questions[engine->question_first].question;
    engine->question_first = (engine->question_first + 1) % QUESTIONS_MAX;
    engine->question_count--;
    return true;
}

static void teach(struct engine *engine, uint32_t index, enum question_kind kind, uint64_t about, uint16_t code)
{
    if (!wanted(engine, kind))
        return;
    struct question *lesson = add(engine, index, kind, (struct span){0});
    if (!lesson)
        return;
    lesson->about = about;
    lesson->code = code;
}

/* ---- asking ---- */

/* The number of a rule by its name, which is one text in the policy. */
static uint16_t rule_number(const struct policy *policy, const char *name)
{
    uint32_t number = 0;
    while (number < policy->rule_count && policy->rules[number].name != name)
        number++;
    return (uint16_t)number;
}

/* Whether nothing is asked but what a mail contained that was cut: nothing becomes of the unit without that. */
static bool is_content_only(const struct smtp_action *action)
{
    return action->kind == SMTP_ACTION_PASS;
}

/* `rule`: the name of the one that asks; NULL: none. */
static bool ask(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t number, const char *rule)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    bool recipient = unit->command.verb == SMTP_VERB_RCPT;
    enum question_kind kind = recipient ? QUESTION_RECIPIENT : QUESTION_TLS;
    const struct flow *flow = flow_at(&engine->table, index);
    if (!wanted(engine, kind) || engine->stopping || engine->room.asking == ENGINE_QUESTIONS_MAX ||
        number >> NUMBER_BITS != 0 || flow->smtp.lines[unit->side].is_long ||
        (recipient && !inquiry_of(engine, index)->sender.known))
        return false;
    struct question *question =
        add(engine, index, kind,
            recipient ? smtp_path_address(unit->command.argument, plain, sizeof plain) : (struct span){0});
    if (!question)
        return false;
    question->id = id_of(flow, number);
    const struct policy *policy = policy_of(engine, flow);
    uint16_t asks = rule_number(policy, rule);
    question->line = (struct question_line){
        .rule = asks,
        .verb = (uint8_t)unit->command.verb,
        .variant = asks < policy->rule_count ? policy->rules[asks].variant : 0,
    };
    if (recipient) {
        const struct question_said *sender = &inquiry_of(engine, index)->sender;
        question->transaction = sender->exchange;
        question->size = sender->size;
        question->content = flow->facts.content_counts;
        question->content_only = !rule;
        question->unread = sender->unread || !smtp_path_parse(unit->command.argument).good ||
                           question->sender.len == QUESTION_TEXT_BYTES_MAX ||
                           question->recipient.len == QUESTION_TEXT_BYTES_MAX;
    }
    engine->counters.questions++;
    return true;
}

/* What the answer makes of an action that depends on it. */
static struct smtp_action settled(const struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                                  enum answer answer, struct smtp_action action)
{
    bool defer = answer_defers(answer) || (answer == ANSWER_FAILED && policy_of(engine, flow)->defers_without_store);
    if (!defer || is_content_only(&action))
        return (struct smtp_action){.kind = SMTP_ACTION_PASS};
    action.ask = false;
    if (answer != ANSWER_DEFER && smtp_verb_is(unit->command.verb, SMTP_TRAIT_ENCRYPTS)) {
        /* Who would pass once he has waited does not now; what he would have encrypted is not to come in clear. */
        if (action.kind == SMTP_ACTION_WAIT)
            action.kind = SMTP_ACTION_RESET;
        return action;
    }
    if (answer == ANSWER_DENY) {
        /* A transaction that it voided would be tried again for ever, and the others with it. */
        action.kind = SMTP_ACTION_REFUSE;
        return action;
    }
    const struct inquiry *inquiry = flow->inquiry == POOL_NONE ? NULL : inquiry_at(engine, flow->inquiry);
    bool null_sender = inquiry && inquiry->sender.known && inquiry->sender.len == 0;
    /* Who calls back to verify a sender stops before DATA. */
    if (unit->command.verb == SMTP_VERB_RCPT && unit->kind == SMTP_UNIT_COMMAND && null_sender)
        action.kind = SMTP_ACTION_VOID_LATE;
    return action;
}

/* Tell what became of a line about which `rule` asked, or should have. RCPT without MAIL is the server's to refuse. */
static void tell_settled(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                         const struct finding *finding, const struct smtp_action *action, const char *rule)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    const struct inquiry *inquiry = flow->inquiry == POOL_NONE ? NULL : inquiry_at(engine, flow->inquiry);
    bool recipient = unit->command.verb == SMTP_VERB_RCPT;
    if (!rule)
        return;
    struct event *event = recipient && (!inquiry || !inquiry->sender.known) ? NULL : tell(engine, EVENT_GREYLIST, flow);
    if (!event)
        return;
    bool passes = action->kind == SMTP_ACTION_PASS, waits = action->kind == SMTP_ACTION_WAIT;
    event->from_server = unit->side == SMTP_SERVER;
    event->verb = unit->command.verb;
    event->exchange = flow->smtp.answered + flow->smtp.ledger.count;
    event->action = passes ? "pass" : waits ? "wait" : "defer";
    event->reason = finding->reason ? finding->reason : "no-answer";
    event->passes_from_us = passes ? 0 : finding->passes_from_us;
    event->first_seen_us = finding->first_seen_us;
    event->attempt = finding->attempts;
    event->rule = span_of(rule);
    if (recipient)
        event->text = tell_keep(engine, smtp_path_address(unit->command.argument, plain, sizeof plain));
    else if (inquiry)
        event->text = tell_keep(engine, text_of(&inquiry->helo));
    if (recipient)
        event->shown = tell_keep(engine, text_of(&inquiry->sender));
}

/* Whether the server has refused the last MAIL and begun no other transaction: it refuses the recipient, too. */
static bool lacks_sender(const struct engine *engine, const struct flow *flow)
{
    return flow->inquiry != POOL_NONE && inquiry_at(engine, flow->inquiry)->sender_code >= 400 &&
           !inquiry_at(engine, flow->inquiry)->sender.known;
}

/* Of so many that are not answered yet it can be told which were asked about. */
static void note_asked(struct inquiry *inquiry, const struct flow *flow, uint32_t number)
{
    uint64_t bit = UINT64_C(1) << number % 64;
    inquiry->number = number;
    inquiry->asked = flow->smtp.ledger.count < 64 ? inquiry->asked | bit : inquiry->asked & ~bit;
}

void inquiry_observe(struct engine *engine, uint32_t index, const struct smtp_unit *unit, const char *rule)
{
    const struct flow *flow = flow_at(&engine->table, index);
    uint32_t number = flow->smtp.answered + flow->smtp.ledger.count;
    if (unit->command.verb == SMTP_VERB_RCPT && lacks_sender(engine, flow))
        return;
    if (ask(engine, index, unit, number, rule))
        note_asked(inquiry_of(engine, index), flow, number);
    else
        engine->counters.questions_unanswered++;
}

bool inquiry_waits(struct engine *engine, uint32_t index, const struct smtp_unit *unit, bool release,
                   struct smtp_action *action)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (unit->command.verb == SMTP_VERB_RCPT && lacks_sender(engine, flow)) {
        *action = (struct smtp_action){.kind = SMTP_ACTION_PASS};
        return false;
    }
    if (flow->smtp.void_refusal && flow->smtp.void_held && unit->command.verb == SMTP_VERB_RCPT) {
        /* It shares the lot of the one that voided the transaction. Until the server has taken that one, it may yet be
           the first whom the client has to try again for: that attempt is to count. */
        *action = (struct smtp_action){.kind = SMTP_ACTION_PASS};
        return false;
    }
    uint32_t number = flow->smtp.answered + flow->smtp.ledger.count;
    if (is_content_only(action))
        action->reason = NULL;
    if (flow->inquiry != POOL_NONE && number > 0 && inquiry_at(engine, flow->inquiry)->number == number) {
        /* Of the beginning of this line it was asked before. */
        *action = settled(engine, flow, unit, inquiry_at(engine, flow->inquiry)->finding.answer, *action);
        return false;
    }
    if (!room_allows(engine, ROOM_QUESTIONS, 1)) {
        /* A client that asks more than can be answered is told to come again: it must not pass unasked for that. */
        const char *rule = action->reason;
        engine->counters.shares_used_up++;
        *action = settled(engine, flow, unit, busy.answer, *action);
        tell_settled(engine, flow, unit, &busy, action, rule);
        return false;
    }
    if (!ask(engine, index, unit, number, action->reason)) {
        const char *rule = action->reason;
        engine->counters.questions_unanswered++;
        *action = settled(engine, flow, unit, ANSWER_FAILED, *action);
        tell_settled(engine, flow, unit, &unanswered, action, rule);
        return false;
    }
    struct inquiry *inquiry = inquiry_of(engine, index);
    inquiry->state = INQUIRY_WAITS;
    engine->room.asking++;
    note_asked(inquiry, flow, number);
    inquiry->side = (uint8_t)unit->side;
    inquiry->release = release;
    inquiry->action = *action;
    flow->halves[unit->side].paused = true;
    return true;
}

bool inquiry_waits_for_name(struct engine *engine, uint32_t index, const struct smtp_unit *unit)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool concerns = unit->command.verb == SMTP_VERB_RCPT || smtp_verb_is(unit->command.verb, SMTP_TRAIT_ENCRYPTS);
    if (unit->kind != SMTP_UNIT_COMMAND || !concerns || flow->smtp.lines[unit->side].is_long ||
        policy_of(engine, flow)->dry_run || engine->settings.questions == 0 || engine->stopping ||
        engine->room.asking == ENGINE_QUESTIONS_MAX || !room_allows(engine, ROOM_QUESTIONS, 1))
        return false;
    struct inquiry *inquiry = inquiry_of(engine, index);
    inquiry->state = INQUIRY_WAITS;
    inquiry->for_name = true;
    inquiry->release = false;
    inquiry->side = (uint8_t)unit->side;
    engine->room.asking++;
    flow->halves[unit->side].paused = true;
    return true;
}

bool inquiry_pends(const struct engine *engine, const struct flow *flow, enum smtp_side side)
{
    if (flow->inquiry == POOL_NONE)
        return false;
    const struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    return inquiry->state == INQUIRY_WAITS && inquiry->side == (uint8_t)side;
}

/* ---- answers ---- */

static void answer(struct engine *engine, struct flow *flow, struct finding finding)
{
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    engine->room.asking -= inquiry->state == INQUIRY_WAITS;
    inquiry->state = INQUIRY_ANSWERED;
    inquiry->finding = finding;
    flow->halves[inquiry->side].paused = false;
}

bool inquiry_name_known(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    const struct inquiry *inquiry = flow->inquiry == POOL_NONE ? NULL : inquiry_at(engine, flow->inquiry);
    if (!inquiry || inquiry->state != INQUIRY_WAITS || !inquiry->for_name)
        return false;
    room_turn_to(engine, index);
    flow_resume(flow, (enum smtp_side)inquiry->side);
    answer(engine, flow, unanswered);
    return true;
}

void inquiry_give_up(struct engine *engine, struct flow *flow)
{
    flow->name_pending = false;
    engine->counters.questions_unanswered++;
    answer(engine, flow, unanswered);
}

bool inquiry_releases(const struct engine *engine, const struct flow *flow)
{
    return flow->inquiry != POOL_NONE && inquiry_at(engine, flow->inquiry)->state == INQUIRY_ANSWERED &&
           inquiry_at(engine, flow->inquiry)->release;
}

/* The rule that refuses what was asked about, for what the same mail contained before; NULL: none does. */
static const struct rule *refused_by(const struct engine *engine, const struct flow *flow,
                                     const struct finding *finding)
{
    return finding->refused ? policy_content_rule(policy_of(engine, flow), &flow->facts, finding->refused_by) : NULL;
}

bool inquiry_take(struct engine *engine, uint32_t index, const struct smtp_unit *unit, struct smtp_action *action,
                  const struct rule **refuses)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    if (inquiry->state != INQUIRY_ANSWERED || inquiry->side != (uint8_t)unit->side)
        return false;
    inquiry->state = INQUIRY_IDLE;
    bool for_name = inquiry->for_name;
    inquiry->for_name = false;
    if (unit->kind == SMTP_UNIT_OPAQUE || for_name)
        return false; /* it is read no more, or decided now */
    *refuses = refused_by(engine, flow, &inquiry->finding);
    if (*refuses) {
        *action = (*refuses)->action;
        inquiry->asked &= ~(UINT64_C(1) << inquiry->number % 64);
        teach(engine, index, LESSON_RECIPIENT, id_of(flow, inquiry->number), 550); /* nothing comes of it */
        return true;
    }
    if (inquiry->finding.answer == ANSWER_BRING)
        smtp_void_relent(&flow->smtp, &engine->blocks, inquiry->asked);
    else if (inquiry->finding.answer == ANSWER_DENY)
        inquiry->asked &= ~(UINT64_C(1) << inquiry->number % 64); /* nothing can come of it */
    *action = settled(engine, flow, unit, inquiry->finding.answer, inquiry->action);
    tell_settled(engine, flow, unit, &inquiry->finding, action, inquiry->action.reason);
    return true;
}

/* What would have become of a line that a dry run let go. */
static void tell_observed(struct engine *engine, struct flow *flow, uint32_t number, const struct finding *finding)
{
    const struct policy *policy = policy_of(engine, flow);
    struct event *event = tell(engine, EVENT_GREYLIST, flow);
    if (!event)
        return;
    bool lost = finding->answer == ANSWER_FAILED;
    bool defer = answer_defers(finding->answer) || (lost && policy->defers_without_store);
    const struct rule *rule = finding->line.rule < policy->rule_count ? &policy->rules[finding->line.rule] : NULL;
    bool waits = rule && rule->action.kind == SMTP_ACTION_WAIT && finding->answer == ANSWER_DEFER;
    event->dry_run = true;
    event->verb = (enum smtp_verb)finding->line.verb;
    event->exchange = number;
    event->action = waits ? "wait" : defer ? "defer" : "pass";
    event->reason = finding->reason ? finding->reason : "no-answer";
    event->passes_from_us = defer ? finding->passes_from_us : 0;
    event->first_seen_us = finding->first_seen_us;
    event->attempt = finding->attempts;
    if (rule)
        event->rule = span_of(rule->name);
    if (event->verb == SMTP_VERB_RCPT) {
        event->text = tell_keep(engine, finding->recipient);
        event->shown = tell_keep(engine, finding->sender);
    } else {
        event->text = tell_keep(engine, finding->helo);
    }
}

uint32_t inquiry_answer(struct engine *engine, uint64_t id, const struct finding *finding)
{
    const struct inquiry *inquiry = find(engine, id >> NUMBER_BITS);
    if (!inquiry)
        return POOL_NONE;
    uint32_t index = inquiry->flow;
    struct flow *flow = flow_at(&engine->table, index);
    uint32_t number = (uint32_t)(id & ((1u << NUMBER_BITS) - 1));
    if (number == 0)
        flow->facts.known = finding->answer == ANSWER_PASS;
    else if (policy_of(engine, flow)->dry_run)
        tell_observed(engine, flow, number, finding);
    if (number == 0 || inquiry->state != INQUIRY_WAITS || inquiry->for_name || inquiry->number != number)
        return POOL_NONE;
    room_turn_to(engine, index);
    flow_resume(flow, (enum smtp_side)inquiry->side);
    answer(engine, flow, *finding);
    return index;
}

void inquiry_client(struct engine *engine, uint32_t index)
{
    if (!wanted(engine, QUESTION_CLIENT))
        return;
    struct question *question = add(engine, index, QUESTION_CLIENT, (struct span){0});
    if (!question)
        return;
    question->id = id_of(flow_at(&engine->table, index), 0); /* exchange 0 is the greeting */
    engine->counters.questions++;
}

/* ---- lessons ---- */

static void note_addressed(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    struct question *lesson =
        add(engine, index, LESSON_ADDRESSED, smtp_path_address(unit->command.argument, plain, sizeof plain));
    if (lesson)
        lesson->about = id_of(flow_at(&engine->table, index), exchange);
}

/*
 * A client says something in the place of what it said before: it counts at once where that counts no more, else once
 * the server has accepted it.
 */
static void note_said(struct inquiry *inquiry, struct question_said *place, bool replaces, uint32_t exchange,
                      struct span text, bool unread, uint32_t size)
{
    struct question_said *said = place->known && !replaces ? &inquiry->proposed : place;
    if (said == &inquiry->proposed)
        inquiry->proposed_is_helo = place == &inquiry->helo;
    said->known = true;
    said->unread = unread;
    said->size = size;
    said->exchange = exchange;
    said->len = (uint16_t)text.len;
    if (text.len)
        memcpy(said->text, text.ptr, text.len);
}

void inquiry_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                          bool refused)
{
    if (engine->settings.questions == 0 || unit->kind != SMTP_UNIT_COMMAND)
        return;
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    enum smtp_verb verb = unit->command.verb;
    const struct flow *flow = flow_at(&engine->table, index);
    if (verb == SMTP_VERB_MAIL && refused) {
        inquiry_of(engine, index)->sender.known &= flow->smtp.mail_open;
    } else if (verb == SMTP_VERB_MAIL) {
        struct inquiry *inquiry = inquiry_of(engine, index);
        struct span address = smtp_path_address(unit->command.argument, plain, sizeof plain);
        bool unread = !smtp_path_parse(unit->command.argument).good || address.len > QUESTION_TEXT_BYTES_MAX;
        uint64_t size = smtp_announced_size(unit->command.argument);
        note_said(inquiry, &inquiry->sender, !flow->smtp.mail_nested, exchange, end_of_address(address), unread,
                  size < UINT32_MAX ? (uint32_t)size : UINT32_MAX);
    } else if (smtp_verb_is(verb, SMTP_TRAIT_HELLO) && !refused) {
        struct inquiry *inquiry = inquiry_of(engine, index);
        note_said(inquiry, &inquiry->helo, false, exchange, span_head(unit->command.argument, QUESTION_HELO_BYTES_MAX),
                  false, 0);
    } else if (verb == SMTP_VERB_RCPT && !refused && is_outbound(flow) && wanted(engine, LESSON_ADDRESSED)) {
        note_addressed(engine, index, unit, exchange);
    } else if (smtp_verb_is(verb, SMTP_TRAIT_ENCRYPTS) && !refused) {
        inquiry_of(engine, index)->encrypts_us = engine->now_us;
    }
}

/* The server has answered what a client said. */
static void settle_said(struct inquiry *inquiry, uint32_t exchange, bool accepted)
{
    struct question_said *proposed = &inquiry->proposed;
    struct question_said *places[] = {&inquiry->helo, &inquiry->sender};
    if (proposed->known && proposed->exchange == exchange) {
        if (accepted)
            *places[!inquiry->proposed_is_helo] = *proposed;
        proposed->known = false;
        return;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0] && !accepted; i++)
        if (places[i]->known && places[i]->exchange == exchange)
            *places[i] = (struct question_said){0};
}

uint64_t inquiry_about(const struct engine *engine, const struct flow *flow, enum smtp_verb verb, uint32_t exchange)
{
    if (flow->inquiry == POOL_NONE)
        return 0;
    const struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    if (inquiry->asked >> exchange % 64 & 1)
        return id_of(flow, exchange);
    /* DATA is put off in the place of the last RCPT that was asked about. */
    bool message = verb == SMTP_VERB_RSET || verb == SMTP_VERB_BDAT;
    return message && flow->smtp.void_late ? id_of(flow, inquiry->number) : 0;
}

uint32_t inquiry_encrypts_ms(const struct engine *engine, const struct flow *flow)
{
    const struct inquiry *inquiry = flow->inquiry == POOL_NONE ? NULL : inquiry_at(engine, flow->inquiry);
    int64_t passed_ms = inquiry && inquiry->encrypts_us ? (engine->now_us - inquiry->encrypts_us) / 1000 : 0;
    return passed_ms < UINT32_MAX ? (uint32_t)passed_ms : UINT32_MAX;
}

void inquiry_waited(struct engine *engine, uint32_t index, uint64_t about, uint32_t waited_ms, bool hung_up,
                    bool consents)
{
    if (!wanted(engine, LESSON_WAITED) || flow_at(&engine->table, index)->inquiry == POOL_NONE)
        return;
    struct question *lesson = add(engine, index, LESSON_WAITED, (struct span){0});
    if (!lesson)
        return;
    lesson->about = about;
    lesson->waited_ms = waited_ms;
    lesson->hung_up = hung_up;
    lesson->consents = consents;
}

void inquiry_note_content(struct engine *engine, uint32_t index, const struct rule *rule)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (!flow->facts.content_counts || flow->inquiry == POOL_NONE || !wanted(engine, LESSON_CONTENT) ||
        !inquiry_at(engine, flow->inquiry)->sender.known)
        return;
    struct question *lesson = add(engine, index, LESSON_CONTENT, (struct span){0});
    if (!lesson)
        return;
    lesson->transaction = inquiry_at(engine, flow->inquiry)->sender.exchange;
    lesson->refused_by = policy_rule_tag(rule->name);
}

/* What the server means by its reply to a recipient: behind a sender that it refused, RCPT is out of place. */
static uint16_t recipient_code(const struct inquiry *inquiry, uint16_t code)
{
    enum { BAD_SEQUENCE = 503 };
    return code == BAD_SEQUENCE && inquiry->sender_code >= 400 ? inquiry->sender_code : code;
}

void inquiry_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                        bool spoiled)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (flow->inquiry == POOL_NONE)
        return;
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    uint16_t code = unit->reply.code;
    bool success = code / 100 == 2;
    bool asked = inquiry->asked >> exchange % 64 & 1;
    inquiry->asked &= ~(UINT64_C(1) << exchange % 64);
    if (unit->verb == SMTP_VERB_MAIL)
        inquiry->sender_code = code;
    if (unit->verb == SMTP_VERB_MAIL || smtp_verb_is(unit->verb, SMTP_TRAIT_HELLO))
        settle_said(inquiry, exchange, code < 400);
    switch (unit->verb) {
    case SMTP_VERB_RCPT:
        if (spoiled)
            break; /* the server has not heard of the recipient */
        /* Whose mail may be cut was asked about, though that may be noted no more: see note_asked. */
        if (asked || (!success && flow->facts.content_counts))
            teach(engine, index, LESSON_RECIPIENT, id_of(flow, exchange), recipient_code(inquiry, code));
        inquiry->open = inquiry->open || asked;
        inquiry->open = inquiry->open || (success && is_outbound(flow) && wanted(engine, LESSON_ADDRESSED));
        break;
    case SMTP_VERB_END_OF_DATA:
    case SMTP_VERB_BDAT_LAST:
        if (inquiry->open)
            teach(engine, index, LESSON_MESSAGE, id_of(flow, exchange), code);
        inquiry->open = false;
        break;
    case SMTP_VERB_MAIL:
    case SMTP_VERB_RSET:
    case SMTP_VERB_EHLO:
    case SMTP_VERB_HELO:
    case SMTP_VERB_LHLO:
        if (success && inquiry->open)
            teach(engine, index, LESSON_RESET, id_of(flow, exchange), code);
        inquiry->open = inquiry->open && !success;
        break;
    default:
        break;
    }
}

void inquiry_save(const struct engine *engine, const struct flow *flow, struct inquiry_saved *saved)
{
    *saved = (struct inquiry_saved){0};
    if (flow->inquiry == POOL_NONE)
        return;
    const struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    saved->transaction = inquiry->sender.exchange;
    saved->size = inquiry->sender.size;
    saved->sender_code = inquiry->sender_code;
    saved->sender_known = inquiry->sender.known;
    saved->sender_unread = inquiry->sender.unread;
    saved->sender_len = inquiry->sender.len;
    saved->helo_len = (uint8_t)inquiry->helo.len;
    memcpy(saved->helo, inquiry->helo.text, inquiry->helo.len);
    memcpy(saved->sender, inquiry->sender.text, inquiry->sender.len);
}

bool inquiry_restore(struct engine *engine, uint32_t index, const struct inquiry_saved *saved)
{
    if (saved->helo_len > sizeof saved->helo || saved->sender_len > sizeof saved->sender)
        return false;
    if (engine->settings.questions == 0)
        return true;
    struct inquiry *inquiry = inquiry_of(engine, index);
    inquiry->sender_code = saved->sender_code;
    inquiry->sender.exchange = saved->transaction;
    inquiry->sender.size = saved->size;
    inquiry->sender.known = saved->sender_known;
    inquiry->sender.unread = saved->sender_unread;
    inquiry->sender.len = saved->sender_len;
    inquiry->helo.known = saved->helo_len > 0;
    inquiry->helo.len = saved->helo_len;
    memcpy(inquiry->helo.text, saved->helo, saved->helo_len);
    memcpy(inquiry->sender.text, saved->sender, saved->sender_len);
    return true;
}

void inquiry_end(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->inquiry == POOL_NONE)
        return;
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    if (inquiry->state == INQUIRY_WAITS)
        inquiry_give_up(engine, flow);
    if (inquiry->told)
        teach(engine, index, LESSON_END, 0, 0);
    forget(engine, flow);
}
