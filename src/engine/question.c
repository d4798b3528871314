#include "engine/state.h"
#include "smtp/path.h"

static const struct finding unanswered = {.answer = ANSWER_FAILED};

/* Of a question's id: behind the connection's. */
enum { NUMBER_BITS = 20 };

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

static struct span keep(struct question_entry *entry, size_t *used, struct span text)
{
    text = span_head(text, QUESTION_TEXT_BYTES_MAX);
    uint8_t *copy = entry->text + *used;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    *used += text.len;
    return (struct span){copy, text.len};
}

/* One more question or lesson to be filled in, NULL where there is no room. */
static struct question *add(struct engine *engine, uint32_t index, enum question_kind kind, struct span recipient)
{
    if (engine->question_count == EVENTS_MAX) {
        engine->counters.questions_lost++;
        return NULL;
    }
    const struct flow *flow = flow_at(&engine->table, index);
    struct inquiry *inquiry = inquiry_of(engine, index);
    inquiry->told = true;
    struct question_entry *entry = &engine->questions[(engine->question_first + engine->question_count++) % EVENTS_MAX];
    struct question *question = &entry->question;
    size_t used = 0;
    *question = (struct question){.kind = kind, .flow_id = flow->id, .ip_version = flow->ip_version};
    memcpy(question->client, flow->ends[SMTP_CLIENT].address, sizeof question->client);
    memcpy(question->server, flow->ends[SMTP_SERVER].address, sizeof question->server);
    question->early_talker = flow->smtp.early_told;
    question->outbound = is_outbound(flow);
    question->helo = keep(entry, &used, (struct span){inquiry->helo, inquiry->helo_len});
    question->sender = keep(entry, &used, (struct span){inquiry->sender, inquiry->sender_len});
    question->recipient = keep(entry, &used, recipient);
    return question;
}

bool engine_next_question(struct engine *engine, struct question *question)
{
    if (engine->question_count == 0)
        return false;
    *question = engine->questions[engine->question_first].question;
    engine->question_first = (engine->question_first + 1) % EVENTS_MAX;
    engine->question_count--;
    return true;
}

/* ---- asking ---- */

static bool ask(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t number)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    bool recipient = unit->command.verb == SMTP_VERB_RCPT;
    enum question_kind kind = recipient ? QUESTION_RECIPIENT : QUESTION_TLS;
    const struct flow *flow = flow_at(&engine->table, index);
    if (!wanted(engine, kind) || engine->stopping || number >> NUMBER_BITS != 0 || flow->smtp.line_long[unit->side] ||
        (recipient && !inquiry_of(engine, index)->sender_known))
        return false;
    struct question *question =
        add(engine, index, kind,
            recipient ? smtp_path_address(unit->command.argument, plain, sizeof plain) : (struct span){0});
    if (!question)
        return false;
    question->id = id_of(flow, number);
    question->transaction = recipient ? inquiry_of(engine, index)->transaction : 0;
    engine->counters.questions++;
    return true;
}

/* What the answer makes of an action that depends on it. */
static struct smtp_action settled(const struct engine *engine, const struct flow *flow, const struct smtp_unit *unit,
                                  enum answer answer, struct smtp_action action)
{
    bool defer = answer == ANSWER_DEFER || (answer == ANSWER_FAILED && policy_of(engine, flow)->defers_without_store);
    if (!defer)
        return (struct smtp_action){.kind = SMTP_ACTION_PASS};
    action.ask = false;
    const struct inquiry *inquiry = flow->inquiry == POOL_NONE ? NULL : inquiry_at(engine, flow->inquiry);
    bool null_sender = inquiry && inquiry->sender_known && inquiry->sender_len == 0;
    /* Who calls back to verify a sender stops before DATA. */
    if (unit->command.verb == SMTP_VERB_RCPT && unit->kind == SMTP_UNIT_COMMAND && null_sender)
        action.kind = SMTP_ACTION_VOID_LATE;
    return action;
}

