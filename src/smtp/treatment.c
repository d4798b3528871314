#include "smtp/treatment.h"

#include "smtp/path.h"

void smtp_void_begin(struct smtp_session *session, uint8_t others)
{
    if (session->void_refusal == SMTP_REFUSAL_NONE) {
        session->void_refusal = others;
        session->void_held = false;
        session->void_late = false;
    }
    session->void_slots = (uint16_t)(session->ledger.count + 1); /* the slot of this command comes next */
}

/* One recipient is refused, and the others go on. */
static struct smtp_treatment spoil(struct smtp_session *session, const struct smtp_unit *unit, uint8_t refusal)
{
    struct smtp_path path = smtp_path_parse(unit->command.argument);
    bool whole = unit->octets.len == unit->whole.len;
    bool alone = session->ledger.count == 0 && !session->pipelining;
    if (whole && alone)
        return (struct smtp_treatment){SMTP_COVER_NOOP, SMTP_FATE_REPLACE, refusal};
    if (whole && path.good && path.inside.len >= SMTP_COVER_PATH_BYTES_MIN)
        return (struct smtp_treatment){SMTP_COVER_PATH, SMTP_FATE_REPLACE_SPOILED, refusal};
    /* There is nothing to be written over: this one is refused all the same, and the others try again. */
    smtp_void_begin(session, SMTP_REFUSAL_TRY_AGAIN);
    return (struct smtp_treatment){SMTP_COVER_NONE, SMTP_FATE_REPLACE_IF_OK, refusal};
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
    return session->void_refusal ? treat_in_void(session, unit) : (struct smtp_treatment){0};
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
