/*
 * report/secrets - what authentication says is taken out of events before anybody is told of them.
 *
 * In:     every event of one engine, in order: whether a line is a secret depends on what was said before it.
 * Out:    the same event; a secret in its `text` or `shown` has become SECRETS_MASK. Verb, mechanism, reply code and
 *         enhanced code stay. Masked are: what follows the mechanism of AUTH and X-EXPS; a line that is no command
 *         while a client authenticates, for it is a name or a password that the server did not ask for; and the words
 *         of replies to all of these, for servers repeat what they were sent.
 * Owner:  masked text lives until the next call.
 * Thread: one.
 * Note:   where events were lost, the client may be authenticating.
 * Source: RFC 4954 4 (AUTH), RFC 2034 4 (enhanced codes), the IANA registry of SASL mechanisms.
 */
#ifndef POSTERN_REPORT_SECRETS_H
#define POSTERN_REPORT_SECRETS_H

#include "engine/event.h"

#define SECRETS_MASK "[masked]"

struct secrets;

/* For connections with places 1 to `flows_max`; NULL where there is no memory. */
struct secrets *secrets_new(uint32_t flows_max);
void secrets_free(struct secrets *secrets); /* NULL is allowed */

void secrets_mask(struct secrets *secrets, struct event *event);

#endif
