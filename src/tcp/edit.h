/*
 * tcp/edit - the edit log of one direction: two sequence spaces and the way between them.
 *
 * Ingress numbers are the sender's, egress numbers the receiver's. Octets are decided in order: so many ingress octets
 * became so many egress octets. Where the two counts are equal nothing needs to be remembered, the rest is a short
 * ascending list, folded into one offset once the receiver has acknowledged it.
 *
 * Inside an edit of n ingress octets that became m, the k-th ingress octet stands for the min(k, m)-th egress octet,
 * and the last one for all that remain. So the map never goes backwards, packets that cover the ingress octets between
 * them cover the egress octets, and an edit that keeps its length is no edit to this log at all.
 *
 * Owner:  the entries belong to a pool that the caller passes in.
 * Limits: the pool; a full pool is a status that the caller must expect (see edit_room).
 * Source: RFC 9293 3.4, RFC 2018 (SACK).
 */
#ifndef POSTERN_TCP_EDIT_H
#define POSTERN_TCP_EDIT_H

#include "base/pool.h"
#include "tcp/seq.h"

#define EDIT_ENTRY_BYTES 16 /* the pool's objects */

struct edit_log {
    uint32_t anchor;        /* ingress: all before it is acknowledged and folded */
    uint32_t anchor_egress; /* the same place, egress */
    uint32_t end;           /* ingress: all before it is decided */
    uint32_t end_egress;    /* the same place, egress */
    uint32_t head;          /* entries between anchor and end, ascending; POOL_NONE where there are none */
    uint32_t tail;
};

/* Nothing decided yet; both spaces begin at the sender's `start`. */
void edit_init(struct edit_log *log, uint32_t start);

/* How many octets egress is ahead of ingress at the end: never above zero unless the rules allow it (law 3). */
static inline int32_t edit_offset(const struct edit_log *log)
{
    return seq_diff(log->end_egress, log->end);
}

/* Whether octets may be decided with another length: false where the pool of entries is empty. */
static inline bool edit_room(const struct pool *entries)
{
    return pool_free_count(entries) > 0;
}

/*
 * The next `ingress_len` octets became `egress_len` octets. Needs edit_room where the two differ and the change does
 * not lengthen a deletion that stands last.
 */
void edit_decide(struct edit_log *log, struct pool *entries, uint32_t ingress_len, uint32_t egress_len);

/* Where ingress position `seq` stands in egress space. */
uint32_t edit_forward(const struct edit_log *log, const struct pool *entries, uint32_t seq);

/*
 * The last ingress position that egress position `ack` stands for: what a receiver that has everything before `ack`
 * has acknowledged. What was deleted behind it counts as acknowledged with it.
 */
uint32_t edit_backward(const struct edit_log *log, const struct pool *entries, uint32_t ack);

/*
 * A SACK block in egress space, made one in ingress space: never more than the block covers. False where nothing
 * remains of it (RFC 2018 4: a block may be left out).
 */
bool edit_backward_block(const struct edit_log *log, const struct pool *entries, uint32_t *left, uint32_t *right);

/* The receiver has everything before `ack` (egress): fold. Old acknowledgments change nothing. */
void edit_acknowledge(struct edit_log *log, struct pool *entries, uint32_t ack);

/* One edit that is not acknowledged yet. */
struct edit_entry {
    uint32_t at; /* ingress */
    uint32_t ingress_len;
    uint32_t egress_len;
};

/* The first one, and the one after `id`, into *entry; POOL_NONE where there is none. */
uint32_t edit_first(const struct edit_log *log, const struct pool *entries, struct edit_entry *entry);
uint32_t edit_next(const struct pool *entries, uint32_t id, struct edit_entry *entry);

/* Give all entries back to the pool. */
void edit_clear(struct edit_log *log, struct pool *entries);

#endif
