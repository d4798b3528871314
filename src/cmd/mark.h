/*
 * cmd/mark - two bits of packet and connection marks by which the kernel learns what may pass without the filter.
 */
#ifndef POSTERN_CMD_MARK_H
#define POSTERN_CMD_MARK_H

#include <stdbool.h>
#include <stdint.h>

struct mark {
    uint32_t mask;     /* the bits that are ours; 0: no marks */
    uint32_t released; /* the lowest: nothing more is to be seen or done here, the connection may pass */
    uint32_t promised; /* the next one: something was promised to its ends, so it must never pass without the filter */
};                     /* both: all that was promised is kept */

#define MARK_ADVICE "give two bits, for example 0x30000000, or 0 for no marks"

/* Bits that the marks of Kubernetes, Tailscale and the like do not use. */
#define MARK_DEFAULT ((struct mark){0x30000000, 0x10000000, 0x20000000})

/* A mask of two bits, or 0, in decimal or with 0x before it. */
bool mark_parse(const char *text, struct mark *mark);

#endif
