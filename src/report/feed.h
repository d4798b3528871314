/*
 * report/feed - events of one engine on their way to the log.
 *
 * In:     events as engine_next_event gives them, of connections with places 1 to `flows_max`.
 * Out:    copies of them, in order, for one other thread; without secrets (report/secrets).
 * Owner:  the feed owns the copies; their spans and reasons live until the next feed_take. So nothing is needed of the
 *         rules any more once an event was put.
 * Thread: feed_put is one thread's, feed_take and feed_waits another's; nothing waits.
 * Limits: the ring's. What finds no room is left out and counted. The first event of a connection reserves the room of
 *         its last one, so the end of a connection that was told is told; one whose first event found no room is not
 *         told at all, but for what happened to guarded mail, which may be told behind the end, too.
 */
#ifndef POSTERN_REPORT_FEED_H
#define POSTERN_REPORT_FEED_H

#include "engine/event.h"

struct feed;

/*
 * `kinds`: the events that the log wants, bits 1u << enum event_kind, the first and the last one of connections among
 * them; others are looked at for what they say of secrets. NULL where there is no memory.
 */
struct feed *feed_new(uint32_t flows_max, uint32_t kinds);
void feed_free(struct feed *feed); /* NULL is allowed */

/* Copy one event in, or leave it out. */
void feed_put(struct feed *feed, const struct event *event);

/* The next one; false where there is none. */
bool feed_take(struct feed *feed, struct event *event);

/* Whether there is one, without taking it. */
bool feed_waits(struct feed *feed);

/* Events that were copied in so far; any thread may ask. */
uint64_t feed_put_count(struct feed *feed);

/* Events left out for want of room; any thread may ask. */
uint64_t feed_dropped(struct feed *feed);

#endif
