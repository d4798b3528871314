/*
 * cmd/queues - which queues of the kernel there are, as -q says.
 */
#ifndef POSTERN_CMD_QUEUES_H
#define POSTERN_CMD_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#define QUEUES_WORKERS_MAX 64
#define QUEUES_ADVICE                                                                                                  \
    "give an even number of queues in a row, FIRST:LAST: 0:1 is one worker, 0:3 two with queues 0 and 1 towards "      \
    "servers"
#define QUEUES_DEFAULT ((struct queues){.first = 0, .workers = 1})

/* Worker n has queue first + n towards servers, and first + workers + n from them. */
struct queues {
    uint16_t first;
    unsigned workers;
};

/* FIRST or FIRST:LAST; FIRST alone is two of them. */
bool queues_parse(const char *text, struct queues *queues);

#endif
