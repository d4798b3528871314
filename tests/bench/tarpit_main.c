/*
 * What 50,000 sessions in a tarpit cost: the memory of their connections, held packets and octets, and how fast other
 * sessions are beside them. Prints TAP, and the figures as JSON. (What they cost the kernel is measured by
 * tests/bench/run.)
 *
 *   tarpit_main [SESSIONS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/rules.h"
#include "clock.h"
#include "many.h"

enum { ROUNDS = 15, OTHERS = 2000, BYTES_MAX = 100 * 1000 * 1000 };

static const double SPEED_MIN = 0.9; /* of other sessions, beside their speed alone */

/* A session up to its RCPT; returns how many packets the server's reply to it lets go. */
static uint32_t ask(struct many *many, uint32_t flow, const char *command)
{
    many_greet(many, flow);
    many_send(many, flow, true, PACKET_ACK, MANY_SEQ, MANY_ACK, command);
    return many_send(many, flow, false, PACKET_ACK, MANY_SERVER_SEQ, MANY_SEQ + (uint32_t)strlen(command),
                     "250 2.1.5 Recipient OK\r\n");
}

/* Other sessions, one after the other; nanoseconds of a packet. */
static double others(struct many *many, uint32_t first)
{
    uint64_t began = clock_ns();
    for (uint32_t flow = first; flow < first + OTHERS; flow++) {
        if (ask(many, flow, "RCPT TO:<quick@b>\r\n") != 1)
            abort();
        many_send(many, flow, true, PACKET_RST, MANY_SEQ + 19, 0, "");
    }
    return (double)(clock_ns() - began) / OTHERS / (MANY_GREETED + 3);
}

int main(int argc, char **argv)
{
    uint32_t sessions = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 50000;
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 2 * sessions;
    settings.network_percent = 100; /* of how many clients is not asked here */
    settings.held_max = sessions + sessions / 4;
    settings.seed = 0x5eed;
    static struct policy policy;
    policy_init_default(&policy);
    rules_add(&policy, "late", RULE_ON_RECIPIENT, "slow@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    policy.refusals.texts[policy.rules[0].action.refusal].delay_ms = 120000;
    size_t before = many_resident_bytes();
    struct many busy, quiet;
    many_begin(&busy, &settings, &policy);
    uint32_t waiting = 0;
    for (uint32_t flow = 0; flow < sessions; flow++)
        waiting += ask(&busy, flow, "RCPT TO:<slow@b>\r\n") == 0;
    size_t gained = many_resident_bytes() - before;
    bool all = waiting == sessions && engine_gauges(busy.engine).tarpitted == sessions;
    many_begin(&quiet, &settings, &policy);
    double alone = 0, beside = 0;
    for (uint32_t turn = 0; clock_again(turn, alone >= SPEED_MIN * beside); turn++) {
        for (int i = 0; i < ROUNDS; i++) { /* in turns, so that what disturbs one disturbs the other */
            clock_keep_least(&alone, others(&quiet, sessions));
            clock_keep_least(&beside, others(&busy, sessions));
        }
    }
    double speed = alone / beside;
    printf("1..3\n# {\"sessions\":%u,\"tarpitted\":%u,\"bytes\":%zu,\"bytes_each\":%zu,\"packet_ns\":[%.0f,%.0f]}\n",
           sessions, engine_gauges(busy.engine).tarpitted, gained, gained / sessions, alone, beside);
    printf("%sok 1 - %u sessions in a tarpit at once\n", all ? "" : "not ", sessions);
    printf("%sok 2 - in %.1f MB of resident memory, 100 at most\n", gained <= BYTES_MAX ? "" : "not ",
           (double)gained / 1e6);
    printf("%sok 3 - other sessions at %.2f of their speed, %.1f at least\n", speed >= SPEED_MIN ? "" : "not ", speed,
           SPEED_MIN);
    return !all || gained > BYTES_MAX || speed < SPEED_MIN;
}
