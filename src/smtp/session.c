#include "smtp/session.h"

static const struct {
    const char *name;
    bool loses_pairing;
} anomalies[SMTP_ANOMALIES] = {
    [SMTP_ANOMALY_NONE] = {"", false},
    [SMTP_ANOMALY_NOT_SMTP] = {"not-smtp", true},
    [SMTP_ANOMALY_REPLY_WITHOUT_CODE] = {"reply-without-code", true},
    [SMTP_ANOMALY_UNEXPECTED_REPLY] = {"unexpected-reply", true},
    [SMTP_ANOMALY_LEDGER_FULL] = {"ledger-full", true},
    [SMTP_ANOMALY_LINE_TOO_LONG] = {"line-too-long", true},
    [SMTP_ANOMALY_NUL_IN_COMMAND] = {"nul-in-command", true},
    [SMTP_ANOMALY_AMBIGUOUS_CHUNK] = {"ambiguous-chunk", true},
    [SMTP_ANOMALY_XEXCH50_OVERFLOW] = {"xexch50-overflow", true},
    [SMTP_ANOMALY_LINK2STATE_OVERFLOW] = {"link2state-overflow", false},
    [SMTP_ANOMALY_AMBIGUOUS_RESPONSE] = {"ambiguous-response", true},
    [SMTP_ANOMALY_AMBIGUOUS_REPLY] = {"ambiguous-reply", true},
    [SMTP_ANOMALY_AMBIGUOUS_END] = {"ambiguous-end-of-data", false},
    [SMTP_ANOMALY_MESSAGE_REFUSED] = {"message-refused", true},
    [SMTP_ANOMALY_COMMAND_BEFORE_354] = {"command-before-354", false},
    [SMTP_ANOMALY_OCTETS_BEFORE_TLS] = {"octets-before-tls", false},
    [SMTP_ANOMALY_EARLY_TALKER] = {"early-talker", false},
};

const char *smtp_anomaly_name(enum smtp_anomaly anomaly)
{
    return anomalies[anomaly].name;
}

enum smtp_anomaly smtp_anomaly_find(struct span name)
{
    for (int anomaly = SMTP_ANOMALY_NONE + 1; anomaly < SMTP_ANOMALIES; anomaly++)
        if (span_equal(name, span_of(anomalies[anomaly].name)))
            return (enum smtp_anomaly)anomaly;
    return SMTP_ANOMALY_NONE;
}

bool smtp_anomaly_loses_pairing(enum smtp_anomaly anomaly)
{
    return anomalies[anomaly].loses_pairing;
}

void smtp_session_init(struct smtp_session *session)
{
    *session = (struct smtp_session){0};
    session->ledger.slots[0] = smtp_slot_of(SMTP_VERB_CONNECT, SMTP_FATE_PASS, SMTP_REFUSAL_NONE);
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

enum smtp_verb smtp_session_payload(const struct smtp_session *session)
{
    switch ((enum smtp_phase)session->phase) {
    case SMTP_PHASE_ASKED:
    case SMTP_PHASE_MESSAGE:
        return SMTP_VERB_END_OF_DATA;
    case SMTP_PHASE_CHUNK:
        return session->chunk_verb == SMTP_VERB_UNKNOWN ? SMTP_VERB_BDAT : (enum smtp_verb)session->chunk_verb;
    case SMTP_PHASE_RESPONSE:
        return SMTP_VERB_AUTH_RESPONSE;
    case SMTP_PHASE_COMMAND:
        break;
    }
    return SMTP_VERB_UNKNOWN;
}

void smtp_session_give_up(struct smtp_session *session, struct pool *blocks)
{
    session->opaque = true;
    smtp_ledger_clear(&session->ledger, blocks);
}

static enum smtp_verb oldest_verb(const struct smtp_session *session, const struct pool *blocks)
{
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, blocks);
    return slot ? smtp_slot_verb(*slot) : SMTP_VERB_UNKNOWN;
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
    if (session->tls_awaited && unit->role == SMTP_SERVER && unit->octets.len > 0)
        unit->anomaly = SMTP_ANOMALY_OCTETS_BEFORE_TLS;
    return unit->octets.len > 0;
}

/*
 * Whether a line among octets that came before the reply to DATA begins with one of `verbs`: should DATA be refused,
 * its server takes them for commands.
 */
