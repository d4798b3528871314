/*
 * report/text - octets from the wire, addresses and times, made fit for eyes, logs and JSON.
 *
 * Out:    text in the caller's buffer, ended by NUL, never more than its size; valid UTF-8.
 * Note:   octets that could act on a terminal or break a log line are shown as \xNN, two digits in lower case; so are
 *         those that are no UTF-8, and the backslash (\x5c), so that no other text looks the same.
 */
#ifndef POSTERN_REPORT_TEXT_H
#define POSTERN_REPORT_TEXT_H

#include "engine/event.h"

#define TEXT_ADDRESS_BYTES 64
#define TEXT_TIME_BYTES    40

/* Room that so many octets take at most, with the mark for what is not shown. */
#define TEXT_BYTES(octets) (4 * (octets) + 8)

/*
 * Octets without their line end, escaped: printable ASCII and valid UTF-8 stay. Where `size` is too small for all of
 * them, the text ends in `\...`. Returns `buffer`.
 */
const char *text_escape(struct span octets, char *buffer, size_t size);

/* The same of a line, which ends in `\...` also where it has no line end: the rest of it was not kept. */
const char *text_escape_line(struct span line, char *buffer, size_t size);

/* An IP address. Returns `buffer` of TEXT_ADDRESS_BYTES. */
const char *text_address(const struct event_endpoint *end, uint8_t ip_version, char *buffer);

/* UTC in the form of Suricata's EVE: 2008-04-20T22:11:50.000000+0000. Returns `buffer` of TEXT_TIME_BYTES. */
const char *text_time(int64_t time_us, char *buffer);

#endif
