#include "links.h"

#include <stdlib.h>
#include <string.h>

void links_init(struct links *links, const struct impairments *impairments, const struct endpoint *ends,
                struct random_source *random)
{
    memset(links, 0, sizeof *links);
    links->impairments = *impairments;
    links->ends = ends;
    links->random = random;
}

static bool chance(struct links *links, uint32_t per_1000)
{
    return random_below(links->random, 1000) < per_1000;
}

static void fly(struct links *links, struct flight flight, int64_t now_us)
{
    const struct impairments *with = &links->impairments;
    flight.at_us = now_us + with->delay_us;
    if (with->jitter_us)
        flight.at_us += (int64_t)random_below(links->random, (uint32_t)with->jitter_us + 1) / 8;
    if (chance(links, with->reorder))
        flight.at_us += with->jitter_us + 1 + (int64_t)random_below(links->random, 20000);
    flights_add(&links->flights, flight);
}

static void fly_again(struct links *links, struct flight flight, int64_t now_us)
{
    uint8_t *again = malloc(flight.len);
    memcpy(again, flight.packet, flight.len);
    flight.packet = again;
    fly(links, flight, now_us);
}

/* An octet behind the first 20. Which is drawn first, the place or the change, is not left to the compiler. */
static void damage(struct links *links, struct flight *flight)
{
    uint8_t change = (uint8_t)(1 + random_below(links->random, 255));
    uint32_t at = 20 + random_below(links->random, flight->len - 20);
    flight->packet[at] ^= change;
}

void links_cross(struct links *links, int side, int to, uint8_t *packet, uint32_t len, int64_t now_us)
{
    const struct impairments *with = &links->impairments;
    struct flight flight = {.side = side, .to = to, .packet = packet, .len = len};
    bool calm = links->ends[0].resends >= 3 || links->ends[1].resends >= 3 || links->lost_in_a_row[side] >= 2;
    if (!calm && chance(links, with->loss)) {
        links->lost_in_a_row[side]++;
        free(packet);
        return;
    }
    /* On the first link only: two changes could cancel each other in the checksum. */
    bool corrupt = !calm && to == FLIGHT_TO_GATEWAY && chance(links, with->corrupt);
    links->lost_in_a_row[side] = corrupt ? links->lost_in_a_row[side] + 1 : 0;
    if (!corrupt && chance(links, with->repeat))
        fly_again(links, flight, now_us);
    if (corrupt)
        damage(links, &flight);
    fly(links, flight, now_us);
}
