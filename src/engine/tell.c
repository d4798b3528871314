#include "engine/tell.h"

#include <stdalign.h>

#include "engine/client.h"

enum {
    EVENTS_MAX = 1024,
    EVENT_ENDS_MAX = ENGINE_TICK_FLOWS_MAX + 8, /* connections that one call ends, besides those */
    EVENT_ARENA_BYTES = 512 * 1024,
};

size_t tell_events_bytes(void)
{
    return (EVENTS_MAX + EVENT_ENDS_MAX) * sizeof(struct event);
}

size_t tell_texts_bytes(void)
{
    return EVENT_ARENA_BYTES;
}

const char *event_kind_name(enum event_kind kind)
{
    static const char *const names[EVENT_KINDS] = {
        [EVENT_FLOW_START] = "flow-start",
        [EVENT_FLOW_END] = "flow-end",
        [EVENT_COMMAND] = "command",
        [EVENT_REPLY] = "reply",
        [EVENT_PAYLOAD] = "payload",
        [EVENT_ANOMALY] = "anomaly",
        [EVENT_UNEDITED] = "unedited",
        [EVENT_RULE] = "rule",
        [EVENT_GREYLIST] = "greylist",
        [EVENT_TARPIT] = "tarpit",
        [EVENT_GUARD] = "guard",
        [EVENT_RESEND_DIFFERS] = "resend-differs",
        [EVENT_TLS] = "tls",
    };
    return names[kind];
}

/* Who counts connections must hear of their ends. */
static bool has_room(const struct engine *engine, enum event_kind kind)
{
    if (kind == EVENT_FLOW_END)
        return engine->event_count < EVENTS_MAX + EVENT_ENDS_MAX;
    return engine->event_count < EVENTS_MAX && EVENT_ARENA_BYTES - engine->event_arena_used >= 2 * EVENT_TEXT_BYTES_MAX;
}

struct event *tell_wanted(struct engine *engine, enum event_kind kind, struct flow *flow)
{
    if (!has_room(engine, kind)) {
        engine->counters.events_lost++;
        flow->events_lost = true;
        return NULL;
    }
    struct event *event = &engine->events[engine->event_count++];
    *event = (struct event){
        .kind = kind,
        .time_us = engine->now_us,
        .flow_id = flow->id,
        .flow_place = flow_index(&engine->table, flow),
        .ip_version = flow->ip_version,
        .client = flow->ends[SMTP_CLIENT],
        .server = flow->ends[SMTP_SERVER],
        .lost = flow->events_lost && flow->owes_end,
        .reason = "",
        .action = "",
    };
    if (flow->told != POOL_NONE)
        event->told = client_told(engine, flow);
    flow->events_lost = false;
    return event;
}

struct event *tell_break(struct engine *engine, enum event_kind kind, struct flow *flow, const char *reason)
{
    struct event *event = tell(engine, kind, flow);
    if (!event)
        return NULL;
    event->reason = reason;
    event->verb = smtp_session_payload(&flow->smtp);
    if (event->verb != SMTP_VERB_UNKNOWN)
        event->octets = flow->smtp.payload_octets;
    return event;
}

struct span tell_keep(struct engine *engine, struct span octets)
{
    octets = span_head(octets, EVENT_TEXT_BYTES_MAX);
    uint8_t *copy = engine->event_arena + engine->event_arena_used;
    if (octets.len)
        memcpy(copy, octets.ptr, octets.len);
    engine->event_arena_used += (uint32_t)octets.len;
    return (struct span){copy, octets.len};
}

static_assert(sizeof(struct tls_seen) + alignof(struct tls_seen) <= 2 * EVENT_TEXT_BYTES_MAX, "it takes no more room");

const struct tls_seen *tell_keep_tls(struct engine *engine, const struct tls_seen *seen)
{
    uint32_t at = (engine->event_arena_used + alignof(struct tls_seen) - 1) & ~(uint32_t)(alignof(struct tls_seen) - 1);
    struct tls_seen *copy = (void *)(engine->event_arena + at);
    *copy = *seen;
    engine->event_arena_used = at + (uint32_t)sizeof *copy;
    return copy;
}

void tell_anomaly(struct engine *engine, struct flow *flow, bool from_server, const char *name, struct span text,
                  bool complete)
{
    struct event *event = tell(engine, EVENT_ANOMALY, flow);
    if (event) {
        event->from_server = from_server;
        event->reason = name;
        event->text = tell_keep(engine, text);
        event->complete = complete && event->text.len == text.len;
    }
}
