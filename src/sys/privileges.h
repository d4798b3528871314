/*
 * sys/privileges - how little the process may do once all is open.
 *
 * Errors: a message of one line.
 */
#ifndef POSTERN_SYS_PRIVILEGES_H
#define POSTERN_SYS_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Become `user`, with its groups, and keep CAP_NET_ADMIN alone, which verdicts need; nothing can be gained by running
 * another program. Before any thread is made. Who is not root already only gives up what more could be gained.
 */
bool privileges_drop(const char *user, char *message, size_t message_size);

/* Give a file that was made as root to that user, so that it can be opened anew. */
void privileges_give(const char *path, const char *user);

/*
 * This thread, a worker's: from here on any system call beyond those that carry packets kills the process. Returns
 * false where the kernel has no such filters (errno).
 */
bool privileges_confine_worker(void);

#endif
