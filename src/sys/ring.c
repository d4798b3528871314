#include "sys/ring.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEADER_BYTES = 8, ALIGNMENT = 8, CACHE_LINE = 64 };

/*
 * The octets are mapped twice, one copy behind the other, so that every record is in one piece. What each of the two
 * writes lies in cache lines of its own.
 */
struct ring {
    alignas(CACHE_LINE) _Atomic uint64_t head; /* octets ever committed */
    uint64_t reserved;                         /* the producer's: where the record ends that is being filled */
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* octets ever read */
    alignas(CACHE_LINE) uint8_t *bytes;
    size_t size; /* of one copy; a power of two */
};

static uint8_t *map_twice(size_t size)
{
    int fd = memfd_create("ring", MFD_CLOEXEC);
    uint8_t *bytes = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool good = fd >= 0 && bytes != MAP_FAILED && ftruncate(fd, (off_t)size) == 0;
    for (size_t at = 0; good && at < 2 * size; at += size)
        good = mmap(bytes + at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == bytes + at;
    if (fd >= 0)
        close(fd);
    if (!good && bytes != MAP_FAILED)
        munmap(bytes, 2 * size);
    return good ? bytes : NULL;
}

struct ring *ring_new(size_t bytes)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    while (size < bytes)
        size *= 2;
    struct ring *ring = aligned_alloc(CACHE_LINE, sizeof *ring);
    if (!ring)
        return NULL;
    memset(ring, 0, sizeof *ring);
    ring->size = size;
    ring->bytes = map_twice(size);
    if (ring->bytes)
        return ring;
    free(ring);
    return NULL;
}

void ring_free(struct ring *ring)
{
    if (!ring)
        return;
    munmap(ring->bytes, 2 * ring->size);
    free(ring);
}

size_t ring_record_bytes(size_t len)
{
    return HEADER_BYTES + (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

size_t ring_room(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    return ring->size - (size_t)(head - atomic_load_explicit(&ring->tail, memory_order_acquire));
}

void *ring_reserve(struct ring *ring, size_t len)
{
    if (len > ring->size || ring_record_bytes(len) > ring_room(ring))
        return NULL;
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint8_t *at = ring->bytes + (head & (ring->size - 1));
    uint64_t stored = len;
    memcpy(at, &stored, sizeof stored);
    ring->reserved = head + ring_record_bytes(len);
    return at + HEADER_BYTES;
}

void ring_commit(struct ring *ring)
{
    /* Sequentially consistent: whoever then looks whether the consumer sleeps sees it (see report/log). */
    atomic_store(&ring->head, ring->reserved);
}

const void *ring_front(struct ring *ring, size_t *len)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (atomic_load(&ring->head) == tail)
        return NULL;
    const uint8_t *at = ring->bytes + (tail & (ring->size - 1));
    uint64_t stored;
    memcpy(&stored, at, sizeof stored);
    *len = (size_t)stored;
    return at + HEADER_BYTES;
}

void ring_pop(struct ring *ring)
{
    size_t len;
    const void *record = ring_front(ring, &len);
    assert(record != NULL);
    (void)record;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, tail + ring_record_bytes(len), memory_order_release);
}
