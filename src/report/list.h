/*
 * report/list - entries of a record, up to a bound.
 *
 * Owner:  the list owns its entries; list_clear gives them back.
 * Limits: the caller's, and the account; entries that find no room are counted.
 */
#ifndef POSTERN_REPORT_LIST_H
#define POSTERN_REPORT_LIST_H

#include <jansson.h>
#include <stdint.h>

#include "report/account.h"

struct list {
    json_t *entries; /* NULL while there are none */
    size_t bytes;    /* taken from the account */
    uint32_t omitted;
};

/* Put an entry at the end, where the list has fewer than `most`; it is the list's from here on. */
void list_add(struct list *list, struct account *account, size_t most, json_t *entry);

/* Into a record; how many are missing only where some are. */
void list_write(const struct list *list, json_t *record, const char *name, const char *omitted_name);

void list_clear(struct list *list, struct account *account);

#endif
