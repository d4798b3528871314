/*
 * sys/acceptor - who knocks at a listener is let in, also when file descriptors are out.
 *
 * A listener at which somebody waits stays readable: where he cannot be taken for want of a descriptor, whoever polls
 * it would spin. So each acceptor keeps a descriptor in reserve and gives it up for him: an administrator can ask what
 * is wrong just then. Where that does not help either, the listener is left alone for ACCEPTOR_PAUSE_MS, and he waits
 * in its backlog.
 *
 * Owner:  the acceptor owns its listener and its reserve; the epoll is the caller's.
 * Thread: one.
 */
#ifndef POSTERN_SYS_ACCEPTOR_H
#define POSTERN_SYS_ACCEPTOR_H

#include <stdbool.h>

enum { ACCEPTOR_PAUSE_MS = 500 };

struct acceptor {
    int poll;
    int listener; /* -1: none yet */
    int reserve;  /* -1: given up, or it could not be had */
    bool paused;
};

#define ACCEPTOR_NONE                                                                                                  \
    (struct acceptor)                                                                                                  \
    {                                                                                                                  \
        .poll = -1, .listener = -1, .reserve = -1                                                                      \
    }

/* Take over `listener`, which does not block, and make it part of the epoll `poll`, with a data pointer of NULL. */
bool acceptor_open(struct acceptor *acceptor, int poll, int listener);

/* A descriptor that does not block, the caller's; -1 where nobody waits, or cannot be taken now. */
int acceptor_take(struct acceptor *acceptor);

/* Once a turn, when descriptors may have become free: fill up the reserve, and listen again after a pause. */
void acceptor_refresh(struct acceptor *acceptor);

/* How long the caller may wait before it calls acceptor_take again though the epoll says nothing; -1: for ever. */
int acceptor_timeout_ms(const struct acceptor *acceptor);

void acceptor_close(struct acceptor *acceptor);

#endif
