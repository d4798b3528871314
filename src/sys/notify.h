/*
 * sys/notify - what systemd is told of the service, where it started it (NOTIFY_SOCKET); else nothing.
 */
#ifndef POSTERN_SYS_NOTIFY_H
#define POSTERN_SYS_NOTIFY_H

/* One or more lines of sd_notify(3), for example "READY=1". */
void notify(const char *state);

/* How often the watchdog is to be told that all is well, in milliseconds; -1: never. */
int notify_watchdog_ms(void);

#endif
