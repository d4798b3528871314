#include "engine/policies.h"

#include "base/siphash.h"
#include "engine/room.h"

void policies_set(struct engine *engine, uint8_t place, const struct policy *policy)
{
    static const uint8_t key[SIPHASH_KEY_BYTES] = {0}; /* who writes the rules does not attack them */
    uint8_t hash[SIPHASH_BYTES];
    uint64_t sum = 0, one;
    engine->policies[place] = policy;
    for (uint32_t i = 0; i < policy->refusals.count; i++) {
        siphash128(key, policy->refusals.texts[i].forms[0], hash);
        memcpy(&one, hash, sizeof one);
        sum = (sum ^ one) * UINT64_C(0xff51afd7ed558ccd) + i;
    }
    engine->refusals_sums[place] = sum;
}

/* Connections of which nothing is read any more need no rules: they go over to the present ones. */
static void let_go_of(struct engine *engine, uint8_t policy)
{
    for (uint32_t i = room_first(engine); i != POOL_NONE; i = room_next(engine, i)) {
        struct flow *flow = flow_at(&engine->table, i);
        if (flow->policy != policy || (flow->state == FLOW_OPEN && !flow->smtp.opaque))
            continue;
        engine->policy_flows[policy]--;
        flow->policy = engine->policy & 15u;
        engine->policy_flows[engine->policy]++;
    }
}

/* A place for another policy; ENGINE_POLICIES_MAX where there is none. */
static uint8_t free_place(struct engine *engine)
{
    uint8_t place = ENGINE_POLICIES_MAX;
    for (uint8_t i = 0; i < ENGINE_POLICIES_MAX; i++) {
        if (i != engine->policy && engine->policies[i])
            let_go_of(engine, i);
        if (i != engine->policy && engine->policy_flows[i] == 0)
            engine->policies[i] = NULL;
        if (!engine->policies[i])
            place = i;
    }
    return place;
}

bool engine_has_policy_room(struct engine *engine)
{
    return free_place(engine) < ENGINE_POLICIES_MAX;
}

bool engine_use_policy(struct engine *engine, const struct policy *policy)
{
    uint8_t place = free_place(engine);
    if (place == ENGINE_POLICIES_MAX)
        return false;
    policies_set(engine, place, policy);
    engine->policy = place;
    memset(engine->rule_hits, 0, sizeof engine->rule_hits);
    return true;
}

const uint64_t *engine_rule_hits(const struct engine *engine)
{
    return engine->rule_hits;
}

bool engine_needs_policy(const struct engine *engine, const struct policy *policy)
{
    if (engine->event_next < engine->event_count)
        return true; /* reasons point into it */
    for (uint8_t i = 0; i < ENGINE_POLICIES_MAX; i++)
        if (engine->policies[i] == policy)
            return i == engine->policy || engine->policy_flows[i] > 0;
    return false;
}