static bool holds_command(struct smtp_session *session, uint64_t verbs, struct span octets)
{
    enum { WORD_MAX = sizeof session->asked_word };
    bool found = false;
    for (size_t i = 0; i < octets.len; i++) {
        uint8_t octet = octets.ptr[i];
        bool ends = octet <= ' ';
        if (session->asked_word_len <= WORD_MAX && ends && session->asked_word_len > 0) {
            enum smtp_verb verb = smtp_verb_find((struct span){session->asked_word, session->asked_word_len});
            found = found || (verb != SMTP_VERB_UNKNOWN && verbs >> verb & 1);
            session->asked_word_len = WORD_MAX + 1;
        } else if (session->asked_word_len < WORD_MAX && !ends) {
            session->asked_word[session->asked_word_len++] = octet;
        } else if (!ends) {
            session->asked_word_len = WORD_MAX + 1;
        }
        if (octet == '\n')
            session->asked_word_len = 0;
    }
    return found;
}

static bool next_payload(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                         struct smtp_unit *unit)
{
    if (bytes->len == 0)
        return false;
    unit->kind = SMTP_UNIT_PAYLOAD;
    size_t taken = bytes->len;
    switch ((enum smtp_phase)session->phase) {
    case SMTP_PHASE_ASKED:
    case SMTP_PHASE_MESSAGE: {
        unit->verb = SMTP_VERB_DATA;
        enum smtp_body_state state = (enum smtp_body_state)session->body;
        struct smtp_body_scan scan = smtp_body_scan(&state, *bytes);
        session->body = (uint8_t)state;
        taken = scan.taken;
        unit->ends_payload = scan.ended;
        if (scan.ambiguous && !session->ambiguous_end)
            unit->anomaly = SMTP_ANOMALY_AMBIGUOUS_END;
        session->ambiguous_end = session->ambiguous_end || scan.ambiguous;
        bool asked = session->phase == SMTP_PHASE_ASKED;
        if (asked && holds_command(session, context->verbs, span_head(*bytes, taken)))
            unit->anomaly = SMTP_ANOMALY_COMMAND_BEFORE_354;
        break;
    }
    case SMTP_PHASE_CHUNK:
        unit->verb = session->chunk_verb == SMTP_VERB_XEXCH50_DATA ? SMTP_VERB_XEXCH50_DATA : SMTP_VERB_BDAT;
        if (taken >= session->chunk_left) {
            taken = (size_t)session->chunk_left;
            unit->ends_payload = true;
        }
        break;
    case SMTP_PHASE_RESPONSE: {
        unit->verb = SMTP_VERB_AUTH_RESPONSE;
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
    unit->verb = session->reply_unasked ? SMTP_VERB_UNKNOWN : oldest_verb(session, context->blocks);
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
    if (unit->role == SMTP_CLIENT)
        unit->command = smtp_command_parse(unit->whole);
    else
        describe_reply(session, context, unit);
    return unit->octets.len > 0;
}

/* Verbs of which something may have to become, so that they should wait until the line is whole. */
static uint64_t verbs_that_matter(const struct smtp_session *session, const struct smtp_context *context)
{
    static const uint64_t of_void =
        UINT64_C(1) << SMTP_VERB_MAIL | UINT64_C(1) << SMTP_VERB_DATA | UINT64_C(1) << SMTP_VERB_BDAT;
    return session->void_refusal ? context->verbs | of_void : context->verbs;
}

/* Whether the client need not have said anything yet. What stands before PROXY is a proxy (case 13). */
static bool talks_early(const struct smtp_session *session, const struct smtp_context *context,
                        const struct smtp_command *command)
{
    bool early = session->greeting_waits || oldest_verb(session, context->blocks) == SMTP_VERB_CONNECT;
    bool proxied = !session->addressed && span_equal(command->word, span_of("PROXY"));
    return early && !session->early_told && !session->may_begin && !proxied;
}

/* Whether something can still come of an unfinished command, so that it should wait. */
static bool command_may_matter(const struct smtp_session *session, const struct smtp_context *context,
                               const struct smtp_command *command)
{
    if (session->fragment_judged || context->observes)
        return false;
    if (session->closing || session->data_covered || session->tls_asked)
        return true;
    if (context->judges_early && talks_early(session, context, command))
        return true;
    uint64_t verbs = verbs_that_matter(session, context);
    if (command->separated)
        return verbs >> command->verb & 1;
    return verbs >> SMTP_VERB_UNKNOWN & 1 || smtp_verb_may_begin(verbs, command->word);
}

/* X-LINK2STATE's data, by the octets that came: what the line says of its length may be a lie (MS05-021). */
static bool link_state_overflows(const struct smtp_session *session, const struct smtp_unit *unit)
{
    enum { LINE_MAX = 1024, DATA_MAX = 520 };
    struct span argument = unit->command.argument;
    if (argument.len && argument.ptr[argument.len - 1] == '\r')
        argument.len--; /* of a line that is not whole */
    const uint8_t *equals = argument.len ? memchr(argument.ptr, '=', argument.len) : NULL;
    size_t data_len = equals ? argument.len - (size_t)(equals + 1 - argument.ptr) : argument.len;
    return unit->whole.len > LINE_MAX || (data_len > DATA_MAX && !session->link_state_open);
}

/* What is wrong with a command line; `more`: octets follow it at once. */
static enum smtp_anomaly command_anomaly(struct smtp_session *session, const struct smtp_context *context,
                                         const struct smtp_unit *unit, bool more)
{
    uint64_t octets;
    bool last;
    if (session->tls_asked)
        return SMTP_ANOMALY_OCTETS_BEFORE_TLS;
    if (session->data_covered)
        return SMTP_ANOMALY_MESSAGE_REFUSED;
    if (unit->command.verb == SMTP_VERB_X_LINK2STATE && link_state_overflows(session, unit))
        return SMTP_ANOMALY_LINK2STATE_OVERFLOW;
    if (unit->kind == SMTP_UNIT_FRAGMENT)
        return SMTP_ANOMALY_NONE;
    if (!unit->judged && memchr(unit->whole.ptr, '\0', unit->whole.len)) /* else it was covered */
        return SMTP_ANOMALY_NUL_IN_COMMAND;
    enum smtp_verb verb = unit->command.verb;
    if (verb == SMTP_VERB_BDAT && smtp_chunk_parse(unit->command.argument, &octets, &last) != SMTP_CHUNK_GOOD)
        return SMTP_ANOMALY_AMBIGUOUS_CHUNK;
    if (verb == SMTP_VERB_XEXCH50 && smtp_xexch50_parse(unit->command.argument, &octets) != SMTP_CHUNK_GOOD)
        return SMTP_ANOMALY_XEXCH50_OVERFLOW;
    if ((verb == SMTP_VERB_STARTTLS || verb == SMTP_VERB_X_ANONYMOUSTLS) && more)
        return SMTP_ANOMALY_OCTETS_BEFORE_TLS;
    if (talks_early(session, context, &unit->command)) {
        session->early_told = true;
        return SMTP_ANOMALY_EARLY_TALKER;
    }
    return SMTP_ANOMALY_NONE;
}

/*
 * RFC 4954 4: the arguments of AUTH may take 12288 octets; any other line of that length is read differently by
 * different servers (case 10), unless they see something else in its place.
 */
static enum smtp_anomaly long_command_anomaly(const struct smtp_session *session, enum smtp_verb verb)
{
    bool may_be_long = verb == SMTP_VERB_AUTH || verb == SMTP_VERB_X_EXPS || session->fragment_judged;
    return may_be_long ? SMTP_ANOMALY_NONE : SMTP_ANOMALY_LINE_TOO_LONG;
}

/* A line that was put back. What is wrong with it was found when it came, together with what came behind it. */
static bool next_again(struct smtp_session *session, const struct smtp_context *context, struct smtp_unit *unit)
{
    const struct smtp_line *line = &session->lines[unit->side];
    session->put_back = false;
    unit->kind = SMTP_UNIT_COMMAND;
    unit->whole = smtp_line_so_far(line, context->blocks);
    unit->octets = span_tail(unit->whole, line->left);
    unit->command = smtp_command_parse(unit->whole);
    unit->anomaly = (enum smtp_anomaly)session->put_back_anomaly;
    return true;
}

/* More of a line: what there is of it, and what of that has not left. A LONG one is gathered as far as there is room.
 */
static enum smtp_line_status take_line(struct smtp_session *session, const struct smtp_context *context,
                                       struct span *bytes, struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[unit->side];
    enum smtp_line_status status = smtp_line_feed(line, context->blocks, bytes, &unit->whole);
    if (status == SMTP_LINE_LONG) {
        smtp_line_gather(line, context->blocks, bytes);
        session->line_long[unit->side] = true;
    }
    if (status != SMTP_LINE_WHOLE)
        unit->whole = smtp_line_so_far(line, context->blocks);
    unit->octets = span_tail(unit->whole, line->left);
    return status;
}

static bool next_command(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                         bool release, struct smtp_unit *unit)
{
    unit->judged = session->fragment_judged;
    if (session->line_long[unit->side])
        return next_of_long(session, context, bytes, SMTP_UNIT_COMMAND, unit);
    if (session->put_back)
        return next_again(session, context, unit);
    enum smtp_line_status status = take_line(session, context, bytes, unit);
    bool whole = status == SMTP_LINE_WHOLE;
    if (!whole && unit->octets.len == 0)
        return false;
    unit->kind = whole ? SMTP_UNIT_COMMAND : SMTP_UNIT_FRAGMENT;
    unit->command = smtp_command_parse(unit->whole);
    unit->anomaly = status == SMTP_LINE_LONG ? long_command_anomaly(session, unit->command.verb)
                                             : command_anomaly(session, context, unit, whole && bytes->len > 0);
    return status != SMTP_LINE_PARTIAL || release || !command_may_matter(session, context, &unit->command);
}

static bool reply_may_matter(const struct smtp_session *session, const struct smtp_context *context,
                             const struct smtp_unit *unit)
{
    if (session->reply_fragment_judged || session->reply_unasked || context->observes)
        return false;
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, context->blocks);
    if (!slot)
        return false;
    if (smtp_slot_fate(*slot) != SMTP_FATE_PASS || context->whole_replies)
        return true;
    return smtp_slot_verb(*slot) == SMTP_VERB_EHLO && session->reply_lines > 0 &&
           smtp_keyword_may_come(context->keywords, unit->whole);
}

/* Whether the client has sent more behind the command that the oldest slot stands for. */
static bool more_sent(const struct smtp_session *session)
{
    enum smtp_side client = session->swapped ? SMTP_SERVER : SMTP_CLIENT;
    return session->ledger.count > 1 || (session->lines[client].len > 0 && !session->line_over[client]);
}

/* Whether a reply that ends in `code` leaves two readings of what the client sends. */
static enum smtp_anomaly two_readings(const struct smtp_session *session, enum smtp_verb verb, uint16_t code)
{
    bool auth = verb == SMTP_VERB_AUTH || verb == SMTP_VERB_AUTH_RESPONSE || verb == SMTP_VERB_X_EXPS;
    if (auth && code == 334 && more_sent(session))
        return SMTP_ANOMALY_AMBIGUOUS_RESPONSE;
    if (verb == SMTP_VERB_XEXCH50 && code == 354 && more_sent(session))
        return SMTP_ANOMALY_AMBIGUOUS_REPLY;
    /* A client that waits for replies will not send the octets; one that does not has them on their way (case 48). */
    bool chunk = verb == SMTP_VERB_BDAT || verb == SMTP_VERB_BDAT_LAST;
    if (chunk && code >= 400 && session->ledger.count == 1 && session->phase == SMTP_PHASE_CHUNK &&
        session->payload_octets == 0)
        return SMTP_ANOMALY_AMBIGUOUS_REPLY;
    if (verb == SMTP_VERB_PROXY_HEADER && session->ledger.count > 1)
        return SMTP_ANOMALY_AMBIGUOUS_REPLY;
    return SMTP_ANOMALY_NONE;
}

/*
 * Whether a reply asks for octets that the command did not announce: then it is the reply to another one, as where a
 * greeting never ended, or octets follow that are no commands. What was covered gets such a reply in a record.
 */
static bool asks_out_of_place(const struct smtp_session *session, const struct smtp_context *context,
                              enum smtp_verb verb, uint16_t code)
{
    if (smtp_slot_fate(*smtp_ledger_oldest(&session->ledger, context->blocks)) != SMTP_FATE_PASS)
        return false;
    if (code == 354)
        return verb != SMTP_VERB_DATA && verb != SMTP_VERB_XEXCH50;
    return code == 334 && verb != SMTP_VERB_AUTH && verb != SMTP_VERB_AUTH_RESPONSE && verb != SMTP_VERB_X_EXPS;
}

/* What is wrong with a whole reply line. */
static enum smtp_anomaly reply_anomaly(const struct smtp_session *session, const struct smtp_context *context,
                                       const struct smtp_unit *unit)
{
    if (!unit->has_reply)
        return session->greeted ? SMTP_ANOMALY_REPLY_WITHOUT_CODE : SMTP_ANOMALY_NOT_SMTP;
    if (session->ledger.count == 0 || session->reply_unasked)
        /* 421 may come at any time (RFC 5321 3.8); Postfix uses 521 so, Exchange 451. */
        return unit->reply.code >= 400 ? SMTP_ANOMALY_NONE : SMTP_ANOMALY_UNEXPECTED_REPLY;
    if (!unit->reply.last)
        return SMTP_ANOMALY_NONE;
    if (asks_out_of_place(session, context, unit->verb, unit->reply.code))
        return SMTP_ANOMALY_UNEXPECTED_REPLY;
    bool sent_ahead = session->payload_octets > 0 && (session->phase == SMTP_PHASE_ASKED || session->asked_dot);
    if (unit->verb == SMTP_VERB_DATA && unit->reply.code != 354 && sent_ahead &&
        (!session->asked_dot || session->data_pending > 1))
        return SMTP_ANOMALY_MESSAGE_REFUSED;
    return two_readings(session, unit->verb, unit->reply.code);
}

/* A server that asked for a PROXY header does not answer it; no other calls it a success. */
static void settle_proxy_header(struct smtp_session *session, const struct smtp_context *context,
                                const struct smtp_line *line, struct span bytes)
{
    struct span begun = line->len ? smtp_line_so_far(line, context->blocks) : bytes;
    if (begun.len && begun.ptr[0] == '2' && oldest_verb(session, context->blocks) == SMTP_VERB_PROXY_HEADER) {
        smtp_ledger_pop(&session->ledger, context->blocks);
        session->answered++;
    }
}

static bool next_of_long_reply(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                               struct smtp_unit *unit)
{
    bool some = next_of_long(session, context, bytes, SMTP_UNIT_REPLY, unit);
    if (unit->kind == SMTP_UNIT_REPLY)
        unit->anomaly = reply_anomaly(session, context, unit);
    return some;
}

static bool next_reply(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                       bool release, struct smtp_unit *unit)
{
    settle_proxy_header(session, context, &session->lines[unit->side], *bytes);
    if (session->line_long[unit->side])
        return next_of_long_reply(session, context, bytes, unit);
    enum smtp_line_status status = take_line(session, context, bytes, unit);
    bool whole = status == SMTP_LINE_WHOLE;
    if (!whole && unit->octets.len == 0)
        return false;
    unit->kind = whole ? SMTP_UNIT_REPLY : SMTP_UNIT_FRAGMENT;
    describe_reply(session, context, unit);
    if (whole)
        unit->anomaly = reply_anomaly(session, context, unit);
    else if (!session->greeted && !smtp_reply_may_begin(unit->whole))
        unit->anomaly = SMTP_ANOMALY_NOT_SMTP;
    if (unit->anomaly == SMTP_ANOMALY_NOT_SMTP)
        unit->kind = SMTP_UNIT_OPAQUE;
    return status != SMTP_LINE_PARTIAL || release || unit->anomaly || !reply_may_matter(session, context, unit);
}

bool smtp_session_next(struct smtp_session *session, const struct smtp_context *context, enum smtp_side side,
                       struct span *bytes, bool release, struct smtp_unit *unit)
{
    enum smtp_side role = session->swapped ? (enum smtp_side) !side : side;
    *unit = (struct smtp_unit){.side = side, .role = role};
    if (session->line_over[side]) {
        smtp_line_done(&session->lines[side], context->blocks);
        session->line_over[side] = false;
        session->line_long[side] = false;
    }
    bool some;
    if (session->opaque)
        some = next_opaque(session, context, bytes, unit);
    else if (role == SMTP_SERVER)
        some = next_reply(session, context, bytes, release, unit);
    else if (session->phase == SMTP_PHASE_COMMAND)
        some = next_command(session, context, bytes, release, unit);
    else
        some = next_payload(session, context, bytes, unit);
    unit->rest = *bytes;
    return some;
}

void smtp_session_put_back(struct smtp_session *session, const struct smtp_context *context,
                           const struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[unit->side];
    struct span whole = unit->whole;
    assert(unit->role == SMTP_CLIENT && !session->line_long[unit->side]);
    if (line->len == 0)
        smtp_line_gather(line, context->blocks, &whole);
    session->put_back = unit->kind == SMTP_UNIT_COMMAND; /* else its rest has not come: as if nobody had asked for it */
    session->put_back_anomaly = (uint8_t)unit->anomaly;
}
