#include "smtp/ledger.h"

enum { BLOCK_SLOTS = 1024 };

static_assert(SMTP_LEDGER_SLOTS_MAX <= BLOCK_SLOTS, "a ledger fits a block");

static struct smtp_slot *slots_of(struct smtp_ledger *ledger, const struct pool *blocks, uint32_t *places)
{
    *places = ledger->block == POOL_NONE ? SMTP_LEDGER_SLOTS_INLINE : BLOCK_SLOTS;
    return ledger->block == POOL_NONE ? ledger->slots : pool_at(blocks, ledger->block);
}

bool smtp_ledger_push(struct smtp_ledger *ledger, struct pool *blocks, struct smtp_slot slot)
{
    if (ledger->count >= SMTP_LEDGER_SLOTS_MAX)
        return false;
    if (ledger->block == POOL_NONE && ledger->count == SMTP_LEDGER_SLOTS_INLINE) {
        uint32_t block = pool_borrow(blocks);
        if (block == POOL_NONE)
            return false;
        assert(blocks->object_bytes >= BLOCK_SLOTS * sizeof slot);
        struct smtp_slot *slots = pool_at(blocks, block);
        for (uint32_t i = 0; i < ledger->count; i++)
            slots[i] = ledger->slots[(ledger->head + i) % SMTP_LEDGER_SLOTS_INLINE];
        ledger->head = 0;
        ledger->block = block;
    }
    uint32_t places;
    struct smtp_slot *slots = slots_of(ledger, blocks, &places);
    slots[((uint32_t)ledger->head + ledger->count) % places] = slot;
    ledger->count++;
    return true;
}

const struct smtp_slot *smtp_ledger_oldest(const struct smtp_ledger *ledger, const struct pool *blocks)
{
    if (ledger->count == 0)
        return NULL;
    const struct smtp_slot *slots = ledger->block == POOL_NONE ? ledger->slots : pool_at(blocks, ledger->block);
    return &slots[ledger->head];
}

void smtp_ledger_pop(struct smtp_ledger *ledger, struct pool *blocks)
{
    assert(ledger->count > 0);
    uint32_t places;
    slots_of(ledger, blocks, &places);
    ledger->head = (uint16_t)((ledger->head + 1u) % places);
    if (--ledger->count == 0)
        smtp_ledger_clear(ledger, blocks);
}

void smtp_ledger_clear(struct smtp_ledger *ledger, struct pool *blocks)
{
    if (ledger->block != POOL_NONE)
        pool_return(blocks, ledger->block);
    ledger->block = POOL_NONE;
    ledger->head = 0;
    ledger->count = 0;
}
