/*
 * report/table - one row a connection.
 *
 * Owner:  the table owns its rows.
 */
#ifndef POSTERN_REPORT_TABLE_H
#define POSTERN_REPORT_TABLE_H

#include <stdio.h>

#include "engine/event.h"

struct table;

struct table *table_new(void);        /* NULL where there is no memory */
void table_free(struct table *table); /* NULL is allowed */
void table_take(struct table *table, const struct event *event);
void table_show(const struct table *table, FILE *out);

/* The events that it needs: bits 1 << enum event_kind. */
uint32_t table_events(void);

#endif
