/*
 * report/dialogue - sessions for eyes.
 *
 * Out:    `-->` what the client sent, `<--` what the server sent; what was taken out or replaced is marked. A line
 *         names the connection whenever another one speaks.
 */
#ifndef POSTERN_REPORT_DIALOGUE_H
#define POSTERN_REPORT_DIALOGUE_H

#include <stdio.h>

#include "engine/event.h"

struct dialogue {
    FILE *out;
    bool colour;      /* for a terminal */
    uint64_t flow_id; /* whose line was the last; begin with 0 */
};

/* Show one event. */
void dialogue_show(struct dialogue *dialogue, const struct event *event);

/* The events that it shows: bits 1 << enum event_kind. */
uint32_t dialogue_events(void);

/* What is said of a session besides its lines, in parentheses; false where the event is a line, or nothing is. */
bool dialogue_remark(const struct event *event, char *text, size_t size);

#endif
