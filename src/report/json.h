/*
 * report/json - events as lines of JSON.
 *
 * Out:    one object a line, always valid JSON in UTF-8; docs/events.md says what is in it. Names follow Suricata's EVE
 *         records.
 * Errors: false where the stream could not be written.
 */
#ifndef POSTERN_REPORT_JSON_H
#define POSTERN_REPORT_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "engine/event.h"

/* Octets of a line that an event shows, and of anything shorter. */
#define JSON_LINE_OCTETS_MAX 1024
#define JSON_TEXT_OCTETS_MAX 320 /* an address has 256 at most (RFC 5321 4.5.3.1.3) */

/* What every record begins with: timestamp, flow_id, event_type, addresses, ports, proto. The caller owns it. */
json_t *json_record(const struct event *event, const char *event_type);

/* Write the object as one line, and release it. */
bool json_write_line(FILE *out, json_t *object);

/* An event as a line of its own. */
bool json_write_event(FILE *out, const struct event *event);

/* Octets of the wire, or a rule's name, as a JSON string: JSON_TEXT_OCTETS_MAX of them, escaped (see report/text). */
json_t *json_text(struct span octets);

/* A line of an event: JSON_LINE_OCTETS_MAX of it. */
json_t *json_line(struct span line);

/* About how much memory a value takes, with all that is in it. */
size_t json_memory(json_t *value);

/* A word for enum event_change, static. */
const char *json_change_name(enum event_change change);

#endif
