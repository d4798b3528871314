#include "smtp/session.h"

#include "smtp/canonical.h"
#include "smtp/proxy.h"

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
    [SMTP_ANOMALY_NUL_IN_COMMAND] = {"nul-in-command", false},
    [SMTP_ANOMALY_UNREADABLE_COMMAND] = {"unreadable-command", false},
    [SMTP_ANOMALY_UNREADABLE_ADDRESS] = {"unreadable-address", false},
    [SMTP_ANOMALY_PROXY_HEADER] = {"proxy-header", true},
    [SMTP_ANOMALY_AMBIGUOUS_CHUNK] = {"ambiguous-chunk", true},
    [SMTP_ANOMALY_CHUNK_NOT_OFFERED] = {"chunk-not-offered", false},
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
    if (session->lines[side].over || session->lines[side].is_long)
        return 0;
    return session->lines[side].len - session->lines[side].left;
}

bool smtp_session_awaits(const struct smtp_session *session, enum smtp_side side)
{
    enum smtp_side client = session->swapped ? SMTP_SERVER : SMTP_CLIENT;
    return session->awaits && session->ledger.count > 0 && side == client;
}

void smtp_session_await_no_more(struct smtp_session *session)
{
    session->awaits = false;
}

struct span smtp_session_waiting_octets(const struct smtp_session *session, const struct pool *blocks,
                                        enum smtp_side side)
{
    const struct smtp_line *line = &session->lines[side];
    if (smtp_session_waiting(session, side) == 0)
        return (struct span){0};
    return span_tail(smtp_line_so_far(line, blocks), line->left);
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

void smtp_session_encrypt(struct smtp_session *session, struct pool *blocks)
{
    session->tls_asked = session->tls_waits = session->clear_refused = false;
    session->tls_awaited = true;
    smtp_session_give_up(session, blocks);
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
        session->lines[unit->side].over = true;
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

/*
 * RFC 4954 4: a line of authentication may take 12288 octets. Exim takes what stands behind 16384 for another command.
 */
static bool is_too_long(uint64_t octets)
{
    enum { LINE_MAX = 12288 + 2 };
    return octets > LINE_MAX;
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
        if (is_too_long(session->payload_octets + taken))
            unit->anomaly = SMTP_ANOMALY_LINE_TOO_LONG;
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
    /* Whatever the line's code: clients read all lines, and judge by the last one's. */
    if (unit->has_reply && smtp_verb_is(unit->verb, SMTP_TRAIT_OFFERS) && unit->line_index > 0)
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
    if (unit->role == SMTP_CLIENT) {
        unit->command = smtp_command_parse(unit->whole);
        size_t octets = session->long_octets + unit->octets.len;
        session->long_octets = (uint16_t)(octets < UINT16_MAX ? octets : UINT16_MAX);
        if (is_too_long(octets + SMTP_LINE_BYTES_MAX))
            unit->anomaly = SMTP_ANOMALY_LINE_TOO_LONG;
    } else {
        describe_reply(session, context, unit);
    }
    return unit->octets.len > 0;
}

/* Verbs that may have to be rewritten, so that they should wait until the line is whole. */
static uint64_t verbs_that_matter(const struct smtp_session *session, const struct smtp_context *context)
{
    static const uint64_t of_void =
        UINT64_C(1) << SMTP_VERB_MAIL | UINT64_C(1) << SMTP_VERB_DATA | UINT64_C(1) << SMTP_VERB_BDAT;
    return session->void_refusal ? context->verbs | of_void : context->verbs;
}

/* Whether the server has yet to say whether it takes chunks. */
static bool may_offer_chunks(const struct smtp_session *session, const struct pool *blocks)
{
    for (uint32_t i = 0; i < session->ledger.count; i++) {
        enum smtp_verb verb = smtp_slot_verb(smtp_ledger_at(&session->ledger, blocks, i));
        if (smtp_verb_is(verb, SMTP_TRAIT_HELLO) || verb == SMTP_VERB_XCLIENT)
            return true;
    }
    return false;
}

static enum smtp_anomaly chunk_anomaly(const struct smtp_session *session, const struct smtp_command *command)
{
    uint64_t octets;
    bool last;
    if (!session->chunking)
        return SMTP_ANOMALY_CHUNK_NOT_OFFERED;
    return smtp_chunk_parse(command->argument, &octets, &last) == SMTP_CHUNK_GOOD ? SMTP_ANOMALY_NONE
                                                                                  : SMTP_ANOMALY_AMBIGUOUS_CHUNK;
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
    if (context->strict || session->closing || session->data_covered || session->tls_asked)
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

/*
 * The line with which a balancer that nobody has named begins (PROXY v1): no command, though a server that wants none
 * answers it like one. A server that wants one does not greet before.
 */
static bool is_proxy_line(const struct smtp_session *session, const struct smtp_unit *unit)
{
    return !session->addressed && !session->greeted && unit->whole.len <= SMTP_PROXY_LINE_BYTES_MAX &&
           unit->command.separated && span_equal(unit->command.word, span_of("PROXY"));
}

/* The third line of PROXY v2's signature, CR LF CR LF NUL CR LF QUIT LF, which nothing can stand before. */
static bool begins_proxy_header(const struct smtp_session *session, const struct smtp_unit *unit)
{
    static const uint8_t third[] = {'\0', '\r', '\n'};
    return !session->greeted && session->ledger.count == 3 &&
           span_equal(unit->whole, (struct span){third, sizeof third});
}

/* What is wrong with a command line; `more`: octets follow it at once. */
static enum smtp_anomaly command_anomaly(struct smtp_session *session, const struct smtp_context *context,
                                         const struct smtp_unit *unit, bool more)
{
    uint64_t octets;
    if (session->tls_asked)
        return SMTP_ANOMALY_OCTETS_BEFORE_TLS;
    if (session->data_covered)
        return SMTP_ANOMALY_MESSAGE_REFUSED;
    if (unit->command.verb == SMTP_VERB_X_LINK2STATE && link_state_overflows(session, unit))
        return SMTP_ANOMALY_LINK2STATE_OVERFLOW;
    if (unit->kind == SMTP_UNIT_FRAGMENT)
        return SMTP_ANOMALY_NONE;
    if (!unit->judged && memchr(unit->whole.ptr, '\0', unit->whole.len)) /* else it was covered */
        return begins_proxy_header(session, unit) ? SMTP_ANOMALY_PROXY_HEADER : SMTP_ANOMALY_NUL_IN_COMMAND;
    enum smtp_verb verb = unit->command.verb;
    enum smtp_anomaly chunk = verb == SMTP_VERB_BDAT ? chunk_anomaly(session, &unit->command) : SMTP_ANOMALY_NONE;
    if (chunk)
        return chunk;
    if (verb == SMTP_VERB_XEXCH50 && smtp_xexch50_parse(unit->command.argument, &octets) != SMTP_CHUNK_GOOD)
        return SMTP_ANOMALY_XEXCH50_OVERFLOW;
    if (smtp_verb_is(verb, SMTP_TRAIT_ENCRYPTS) && more)
        return SMTP_ANOMALY_OCTETS_BEFORE_TLS;
    if (talks_early(session, context, &unit->command)) {
        session->early_told = true;
        return SMTP_ANOMALY_EARLY_TALKER;
    }
    return SMTP_ANOMALY_NONE;
}

/*
 * Any line of that length but authentication is read differently by different servers (case 10), unless they see
 * something else in its place.
 */
static enum smtp_anomaly long_command_anomaly(const struct smtp_session *session, enum smtp_verb verb)
{
    bool may_be_long = smtp_verb_is(verb, SMTP_TRAIT_AUTHENTICATES) || session->fragment_judged;
    return may_be_long ? SMTP_ANOMALY_NONE : SMTP_ANOMALY_LINE_TOO_LONG;
}

/*
 * A whole command that something in force looks at takes its canonical form, in which it leaves. What cannot have it,
 * or has left in part in another one, is an anomaly. Where nothing is changed it leaves as it came, and is read so.
 */
static enum smtp_anomaly make_canonical(const struct smtp_context *context, struct smtp_unit *unit)
{
    enum smtp_verb verb = unit->command.verb;
    bool address = context->addresses >> verb & 1;
    bool looks = context->would_act && context->canonical && !unit->judged && verb < SMTP_VERB_NAMED && verb > 0 &&
                 context->verbs >> verb & 1;
    if (!looks)
        return SMTP_ANOMALY_NONE;
    size_t left = smtp_unit_left_before(unit);
    enum smtp_canonical form = smtp_canonical(unit->whole, &unit->command, address, context->canonical);
    if (form == SMTP_CANONICAL_SAME)
        return SMTP_ANOMALY_NONE;
    if (form == SMTP_CANONICAL_REWRITTEN && context->observes) {
        unit->would_leave = (struct span){context->canonical, unit->whole.len};
        unit->command = smtp_command_parse(unit->would_leave);
        return SMTP_ANOMALY_NONE;
    }
    if (form != SMTP_CANONICAL_REWRITTEN || memcmp(context->canonical, unit->whole.ptr, left) != 0)
        return address ? SMTP_ANOMALY_UNREADABLE_ADDRESS : SMTP_ANOMALY_UNREADABLE_COMMAND;
    unit->rewritten = true;
    unit->came = unit->whole;
    unit->whole = (struct span){context->canonical, unit->came.len};
    unit->octets = span_tail(unit->whole, left);
    unit->command = smtp_command_parse(unit->whole);
    return SMTP_ANOMALY_NONE;
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
    enum smtp_anomaly form = make_canonical(context, unit);
    unit->anomaly = session->put_back_anomaly ? (enum smtp_anomaly)session->put_back_anomaly : form;
    if (unit->anomaly == SMTP_ANOMALY_CHUNK_NOT_OFFERED)
        unit->anomaly = chunk_anomaly(session, &unit->command); /* it may have been since */
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
        session->lines[unit->side].is_long = true;
        session->long_octets = unit->role == SMTP_CLIENT ? 0 : session->long_octets;
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
    if (session->lines[unit->side].is_long)
        return next_of_long(session, context, bytes, SMTP_UNIT_COMMAND, unit);
    if (session->put_back)
        return next_again(session, context, unit);
    enum smtp_line_status status = take_line(session, context, bytes, unit);
    bool whole = status == SMTP_LINE_WHOLE;
    if (!whole && unit->octets.len == 0)
        return false;
    unit->kind = whole ? SMTP_UNIT_COMMAND : SMTP_UNIT_FRAGMENT;
    unit->command = smtp_command_parse(unit->whole);
    if (is_proxy_line(session, unit))
        unit->verb = SMTP_VERB_PROXY_HEADER;
    enum smtp_anomaly form = whole ? make_canonical(context, unit) : SMTP_ANOMALY_NONE;
    unit->anomaly = status == SMTP_LINE_LONG ? long_command_anomaly(session, unit->command.verb)
                                             : command_anomaly(session, context, unit, whole && bytes->len > 0);
    if (form && (!unit->anomaly || unit->anomaly == SMTP_ANOMALY_EARLY_TALKER))
        unit->anomaly = form;
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
    if (smtp_slot_fate(*slot) != SMTP_FATE_PASS || context->whole_replies || smtp_slot_waits(*slot))
        return true;
    return smtp_verb_is(smtp_slot_verb(*slot), SMTP_TRAIT_OFFERS) && session->reply_lines > 0 &&
           smtp_keyword_may_come(context->keywords, unit->whole);
}

/* Whether the client has sent more behind the command that the oldest slot stands for. */
static bool more_sent(const struct smtp_session *session)
{
    enum smtp_side client = session->swapped ? SMTP_SERVER : SMTP_CLIENT;
    return session->ledger.count > 1 || (session->lines[client].len > 0 && !session->lines[client].over);
}

/* Whether a reply that ends in `code` leaves two readings of what the client sends. */
static enum smtp_anomaly two_readings(const struct smtp_session *session, enum smtp_verb verb, uint16_t code)
{
    if (smtp_verb_is(verb, SMTP_TRAIT_AUTHENTICATES) && code == 334 && more_sent(session))
        return SMTP_ANOMALY_AMBIGUOUS_RESPONSE;
    if (verb == SMTP_VERB_XEXCH50 && code == 354 && more_sent(session))
        return SMTP_ANOMALY_AMBIGUOUS_REPLY;
    /* A client that waits for replies will not send the octets; one that does not has them on their way (case 48). */
    if (smtp_verb_is(verb, SMTP_TRAIT_CHUNK) && code >= 400 && session->ledger.count == 1 &&
        session->phase == SMTP_PHASE_CHUNK && session->payload_octets == 0)
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
    enum smtp_fate fate = smtp_slot_fate(*smtp_ledger_oldest(&session->ledger, context->blocks));
    if (fate != SMTP_FATE_PASS && fate != SMTP_FATE_REPLACE_IF_BARE)
        return false;
    if (code == 354)
        return !smtp_verb_is(verb, SMTP_TRAIT_PAYLOAD);
    return code == 334 && !smtp_verb_is(verb, SMTP_TRAIT_AUTHENTICATES);
}

/* What is wrong with a whole reply line. */
static enum smtp_anomaly reply_anomaly(const struct smtp_session *session, const struct smtp_context *context,
                                       const struct smtp_unit *unit)
{
    if (!unit->has_reply)
        return session->greeted ? SMTP_ANOMALY_REPLY_WITHOUT_CODE : SMTP_ANOMALY_NOT_SMTP;
    if (session->server_closes)
        return SMTP_ANOMALY_UNEXPECTED_REPLY;
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
    if (session->lines[unit->side].is_long)
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

/* Whether no more can be noted of what is owed a reply, with what a command may draw besides its own. */
static bool is_ledger_full(const struct smtp_session *session)
{
    enum { COMMAND_AND_PAYLOAD = 2 };
    return session->phase == SMTP_PHASE_COMMAND && session->ledger.count > SMTP_LEDGER_SLOTS_MAX - COMMAND_AND_PAYLOAD;
}

/* Whether the reply to EHLO says what the octets behind this command are. */
static bool awaits_offer(const struct smtp_session *session, const struct smtp_context *context,
                         const struct smtp_unit *unit)
{
    return unit->kind == SMTP_UNIT_COMMAND && unit->command.verb == SMTP_VERB_BDAT &&
           !session->lines[unit->side].is_long && may_offer_chunks(session, context->blocks);
}

/*
 * The PROXY header of a balancer, up to its last octet. What begins like one and is none is an anomaly: nobody knows
 * where it ends. False, with `proxied` false, where it is none.
 */
static bool next_header(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                        bool release, struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[unit->side];
    struct smtp_proxy proxy;
    struct span whole = line->len ? smtp_line_so_far(line, context->blocks) : *bytes;
    enum smtp_proxy_status status = smtp_proxy_parse(whole, &proxy);
    if (line->len == 0 && status != SMTP_PROXY_MORE && status != SMTP_PROXY_NONE) {
        unit->whole = status == SMTP_PROXY_GOOD ? span_head(whole, proxy.len) : whole;
        *bytes = span_tail(*bytes, unit->whole.len);
    }
    while (status == SMTP_PROXY_MORE && bytes->len) {
        struct span part = span_head(*bytes, proxy.len - line->len), gathered = part;
        smtp_line_gather(line, context->blocks, &gathered);
        status = smtp_proxy_parse(smtp_line_so_far(line, context->blocks), &proxy);
        if (status == SMTP_PROXY_NONE)
            line->len = (uint16_t)(line->len - part.len); /* an octet that may end the line */
        else
            *bytes = span_tail(*bytes, part.len);
    }
    session->proxied = status != SMTP_PROXY_NONE;
    if (!session->proxied)
        return false;
    if (line->len)
        unit->whole = smtp_line_so_far(line, context->blocks);
    unit->octets = span_tail(unit->whole, line->left);
    unit->verb = SMTP_VERB_PROXY_HEADER;
    unit->kind = status == SMTP_PROXY_GOOD  ? SMTP_UNIT_PAYLOAD
                 : status == SMTP_PROXY_BAD ? SMTP_UNIT_OPAQUE
                                            : SMTP_UNIT_FRAGMENT;
    unit->ends_payload = status == SMTP_PROXY_GOOD;
    unit->anomaly = status == SMTP_PROXY_BAD ? SMTP_ANOMALY_PROXY_HEADER : SMTP_ANOMALY_NONE;
    return status != SMTP_PROXY_MORE || (release && unit->octets.len > 0);
}

/* The client's next unit; none where it waits for the server. */
static bool next_of_client(struct smtp_session *session, const struct smtp_context *context, struct span *bytes,
                           bool release, struct smtp_unit *unit)
{
    bool holds = context->holds && !release;
    if (holds && is_ledger_full(session))
        session->awaits = true;
    if (smtp_session_awaits(session, unit->side))
        return false;
    if (session->phase != SMTP_PHASE_COMMAND)
        return next_payload(session, context, bytes, unit);
    /* A server that wants a header does not greet before; what has begun goes on. */
    session->proxied = session->proxied && (!session->greeted || session->lines[unit->side].len > 0);
    bool header = session->proxied && next_header(session, context, bytes, release, unit);
    if (header || session->proxied)
        return header;
    bool some = next_command(session, context, bytes, release, unit);
    if (!some || !holds || !awaits_offer(session, context, unit))
        return some;
    smtp_session_put_back(session, context, unit);
    session->awaits = true;
    return false;
}

/* What was given out whole is over. */
static void finish_line(struct smtp_session *session, const struct smtp_context *context, enum smtp_side side)
{
    if (!session->lines[side].over)
        return;
    smtp_line_done(&session->lines[side], context->blocks);
}

/* Whether a reply of which nothing is promised goes on, as it came, at the beginning of a line. */
static bool is_amid_reply(const struct smtp_session *session, enum smtp_side side)
{
    bool undisturbed = session->ledger.promised == 0 && session->reply_passed && !session->reply_cut &&
                       !session->reply_unasked && !session->server_closes && !session->opaque;
    return undisturbed && session->reply_lines > 0 && session->ledger.count > 0 && session->lines[side].len == 0;
}

/* Whether something is remembered of a server that offers this: PIPELINING, CHUNKING, PIPECONNECT in all its names. */
static bool is_remembered(struct span keyword)
{
    uint8_t initial = keyword.len ? ascii_upper(keyword.ptr[0]) : 0;
    return initial == 'P' || initial == 'C' || (initial == 'X' && keyword.len == 1);
}

/* A line of an EHLO reply and its keyword; false where it is not all there, or not such a line. */
static bool read_offer(struct span bytes, struct span *line, struct smtp_reply *reply, struct span *keyword)
{
    *line = smtp_line_first(bytes);
    if (line->len == 0 || line->len >= SMTP_LINE_BYTES_MAX || !smtp_reply_parse(*line, reply))
        return false;
    *keyword = smtp_reply_keyword(reply->text);
    return true;
}

/* Whether every line from this one to the reply's last, which is among `bytes`, is taken out. */
static bool all_are_stripped(const struct smtp_context *context, struct span bytes)
{
    struct span line, keyword;
    struct smtp_reply reply;
    do {
        if (!read_offer(bytes, &line, &reply, &keyword) || !smtp_keyword_in(context->keywords, keyword))
            return false;
        bytes = span_tail(bytes, line.len);
    } while (!reply.last);
    return true;
}

struct smtp_lines smtp_session_take_lines(struct smtp_session *session, const struct smtp_context *context,
                                          enum smtp_side side, uint32_t spare, struct span *bytes)
{
    struct smtp_lines lines = {.octets = {bytes->ptr, 0}};
    struct span line, keyword;
    struct smtp_reply reply;
    enum smtp_side role = session->swapped ? (enum smtp_side) !side : side;
    if (!context->by_keyword || role != SMTP_SERVER || session->reply_lines == 0)
        return lines;
    finish_line(session, context, side);
    if (!is_amid_reply(session, side) || !smtp_verb_is(oldest_verb(session, context->blocks), SMTP_TRAIT_OFFERS))
        return lines;
    bool more = read_offer(*bytes, &line, &reply, &keyword);
    bool strips = more && smtp_keyword_in(context->keywords, keyword), stripped = strips;
    while (more && !reply.last && !is_remembered(keyword)) {
        lines.more = stripped != strips;
        if (lines.more)
            break;
        size_t len = line.len;
        struct span behind = span_tail(*bytes, len);
        more = read_offer(behind, &line, &reply, &keyword);
        stripped = more && smtp_keyword_in(context->keywords, keyword);
        if (strips ? lines.octets.len + len > spare : stripped && all_are_stripped(context, behind))
            break; /* it must leave in another form: as long as it came, or as the last line */
        lines.octets.len += len;
        lines.stripped += strips;
        *bytes = behind;
        session->reply_lines = (uint16_t)(session->reply_lines + (session->reply_lines < UINT16_MAX));
    }
    return lines;
}

bool smtp_session_next(struct smtp_session *session, const struct smtp_context *context, enum smtp_side side,
                       struct span *bytes, bool release, struct smtp_unit *unit)
{
    enum smtp_side role = session->swapped ? (enum smtp_side) !side : side;
    *unit = (struct smtp_unit){.side = side, .role = role};
    finish_line(session, context, side);
    bool some;
    if (session->opaque)
        some = next_opaque(session, context, bytes, unit);
    else if (role == SMTP_SERVER)
        some = next_reply(session, context, bytes, release, unit);
    else
        some = next_of_client(session, context, bytes, release, unit);
    unit->rest = *bytes;
    return some;
}

void smtp_session_put_back(struct smtp_session *session, const struct smtp_context *context,
                           const struct smtp_unit *unit)
{
    struct smtp_line *line = &session->lines[unit->side];
    struct span whole = unit->rewritten ? unit->came : unit->whole;
    assert(unit->role == SMTP_CLIENT && !session->lines[unit->side].is_long);
    if (line->len == 0)
        smtp_line_gather(line, context->blocks, &whole);
    session->put_back = unit->kind == SMTP_UNIT_COMMAND; /* else its rest has not come: as if nobody had asked for it */
    session->put_back_anomaly = (uint8_t)unit->anomaly;
}
