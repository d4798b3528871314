#include "report/exchanges.h"

#include <assert.h>
#include <stdlib.h>

enum { ROOM_MIN = 4 };

static struct exchange *place(const struct exchanges *exchanges, uint32_t index)
{
    return &exchanges->ring[(exchanges->head + index) & (exchanges->room - 1)];
}

static bool grow(struct exchanges *exchanges, struct account *account)
{
    uint32_t room = exchanges->room ? exchanges->room * 2 : ROOM_MIN;
    size_t more = (room - exchanges->room) * sizeof(struct exchange);
    if (room > EXCHANGES_MAX || !account_take(account, more))
        return false;
    struct exchange *ring = calloc(room, sizeof *ring);
    if (!ring) {
        account_give(account, more);
        return false;
    }
    for (uint32_t i = 0; i < exchanges->count; i++)
        ring[i] = *place(exchanges, i);
    free(exchanges->ring);
    *exchanges = (struct exchanges){.ring = ring, .count = exchanges->count, .room = room};
    return true;
}

struct exchange *exchanges_add(struct exchanges *exchanges, struct account *account)
{
    if (exchanges->count == exchanges->room && !grow(exchanges, account))
        return NULL;
    struct exchange *exchange = place(exchanges, exchanges->count++);
    *exchange = (struct exchange){.why = ""};
    return exchange;
}

struct exchange *exchanges_oldest(const struct exchanges *exchanges)
{
    return exchanges->count ? place(exchanges, 0) : NULL;
}

struct exchange *exchanges_newest(const struct exchanges *exchanges)
{
    return exchanges->count ? place(exchanges, exchanges->count - 1) : NULL;
}

struct exchange exchanges_pop(struct exchanges *exchanges, struct account *account)
{
    assert(exchanges->count > 0);
    struct exchange oldest = *place(exchanges, 0);
    exchanges->head++;
    exchanges->count--;
    account_give(account, oldest.bytes);
    return oldest;
}

void exchanges_clear(struct exchanges *exchanges, struct account *account)
{
    assert(exchanges->count == 0);
    account_give(account, exchanges->room * sizeof(struct exchange));
    free(exchanges->ring);
    *exchanges = (struct exchanges){0};
}
