/*
 * engine/offer - who may talk before the greeting.
 *
 * Exim remembers the EHLO reply of a server that offers PIPECONNECT, and sends its next EHLO and more to it before the
 * greeting (case 29). It remembers a reply of one server to one of its own addresses, so that is the key here.
 *
 * Limits: a table of a fixed size; the one that ends soonest makes place. A client that is forgotten is an early
 *         talker.
 */
#ifndef POSTERN_ENGINE_OFFER_H
#define POSTERN_ENGINE_OFFER_H

#include "engine/state.h"

size_t offer_bytes(void);

/* Whether this client was lately told by this server that it need not wait for the greeting. */
bool offer_stands(const struct engine *engine, const struct flow *flow);
/* A line of the server's has left as it came: it may say so. */
void offer_note(struct engine *engine, const struct flow *flow, const struct smtp_unit *unit);

#endif
