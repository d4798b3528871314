/*
 * smtp/treatment - how a command is refused on a connection that goes on to the server.
 *
 * In:     a command and the decision about it.
 * Out:    what the server sees in its place, and what becomes of the reply. README.md has the table.
 * Note:   a transaction is void once it may not be completed any more though the server holds something of it: its DATA
 *         is covered, its BDAT loses its LAST, until a reply shows that the server has forgotten it.
 * Source: RFC 5321 4.1.1, RFC 2920 3.1 (what may stand inside a group), RFC 3030 2.
 */
#ifndef POSTERN_SMTP_TREATMENT_H
#define POSTERN_SMTP_TREATMENT_H

#include "smtp/change.h"
#include "smtp/session.h"

struct smtp_treatment {
    enum smtp_cover cover; /* what the server sees */
    enum smtp_fate fate;   /* of the reply */
    uint8_t refusal;       /* what takes the reply's place, where its fate wants something */
};

/* What is to be done with a command, or with a part of one that must leave. All zero: nothing. May void a transaction.
 */
struct smtp_treatment smtp_treat(struct smtp_session *session, const struct smtp_unit *unit, struct smtp_action action);

/* Whether a command can become a QUIT: it is whole, nothing of it has left, and it cannot mean something else by then.
 */
bool smtp_treatment_can_close(const struct smtp_session *session, const struct smtp_unit *unit);

/*
 * From here on, with the command that is about to be owed a reply, the transaction cannot be completed; `others` is the
 * refusal that all get who have a part in it.
 */
void smtp_void_begin(struct smtp_session *session, uint8_t others);

/*
 * A recipient that comes next passes, and may bring the others of its transaction with it: those that voided it get the
 * server's replies after all, and it is void no more. Not where the server has taken one of them (its client has read a
 * refusal), where part of one has left, or where one stands for another reason; `which` are those that may be brought,
 * bits 1 << (number of the exchange) % 64.
 */
void smtp_void_relent(struct smtp_session *session, struct pool *blocks, uint64_t which);

/* The server has answered a recipient whose reply had this fate. */
void smtp_void_answered(struct smtp_session *session, enum smtp_fate fate, bool success);

/* The server has forgotten the transaction that the command was about which it has answered. */
void smtp_void_end(struct smtp_session *session);

#endif
