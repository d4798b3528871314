/*
 * smtp/ledger - what replies the server owes, in order, and what shall become of each.
 *
 * Commands may be pipelined (RFC 2920); their replies come later and in the same order. For each command that went to
 * the server the ledger has a slot; each reply closes the oldest one.
 *
 * Owner:  a few slots live in the ledger; a longer queue borrows one block of the pool, as large as it must
 *         be (base/fit), until it is empty.
 * Limits: SMTP_LEDGER_SLOTS_MAX; a full ledger is a status.
 */
#ifndef POSTERN_SMTP_LEDGER_H
#define POSTERN_SMTP_LEDGER_H

#include "base/fit.h"
#include "smtp/verb.h"

#define SMTP_LEDGER_SLOTS_INLINE 8
#define SMTP_LEDGER_SLOTS_MAX    1000

/* What shall become of a reply. */
enum smtp_fate {
    SMTP_FATE_PASS,            /* as it comes */
    SMTP_FATE_REPLACE,         /* the refusal leaves in its place */
    SMTP_FATE_REPLACE_IF_OK,   /* so it does where the reply is a 2xx; a refusal of the server's own passes */
    SMTP_FATE_REPLACE_SPOILED, /* it is replaced, and should be a refusal itself: a 2xx voids the transaction */
    SMTP_FATE_REPLACE_IF_BARE, /* so it is where it is a 5xx for want of recipients, and the client has one that
                                  it was told to send again */
    SMTP_FATE_MUST_SUCCEED,    /* it passes; no 2xx shows that what was let pass behind it must not be */
    SMTP_FATE_VANISH,          /* it is taken out: it answers octets that were */
    SMTP_FATE_REPLACE_EACH,    /* as REPLACE; of LMTP the refusal leaves once for each recipient who was accepted */
    SMTP_FATES
};

static_assert(SMTP_FATES <= 8, "a fate takes three bits");

struct smtp_slot {
    uint8_t verb_and_fate; /* see smtp_slot_of */
    uint8_t refusal;       /* number of the reply that takes its place, where its fate wants one; see smtp_slot_waits */
};

static_assert(SMTP_VERBS <= 32, "a verb takes five bits");

/* A slot: what the reply will answer, and what shall become of it. */
static inline struct smtp_slot smtp_slot_of(enum smtp_verb verb, enum smtp_fate fate, uint8_t refusal)
{
    return (struct smtp_slot){(uint8_t)((unsigned)verb | (unsigned)fate << 5), refusal};
}

static inline enum smtp_verb smtp_slot_verb(struct smtp_slot slot)
{
    return (enum smtp_verb)(slot.verb_and_fate & 31);
}

static inline enum smtp_fate smtp_slot_fate(struct smtp_slot slot)
{
    return (enum smtp_fate)(slot.verb_and_fate >> 5);
}

/* Whether the consent that the reply may be leaves later (SMTP_ACTION_WAIT): by the delay of the slot's refusal. */
static inline bool smtp_slot_waits(struct smtp_slot slot)
{
    return slot.refusal != 0 && smtp_slot_fate(slot) == SMTP_FATE_PASS &&
           smtp_verb_is(smtp_slot_verb(slot), SMTP_TRAIT_ENCRYPTS);
}

struct smtp_ledger {
    struct smtp_slot slots[SMTP_LEDGER_SLOTS_INLINE];
    uint32_t block; /* where the slots are instead; POOL_NONE while the few suffice */
    uint16_t head;  /* place of the oldest */
    uint16_t count;
    uint16_t promised; /* slots whose reply will not simply pass */
};

/* A command went to the server. False where the ledger, or the pool, is full; nothing has changed then. */
bool smtp_ledger_push(struct smtp_ledger *ledger, struct pool *blocks, struct smtp_slot slot);

/* The oldest slot, or NULL where the server owes nothing. Lives until the next push or pop. */
const struct smtp_slot *smtp_ledger_oldest(const struct smtp_ledger *ledger, const struct pool *blocks);

/* The slot that is `place` places behind the oldest; place < count. */
struct smtp_slot smtp_ledger_at(const struct smtp_ledger *ledger, const struct pool *blocks, uint32_t place);

/* The reply to the slot at `place` passes as it comes after all. */
void smtp_ledger_let_pass(struct smtp_ledger *ledger, struct pool *blocks, uint32_t place);

/* The reply to the oldest slot has come. */
void smtp_ledger_pop(struct smtp_ledger *ledger, struct pool *blocks);

void smtp_ledger_clear(struct smtp_ledger *ledger, struct pool *blocks);

#endif
