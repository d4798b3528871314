/*
 * tests/bench/yardstick - work of a fixed amount and of the kind that a packet is, so that what a packet costs is
 * judged beside it, in the same run.
 *
 * The octets of the script are classed one by one, the classes and where one ends are counted: small steps, with
 * branches that are hard to foresee. What makes the machine slow for the filter (a neighbour on the same processor, a
 * lower clock) makes it about as slow for this.
 *
 * A goal in nanoseconds holds where the yardstick takes YARDSTICK_NS, as it does on the machine on which the goals were
 * set while nobody else is on it; where it takes twice as long, so may a packet.
 */
#ifndef POSTERN_TESTS_BENCH_YARDSTICK_H
#define POSTERN_TESTS_BENCH_YARDSTICK_H

#include <stdint.h>
#include <stdlib.h>

#include "clock.h"
#include "script.h"

enum { YARDSTICK_NS = 124, YARDSTICK_ROUNDS = 100, YARDSTICK_CLASSES = 10 };

/* Where a linker puts either must not matter. */
#define YARDSTICK_CODE __attribute__((noinline, aligned(64)))

YARDSTICK_CODE static unsigned yardstick_class(uint8_t octet)
{
    switch (octet) {
    case ' ':
        return 1;
    case '\r':
        return 2;
    case '\n':
        return 3;
    case '-':
        return 4;
    case '<':
    case '>':
        return 5;
    case ':':
        return 6;
    default:
        break;
    }
    if (octet >= '0' && octet <= '9')
        return 7;
    if (octet >= 'a' && octet <= 'z')
        return 8;
    return octet >= 'A' && octet <= 'Z' ? 9 : 0;
}

/* Nanoseconds a packet. The least of as many calls as there are of what is judged beside it. */
YARDSTICK_CODE static double yardstick_ns(void)
{
    uint64_t counts[YARDSTICK_CLASSES] = {0}, ends = 0;
    uint64_t began = clock_ns();
    for (int row = 0; row < SCRIPT_ROWS; row++)
        for (int round = 0; round < YARDSTICK_ROUNDS; round++) {
            unsigned before = 0;
            for (const char *at = script[row].text ? script[row].text : ""; *at; at++) {
                unsigned class = yardstick_class((uint8_t)*at);
                counts[class]++;
                if (class != before)
                    ends += class;
                before = class;
            }
        }
    double ns = (double)(clock_ns() - began) / (SCRIPT_ROWS * YARDSTICK_ROUNDS);
    if (ends == 0 || counts[0] == 0)
        abort(); /* there are letters, and dots */
    return ns;
}

#endif
