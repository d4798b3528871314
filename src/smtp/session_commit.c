#include "smtp/change.h"
#include "smtp/session.h"

static bool loses_pairing(enum smtp_anomaly anomaly)
{
    return anomaly != SMTP_ANOMALY_NONE && anomaly != SMTP_ANOMALY_AMBIGUOUS_END;
}

/* Remember that a command went to the server; without memory for it, follow the session no longer. */
static void owe(struct smtp_session *session, const struct smtp_context *context, enum smtp_verb verb,
                enum smtp_refusal refusal)
{
    struct smtp_slot slot = {(uint8_t)verb, (uint8_t)refusal};
    if (!smtp_ledger_push(&session->ledger, context->blocks, slot))
        smtp_session_give_up(session, context->blocks);
}

/* A whole command has gone to the server as it came. */
static void command_went(struct smtp_session *session, const struct smtp_context *context,
                         const struct smtp_command *command)
{
    enum smtp_verb verb = command->verb;
    bool last = false;
    if (verb == SMTP_VERB_BDAT) {
        uint64_t octets = 0;
        (void)smtp_chunk_parse(command->argument, &octets, &last);
        session->chunk_left = octets;
        session->chunk_verb = SMTP_VERB_UNKNOWN; /* the BDAT itself draws the reply, behind its octets */
        session->payload_octets = 0;
        if (octets > 0)
            session->phase = SMTP_PHASE_CHUNK;
        if (last)
            verb = SMTP_VERB_BDAT_LAST;
    } else if (verb == SMTP_VERB_XEXCH50) {
        (void)smtp_xexch50_parse(command->argument, &session->chunk_left);
    } else if (verb == SMTP_VERB_DATA) {
        session->phase = SMTP_PHASE_ASKED;
        session->body = SMTP_BODY_LINE;
        session->ambiguous_end = false;
        session->payload_octets = 0;
        session->asked_lines = 0;
        session->asked_dot = false;
        if (session->data_pending < UINT8_MAX)
            session->data_pending++;
    }
    owe(session, context, verb, SMTP_REFUSAL_NONE);
}

static void commit_client_line(struct smtp_session *session, const struct smtp_context *context,
                               const struct smtp_unit *unit, struct smtp_action action, struct smtp_change *change)
{
    struct smtp_line *line = &session->lines[SMTP_CLIENT];
    bool continued = unit->judged;
    if (continued)
        action = (struct smtp_action){(enum smtp_action_kind)session->fragment_action,
                                      (enum smtp_refusal)session->fragment_refusal};
    bool refused = action.kind == SMTP_ACTION_REFUSE;
    if (refused)
        smtp_change_cover(change, unit, continued);

    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        if (refused && !session->fragment_judged)
            session->changed_from[SMTP_CLIENT] = (uint16_t)line->left;
        line->left = line->len;
        if (refused) {
            session->fragment_judged = true;
            session->fragment_action = (uint8_t)action.kind;
            session->fragment_refusal = (uint8_t)action.refusal;
        }
        return;
    }
    session->line_over[SMTP_CLIENT] = true;
    session->fragment_judged = false;
    if (refused && unit->command.verb == SMTP_VERB_XEXCH50) {
        (void)smtp_xexch50_parse(unit->command.argument, &session->chunk_left);
        owe(session, context, SMTP_VERB_XEXCH50, action.refusal);
    } else if (refused) {
        owe(session, context, SMTP_VERB_NOOP, action.refusal);
    } else
        command_went(session, context, &unit->command);
}

static uint16_t count_lines(struct span octets, uint16_t before)
{
    uint32_t lines = before;
    for (size_t i = 0; i < octets.len && lines < UINT16_MAX; i++)
        lines += octets.ptr[i] == '\n';
    return (uint16_t)lines;
}

