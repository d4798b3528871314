#include "smtp/change.h"
#include "smtp/session.h"
#include "smtp/treatment.h"

/*
 * Whether the reply to a command says what the next ones are about: servers refuse MAIL in a transaction, or begin
 * another one (RFC 5321 4.1.4), and what is to end one may be refused.
 */
static bool decides_transaction(const struct smtp_session *session, enum smtp_verb verb)
{
    return session->mail_open &&
           (verb == SMTP_VERB_MAIL || verb == SMTP_VERB_RSET || smtp_verb_is(verb, SMTP_TRAIT_HELLO));
}

/* Remember that a command went to the server; without memory for it, follow the session no longer. */
static void owe(struct smtp_session *session, const struct smtp_context *context, enum smtp_verb verb,
                enum smtp_fate fate, uint8_t refusal)
{
    if (!smtp_ledger_push(&session->ledger, context->blocks, smtp_slot_of(verb, fate, refusal)))
        smtp_session_give_up(session, context->blocks);
    bool asks = fate == SMTP_FATE_PASS || fate == SMTP_FATE_REPLACE_IF_BARE;
    bool names = context->awaits_helo && smtp_verb_is(verb, SMTP_TRAIT_HELLO);
    session->awaits = context->holds && asks &&
                      (smtp_verb_is(verb, SMTP_TRAIT_AWAITS) || names || decides_transaction(session, verb));
    if (verb == SMTP_VERB_MAIL) {
        session->mail_nested = session->mail_open;
        session->mail_open = true;
    } else if (verb == SMTP_VERB_END_OF_DATA || (verb == SMTP_VERB_BDAT_LAST && session->recipients > 0)) {
        session->mail_open = false; /* without a recipient BDAT is refused, and servers keep the transaction */
    }
}

static void owe_plain(struct smtp_session *session, const struct smtp_context *context, enum smtp_verb verb)
{
    owe(session, context, verb, SMTP_FATE_PASS, SMTP_REFUSAL_NONE);
}

/* A whole command has gone to the server as it came, or so that its meaning there is the same but for its end. */
static void command_went(struct smtp_session *session, const struct smtp_context *context,
                         const struct smtp_command *command, bool header, struct smtp_treatment treatment)
{
    enum smtp_verb verb = command->verb;
    bool last = false;
    if (verb == SMTP_VERB_BDAT && session->chunking) {
        uint64_t octets = 0;
        (void)smtp_chunk_parse(command->argument, &octets, &last);
        session->chunk_left = octets;
        session->chunk_verb = SMTP_VERB_UNKNOWN; /* the BDAT itself draws the reply, behind its octets */
        session->payload_octets = 0;
        if (octets > 0)
            session->phase = SMTP_PHASE_CHUNK;
        if (last && treatment.cover != SMTP_COVER_LAST)
            verb = SMTP_VERB_BDAT_LAST;
        else if (last)
            treatment.fate = SMTP_FATE_REPLACE_EACH;
    } else if (verb == SMTP_VERB_XEXCH50) {
        (void)smtp_xexch50_parse(command->argument, &session->chunk_left);
    } else if (verb == SMTP_VERB_DATA) {
        session->phase = SMTP_PHASE_ASKED;
        session->body = SMTP_BODY_LINE;
        session->ambiguous_end = false;
        session->payload_octets = 0;
        session->asked_lines = 0;
        session->asked_word_len = 0;
        session->asked_dot = false;
        if (session->data_pending < UINT8_MAX)
            session->data_pending++;
    } else if (smtp_verb_is(verb, SMTP_TRAIT_ENCRYPTS)) {
        session->tls_asked = true;
    } else if (smtp_verb_is(verb, SMTP_TRAIT_OFFERS) && !context->holds) {
        session->chunking = true; /* until the reply says otherwise: what follows does not wait for it */
    } else if (header) {
        verb = SMTP_VERB_PROXY_HEADER;
    }
    if (verb == SMTP_VERB_RSET && command->argument.len == 0)
        session->mail_open = false; /* RFC 5321 4.1.1.5: nobody refuses that */
    session->addressed = true;
    owe(session, context, verb, treatment.fate, treatment.refusal);
}

