/*
 * report/json - events as lines of JSON.
 *
 * Out:    one object a line, always valid JSON in UTF-8. Names follow Suricata's EVE records.
 * Errors: false where the stream could not be written.
 */
#ifndef POSTERN_REPORT_JSON_H
#define POSTERN_REPORT_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "engine/event.h"

/* What every record begins with: timestamp, flow_id, event_type, addresses, ports, proto. The caller owns it. */
json_t *json_record(const struct event *event, const char *event_type);

/* Write the object as one line, and release it. */
bool json_write_line(FILE *out, json_t *object);

/* An event as a line of its own. */
bool json_write_event(FILE *out, const struct event *event);

/* Octets of the wire as a JSON string, escaped (see report/text). */
json_t *json_text(struct span octets);

#endif
