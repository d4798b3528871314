#include "smtp/ledger.h"

#include "smtp/refusal.h"

static_assert(SMTP_LEDGER_SLOTS_MAX * sizeof(struct smtp_slot) <= 2048, "a ledger fits a block");

/* A power of two, as blocks are. */
static uint32_t places_of(const struct smtp_ledger *ledger, const struct pool *blocks)
{
    return ledger->block == POOL_NONE ? (uint32_t)SMTP_LEDGER_SLOTS_INLINE
                                      : fit_bytes(blocks, ledger->block) / (uint32_t)sizeof(struct smtp_slot);
}

static struct smtp_slot *slots_of(struct smtp_ledger *ledger, const struct pool *blocks)
{
    return ledger->block == POOL_NONE ? ledger->slots : fit_at(blocks, ledger->block);
}

/* All places are taken: a block with room for one slot more, at least. */
static bool grow(struct smtp_ledger *ledger, struct pool *blocks, uint32_t places)
{
    uint32_t block = fit_borrow(blocks, (places + 1) * (uint32_t)sizeof(struct smtp_slot));
    if (block == POOL_NONE)
        return false;
    struct smtp_slot *slots = fit_at(blocks, block);
    for (uint32_t i = 0; i < ledger->count; i++)
        slots[i] = smtp_ledger_at(ledger, blocks, i);
    if (ledger->block != POOL_NONE)
        fit_return(blocks, ledger->block);
    ledger->head = 0;
    ledger->block = block;
    return true;
}

bool smtp_ledger_push(struct smtp_ledger *ledger, struct pool *blocks, struct smtp_slot slot)
{
    uint32_t places = places_of(ledger, blocks);
    if (ledger->count >= SMTP_LEDGER_SLOTS_MAX || (ledger->count == places && !grow(ledger, blocks, places)))
        return false;
    places = places_of(ledger, blocks);
    slots_of(ledger, blocks)[((uint32_t)ledger->head + ledger->count) & (places - 1)] = slot;
    ledger->count++;
    ledger->promised = (uint16_t)(ledger->promised + (smtp_slot_fate(slot) != SMTP_FATE_PASS));
    return true;
}

struct smtp_slot smtp_ledger_at(const struct smtp_ledger *ledger, const struct pool *blocks, uint32_t place)
{
    const struct smtp_slot *slots = ledger->block == POOL_NONE ? ledger->slots : fit_at(blocks, ledger->block);
    assert(place < ledger->count);
    return slots[(ledger->head + place) & (places_of(ledger, blocks) - 1)];
}

void smtp_ledger_let_pass(struct smtp_ledger *ledger, struct pool *blocks, uint32_t place)
{
    assert(place < ledger->count);
    struct smtp_slot *slot = slots_of(ledger, blocks) + ((ledger->head + place) & (places_of(ledger, blocks) - 1));
    ledger->promised = (uint16_t)(ledger->promised - (smtp_slot_fate(*slot) != SMTP_FATE_PASS));
    *slot = smtp_slot_of(smtp_slot_verb(*slot), SMTP_FATE_PASS, SMTP_REFUSAL_NONE);
}

const struct smtp_slot *smtp_ledger_oldest(const struct smtp_ledger *ledger, const struct pool *blocks)
{
    if (ledger->count == 0)
        return NULL;
    const struct smtp_slot *slots = ledger->block == POOL_NONE ? ledger->slots : fit_at(blocks, ledger->block);
    return &slots[ledger->head];
}

void smtp_ledger_pop(struct smtp_ledger *ledger, struct pool *blocks)
{
    assert(ledger->count > 0);
    uint32_t places = places_of(ledger, blocks);
    const struct smtp_slot *slots = slots_of(ledger, blocks);
    ledger->promised = (uint16_t)(ledger->promised - (smtp_slot_fate(slots[ledger->head]) != SMTP_FATE_PASS));
    ledger->head = (uint16_t)((ledger->head + 1u) & (places - 1));
    if (--ledger->count == 0)
        smtp_ledger_clear(ledger, blocks);
}

void smtp_ledger_clear(struct smtp_ledger *ledger, struct pool *blocks)
{
    if (ledger->block != POOL_NONE)
        fit_return(blocks, ledger->block);
    ledger->block = POOL_NONE;
    ledger->head = 0;
    ledger->count = 0;
    ledger->promised = 0;
}