/* Which verb the server will answer, where it sees another one. */
static enum smtp_verb covered_verb(enum smtp_cover cover, enum smtp_verb verb)
{
    switch (cover) {
    case SMTP_COVER_NOOP:
        return SMTP_VERB_NOOP;
    case SMTP_COVER_RSET:
        return SMTP_VERB_RSET;
    case SMTP_COVER_QUIT:
        return SMTP_VERB_QUIT;
    case SMTP_COVER_NONE:
    case SMTP_COVER_PATH:
    case SMTP_COVER_COMMENT:
    case SMTP_COVER_LAST:
        break;
    }
    return verb;
}

/* X-LINK2STATE FIRST, then NEXT until LAST, and nothing else in between. */
static void note_link_state(struct smtp_session *session, const struct smtp_command *command)
{
    bool chunk = command->verb == SMTP_VERB_X_LINK2STATE;
    if (chunk && span_equal_nocase(span_head(command->argument, 5), span_of("FIRST"))) {
        session->link_state_asked = true;
    } else if (!chunk || !span_equal_nocase(span_head(command->argument, 4), span_of("NEXT"))) {
        session->link_state_asked = false;
        session->link_state_open = false;
    }
}

static void commit_command(struct smtp_session *session, const struct smtp_context *context,
                           const struct smtp_unit *unit, struct smtp_action action, struct smtp_change *change)
{
    struct smtp_line *line = &session->lines[unit->side];
    bool continued = unit->judged;
    struct smtp_treatment treatment = {(enum smtp_cover)session->fragment_cover, SMTP_FATE_REPLACE,
                                       session->fragment_refusal};
    if (!continued)
        treatment = smtp_treat(session, unit, action);
    if (treatment.cover != SMTP_COVER_NONE)
        smtp_change_cover(change, unit, treatment.cover, continued);
    else if (unit->rewritten)
        smtp_change_to(change, unit->octets);
    change->changed = change->changed || unit->rewritten;

    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        if (treatment.cover != SMTP_COVER_NONE && !continued) {
            line->changed_from = line->left;
            session->fragment_judged = true;
            session->fragment_cover = (uint8_t)treatment.cover;
            session->fragment_refusal = treatment.refusal;
        }
        line->left = line->len;
        return;
    }
    line->over = true;
    session->fragment_judged = false;
    note_link_state(session, &unit->command);
    if (treatment.cover == SMTP_COVER_RSET && unit->command.verb == SMTP_VERB_DATA)
        session->data_covered = true;
    if (treatment.cover == SMTP_COVER_LAST) {
        smtp_void_begin(session, treatment.refusal);
        session->void_held = true;
    }
    enum smtp_verb verb = covered_verb(treatment.cover, unit->command.verb);
    if (verb == unit->command.verb) {
        command_went(session, context, &unit->command, unit->verb == SMTP_VERB_PROXY_HEADER, treatment);
        return;
    }
    /* A record may go on with the octets of an XEXCH50 that was refused only here. */
    if (unit->command.verb == SMTP_VERB_XEXCH50) {
        (void)smtp_xexch50_parse(unit->command.argument, &session->chunk_left);
        verb = SMTP_VERB_XEXCH50;
    }
    session->mail_open = session->mail_open && verb != SMTP_VERB_RSET;
    owe(session, context, verb, treatment.fate, treatment.refusal);
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
        owe_plain(session, context, SMTP_VERB_END_OF_DATA);
        break;
    case SMTP_PHASE_MESSAGE:
        if (!unit->ends_payload)
            return;
        owe_plain(session, context, SMTP_VERB_END_OF_DATA);
        break;
    case SMTP_PHASE_CHUNK:
        session->chunk_left -= unit->octets.len;
        if (!unit->ends_payload)
            return;
        if (session->chunk_verb != SMTP_VERB_UNKNOWN)
            owe(session, context, (enum smtp_verb)session->chunk_verb,
                session->discard ? SMTP_FATE_VANISH : SMTP_FATE_PASS, SMTP_REFUSAL_NONE);
        session->discard = false;
        break;
    case SMTP_PHASE_RESPONSE:
        if (!unit->ends_payload)
            return;
        owe_plain(session, context, SMTP_VERB_AUTH_RESPONSE);
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

