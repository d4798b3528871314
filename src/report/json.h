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

/* An object of which all members are wanted or none: what found no memory is noted, and looked at once in the end. */
struct json_members {
    json_t *object;
    bool missing; /* one of them */
};

/* Add one, and release `value`; NULL is one that found no memory. */
void json_add(struct json_members *members, const char *name, json_t *value);
void json_add_number(struct json_members *members, const char *name, int64_t number);

/* The object, which the caller owns; NULL, and it is released, where a member is missing. */
json_t *json_whole(struct json_members *members);

/* Write the object as one line, and release it. False, too, where it is NULL. */
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
