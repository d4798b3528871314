#include "smtp/session.h"

const char *smtp_anomaly_name(enum smtp_anomaly anomaly)
{
    static const char *const names[SMTP_ANOMALIES] = {
        [SMTP_ANOMALY_NONE] = "",
        [SMTP_ANOMALY_NOT_SMTP] = "not-smtp",
        [SMTP_ANOMALY_REPLY_WITHOUT_CODE] = "reply-without-code",
        [SMTP_ANOMALY_UNEXPECTED_REPLY] = "unexpected-reply",
        [SMTP_ANOMALY_LEDGER_FULL] = "ledger-full",
        [SMTP_ANOMALY_LINE_TOO_LONG] = "line-too-long",
        [SMTP_ANOMALY_NUL_IN_COMMAND] = "nul-in-command",
        [SMTP_ANOMALY_AMBIGUOUS_CHUNK] = "ambiguous-chunk",
        [SMTP_ANOMALY_AMBIGUOUS_END] = "ambiguous-end-of-data",
        [SMTP_ANOMALY_MESSAGE_REFUSED] = "message-refused",
        [SMTP_ANOMALY_ROLES_SWAPPED] = "roles-swapped",
    };
    return names[anomaly];
}

void smtp_session_init(struct smtp_session *session)
{
    *session = (struct smtp_session){0};
    session->ledger.slots[0] = (struct smtp_slot){SMTP_VERB_CONNECT, SMTP_REFUSAL_NONE};
    session->ledger.count = 1;
}

void smtp_session_fini(struct smtp_session *session, struct pool *blocks)
{
    smtp_line_done(&session->lines[SMTP_CLIENT], blocks);
    smtp_line_done(&session->lines[SMTP_SERVER], blocks);
    smtp_ledger_clear(&session->ledger, blocks);
}

uint32_t smtp_session_waiting(const struct smtp_session *session, enum smtp_side side)
{
    if (session->line_over[side] || session->line_long[side])
        return 0;
    return session->lines[side].len - session->lines[side].left;
}

void smtp_session_give_up(struct smtp_session *session, struct pool *blocks)
{
    session->opaque = true;
    smtp_ledger_clear(&session->ledger, blocks);
}

static enum smtp_verb oldest_verb(const struct smtp_session *session, const struct pool *blocks)
{
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, blocks);
    return slot ? (enum smtp_verb)slot->verb : SMTP_VERB_UNKNOWN;
}

/* What was gathered and has not left, then what comes: all of it as it is. */
static bool next_opaque(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                        struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[unit->side];
    unit->kind = SMTP_UNIT_OPAQUE;
    if (smtp_session_waiting(session, unit->side)) {
        unit->octets = span_tail(smtp_line_so_far(line, context->blocks), line->left);
        line->left = line->len;
        session->line_over[unit->side] = true;
        return true;
    }
    unit->octets = *bytes;
    *bytes = span_tail(*bytes, bytes->len);
    return unit->octets.len > 0;
}

static bool next_payload(struct smtp_session *session, struct span *bytes, struct smtp_unit *unit)
{
    if (bytes->len == 0)
        return false;
    unit->kind = SMTP_UNIT_PAYLOAD;
    size_t taken = bytes->len;
    switch ((enum smtp_phase)session->phase) {
    case SMTP_PHASE_ASKED:
    case SMTP_PHASE_MESSAGE: {
        enum smtp_body_state state = (enum smtp_body_state)session->body;
        struct smtp_body_scan scan = smtp_body_scan(&state, *bytes);
        session->body = (uint8_t)state;
        taken = scan.taken;
        unit->ends_payload = scan.ended;
        if (scan.ambiguous && !session->ambiguous_end)
            unit->anomaly = SMTP_ANOMALY_AMBIGUOUS_END;
        session->ambiguous_end = session->ambiguous_end || scan.ambiguous;
        break;
    }
    case SMTP_PHASE_CHUNK:
        if (taken >= session->chunk_left) {
            taken = (size_t)session->chunk_left;
            unit->ends_payload = true;
        }
        break;
    case SMTP_PHASE_RESPONSE: {
        const uint8_t *end = memchr(bytes->ptr, '\n', bytes->len);
        if (end)
            taken = (size_t)(end - bytes->ptr) + 1;
        unit->ends_payload = end != NULL;
        break;
    }
    case SMTP_PHASE_COMMAND:
        assert(false);
    }
    unit->octets = span_head(*bytes, taken);
    *bytes = span_tail(*bytes, taken);
    return true;
}

