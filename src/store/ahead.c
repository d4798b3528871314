#include "store/ahead.h"

#include <errno.h>
#include <sys/mman.h>

#include "store/thread.h"

/* Without touching what others may be writing there. False where the kernel cannot. */
static bool make_ready(uint8_t *chunk)
{
    madvise(chunk, AHEAD_CHUNK_BYTES, MADV_HUGEPAGE);
    return madvise(chunk, AHEAD_CHUNK_BYTES, MADV_POPULATE_WRITE) == 0 || errno == EAGAIN;
}

static void *run(void *context)
{
    struct ahead *ahead = context;
    bool can = true;
    while (can && ahead->end - ahead->ready_to >= (ptrdiff_t)AHEAD_CHUNK_BYTES) {
        while (sem_wait(&ahead->calls) && errno == EINTR)
            continue;
        if (atomic_load(&ahead->ending))
            break;
        can = make_ready(ahead->ready_to);
        uint8_t *readied = ahead->ready_to;
        ahead->ready_to += AHEAD_CHUNK_BYTES;
        atomic_store(&ahead->calls_from, (uintptr_t)readied);
    }
    atomic_store(&ahead->calls_from, UINTPTR_MAX);
    return NULL;
}

void ahead_start(struct ahead *ahead, uint8_t *memory, size_t bytes)
{
    ahead->ready_to = memory;
    ahead->end = memory + bytes;
    atomic_init(&ahead->ending, false);
    atomic_init(&ahead->calls_from, 0);
    sem_init(&ahead->calls, 0, 0);
    ahead->started = store_start(&ahead->thread, run, ahead);
    if (!ahead->started)
        atomic_store(&ahead->calls_from, UINTPTR_MAX);
}

void ahead_stop(struct ahead *ahead)
{
    if (ahead->started) {
        atomic_store(&ahead->ending, true);
        sem_post(&ahead->calls);
        pthread_join(ahead->thread, NULL);
    }
    sem_destroy(&ahead->calls);
}

void ahead_call(struct ahead *ahead)
{
    if (atomic_exchange(&ahead->calls_from, UINTPTR_MAX) != UINTPTR_MAX)
        sem_post(&ahead->calls);
}
