/*
 * report/changes - what the filter changed, and why: a bounded list for a record.
 *
 * Owner:  the list owns its entries; changes_clear gives them back.
 * Limits: CHANGES_MAX entries, and the account; more are counted.
 */
#ifndef POSTERN_REPORT_CHANGES_H
#define POSTERN_REPORT_CHANGES_H

#include <jansson.h>

#include "engine/event.h"
#include "report/account.h"

#define CHANGES_MAX 32

struct changes {
    json_t *list; /* NULL while there are none */
    size_t bytes; /* taken from the account */
    uint32_t omitted;
};

/* An entry for an event that tells of a change, `why` in place of the event's own reason; the caller owns it. */
json_t *changes_entry(const struct event *event, const char *why);

/* Put an entry at the end; the list owns it from here on. NULL is allowed. */
void changes_add(struct changes *changes, struct account *account, json_t *entry);

/* Into a record: "changes" where there are some, "changes_omitted" where some are not listed. */
void changes_write(const struct changes *changes, json_t *record);

void changes_clear(struct changes *changes, struct account *account);

#endif
