#include "report/feed.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "report/secrets.h"
#include "sys/ring.h"

enum { FEED_BYTES = 4 * 1024 * 1024 };

/* What the log was told of the connection that has this place. */
struct place {
    uint64_t flow_id; /* 0: none was told yet */
    bool lost;        /* something since the last event that it was told */
};

struct feed {
    struct ring *ring;
    struct place *places;
    struct secrets *secrets;
    uint32_t flows_max;
    uint32_t kinds;     /* that are told: bits 1u << enum event_kind */
    uint32_t ends_owed; /* connections told of, whose end is not told yet */
    bool read;          /* the event at the ring's front was handed out */
    _Atomic uint64_t put, dropped;
};

struct feed *feed_new(uint32_t flows_max, uint32_t kinds)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return NULL;
    feed->flows_max = flows_max;
    feed->kinds = kinds;
    feed->places = calloc((size_t)flows_max + 1, sizeof *feed->places);
    feed->secrets = secrets_new(flows_max);
    feed->ring = ring_new(FEED_BYTES + flows_max * ring_record_bytes(sizeof(struct event)));
    if (feed->places && feed->secrets && feed->ring)
        return feed;
    feed_free(feed);
    return NULL;
}

void feed_free(struct feed *feed)
{
    if (!feed)
        return;
    ring_free(feed->ring);
    secrets_free(feed->secrets);
    free(feed->places);
    free(feed);
}

/* Of these the reason may be a rule's name, which lives as long as its rules; others have static words. */
static bool has_own_reason(const struct event *event)
{
    const unsigned kinds =
        1u << EVENT_COMMAND | 1u << EVENT_REPLY | 1u << EVENT_PAYLOAD | 1u << EVENT_ANOMALY | 1u << EVENT_RULE;
    return kinds >> event->kind & 1;
}

static uint8_t *put_octets(uint8_t *at, const void *octets, size_t len)
{
    if (len)
        memcpy(at, octets, len);
    return at + len;
}

/* Copy it in, where `keep_free` connections' ends still find room then. */
static bool append(struct feed *feed, const struct event *event, uint32_t keep_free)
{
    size_t reason_len = has_own_reason(event) ? strlen(event->reason) + 1 : 0;
    size_t tls_len = event->tls ? sizeof *event->tls : 0;
    size_t len = sizeof *event + tls_len + event->text.len + event->shown.len + event->sender.len +
                 event->recipient.len + event->rule.len + reason_len;
    size_t kept = keep_free * ring_record_bytes(sizeof *event);
    if (ring_room(feed->ring) < ring_record_bytes(len) + kept)
        return false;
    uint8_t *at = ring_reserve(feed->ring, len);
    at = put_octets(at, event, sizeof *event);
    at = put_octets(at, event->tls, tls_len);
    at = put_octets(at, event->text.ptr, event->text.len);
    at = put_octets(at, event->shown.ptr, event->shown.len);
    at = put_octets(at, event->sender.ptr, event->sender.len);
    at = put_octets(at, event->recipient.ptr, event->recipient.len);
    at = put_octets(at, event->rule.ptr, event->rule.len);
    put_octets(at, event->reason, reason_len);
    ring_commit(feed->ring);
    return true;
}

static bool put_first(struct feed *feed, const struct event *event)
{
    if (!append(feed, event, feed->ends_owed + 1))
        return false;
    feed->places[event->flow_place] = (struct place){.flow_id = event->flow_id};
    feed->ends_owed++;
    return true;
}

static bool put_end(struct feed *feed, const struct event *event)
{
    feed->ends_owed--;
    feed->places[event->flow_place].flow_id = 0;
    bool told = append(feed, event, feed->ends_owed);
    assert(told); /* it was reserved: the end of a connection has no text */
    return told;
}

static bool put(struct feed *feed, const struct event *event)
{
    if (event->kind == EVENT_FLOW_START)
        return put_first(feed, event);
    struct place *place = &feed->places[event->flow_place];
    bool alone = event->kind == EVENT_UNEDITED || event->kind == EVENT_GUARD;
    if (place->flow_id != event->flow_id) /* nothing but these is told of what is not followed, or is over */
        return alone && append(feed, event, feed->ends_owed);
    struct event copy = *event;
    copy.lost = copy.lost || place->lost;
    if (event->kind == EVENT_FLOW_END)
        return put_end(feed, &copy);
    place->lost = !append(feed, &copy, feed->ends_owed);
    return !place->lost;
}

void feed_put(struct feed *feed, const struct event *event)
{
    assert(event->flow_place > 0 && event->flow_place <= feed->flows_max);
    struct event masked = *event;
    secrets_mask(feed->secrets, &masked);
    if (!(feed->kinds >> event->kind & 1))
        return;
    _Atomic uint64_t *count = put(feed, &masked) ? &feed->put : &feed->dropped;
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

bool feed_take(struct feed *feed, struct event *event)
{
    size_t len;
    if (feed->read)
        ring_pop(feed->ring);
    const uint8_t *at = ring_front(feed->ring, &len);
    feed->read = at != NULL;
    if (!at)
        return false;
    memcpy(event, at, sizeof *event);
    at += sizeof *event;
    if (event->tls) {
        event->tls = (const void *)at;
        at += sizeof *event->tls;
    }
    event->text.ptr = at;
    event->shown.ptr = event->text.ptr + event->text.len;
    event->sender.ptr = event->shown.ptr + event->shown.len;
    event->recipient.ptr = event->sender.ptr + event->sender.len;
    event->rule.ptr = event->recipient.ptr + event->recipient.len;
    if (has_own_reason(event))
        event->reason = (const char *)event->rule.ptr + event->rule.len;
    return true;
}

bool feed_waits(struct feed *feed)
{
    size_t len;
    return ring_front(feed->ring, &len) != NULL;
}

uint64_t feed_put_count(struct feed *feed)
{
    return atomic_load_explicit(&feed->put, memory_order_relaxed);
}

uint64_t feed_dropped(struct feed *feed)
{
    return atomic_load_explicit(&feed->dropped, memory_order_relaxed);
}