/* Tell what became of a line that was asked about, or should have been. RCPT without MAIL is the server's to refuse. */
static void tell_settled(struct engine *engine, struct flow *flow, const struct smtp_unit *unit,
                         const struct finding *finding, const struct smtp_action *action)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    const struct inquiry *inquiry = flow->inquiry == POOL_NONE ? NULL : inquiry_at(engine, flow->inquiry);
    bool recipient = unit->command.verb == SMTP_VERB_RCPT;
    struct event *event = recipient && (!inquiry || !inquiry->sender_known) ? NULL : tell(engine, EVENT_GREYLIST, flow);
    if (!event)
        return;
    bool passes = action->kind == SMTP_ACTION_PASS;
    event->from_server = unit->side == SMTP_SERVER;
    event->verb = unit->command.verb;
    event->exchange = flow->smtp.answered + flow->smtp.ledger.count;
    event->action = passes ? "pass" : "defer";
    event->reason = finding->reason ? finding->reason : "no-answer";
    event->passes_from_us = passes ? 0 : finding->passes_from_us;
    if (recipient)
        event->text = tell_keep(engine, smtp_path_address(unit->command.argument, plain, sizeof plain));
    else if (inquiry)
        event->text = tell_keep(engine, (struct span){inquiry->helo, inquiry->helo_len});
    if (recipient)
        event->shown = tell_keep(engine, (struct span){inquiry->sender, inquiry->sender_len});
}

bool question_waits(struct engine *engine, uint32_t index, const struct smtp_unit *unit, bool release,
                    struct smtp_action *action)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->smtp.void_refusal && flow->smtp.void_held && unit->command.verb == SMTP_VERB_RCPT) {
        /* It shares the lot of the one that voided the transaction. Until the server has taken that one, it may yet be
           the first whom the client has to try again for: that attempt is to count. */
        *action = (struct smtp_action){.kind = SMTP_ACTION_PASS};
        return false;
    }
    uint32_t number = flow->smtp.answered + flow->smtp.ledger.count;
    if (flow->inquiry != POOL_NONE && number > 0 && inquiry_at(engine, flow->inquiry)->number == number) {
        /* Of the beginning of this line it was asked before. */
        *action = settled(engine, flow, unit, inquiry_at(engine, flow->inquiry)->finding.answer, *action);
        return false;
    }
    if (!ask(engine, index, unit, number)) {
        engine->counters.questions_unanswered++;
        *action = settled(engine, flow, unit, ANSWER_FAILED, *action);
        tell_settled(engine, flow, unit, &unanswered, action);
        return false;
    }
    struct inquiry *inquiry = inquiry_of(engine, index);
    inquiry->state = INQUIRY_WAITS;
    inquiry->number = number;
    inquiry->side = (uint8_t)unit->side;
    inquiry->release = release;
    inquiry->action = *action;
    flow->halves[unit->side].paused = true;
    /* Of so many that are not answered yet it can be told which were asked about. */
    uint64_t bit = UINT64_C(1) << number % 64;
    inquiry->asked = flow->smtp.ledger.count < 64 ? inquiry->asked | bit : inquiry->asked & ~bit;
    return true;
}

bool question_pends(const struct engine *engine, const struct flow *flow, enum smtp_side side)
{
    if (flow->inquiry == POOL_NONE)
        return false;
    const struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    return inquiry->state == INQUIRY_WAITS && inquiry->side == (uint8_t)side;
}

/* ---- answers ---- */

void question_answer(struct engine *engine, struct flow *flow, struct finding finding)
{
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    inquiry->state = INQUIRY_ANSWERED;
    inquiry->finding = finding;
    flow->halves[inquiry->side].paused = false;
}

void question_give_up(struct engine *engine, struct flow *flow)
{
    engine->counters.questions_unanswered++;
    question_answer(engine, flow, unanswered);
}

bool question_releases(const struct engine *engine, const struct flow *flow)
{
    return flow->inquiry != POOL_NONE && inquiry_at(engine, flow->inquiry)->state == INQUIRY_ANSWERED &&
           inquiry_at(engine, flow->inquiry)->release;
}

bool question_take(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, struct smtp_action *action)
{
    if (flow->inquiry == POOL_NONE)
        return false;
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    if (inquiry->state != INQUIRY_ANSWERED || inquiry->side != (uint8_t)unit->side)
        return false;
    inquiry->state = INQUIRY_IDLE;
    if (unit->kind == SMTP_UNIT_OPAQUE)
        return false; /* it is read no more */
    *action = settled(engine, flow, unit, inquiry->finding.answer, inquiry->action);
    tell_settled(engine, flow, unit, &inquiry->finding, action);
    return true;
}