/* The server holds no transaction any more. */
static void transaction_ended(struct smtp_session *session)
{
    session->recipients = 0;
    session->mail_open = false;
    smtp_void_end(session);
}

/* TURN or ATRN was accepted: the ends change their parts and begin anew, at the greeting (RFC 2645 5.3, case 55). */
static void swap_roles(struct smtp_session *session, const struct smtp_context *context)
{
    bool talks = false;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        talks = talks || (session->lines[side].len > 0 && !session->lines[side].over);
    if (session->ledger.count > 0 || session->phase != SMTP_PHASE_COMMAND || talks) {
        smtp_session_give_up(session, context->blocks);
        return;
    }
    session->swapped = !session->swapped;
    session->greeted = false;
    session->pipelining = false;
    session->chunking = false;
    session->lmtp = false;
    owe_plain(session, context, SMTP_VERB_CONNECT);
}

/* A reply is complete: what does it change? */
static void reply_came(struct smtp_session *session, const struct smtp_context *context, struct smtp_slot slot,
                       uint16_t code, uint16_t shown_code)
{
    bool success = code / 100 == 2;
    bool refused = smtp_slot_fate(slot) == SMTP_FATE_REPLACE;
    enum smtp_verb verb = smtp_slot_verb(slot);
    switch (verb) {
    case SMTP_VERB_EHLO:
    case SMTP_VERB_HELO:
    case SMTP_VERB_LHLO:
    case SMTP_VERB_XCLIENT:
        /* XCLIENT begins the session anew, at the greeting that is its reply. */
        session->lmtp = success ? verb == SMTP_VERB_LHLO : session->lmtp;
        if (success || !context->holds)
            session->chunking = success && smtp_verb_is(verb, SMTP_TRAIT_OFFERS) && session->chunking_comes;
        if (success)
            transaction_ended(session);
        break;
    case SMTP_VERB_RSET:
        if (success)
            transaction_ended(session);
        session->data_covered = session->data_covered && !refused;
        break;
    case SMTP_VERB_MAIL:
        if (success)
            session->recipients = 0;
        session->deferred_now = false;
        break;
    case SMTP_VERB_RCPT:
        if (success && smtp_slot_fate(slot) == SMTP_FATE_PASS && session->recipients < UINT16_MAX)
            session->recipients++;
        session->deferred_now = session->deferred_now || shown_code / 100 == 4;
        smtp_void_answered(session, smtp_slot_fate(slot), success);
        break;
    case SMTP_VERB_X_LINK2STATE:
        session->link_state_open = success && session->link_state_asked;
        break;
    case SMTP_VERB_TURN:
    case SMTP_VERB_ATRN:
        if (success)
            swap_roles(session, context);
        break;
    case SMTP_VERB_DATA:
        data_answered(session, code);
        break;
    case SMTP_VERB_STARTTLS:
    case SMTP_VERB_X_ANONYMOUSTLS:
        session->tls_waits = session->tls_asked = success && smtp_slot_waits(slot);
        session->tls_awaited = false;
        if (success && !session->tls_waits)
            smtp_session_encrypt(session, context->blocks);
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
            owe(session, context, SMTP_VERB_XEXCH50_DATA, refused ? SMTP_FATE_VANISH : SMTP_FATE_PASS,
                SMTP_REFUSAL_NONE);
        break;
    default:
        break;
    }
}

