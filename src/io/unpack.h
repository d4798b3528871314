/*
 * io/unpack - the octets of a stream that is compressed by gzip or zstd.
 *
 * In:     a stream, at its beginning; its first octet says what it is.
 * Out:    a stream of what was compressed; several members or frames in a row are read as one.
 * Owner:  the packed stream stays the caller's. Who closes the plain stream closes it first, then calls unpack_free.
 * Limits: a fixed buffer; zstd's window, of 128 MiB at most (its own default).
 * Errors: reading the plain stream fails (ferror, errno EBADMSG), and unpack_fault says what is wrong. What ends
 *         in the middle is such a failure, never an end.
 * Source: RFC 1952 (gzip), RFC 8878 (zstd)
 */
#ifndef POSTERN_IO_UNPACK_H
#define POSTERN_IO_UNPACK_H

#include <stdbool.h>
#include <stdio.h>

struct unpack;

/* Whether a file that begins with this octet is compressed; no capture and no text begins so, but a parenthesis. */
bool unpack_is_packed(int first);

/* The plain stream in *plain; NULL where memory ran out. `first` is the octet that comes next in `packed`. */
struct unpack *unpack_new(FILE *packed, int first, FILE **plain);

/* What went wrong; NULL while nothing has. */
const char *unpack_fault(const struct unpack *unpack);

void unpack_free(struct unpack *unpack); /* NULL is allowed */

#endif
