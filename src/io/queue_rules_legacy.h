/*
 * io/queue_rules_legacy - which queues rules of the older iptables (x_tables) send packets to.
 */
#ifndef POSTERN_IO_QUEUE_RULES_LEGACY_H
#define POSTERN_IO_QUEUE_RULES_LEGACY_H

#include "io/queue_rules_part.h"

/* Open the list of tables; -1 where it cannot be read. */
int queue_rules_open_names(enum queue_rules_family family);

/*
 * Look through its tables. `names` is the list of them, opened when that was still allowed; -1: it was not. False where
 * nobody can tell which tables there are.
 */
bool queue_rules_look_legacy(enum queue_rules_family family, int names, struct queue_rules_found *found);

#endif
