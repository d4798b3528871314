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
    uint32_t first = 0;
    for (uint32_t i = 1; i < flights->count; i++)
        if (is_before(&flights->each[i], &flights->each[first]))
            first = i;
    if (flights->count == 0 || flights->each[first].at_us > now_us)
        return false;
    *flight = flights->each[first];
    flights->each[first] = flights->each[--flights->count];
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
