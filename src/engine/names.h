/*
 * engine/names - clients whose names in the DNS rules want to know.
 *
 * Asked when a connection begins whose rules have a condition on the name. Until the answer has come such a condition
 * does not hold; only a line about a recipient, or STARTTLS, waits for it, as for an answer of the greylist.
 *
 * Limits: ENGINE_NAME_QUERIES_MAX that nobody has fetched; what does not fit is not asked.
 */
#ifndef POSTERN_ENGINE_NAMES_H
#define POSTERN_ENGINE_NAMES_H

#include "engine/state.h"

/* A connection begins, or was taken over. */
void names_ask(struct engine *engine, uint32_t index);

/* See engine_next_name_query and engine_name. */
bool names_next(struct engine *engine, struct engine_name_query *query);
/* False where that connection is over. */
bool names_take(struct engine *engine, const struct engine_name_query *query, struct span name);

#endif