static void commit_payload(struct smtp_session *session, const struct smtp_context *context,
                           const struct smtp_unit *unit, struct smtp_room room, struct smtp_change *change)
{
    session->payload_octets += unit->octets.len;
    change->changed = session->discard && session->phase == SMTP_PHASE_CHUNK && room.resize;
    switch ((enum smtp_phase)session->phase) {
    case SMTP_PHASE_ASKED:
        session->asked_lines = count_lines(unit->octets, session->asked_lines);
        if (!unit->ends_payload)
            return;
        session->asked_dot = true;
        owe(session, context, SMTP_VERB_END_OF_DATA, SMTP_REFUSAL_NONE);
        break;
    case SMTP_PHASE_MESSAGE:
        if (!unit->ends_payload)
            return;
        owe(session, context, SMTP_VERB_END_OF_DATA, SMTP_REFUSAL_NONE);
        break;
    case SMTP_PHASE_CHUNK:
        session->chunk_left -= unit->octets.len;
        if (!unit->ends_payload)
            return;
        if (session->chunk_verb != SMTP_VERB_UNKNOWN)
            owe(session, context, (enum smtp_verb)session->chunk_verb,
                session->discard ? SMTP_REFUSAL_VANISH : SMTP_REFUSAL_NONE);
        session->discard = false;
        break;
    case SMTP_PHASE_RESPONSE:
        if (!unit->ends_payload)
            return;
        owe(session, context, SMTP_VERB_AUTH_RESPONSE, SMTP_REFUSAL_NONE);
        break;
    case SMTP_PHASE_COMMAND:
        assert(false);
    }
    session->phase = SMTP_PHASE_COMMAND;
}

/* The server has answered DATA. */
static void data_answered(struct smtp_session *session, uint16_t code)
{
    bool ahead = session->asked_dot;
    if (session->data_pending > 0)
        session->data_pending--;
    if (code == 354) {
        if (session->phase == SMTP_PHASE_ASKED && session->data_pending == 0)
            session->phase = SMTP_PHASE_MESSAGE;
    } else if (ahead) {
        /* A whole message went to a server that had not asked for it: each of its lines draws a reply (case 36). */
        session->extra_replies = session->asked_lines > 0 ? (uint16_t)(session->asked_lines - 1) : 0;
    } else if (session->phase == SMTP_PHASE_ASKED) {
        session->phase = SMTP_PHASE_COMMAND;
    }
    if (session->data_pending == 0)
        session->asked_dot = false;
}

/* A reply is complete: what does it change? */
static void reply_came(struct smtp_session *session, const struct smtp_context *context, enum smtp_verb verb,
                       bool refused, uint16_t code)
{
    bool success = code / 100 == 2;
    switch (verb) {
    case SMTP_VERB_LHLO:
        session->lmtp = session->lmtp || success;
        break;
    case SMTP_VERB_MAIL:
        if (success)
            session->recipients = 0;
        break;
    case SMTP_VERB_RCPT:
        if (success && session->recipients < UINT16_MAX)
            session->recipients++;
        break;
    case SMTP_VERB_DATA:
        data_answered(session, code);
        break;
    case SMTP_VERB_STARTTLS:
    case SMTP_VERB_X_ANONYMOUSTLS:
        if (success)
            smtp_session_give_up(session, context->blocks);
        break;
    case SMTP_VERB_AUTH:
    case SMTP_VERB_AUTH_RESPONSE:
    case SMTP_VERB_X_EXPS:
        if (code == 334 && session->phase == SMTP_PHASE_COMMAND) {
            session->phase = SMTP_PHASE_RESPONSE;
            session->payload_octets = 0;
        }
        break;
    case SMTP_VERB_XEXCH50:
        if (code != 354)
            break;
        session->payload_octets = 0;
        session->chunk_verb = SMTP_VERB_XEXCH50_DATA;
        session->discard = refused;
        if (session->chunk_left > 0)
            session->phase = SMTP_PHASE_CHUNK;
        else
            owe(session, context, SMTP_VERB_XEXCH50_DATA, refused ? SMTP_REFUSAL_VANISH : SMTP_REFUSAL_NONE);
        break;
    case SMTP_VERB_UNKNOWN:
    case SMTP_VERB_EHLO:
    case SMTP_VERB_HELO:
    case SMTP_VERB_BDAT:
    case SMTP_VERB_RSET:
    case SMTP_VERB_NOOP:
    case SMTP_VERB_QUIT:
    case SMTP_VERB_HELP:
    case SMTP_VERB_VRFY:
    case SMTP_VERB_EXPN:
    case SMTP_VERB_ETRN:
    case SMTP_VERB_TURN:
    case SMTP_VERB_ATRN:
    case SMTP_VERB_XCLIENT:
    case SMTP_VERB_XFORWARD:
    case SMTP_VERB_X_LINK2STATE:
    case SMTP_VERB_CONNECT:
    case SMTP_VERB_BDAT_LAST:
    case SMTP_VERB_END_OF_DATA:
    case SMTP_VERB_XEXCH50_DATA:
    case SMTP_VERB_EMPTY:
    case SMTP_VERBS:
        break;
    }
}

