/*
 * report/handshake - what was seen of a TLS handshake, as JSON (docs/events.md) and in words.
 *
 * Note:   names follow Suricata's EVE (`tls`), and where it has none Zeek's ssl.log.
 */
#ifndef POSTERN_REPORT_HANDSHAKE_H
#define POSTERN_REPORT_HANDSHAKE_H

#include <jansson.h>

#include "engine/event.h"

/* The caller owns it. */
json_t *handshake_json(const struct tls_seen *seen);

/* For people, on one line: what of it fits. Returns `text`. */
const char *handshake_words(const struct tls_seen *seen, char *text, size_t size);

#endif
