/*
 * sys/descriptors - when file descriptors are out, this process's (EMFILE) or the machine's (ENFILE), somebody counts.
 *
 * Thread: any.
 */
#ifndef POSTERN_SYS_DESCRIPTORS_H
#define POSTERN_SYS_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether a call that failed with that errno did so for want of a descriptor; counted. */
bool descriptors_out(int error);

/* Whether one can be had now; counted where not. For callers to whom a failure comes without its errno. */
bool descriptors_left(void);

/* How often one was missing since the start. */
uint64_t descriptors_out_count(void);

#endif
