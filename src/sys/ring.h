/*
 * sys/ring - records from one thread to one other, bounded, without a lock.
 *
 * In:     records of any length, one by one: ring_reserve, fill it, ring_commit.
 * Out:    the same records in order: ring_front, read it, ring_pop.
 * Owner:  the ring owns the octets; a record lies in one piece and lives until ring_pop.
 * Thread: one producer, one consumer, neither ever waits for the other.
 * Limits: the octets given to ring_new. A record that finds no room is the producer's to count.
 */
#ifndef POSTERN_SYS_RING_H
#define POSTERN_SYS_RING_H

#include <stddef.h>

struct ring;

/* Room for `bytes` octets of records at least; NULL where there is no memory. */
struct ring *ring_new(size_t bytes);
void ring_free(struct ring *ring); /* NULL is allowed */

/* Octets of the ring that a record of `len` octets takes. */
size_t ring_record_bytes(size_t len);

/* The producer's: octets that are free. The consumer may free more at any time. */
size_t ring_room(struct ring *ring);

/* The producer's: `len` octets for the next record, aligned to 8; NULL where there is no room. */
void *ring_reserve(struct ring *ring, size_t len);

/* The record that was reserved last is complete. */
void ring_commit(struct ring *ring);

/* The consumer's: the oldest record, and its length; NULL where there is none. */
const void *ring_front(struct ring *ring, size_t *len);

/* The oldest record has been read. */
void ring_pop(struct ring *ring);

#endif