/* The last line of a reply, whose code the client reads as `shown_code`: close the slot it answers. */
static void close_slot(struct smtp_session *session, const struct smtp_context *context, uint16_t code,
                       uint16_t shown_code)
{
    if (session->reply_unasked) {
        /* A server that gives up says so unasked, and closes (RFC 5321 3.8): there is nothing to pair any more. */
        session->reply_unasked = false;
        session->server_closes = true;
        if (!context->strict)
            smtp_session_give_up(session, context->blocks);
        return;
    }
    struct smtp_slot answered = *smtp_ledger_oldest(&session->ledger, context->blocks);
    enum smtp_verb verb = smtp_slot_verb(answered);
    bool ends_message = smtp_verb_is(verb, SMTP_TRAIT_ENDS_MESSAGE);
    if (ends_message && session->recipients > 0 && (code == 353 || session->lmtp)) {
        /* PRDR: 353, one reply for each recipient, and one for all; LMTP: one for each recipient (case 21). */
        session->extra_replies = (uint16_t)(session->extra_replies + session->recipients - (code == 353 ? 0 : 1));
        session->recipients = 0;
        if (code == 353)
            return;
    }
    if (ends_message && session->extra_replies > 0) {
        session->extra_replies--;
        return;
    }
    smtp_ledger_pop(&session->ledger, context->blocks);
    session->answered++;
    if (session->void_slots > 0)
        session->void_slots--;
    reply_came(session, context, answered, code, shown_code);
}

/* 421 announces that the server closes the connection, as Postfix's 521 does: the client must see it (RFC 5321 3.8). */
static bool says_goodbye(const struct smtp_unit *unit)
{
    struct span code = span_head(unit->whole, SMTP_REFUSAL_CODE_LEN);
    bool is_reply = unit->has_reply || (unit->kind == SMTP_UNIT_FRAGMENT && smtp_reply_may_begin(unit->whole));
    return is_reply && (span_equal(code, span_of("421")) || span_equal(code, span_of("521")));
}

/* The command that this reply answers; NULL where nobody has asked, and where all replies that are owed simply pass. */
static const struct smtp_slot *slot_of_reply(const struct smtp_session *session, const struct smtp_context *context)
{
    if (session->ledger.promised == 0 || session->reply_unasked)
        return NULL;
    return smtp_ledger_oldest(&session->ledger, context->blocks);
}

/* Whether a reply to what `slot` stands for is one that ours takes the place of, unless it says goodbye. */
static bool is_unwanted(const struct smtp_session *session, const struct smtp_unit *unit, struct smtp_slot slot)
{
    enum smtp_fate fate = smtp_slot_fate(slot);
    bool bare = session->recipients == 0 && session->deferred_now;
    return !session->lines[unit->side].is_long && !session->reply_passed &&
           (fate == SMTP_FATE_REPLACE || fate == SMTP_FATE_REPLACE_EACH || fate == SMTP_FATE_REPLACE_SPOILED ||
            (fate == SMTP_FATE_REPLACE_IF_OK && unit->whole.ptr[0] == '2') ||
            (fate == SMTP_FATE_REPLACE_IF_BARE && unit->whole.ptr[0] == '5' && bare));
}

/* Whether our own reply to what `slot` stands for leaves in place of this line of the server's. */
static bool is_replaced(const struct smtp_session *session, const struct smtp_unit *unit, struct smtp_slot slot)
{
    return session->reply_sent > 0 /* it has begun to */ || (is_unwanted(session, unit, slot) && !says_goodbye(unit));
}

bool smtp_session_withholds_code(const struct smtp_session *session, const struct smtp_context *context,
                                 const struct smtp_unit *unit)
{
    size_t before = smtp_unit_left_before(unit);
    if (before == 0 || before >= SMTP_REFUSAL_CODE_LEN || session->reply_sent > 0)
        return false;
    const struct smtp_slot *slot = slot_of_reply(session, context);
    return slot && is_unwanted(session, unit, *slot);
}

/* How often our own reply leaves in place of one with this fate (RFC 2033 4.3). */
static uint16_t replies_wanted(const struct smtp_session *session, enum smtp_fate fate)
{
    bool each = fate == SMTP_FATE_REPLACE_EACH && session->lmtp && session->recipients > 0;
    return each ? session->recipients : 1;
}

uint8_t smtp_session_reply_refusal(const struct smtp_session *session, const struct smtp_context *context,
                                   const struct smtp_unit *unit)
{
    const struct smtp_slot *slot = slot_of_reply(session, context);
    if (!slot || smtp_slot_fate(*slot) == SMTP_FATE_VANISH || !is_replaced(session, unit, *slot))
        return SMTP_REFUSAL_NONE;
    return slot->refusal;
}