void engine_answer(struct engine *engine, uint64_t id, struct finding finding, int64_t now_us)
{
    engine_begin_call(engine, now_us);
    const struct inquiry *inquiry = find(engine, id >> NUMBER_BITS);
    if (!inquiry)
        return;
    uint32_t index = inquiry->flow;
    struct flow *flow = flow_at(&engine->table, index);
    uint32_t number = (uint32_t)(id & ((1u << NUMBER_BITS) - 1));
    if (number == 0) {
        flow->facts.known = finding.answer == ANSWER_PASS;
    } else if (inquiry->state == INQUIRY_WAITS && inquiry->number == number) {
        enum smtp_side side = (enum smtp_side)inquiry->side;
        question_answer(engine, flow, finding);
        judge_feed(engine, index, side, (struct span){0}, false);
        segment_settle(engine, index, side);
        lifecycle_arm(engine, index);
    }
}

void question_client(struct engine *engine, uint32_t index)
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

void question_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                           bool refused)
{
    if (engine->settings.questions == 0 || unit->kind != SMTP_UNIT_COMMAND)
        return;
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    enum smtp_verb verb = unit->command.verb;
    if (verb == SMTP_VERB_MAIL) {
        struct inquiry *inquiry = inquiry_of(engine, index);
        struct span sender =
            span_head(smtp_path_address(unit->command.argument, plain, sizeof plain), sizeof inquiry->sender);
        inquiry->sender_known = !refused;
        inquiry->transaction = exchange;
        inquiry->sender_len = (uint16_t)sender.len;
        if (sender.len)
            memcpy(inquiry->sender, sender.ptr, sender.len);
    } else if (verb == SMTP_VERB_EHLO || verb == SMTP_VERB_HELO || verb == SMTP_VERB_LHLO) {
        struct inquiry *inquiry = inquiry_of(engine, index);
        struct span name = span_head(unit->command.argument, sizeof inquiry->helo);
        inquiry->helo_len = (uint8_t)name.len;
        if (name.len)
            memcpy(inquiry->helo, name.ptr, name.len);
    } else if (verb == SMTP_VERB_RCPT && !refused && is_outbound(flow_at(&engine->table, index)) &&
               wanted(engine, LESSON_ADDRESSED)) {
        note_addressed(engine, index, unit, exchange);
    }
}

uint64_t question_about(const struct engine *engine, const struct flow *flow, enum smtp_verb verb, uint32_t exchange)
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

void question_waited(struct engine *engine, uint32_t index, uint64_t about, uint32_t waited_ms, bool hung_up)
{
    if (!wanted(engine, LESSON_WAITED) || flow_at(&engine->table, index)->inquiry == POOL_NONE)
        return;
    struct question *lesson = add(engine, index, LESSON_WAITED, (struct span){0});
    if (!lesson)
        return;
    lesson->about = about;
    lesson->waited_ms = waited_ms;
    lesson->hung_up = hung_up;
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

/* What the server means by its reply to a recipient: behind a sender that it refused, RCPT is out of place. */
static uint16_t recipient_code(const struct inquiry *inquiry, uint16_t code)
{
    enum { BAD_SEQUENCE = 503 };
    return code == BAD_SEQUENCE && inquiry->sender_code >= 400 ? inquiry->sender_code : code;
}

void question_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
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
    switch (unit->verb) {
    case SMTP_VERB_RCPT:
        if (spoiled)
            break; /* the server has not heard of the recipient */
        if (asked) {
            teach(engine, index, LESSON_RECIPIENT, id_of(flow, exchange), recipient_code(inquiry, code));
            inquiry->open = true;
        }
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

void question_end(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->inquiry == POOL_NONE)
        return;
    struct inquiry *inquiry = inquiry_at(engine, flow->inquiry);
    if (inquiry->state == INQUIRY_WAITS)
        question_give_up(engine, flow);
    if (inquiry->told)
        teach(engine, index, LESSON_END, 0, 0);
    forget(engine, flow);
}
