/*
 * report/transaction - mail transactions, put together from events.
 *
 * In:     events in order.
 * Out:    a record of event type `smtp` for each transaction that came to an end, and one of event type `smtp-session`
 *         for each session; docs/events.md has their fields.
 * Owner:  the collector owns everything; flows that never end are forgotten by transactions_free.
 * Limits: TRANSACTION_RECIPIENTS_MAX recipients are listed, and 100 changes and anomalies; more are counted.
 */
#ifndef POSTERN_REPORT_TRANSACTION_H
#define POSTERN_REPORT_TRANSACTION_H

#include <stdio.h>

#include "engine/event.h"

#define TRANSACTION_RECIPIENTS_MAX 1000

struct transactions;

/* NULL where there is no memory. */
struct transactions *transactions_new(void);
void transactions_free(struct transactions *transactions); /* NULL is allowed */

/* Take one event in; writes a line to `out` where it ends a transaction. False where `out` could not be written. */
bool transactions_take(struct transactions *transactions, const struct event *event, FILE *out);

/* The events that it needs: bits 1 << enum event_kind. */
uint32_t transactions_events(void);

#endif
