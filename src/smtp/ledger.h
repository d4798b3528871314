/*
 * smtp/ledger - what replies the server owes, in order, and what shall become of each.
 *
 * Commands may be pipelined (RFC 2920); their replies come later and in the same order. For each command that went to
 * the server the ledger has a slot; each reply closes the oldest one.
 *
 * Owner:  a few slots live in the ledger; a longer queue borrows one block of the pool until it is empty.
 * Limits: SMTP_LEDGER_SLOTS_MAX; a full ledger is a status.
 */
#ifndef POSTERN_SMTP_LEDGER_H
#define POSTERN_SMTP_LEDGER_H

#include "base/pool.h"
#include "smtp/verb.h"

#define SMTP_LEDGER_SLOTS_INLINE 8
#define SMTP_LEDGER_SLOTS_MAX    1000

struct smtp_slot {
    uint8_t verb;    /* enum smtp_verb: what the reply will answer */
    uint8_t refusal; /* enum smtp_refusal: the reply goes on in this form; SMTP_REFUSAL_NONE passes it */
};

struct smtp_ledger {
    struct smtp_slot slots[SMTP_LEDGER_SLOTS_INLINE];
    uint32_t block; /* where the slots are instead; POOL_NONE while the few suffice */
    uint16_t head;  /* place of the oldest */
    uint16_t count;
};

/* A command went to the server. False where the ledger, or the pool, is full; nothing has changed then. */
bool smtp_ledger_push(struct smtp_ledger *ledger, struct pool *blocks, struct smtp_slot slot);

/* The oldest slot, or NULL where the server owes nothing. Lives until the next push or pop. */
const struct smtp_slot *smtp_ledger_oldest(const struct smtp_ledger *ledger, const struct pool *blocks);

/* Its reply has come. */
void smtp_ledger_pop(struct smtp_ledger *ledger, struct pool *blocks);

void smtp_ledger_clear(struct smtp_ledger *ledger, struct pool *blocks);

#endif
