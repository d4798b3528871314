#include "smtp/treatment.h"

void smtp_void_begin(struct smtp_session *session, uint8_t others)
{
    if (session->void_refusal == SMTP_REFUSAL_NONE) {
        session->void_refusal = others;
        session->void_held = false;
        session->void_late = false;
    }
    session->void_slots = (uint16_t)(session->ledger.count + 1); /* the slot of this command comes next */
}

/*
 * How the server is kept from the next recipient that is refused alone. It hangs up if it has seen too much of one
 * kind, and then nobody gets the message: Exim at the fourth error of syntax and at the eleventh NOOP, Postfix behind
 * its twentieth error, and 100 NOOPs later; sendmail slows down from the twentieth NOOP on.
 */
static enum smtp_cover spoil_cover(const struct smtp_session *session, const struct smtp_unit *unit)
{
    enum { NOOPS = 8, COMMENTS = 18, BAD_DOMAINS = 2 };
    /* A server that synchronises hangs up on a NOOP with something behind it. */
    bool alone = session->ledger.count == 0 && !session->pipelining && unit->rest.len == 0;
    if (alone && (session->spoiled < NOOPS || session->spoiled >= NOOPS + COMMENTS))
        return SMTP_COVER_NOOP;
    /* Exim adds a domain to what has none, for hosts that are listed so: a few are refused there, too. */
    return !alone && session->spoiled < BAD_DOMAINS ? SMTP_COVER_PATH : SMTP_COVER_COMMENT;
}

/* One recipient is refused, and the others go on. */
static struct smtp_treatment spoil(struct smtp_session *session, const struct smtp_unit *unit, uint8_t refusal)
{
    if (unit->octets.len < unit->whole.len) {
        /* Its beginning has left: this one is refused all the same, and the others try again. */
        smtp_void_begin(session, SMTP_REFUSAL_TRY_AGAIN);
        return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_REPLACE_IF_OK, refusal};
    }
    enum smtp_cover cover = spoil_cover(session, unit);
    if (session->spoiled < UINT8_MAX)
        session->spoiled++;
    session->spoiled_now = true;
    return (struct smtp_treatment){cover, cover == SMTP_COVER_NOOP ? SMTP_FATE_REPLACE : SMTP_FATE_REPLACE_SPOILED,
                                   refusal};
}

static struct smtp_treatment refuse(struct smtp_session *session, const struct smtp_unit *unit, uint8_t refusal)
{
    switch (unit->command.verb) {
    case SMTP_VERB_RCPT:
        /* Before the line is whole there is no address to be judged. */
        if (unit->kind == SMTP_UNIT_FRAGMENT)
            return (struct smtp_treatment){0};
        return spoil(session, unit, refusal);
    case SMTP_VERB_MAIL:
        if (unit->kind == SMTP_UNIT_COMMAND && unit->octets.len < unit->whole.len) {
            /* The address has left: what the server begins with it comes to nothing. */
            smtp_void_begin(session, refusal);
            session->void_held = true;
            return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_REPLACE, refusal};
        }
        /* It may stand inside a group. */
        return (struct smtp_treatment){session->pipelining ? SMTP_COVER_RSET : SMTP_COVER_NOOP, SMTP_FATE_REPLACE,
                                       refusal};
    case SMTP_VERB_DATA:
        /* The server forgets the recipients, for a client that begins the next transaction without RSET. */
        return (struct smtp_treatment){SMTP_COVER_RSET, SMTP_FATE_REPLACE, refusal};
    case SMTP_VERB_BDAT:
        /* Where it is no chunk to the server, what follows are commands, some of which may be in the same group. */
        if (!session->chunking)
            return (struct smtp_treatment){SMTP_COVER_RSET, SMTP_FATE_REPLACE, refusal};
        /* Its octets follow, whatever is said of it, so they flow; they only never become a message. */
        return (struct smtp_treatment){SMTP_COVER_LAST, SMTP_FATE_REPLACE, refusal};
    default:
        return (struct smtp_treatment){SMTP_COVER_NOOP, SMTP_FATE_REPLACE, refusal};
    }
}

/* The policy has nothing against a command, but the transaction it belongs to is void. */
static struct smtp_treatment treat_in_void(struct smtp_session *session, const struct smtp_unit *unit)
{
    switch (unit->command.verb) {
    case SMTP_VERB_RCPT:
        if (unit->kind == SMTP_UNIT_FRAGMENT)
            return (struct smtp_treatment){0};
        smtp_void_begin(session, session->void_refusal);
        if (session->void_late)
            return (struct smtp_treatment){0};
        return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_REPLACE_IF_OK, session->void_refusal};
    case SMTP_VERB_MAIL:
        /* Without RSET before it: the server still has the other one, and would say so with a 503. */
        return (struct smtp_treatment){SMTP_COVER_RSET, SMTP_FATE_REPLACE, SMTP_REFUSAL_TRY_AGAIN};
    case SMTP_VERB_DATA:
    case SMTP_VERB_BDAT:
        return refuse(session, unit, session->void_refusal);
    case SMTP_VERB_RSET:
        if (unit->kind == SMTP_UNIT_FRAGMENT || unit->command.argument.len > 0)
            return (struct smtp_treatment){0};
        /* No server refuses RSET (RFC 5321 4.1.1.5), and the next transaction may follow in the same group. */
        session->void_refusal = SMTP_REFUSAL_NONE;
        return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_MUST_SUCCEED, SMTP_REFUSAL_NONE};
    default:
        return (struct smtp_treatment){0};
    }
}