static void describe_reply(const struct smtp_session *session, const struct smtp_context *context,
                           struct smtp_unit *unit)
{
    unit->judged = session->reply_fragment_judged;
    unit->verb = oldest_verb(session, context->blocks);
    unit->line_index = session->reply_lines;
    unit->has_reply = smtp_reply_parse(unit->whole, &unit->reply);
    if (unit->has_reply && unit->verb == SMTP_VERB_EHLO && unit->line_index > 0 && unit->reply.code / 100 == 2)
        unit->keyword = smtp_reply_keyword(unit->reply.text);
}

/* A line whose beginning alone is kept: what comes leaves at once, up to its end. */
static bool next_of_long(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                         enum smtp_unit_kind whole_kind, struct smtp_unit *unit)
{
    unit->whole = smtp_line_so_far(&session->lines[unit->side], context->blocks);
    unit->kind = SMTP_UNIT_FRAGMENT;
    const uint8_t *end = bytes->len ? memchr(bytes->ptr, '\n', bytes->len) : NULL;
    unit->octets = span_head(*bytes, end ? (size_t)(end - bytes->ptr) + 1 : bytes->len);
    *bytes = span_tail(*bytes, unit->octets.len);
    if (end)
        unit->kind = whole_kind;
    if (unit->side == SMTP_CLIENT)
        unit->command = smtp_command_parse(unit->whole);
    else
        describe_reply(session, context, unit);
    return unit->octets.len > 0;
}

/* Whether something can still come of an unfinished command, so that it should wait. */
static bool command_may_matter(const struct smtp_session *session, const struct smtp_context *context,
                               const struct smtp_command *command)
{
    if (session->fragment_judged)
        return false;
    if (command->separated)
        return context->verbs >> command->verb & 1;
    return smtp_verb_may_begin(context->verbs, command->word);
}

/* What is wrong with a whole command line. */
static enum smtp_anomaly command_anomaly(const struct smtp_context *context, const struct smtp_unit *unit)
{
    uint64_t octets;
    bool last;
    if (context->verbs >> unit->command.verb & 1)
        return SMTP_ANOMALY_NONE; /* the policy decides about it, whatever its argument */
    if (memchr(unit->whole.ptr, '\0', unit->whole.len))
        return SMTP_ANOMALY_NUL_IN_COMMAND;
    if (unit->command.verb == SMTP_VERB_BDAT &&
        smtp_chunk_parse(unit->command.argument, &octets, &last) != SMTP_CHUNK_GOOD)
        return SMTP_ANOMALY_AMBIGUOUS_CHUNK;
    if (unit->command.verb == SMTP_VERB_XEXCH50 &&
        smtp_xexch50_parse(unit->command.argument, &octets) != SMTP_CHUNK_GOOD)
        return SMTP_ANOMALY_AMBIGUOUS_CHUNK;
    return SMTP_ANOMALY_NONE;
}

static bool next_command(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                         bool release, struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[SMTP_CLIENT];
    unit->judged = session->fragment_judged;
    if (session->line_long[SMTP_CLIENT])
        return next_of_long(session, context, bytes, SMTP_UNIT_COMMAND, unit);
    switch (smtp_line_feed(line, context->blocks, bytes, &unit->whole)) {
    case SMTP_LINE_WHOLE:
        unit->kind = SMTP_UNIT_COMMAND;
        unit->octets = span_tail(unit->whole, line->left);
        unit->command = smtp_command_parse(unit->whole);
        unit->anomaly = command_anomaly(context, unit);
        return true;
    case SMTP_LINE_PARTIAL:
        unit->whole = smtp_line_so_far(line, context->blocks);
        break;
    case SMTP_LINE_LONG:
        smtp_line_gather(line, context->blocks, bytes);
        session->line_long[SMTP_CLIENT] = true;
        if (line->left == line->len)
            return next_of_long(session, context, bytes, SMTP_UNIT_COMMAND, unit);
        unit->whole = smtp_line_so_far(line, context->blocks);
        release = true;
        break;
    }
    if (line->left == line->len)
        return false;
    unit->kind = SMTP_UNIT_FRAGMENT;
    unit->octets = span_tail(unit->whole, line->left);
    unit->command = smtp_command_parse(unit->whole);
    /* RFC 4954 4: the arguments of AUTH may take 12288 octets; any other line of that length is read differently by
       different servers (case 10). */
    bool may_be_long = unit->command.verb == SMTP_VERB_AUTH || unit->command.verb == SMTP_VERB_X_EXPS ||
                       context->verbs >> unit->command.verb & 1;
    if (session->line_long[SMTP_CLIENT] && !may_be_long)
        unit->anomaly = SMTP_ANOMALY_LINE_TOO_LONG;
    return release || !command_may_matter(session, context, &unit->command);
}

