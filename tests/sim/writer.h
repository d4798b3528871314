/*
 * tests/sim/writer - what an application says, cut into writes to its endpoint.
 *
 * In:     octets, the time.
 * Out:    writes to the endpoint, whole, by lines, by octets or at random, with pauses between them.
 * Limits: WRITER_BYTES in all.
 */
#ifndef POSTERN_TESTS_WRITER_H
#define POSTERN_TESTS_WRITER_H

#include "apps.h"
#include "endpoint.h"

enum { WRITER_BYTES = 60000, WRITER_CIPHER = 0x80 };

/* What both ends of a connection say first of TLS, and how long it is: a record of type 22 (RFC 8446 5.1). */
#define WRITER_HELLO "\x16\x03\x01\x00\x05hello"
enum { WRITER_HELLO_LEN = 10 };

/* Zeroed, with its plan: nothing to say yet. */
struct writer {
    enum app_cut cut;
    int64_t pause_us;
    bool close_after; /* once all is written */
    bool encrypts;    /* what is put from here on: each octet has its highest bit, which no command and no reply has */
    uint32_t len, written;
    int64_t next_us;
    uint8_t octets[WRITER_BYTES];
};

/* False where there is no room. */
bool writer_put(struct writer *writer, const void *octets, uint32_t len);
void writer_tick(struct writer *writer, struct endpoint *end, struct random_source *random, int64_t now_us);
/* When writer_tick is needed; INT64_MAX: not. */
int64_t writer_due(const struct writer *writer);

#endif
