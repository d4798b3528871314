/*
 * report/lines - the lines of a file, one after the other: as it is, or compressed by gzip or zstd.
 *
 * In:     a path; what the file is, its first octets say.
 * Out:    lines without their line end, ended by NUL.
 * Owner:  a line lives until the next one is asked for; lines_close gives everything back.
 * Limits: LINES_BYTES_MAX of a line; what is longer is left out and counted.
 * Errors: a reason in words.
 */
#ifndef POSTERN_REPORT_LINES_H
#define POSTERN_REPORT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_BYTES_MAX (1u << 20)

struct lines;

/* NULL, and why it cannot be read. */
struct lines *lines_open(const char *path, char *why, size_t size);

/* The next line, of *len octets; NULL at the end, or where it cannot be read on: then `why` is not empty. */
char *lines_next(struct lines *lines, size_t *len, char *why, size_t size);

/* Lines that were too long. */
uint64_t lines_left_out(const struct lines *lines);

void lines_close(struct lines *lines); /* NULL is allowed */

#endif
