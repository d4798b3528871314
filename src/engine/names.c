#include "engine/names.h"

#include "engine/client.h"

void names_ask(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool ours = flow->facts.direction == POLICY_OUTBOUND || flow->facts.direction == POLICY_INTERNAL;
    bool fits = engine->name_query_count < ENGINE_NAME_QUERIES_MAX;
    if (policy_of(engine, flow)->name_count == 0 || ours || !fits || engine->settings.peers != ENGINE_PEERS_LIVE)
        return;
    flow->name_pending = true;
    uint32_t at = (engine->name_query_first + engine->name_query_count++) % ENGINE_NAME_QUERIES_MAX;
    struct engine_name_query *query = &engine->name_queries[at];
    struct event_client client = client_of(engine, flow);
    *query = (struct engine_name_query){.flow_id = flow->id, .flow_place = index, .ip_version = client.ip_version};
    memcpy(query->address, client.end.address, sizeof query->address);
}

bool names_next(struct engine *engine, struct engine_name_query *query)
{
    if (engine->name_query_count == 0)
        return false;
    *query = engine->name_queries[engine->name_query_first];
    engine->name_query_first = (engine->name_query_first + 1) % ENGINE_NAME_QUERIES_MAX;
    engine->name_query_count--;
    return true;
}

bool names_take(struct engine *engine, const struct engine_name_query *query, struct span name)
{
    assert(query->flow_place > 0 && query->flow_place <= engine->settings.flows_max);
    struct flow *flow = flow_at(&engine->table, query->flow_place);
    if (flow->id != query->flow_id || flow->state != FLOW_OPEN || !policy_of(engine, flow))
        return false;
    flow->name_pending = false;
    policy_note_name(policy_of(engine, flow), name, &flow->facts);
    return true;
}
