/*
 * report/session - what happened in each connection, put together from events.
 *
 * In:     events in order.
 * Out:    lines of JSON (docs/events.md): event type `smtp` for each mail transaction that came to an end, and
 *         `smtp-session` for each connection that did.
 * Owner:  the collector owns everything.
 * Limits: the caller's for all connections together; what does not fit is counted, never guessed. Nothing is kept of
 *         connections that are not followed.
 * Errors: false where the stream could not be written.
 */
#ifndef POSTERN_REPORT_SESSION_H
#define POSTERN_REPORT_SESSION_H

#include <stdio.h>

#include "engine/event.h"

#define SESSIONS_BYTES_DEFAULT ((size_t)64 * 1024 * 1024)

struct sessions;

/* `bytes_max` octets for recipients, changes and commands without a reply; NULL where there is no memory. */
struct sessions *sessions_new(size_t bytes_max);
void sessions_free(struct sessions *sessions); /* NULL is allowed */

/* Write those of the two records that `types` has (report/types), in place of both. */
void sessions_write_only(struct sessions *sessions, uint32_t types);

/* Take one event in; writes to `out` where it ends a transaction or a connection. */
bool sessions_take(struct sessions *sessions, const struct event *event, FILE *out);

/* Nothing more comes of any connection: those that are open are written too. */
bool sessions_stop(struct sessions *sessions, int64_t now_us, FILE *out);

/* The events that it needs: bits 1 << enum event_kind. */
uint32_t sessions_events(void);

#endif
