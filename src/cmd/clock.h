/*
 * cmd/clock - the time that engines are told, and that stamps events.
 */
#ifndef POSTERN_CMD_CLOCK_H
#define POSTERN_CMD_CLOCK_H

#include <stdint.h>

/* Remember how far the wall clock is ahead of the steady one; once, before any thread asks for the time. */
void clock_begin(void);

/* The same for a command that is to take `now_us`, microseconds since 1970, for the present. */
void clock_begin_at(int64_t now_us);

/* Microseconds since 1970; never backwards, whatever becomes of the wall clock meanwhile. */
int64_t clock_now_us(void);

#endif
