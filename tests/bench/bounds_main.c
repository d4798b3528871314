/*
 * Mails of one client network beside 50,000 connections of another one at each bound of what connections share: their
 * speed, in processor time, beside their speed alone. Prints TAP. (That they need no more packets is shown by
 * tests/property/bounds_test.)
 */
#include <stdio.h>
#include <stdlib.h>

#include "../lib/crowd.h"
#include "clock.h"

enum { CROWD = 50000, MAILS = 500, ROUNDS = 16, MEMORY = 64 << 20 };

static const double SPEED_MIN = 0.9;

/* Nanoseconds of a mail. */
static double mails(struct crowd *crowd, uint32_t *first)
{
    uint64_t began = clock_ns();
    if (!crowd_mails(crowd, *first % 40000, MAILS))
        return 1e12; /* none was taken */
    *first += MAILS;
    return (double)(clock_ns() - began) / MAILS;
}

int main(void)
{
    int missed = 0;
    printf("1..%d\n", CROWD_ATTACKS);
    for (int attack = 0; attack < CROWD_ATTACKS; attack++) {
        struct crowd *quiet = crowd_new(MEMORY), *busy = crowd_new(MEMORY);
        crowd_attack(busy, (enum crowd_attack)attack, 0, 0, CROWD);
        double speeds[ROUNDS], speed = 0, beside = 0;
        uint32_t first[2] = {0};
        for (uint32_t turn = 0; clock_again(turn, speed >= SPEED_MIN); turn++) {
            for (int i = 0; i < ROUNDS; i++) { /* in turns, so that what disturbs one disturbs the other */
                double alone_ns = mails(quiet, &first[0]), beside_ns = mails(busy, &first[1]);
                speeds[i] = alone_ns / beside_ns;
                clock_keep_least(&beside, beside_ns);
            }
            speed = clock_median(speeds, ROUNDS);
        }
        bool good = speed >= SPEED_MIN;
        missed += !good;
        printf("%sok %d - mails at %.2f of their speed beside %d: %s (%.0f ns each)\n", good ? "" : "not ", attack + 1,
               speed, CROWD, crowd_name((enum crowd_attack)attack), beside);
        (void)fflush(stdout);
        crowd_free(quiet);
        crowd_free(busy);
    }
    return missed > 0;
}
