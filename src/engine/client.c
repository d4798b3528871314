#include "engine/client.h"

static_assert(sizeof(struct event_client) % 8 == 0, "it is an object of a pool");

size_t client_bytes(const struct engine_settings *settings)
{
    return pool_bytes(sizeof(struct event_client), settings->flows_max);
}

void client_init(struct engine *engine, void *storage)
{
    pool_init(&engine->told, storage, sizeof(struct event_client), engine->settings.flows_max);
}

struct event_client client_told(const struct engine *engine, const struct flow *flow)
{
    if (flow->told == POOL_NONE)
        return (struct event_client){0};
    return *(const struct event_client *)pool_at(&engine->told, flow->told);
}

struct event_client client_of(const struct engine *engine, const struct flow *flow)
{
    if (flow->told != POOL_NONE)
        return client_told(engine, flow);
    return (struct event_client){.end = flow->ends[SMTP_CLIENT], .ip_version = flow->ip_version};
}

void client_set_told(struct engine *engine, struct flow *flow, const struct event_client *told)
{
    if (told->ip_version == 0)
        return;
    if (flow->told == POOL_NONE)
        flow->told = pool_borrow(&engine->told); /* there is one for each flow */
    *(struct event_client *)pool_at(&engine->told, flow->told) = *told;
}

void client_forget(struct engine *engine, struct flow *flow)
{
    if (flow->told != POOL_NONE)
        pool_return(&engine->told, flow->told);
    flow->told = POOL_NONE;
}
