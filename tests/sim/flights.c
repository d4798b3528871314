#include "flights.h"

#include <stdlib.h>

void flights_add(struct flights *flights, struct flight flight)
{
    if (flights->count == FLIGHTS_MAX) {
        free(flight.packet);
        return;
    }
    flight.order = flights->order++;
    flights->each[flights->count++] = flight;
}

static bool is_before(const struct flight *a, const struct flight *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

bool flights_take(struct flights *flights, int64_t now_us, struct flight *flight)
{
    struct flight *first = NULL;
    for (struct flight *f = flights->each; f < flights->each + flights->count; f++)
        if (f->at_us <= now_us && (!first || is_before(f, first)))
            first = f;
    if (!first)
        return false;
    *flight = *first;
    *first = flights->each[--flights->count];
    return true;
}

int64_t flights_due(const struct flights *flights)
{
    int64_t at_us = INT64_MAX;
    for (uint32_t i = 0; i < flights->count; i++)
        at_us = flights->each[i].at_us < at_us ? flights->each[i].at_us : at_us;
    return at_us;
}

void flights_fini(struct flights *flights)
{
    for (uint32_t i = 0; i < flights->count; i++)
        free(flights->each[i].packet);
    flights->count = 0;
}
