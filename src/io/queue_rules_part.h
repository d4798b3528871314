/*
 * io/queue_rules_part - which queues were found, by either part of io/queue_rules.
 */
#ifndef POSTERN_IO_QUEUE_RULES_PART_H
#define POSTERN_IO_QUEUE_RULES_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum queue_rules_family { QUEUE_RULES_IPV4, QUEUE_RULES_IPV6, QUEUE_RULES_FAMILIES };

enum { QUEUES_MAX = 128 };

/* The queues that rules name, by family. */
struct queue_rules_found {
    uint16_t first;
    unsigned count;
    bool named[QUEUE_RULES_FAMILIES][QUEUES_MAX];
};

/* `total` queues from `first` on. */
struct queue_rules_range {
    uint32_t first, total;
};

void queue_rules_note(struct queue_rules_found *found, enum queue_rules_family family, struct queue_rules_range range);

/* What iptables' target NFQUEUE names, by its data in a revision; none where that is too short. */
struct queue_rules_range queue_rules_range_of(uint32_t revision, const void *info, size_t len);

#endif
