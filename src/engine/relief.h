/*
 * engine/relief - who ends where memory for octets runs out.
 *
 * Tarpits end first, the oldest before others: all that is lost is time. Then what was held longest is dropped, and the
 * oldest connection that keeps octets is reset. They are those of a network that has its share, else those of the
 * network that has most.
 *
 * Source: ../../docs/overload.md has a table of the resources, their bounds, and what happens at each.
 */
#ifndef POSTERN_ENGINE_RELIEF_H
#define POSTERN_ENGINE_RELIEF_H

#include "engine/room.h"

/* Pools and bounds are there: at how much in use somebody may be near one. */
void relief_init(struct engine *engine);

/* A packet of this connection is about to be judged: where what it may need runs out, make room. */
void relief_make_room(struct engine *engine, uint32_t index);

/* The same, at no cost while nobody is near a bound. */
static inline void relief_look(struct engine *engine, uint32_t index)
{
    const uint32_t *calm = engine->room.calm;
    bool near = (room_in_use(engine, ROOM_BLOCKS) > calm[ROOM_BLOCKS]) |
                (room_in_use(engine, ROOM_MIDDLE_BLOCKS) > calm[ROOM_MIDDLE_BLOCKS]) |
                (room_in_use(engine, ROOM_SMALL_BLOCKS) > calm[ROOM_SMALL_BLOCKS]) |
                (room_in_use(engine, ROOM_PIECES) > calm[ROOM_PIECES]) |
                (room_in_use(engine, ROOM_HELD) > calm[ROOM_HELD]) |
                (room_in_use(engine, ROOM_TARPITS) > calm[ROOM_TARPITS]);
    if (near)
        relief_make_room(engine, index);
}

#endif
