/*
 * store/ahead - memory that is used from its beginning on is made ready by a thread before its turn comes, so that no
 * worker waits while the kernel finds and clears it.
 *
 * In:     memory that nobody has touched; how far it is used.
 * Owner:  the caller owns the memory, and keeps it until ahead_stop.
 * Thread: any may tell how far it is used; one starts and stops.
 * Limits: AHEAD_CHUNK_BYTES to twice as much is ready and not in use.
 * Note:   what is ready is in large pages where the kernel has some. Where the thread comes late, cannot be started, or
 *         runs on a kernel before 5.14, pages come as ever, when they are touched.
 */
#ifndef POSTERN_STORE_AHEAD_H
#define POSTERN_STORE_AHEAD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AHEAD_CHUNK_BYTES (2u << 20) /* a large page */

struct ahead {
    uint8_t *ready_to, *end;      /* the thread's own */
    _Atomic uintptr_t calls_from; /* the thread is called where use has come to here */
    _Atomic bool ending;
    sem_t calls;
    pthread_t thread;
    bool started;
};

/* Readies nothing before memory is used. It begins at a multiple of AHEAD_CHUNK_BYTES; what is left over at its end by
   whole chunks is not made ready. */
void ahead_start(struct ahead *ahead, uint8_t *memory, size_t bytes);

void ahead_stop(struct ahead *ahead);

/* Wakes the thread: for ahead_used. */
void ahead_call(struct ahead *ahead);

/* It is used up to here now, or was before. Takes no time but where a chunk has been used up. */
static inline void ahead_used(struct ahead *ahead, const void *to)
{
    if ((uintptr_t)to >= atomic_load_explicit(&ahead->calls_from, memory_order_relaxed))
        ahead_call(ahead);
}

#endif