uint8_t smtp_session_reply_consent(const struct smtp_session *session, const struct smtp_context *context,
                                   const struct smtp_unit *unit)
{
    const struct smtp_slot *slot = smtp_ledger_oldest(&session->ledger, context->blocks);
    bool begins = unit->role == SMTP_SERVER && unit->line_index == 0 && unit->whole.len > 0;
    if (!slot || !smtp_slot_waits(*slot) || session->reply_unasked || !begins || unit->whole.ptr[0] != '2')
        return SMTP_REFUSAL_NONE;
    return slot->refusal;
}

uint16_t smtp_session_own_code(const struct smtp_session *session, const struct smtp_context *context,
                               const struct smtp_unit *unit)
{
    uint8_t refusal = smtp_session_reply_refusal(session, context, unit);
    if (refusal == SMTP_REFUSAL_NONE)
        return unit->has_reply ? unit->reply.code : 0;
    const uint8_t *digits = smtp_refusal_form(context->refusals, refusal, 0).ptr;
    return (uint16_t)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0'));
}

/* What the EHLO reply offers, as the client sees it. */
static void note_keyword(struct smtp_session *session, const struct smtp_unit *unit, bool stripped)
{
    if (!smtp_verb_is(unit->verb, SMTP_TRAIT_OFFERS))
        return;
    if (unit->line_index == 0)
        session->pipelining = session->chunking_comes = false;
    else if (!stripped && span_equal_nocase(unit->keyword, span_of("PIPELINING")))
        session->pipelining = true;
    else if (span_equal_nocase(unit->keyword, span_of("CHUNKING")))
        session->chunking_comes = true; /* to whom it is shown or not: the server takes it */
}

static void commit_reply(struct smtp_session *session, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action, struct smtp_room room, struct smtp_change *change)
{
    struct smtp_line *line = &session->lines[unit->side];
    session->reply_unasked = session->reply_unasked || session->ledger.count == 0;
    const struct smtp_slot *slot = slot_of_reply(session, context);
    enum smtp_fate fate = slot ? smtp_slot_fate(*slot) : SMTP_FATE_PASS;
    bool withheld = smtp_session_withholds(session, context, unit), fits = true;
    bool replaced = slot && is_replaced(session, unit, *slot);
    if (fate == SMTP_FATE_VANISH)
        smtp_change_remove(change, room);
    else if (replaced)
        fits = smtp_change_replace(change, unit, context->refusals, slot->refusal, replies_wanted(session, fate), room,
                                   &session->reply_sent);
    else if (withheld)
        smtp_change_restore(change, unit);
    else if (action.kind == SMTP_ACTION_STRIP && unit->verb == SMTP_VERB_CONNECT)
        smtp_change_mask(change, unit, room);
    else if (action.kind == SMTP_ACTION_STRIP && !unit->judged)
        smtp_change_strip(change, unit, room, session->reply_cut);
    else if (action.kind == SMTP_ACTION_MAKE_LAST)
        session->reply_cut = smtp_change_make_last(change, unit, room);

    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        bool spoiled = action.kind == SMTP_ACTION_STRIP && unit->keyword.len;
        if (spoiled && !session->reply_fragment_judged)
            line->changed_from = line->left;
        line->left = line->len;
        session->reply_fragment_judged = session->reply_fragment_judged || spoiled;
        return;
    }
    line->over = true;
    session->reply_fragment_judged = false;
    session->greeted = true;
    note_keyword(session, unit, action.kind == SMTP_ACTION_STRIP);
    session->reply_passed = !replaced && !unit->reply.last;
    if (!unit->reply.last) {
        if (session->reply_lines < UINT16_MAX)
            session->reply_lines++;
        return;
    }
    session->reply_lines = 0;
    session->reply_cut = false;
    if (!fits || (fate == SMTP_FATE_MUST_SUCCEED && unit->reply.code / 100 != 2 && !says_goodbye(unit))) {
        change->reset = true;
        smtp_session_give_up(session, context->blocks);
        return;
    }
    bool recipient = unit->verb == SMTP_VERB_RCPT; /* of others nobody asks what the client read */
    close_slot(session, context, unit->reply.code,
               recipient ? smtp_session_reply_code(session, context, unit) : unit->reply.code);
}

