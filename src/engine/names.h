/*
 * engine/names - clients whose names in the DNS rules want to know.
 *
 * Asked once the client of a connection has answered the server's SYN, where rules have a condition on the name. Until
 * the answer has come such a condition does not hold; only a line about a recipient, or STARTTLS, waits for it, as for
 * an answer of the greylist.
 *
 * Limits: ENGINE_NAME_QUERIES_MAX that nobody has fetched; what does not fit is not asked.
 */
#ifndef POSTERN_ENGINE_NAMES_H
#define POSTERN_ENGINE_NAMES_H

#include "engine/state.h"

/* The client has answered, or was told by a balancer; or the connection was taken over. */
void names_ask(struct engine *engine, uint32_t index);

/* See engine_next_name_query and engine_name. */
bool names_next(struct engine *engine, struct engine_name_query *query);
/* False where that connection is over. */
bool names_take(struct engine *engine, const struct engine_name_query *query, struct span name);

#endif