/* The last line of a reply: close the slot it answers. */
static void close_slot(struct smtp_session *session, const struct smtp_context *context, uint16_t code)
{
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, context->blocks);
    if (!slot) {
        /* A server that gives up says so unasked, and closes (RFC 5321 3.8): there is nothing to pair any more. */
        smtp_session_give_up(session, context->blocks);
        return;
    }
    enum smtp_verb verb = (enum smtp_verb)slot->verb;
    bool refused = slot->refusal != SMTP_REFUSAL_NONE;
    bool ends_message = verb == SMTP_VERB_END_OF_DATA || verb == SMTP_VERB_BDAT_LAST;
    if (ends_message && session->lmtp && session->recipients > 1) {
        session->extra_replies = (uint16_t)(session->extra_replies + session->recipients - 1);
        session->recipients = 0;
    }
    if (ends_message && session->extra_replies > 0) {
        session->extra_replies--;
        return;
    }
    smtp_ledger_pop(&session->ledger, context->blocks);
    reply_came(session, context, verb, refused, code);
}

static void commit_server_line(struct smtp_session *session, const struct smtp_context *context,
                               const struct smtp_unit *unit, struct smtp_action action, struct smtp_room room,
                               struct smtp_change *change)
{
    struct smtp_line *line = &session->lines[SMTP_SERVER];
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, context->blocks);
    enum smtp_refusal refusal = slot ? (enum smtp_refusal)slot->refusal : SMTP_REFUSAL_NONE;
    /* 421 announces that the server closes the connection: the client must see it (RFC 5321 3.8). */
    bool closing = unit->has_reply && (unit->reply.code == 421 || unit->reply.code == 521) && session->reply_sent == 0;
    if (refusal != SMTP_REFUSAL_NONE && !closing && !session->line_long[SMTP_SERVER])
        smtp_change_replace(change, unit, refusal, room, &session->reply_sent);
    else if (action.kind == SMTP_ACTION_STRIP && !unit->judged)
        smtp_change_strip(change, unit, room, session->reply_cut);
    else if (action.kind == SMTP_ACTION_MAKE_LAST)
        session->reply_cut = smtp_change_make_last(change, unit, room);

    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        bool spoiled = action.kind == SMTP_ACTION_STRIP;
        if (spoiled && !session->reply_fragment_judged)
            session->changed_from[SMTP_SERVER] = (uint16_t)line->left;
        line->left = line->len;
        session->reply_fragment_judged = session->reply_fragment_judged || spoiled;
        return;
    }
    session->line_over[SMTP_SERVER] = true;
    session->reply_fragment_judged = false;
    session->greeted = true;
    if (!unit->reply.last) {
        if (session->reply_lines < UINT16_MAX)
            session->reply_lines++;
        return;
    }
    session->reply_lines = 0;
    session->reply_cut = false;
    close_slot(session, context, unit->reply.code);
}

void smtp_session_left(const struct smtp_session *session, const struct smtp_unit *unit, size_t left, uint8_t *out)
{
    static const struct smtp_room any = {0};
    memcpy(out, unit->whole.ptr, left);
    size_t from = session->changed_from[unit->side];
    if (!unit->judged || from >= left)
        return;
    struct smtp_change change = {0};
    struct smtp_unit part = *unit;
    part.kind = SMTP_UNIT_FRAGMENT;
    part.whole = span_head(unit->whole, left);
    part.octets = span_tail(part.whole, from);
    if (unit->side == SMTP_CLIENT)
        smtp_change_cover(&change, &part, false);
    else
        smtp_change_strip(&change, &part, any, false);
    if (change.changed && change.len == part.octets.len)
        memcpy(out + from, change.octets, change.len);
}

void smtp_session_commit(struct smtp_session *session, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action, struct smtp_room room, struct smtp_change *change)
{
    change->changed = false;
    change->len = 0;
    if (loses_pairing(unit->anomaly)) {
        session->lines[unit->side].left = session->lines[unit->side].len;
        session->line_over[unit->side] = true;
        smtp_session_give_up(session, context->blocks);
        return;
    }
    switch (unit->kind) {
    case SMTP_UNIT_OPAQUE:
        return;
    case SMTP_UNIT_PAYLOAD:
        commit_payload(session, context, unit, room, change);
        break;
    case SMTP_UNIT_COMMAND:
    case SMTP_UNIT_REPLY:
    case SMTP_UNIT_FRAGMENT:
        if (unit->side == SMTP_CLIENT)
            commit_client_line(session, context, unit, action, change);
        else
            commit_server_line(session, context, unit, action, room, change);
        break;
    }
}