/* The policy has nothing against a command, and the transaction it belongs to goes on. */
static struct smtp_treatment treat_plain(struct smtp_session *session, const struct smtp_unit *unit)
{
    enum smtp_verb verb = unit->command.verb;
    if (verb == SMTP_VERB_MAIL)
        session->spoiled_now = false;
    /* What the server says for want of recipients Exim takes for a verdict on those that it is to send again. */
    if (session->spoiled_now && (verb == SMTP_VERB_DATA || verb == SMTP_VERB_BDAT))
        return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_REPLACE_IF_BARE, SMTP_REFUSAL_TRY_AGAIN};
    return (struct smtp_treatment){0};
}

bool smtp_treatment_can_close(const struct smtp_session *session, const struct smtp_unit *unit)
{
    enum { QUIT_LEN = 4 };
    return unit->kind == SMTP_UNIT_COMMAND && unit->octets.len == unit->whole.len && !session->tls_asked &&
           unit->octets.len <= SMTP_LINE_BYTES_MAX && smtp_line_text(unit->octets).len >= QUIT_LEN;
}

struct smtp_treatment smtp_treat(struct smtp_session *session, const struct smtp_unit *unit, struct smtp_action action)
{
    switch (action.kind) {
    case SMTP_ACTION_REFUSE:
        return refuse(session, unit, action.refusal);
    case SMTP_ACTION_REFUSE_ALL:
        session->clear_refused = true;
        return refuse(session, unit, action.refusal);
    case SMTP_ACTION_WAIT:
        return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_PASS, action.refusal};
    case SMTP_ACTION_VOID:
        if (unit->kind == SMTP_UNIT_FRAGMENT)
            return (struct smtp_treatment){0};
        smtp_void_begin(session, action.refusal);
        return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_REPLACE_IF_OK, action.refusal};
    case SMTP_ACTION_VOID_LATE:
        if (unit->kind == SMTP_UNIT_FRAGMENT)
            return (struct smtp_treatment){0};
        smtp_void_begin(session, action.refusal);
        session->void_late = true;
        session->void_held = true;
        return (struct smtp_treatment){0};
    case SMTP_ACTION_CLOSE:
        session->closing = true;
        return (struct smtp_treatment){SMTP_COVER_QUIT, SMTP_FATE_REPLACE, action.refusal};
    case SMTP_ACTION_PASS:
    case SMTP_ACTION_STRIP:
    case SMTP_ACTION_MAKE_LAST:
    case SMTP_ACTION_RESET:
        break;
    }
    return session->void_refusal ? treat_in_void(session, unit) : treat_plain(session, unit);
}

/*
 * Where in the ledger the recipients begin whose transaction is still open; its end where something stands behind them
 * that has been decided by it.
 */
static uint32_t open_transaction(const struct smtp_session *session, const struct pool *blocks)
{
    const struct smtp_ledger *ledger = &session->ledger;
    for (uint32_t place = ledger->count; place > 0; place--) {
        enum smtp_verb verb = smtp_slot_verb(smtp_ledger_at(ledger, blocks, place - 1));
        if (verb == SMTP_VERB_MAIL)
            return place;
        if (verb != SMTP_VERB_RCPT && verb != SMTP_VERB_NOOP)
            return ledger->count;
    }
    return 0;
}

void smtp_void_relent(struct smtp_session *session, struct pool *blocks, uint64_t which)
{
    struct smtp_ledger *ledger = &session->ledger;
    if (session->void_refusal == SMTP_REFUSAL_NONE || session->void_held || session->reply_sent > 0 ||
        ledger->count >= 64)
        return;
    uint64_t brought = 0; /* by place */
    uint32_t from = open_transaction(session, blocks);
    for (uint32_t place = from; place < ledger->count; place++) {
        struct smtp_slot slot = smtp_ledger_at(ledger, blocks, place);
        if (smtp_slot_fate(slot) != SMTP_FATE_REPLACE_IF_OK)
            continue;
        if (slot.refusal != session->void_refusal || !(which >> (session->answered + place) % 64 & 1))
            return;
        brought |= UINT64_C(1) << place;
    }
    for (uint64_t rest = brought; rest; rest &= rest - 1)
        smtp_ledger_let_pass(ledger, blocks, (uint32_t)__builtin_ctzll(rest));
    if (brought)
        session->void_refusal = SMTP_REFUSAL_NONE;
}

void smtp_void_answered(struct smtp_session *session, enum smtp_fate fate, bool success)
{
    if (fate == SMTP_FATE_REPLACE_IF_OK && success) {
        session->void_held = true;
    } else if (fate == SMTP_FATE_REPLACE_SPOILED && success) {
        /* It takes anything: then nobody in this transaction gets it. */
        session->void_refusal = SMTP_REFUSAL_TRY_AGAIN;
        session->void_held = true;
    } else if (fate == SMTP_FATE_REPLACE_IF_OK && session->void_slots == 0 && !session->void_held) {
        session->void_refusal = SMTP_REFUSAL_NONE; /* the server has refused all of them itself */
    }
}

void smtp_void_end(struct smtp_session *session)
{
    if (session->void_slots > 0)
        return; /* what voided it came behind the command that is answered */
    session->void_refusal = SMTP_REFUSAL_NONE;
    session->void_held = false;
}
