/*
 * engine/policies - which rules each connection began under, and which nobody needs any more.
 *
 * A connection keeps the rules that it began under; those of which nothing is read any more go over to the present
 * ones.
 *
 * Owner:  policies are the caller's, who frees one once engine_needs_policy says that it may.
 * Limits: ENGINE_POLICIES_MAX at once.
 */
#ifndef POSTERN_ENGINE_POLICIES_H
#define POSTERN_ENGINE_POLICIES_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct policy;

/*
 * Connections that begin from here on follow `policy`; those that have begun keep the one that they began under, as
 * long as it is of use to them. False where connections still need ENGINE_POLICIES_MAX older ones: try again later.
 */
bool engine_use_policy(struct engine *engine, const struct policy *policy);

/* Times that each rule of the policy of new connections has held, by number, since it is in use: RULES_MAX of them. */
const uint64_t *engine_rule_hits(const struct engine *engine);

/* Whether engine_use_policy would succeed now. */
bool engine_has_policy_room(struct engine *engine);

/* Whether connections, or what was not fetched yet, still need `policy`; else it may be freed. */
bool engine_needs_policy(const struct engine *engine, const struct policy *policy);

/* `policy` takes this free place. */
void policies_set(struct engine *engine, uint8_t place, const struct policy *policy);

#endif
