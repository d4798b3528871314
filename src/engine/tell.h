/*
 * engine/tell - events, for those who want to know what happens.
 *
 * Limits: EVENTS_MAX a call, and their texts; what does not fit is counted as lost, and the next event of its
 *         connection says so. For the ends of connections there is always room.
 */
#ifndef POSTERN_ENGINE_TELL_H
#define POSTERN_ENGINE_TELL_H

#include "engine/state.h"

#define EVENT_TEXT_BYTES_MAX 1024

size_t tell_events_bytes(void);
size_t tell_texts_bytes(void);

/* Whether events of this kind are wanted: of most packets none is. */
static inline bool tell_wants(const struct engine *engine, enum event_kind kind)
{
    return engine->settings.events >> kind & 1;
}

/* `tell` of a kind that is wanted. */
struct event *tell_wanted(struct engine *engine, enum event_kind kind, struct flow *flow);

/* A new event of this flow to be filled in, or NULL where nobody wants it or there is no room: for two texts, and for
   each flow's end. */
static inline struct event *tell(struct engine *engine, enum event_kind kind, struct flow *flow)
{
    return tell_wants(engine, kind) ? tell_wanted(engine, kind, flow) : NULL;
}

/* The same for an event behind which nothing more is told of a transaction: how far its message had come. */
struct event *tell_break(struct engine *engine, enum event_kind kind, struct flow *flow, const char *reason);
/* Something that ought not to be, and the octets, or the word, that say more of it; `complete`: these are all, though
   they may have no line end. */
void tell_anomaly(struct engine *engine, struct flow *flow, bool from_server, const char *name, struct span text,
                  bool complete);
/* Keep a copy of octets for the event, capped. */
struct span tell_keep(struct engine *engine, struct span octets);
/* The same of what was seen of a handshake. */
const struct tls_seen *tell_keep_tls(struct engine *engine, const struct tls_seen *seen);

#endif