static bool reply_may_matter(const struct smtp_session *session, const struct smtp_context *context,
                             const struct smtp_unit *unit)
{
    if (session->reply_fragment_judged)
        return false;
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, context->blocks);
    if (!slot)
        return false;
    if (slot->refusal != SMTP_REFUSAL_NONE)
        return true;
    return slot->verb == SMTP_VERB_EHLO && session->reply_lines > 0 &&
           smtp_keyword_may_come(context->keywords, unit->whole);
}

/* What is wrong with a whole reply line. */
static enum smtp_anomaly reply_anomaly(const struct smtp_session *session, const struct smtp_unit *unit)
{
    if (!unit->has_reply)
        return session->greeted ? SMTP_ANOMALY_REPLY_WITHOUT_CODE : SMTP_ANOMALY_NOT_SMTP;
    if (session->ledger.count == 0)
        /* 421 may come at any time (RFC 5321 3.8); Postfix uses 521 so, Exchange 451. */
        return unit->reply.code >= 400 ? SMTP_ANOMALY_NONE : SMTP_ANOMALY_UNEXPECTED_REPLY;
    if (!unit->reply.last)
        return SMTP_ANOMALY_NONE;
    bool success = unit->reply.code / 100 == 2;
    if ((unit->verb == SMTP_VERB_TURN || unit->verb == SMTP_VERB_ATRN) && success)
        return SMTP_ANOMALY_ROLES_SWAPPED;
    bool sent_ahead = session->payload_octets > 0 && (session->phase == SMTP_PHASE_ASKED || session->asked_dot);
    if (unit->verb == SMTP_VERB_DATA && unit->reply.code != 354 && sent_ahead &&
        (!session->asked_dot || session->data_pending > 1))
        return SMTP_ANOMALY_MESSAGE_REFUSED;
    if (unit->verb == SMTP_VERB_XEXCH50 && unit->reply.code == 354 && session->ledger.count > 1)
        return SMTP_ANOMALY_AMBIGUOUS_CHUNK;
    return SMTP_ANOMALY_NONE;
}

static bool next_reply(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                       bool release, struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[SMTP_SERVER];
    if (session->line_long[SMTP_SERVER])
        return next_of_long(session, context, bytes, SMTP_UNIT_REPLY, unit);
    switch (smtp_line_feed(line, context->blocks, bytes, &unit->whole)) {
    case SMTP_LINE_WHOLE:
        unit->kind = SMTP_UNIT_REPLY;
        unit->octets = span_tail(unit->whole, line->left);
        describe_reply(session, context, unit);
        unit->anomaly = reply_anomaly(session, unit);
        if (unit->anomaly == SMTP_ANOMALY_NOT_SMTP)
            unit->kind = SMTP_UNIT_OPAQUE;
        return true;
    case SMTP_LINE_PARTIAL:
        unit->whole = smtp_line_so_far(line, context->blocks);
        break;
    case SMTP_LINE_LONG:
        smtp_line_gather(line, context->blocks, bytes);
        session->line_long[SMTP_SERVER] = true;
        if (line->left == line->len)
            return next_of_long(session, context, bytes, SMTP_UNIT_REPLY, unit);
        unit->whole = smtp_line_so_far(line, context->blocks);
        release = true;
        break;
    }
    if (line->left == line->len)
        return false;
    unit->kind = SMTP_UNIT_FRAGMENT;
    unit->octets = span_tail(unit->whole, line->left);
    describe_reply(session, context, unit);
    if (!session->greeted && !smtp_reply_may_begin(unit->whole)) {
        unit->anomaly = SMTP_ANOMALY_NOT_SMTP;
        unit->kind = SMTP_UNIT_OPAQUE;
    }
    return release || unit->anomaly || !reply_may_matter(session, context, unit);
}

bool smtp_session_next(struct smtp_session *session, const struct smtp_context *context, enum smtp_side side,
                       struct span *bytes, bool release, struct smtp_unit *unit)
{
    *unit = (struct smtp_unit){.side = side};
    if (session->line_over[side]) {
        smtp_line_done(&session->lines[side], context->blocks);
        session->line_over[side] = false;
        session->line_long[side] = false;
    }
    bool some;
    if (session->opaque)
        some = next_opaque(session, context, bytes, unit);
    else if (side == SMTP_SERVER)
        some = next_reply(session, context, bytes, release, unit);
    else if (session->phase == SMTP_PHASE_COMMAND)
        some = next_command(session, context, bytes, release, unit);
    else
        some = next_payload(session, bytes, unit);
    unit->rest = *bytes;
    return some;
}