void smtp_session_left(const struct smtp_session *session, const struct smtp_unit *unit, size_t left, uint8_t *out)
{
    static const struct smtp_room any = {0};
    memcpy(out, unit->whole.ptr, left);
    size_t from = session->lines[unit->side].changed_from;
    if (!unit->judged || from >= left)
        return;
    struct smtp_change change = {0};
    struct smtp_unit part = *unit;
    part.kind = SMTP_UNIT_FRAGMENT;
    part.whole = span_head(unit->whole, left);
    part.octets = span_tail(part.whole, from);
    if (unit->role == SMTP_CLIENT)
        smtp_change_cover(&change, &part, (enum smtp_cover)session->fragment_cover, false);
    else
        smtp_change_strip(&change, &part, any, false);
    if (change.changed && change.len == part.octets.len)
        memcpy(out + from, change.octets, change.len);
}

/*
 * Whether the connection must be reset: so the policy wants it, or it wants it closed and no command can say so, or an
 * attack has come so far that covering the rest of its line does not end it.
 */
static bool must_reset(const struct smtp_session *session, const struct smtp_unit *unit, struct smtp_action action)
{
    if (action.kind == SMTP_ACTION_RESET)
        return true;
    if (unit->anomaly == SMTP_ANOMALY_PROXY_HEADER && unit->kind == SMTP_UNIT_OPAQUE)
        return action.kind != SMTP_ACTION_PASS; /* what ends nowhere cannot be covered */
    size_t left = smtp_unit_left_before(unit);
    struct span word = unit->command.word;
    bool voids = unit->anomaly == SMTP_ANOMALY_UNREADABLE_ADDRESS; /* what has left of MAIL and RCPT comes to nothing */
    if (action.kind == SMTP_ACTION_REFUSE && unit->anomaly && !voids && !unit->judged && left > 0)
        return left >= (size_t)(word.ptr - unit->whole.ptr) + word.len;
    return action.kind == SMTP_ACTION_CLOSE &&
           (unit->role == SMTP_SERVER || unit->judged || !smtp_treatment_can_close(session, unit));
}

void smtp_session_commit(struct smtp_session *session, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action, struct smtp_room room, struct smtp_change *change)
{
    change->changed = false;
    change->bounded = false;
    change->reset = false;
    change->len = 0;
    if (unit->role == SMTP_CLIENT && unit->kind == SMTP_UNIT_OPAQUE)
        session->tls_awaited = false;
    /* A message behind a refused DATA would be commands to the server (case 36). */
    bool over = session->closing || (session->data_covered && action.kind == SMTP_ACTION_PASS);
    if (over && unit->role == SMTP_CLIENT)
        action = (struct smtp_action){.kind = SMTP_ACTION_CLOSE, .refusal = SMTP_REFUSAL_CLOSING};
    bool lost = smtp_anomaly_loses_pairing(unit->anomaly) && action.kind == SMTP_ACTION_PASS;
    /* What was kept back of a line cannot be added where lengths must stay. */
    bool lacks = unit->role == SMTP_SERVER && !room.resize && smtp_session_withholds(session, context, unit);
    change->reset = lacks || must_reset(session, unit, action);
    if (lost && unit->kind == SMTP_UNIT_REPLY)
        commit_reply(session, context, unit, action, room, change); /* it may answer what was refused here */
    if (lost || change->reset) {
        session->lines[unit->side].left = session->lines[unit->side].len;
        session->lines[unit->side].over = true;
        smtp_session_give_up(session, context->blocks);
        return;
    }
    switch (unit->kind) {
    case SMTP_UNIT_OPAQUE:
        return;
    case SMTP_UNIT_PAYLOAD:
        if (unit->verb == SMTP_VERB_PROXY_HEADER) {
            session->proxied = false; /* nobody answers it */
            session->lines[unit->side].over = true;
            break;
        }
        commit_payload(session, context, unit, room, change);
        break;
    case SMTP_UNIT_COMMAND:
    case SMTP_UNIT_REPLY:
    case SMTP_UNIT_FRAGMENT:
        if (unit->role == SMTP_CLIENT)
            commit_command(session, context, unit, action, change);
        else
            commit_reply(session, context, unit, action, room, change);
        break;
    }
}
