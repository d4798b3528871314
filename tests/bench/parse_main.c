/*
 * What a packet of a dialogue costs: SMTP alone (cut, judged, committed), and the whole engine, beside a yardstick in
 * the same run. Prints TAP.
 *
 *   parse_main [--quick]
 *
 * Sessions play bench/script beside each other, so that each finds the caches as the others left them. That the core
 * allocates nothing is tests/core_symbols' to show: it has nothing to call for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"
#include "yardstick.h"

enum {
    AT_ONCE = PLAY_AT_ONCE,
    MESSAGE_BYTES = PLAY_MESSAGE_BYTES,
    SMTP_GOAL_NS = 250,
    ENGINE_GOAL_NS = 400,
};

static struct policy policy;
/* ---- SMTP alone ---- */

static struct smtp_session sessions[AT_ONCE];
static struct pool blocks;
static struct smtp_context context;
static struct smtp_change change; /* of one worker, as the engine's */

static void init_smtp(void)
{
    enum { BLOCK_BYTES = 2048 };
    pool_init(&blocks, calloc(AT_ONCE * 3, BLOCK_BYTES), BLOCK_BYTES, AT_ONCE * 3);
    context = (struct smtp_context){
        .blocks = &blocks, .keywords = &policy.strip, .refusals = &policy.refusals, .verbs = policy.watched};
}

/* Returns the units. */
static uint32_t feed(struct smtp_session *session, enum smtp_side side, struct span octets, uint32_t *changed)
{
    const struct smtp_room room = {.saved = 0, .spare = UINT32_MAX, .resize = side == SMTP_SERVER};
    static const struct policy_facts facts;
    struct policy_decision decision;
    struct smtp_unit unit;
    uint32_t units = 0;
    for (; smtp_session_next(session, &context, side, &octets, false, &unit); units++) {
        policy_judge(&policy, &unit, &facts, session->recipients, unit.reply.code, &decision);
        smtp_session_commit(session, &context, &unit, decision.action, room, &change);
        *changed += change.changed;
    }
    return units;
}

/* All sessions, each row in packets of at most `size` octets; nanoseconds a packet. */
static double smtp_ns(size_t size)
{
    uint32_t packets = 0, changed = 0;
    for (int i = 0; i < AT_ONCE; i++)
        smtp_session_init(&sessions[i]);
    uint64_t began = clock_ns();
    for (int row = 0; row < SCRIPT_ROWS; row++)
        for (int i = 0; i < AT_ONCE; i++) {
            struct span octets = row_octets(row);
            for (; octets.len; octets = span_tail(octets, size), packets++)
                feed(&sessions[i], script[row].from, span_head(octets, size), &changed);
        }
    double ns = (double)(clock_ns() - began) / packets;
    for (int i = 0; i < AT_ONCE; i++) {
        if (sessions[i].opaque || sessions[i].ledger.count)
            abort(); /* it lost its way */
        smtp_session_fini(&sessions[i], &blocks);
    }
    if (changed < AT_ONCE * PLAY_STRIPPED)
        abort();
    return ns;
}

/* ---- */

static struct {
    double spoken, octets, engine, yardstick;
} least; /* nanoseconds a packet, of one turn */

static void measure(uint32_t from, uint32_t to)
{
    memset(&least, 0, sizeof least);
    for (uint32_t i = from; i < to; i++) {
        clock_keep_least(&least.yardstick, yardstick_ns());
        clock_keep_least(&least.spoken, smtp_ns(MESSAGE_BYTES));
        clock_keep_least(&least.octets, smtp_ns(1));
        clock_keep_least(&least.engine, play_ns(i, PLAY_STRIPPED));
    }
}

static double yardsticks(double ns)
{
    return ns / least.yardstick;
}

static double goal(int goal_ns)
{
    return (double)goal_ns / YARDSTICK_NS;
}

static bool all_met(void)
{
    return yardsticks(least.spoken) <= goal(SMTP_GOAL_NS) && yardsticks(least.octets) <= goal(SMTP_GOAL_NS) &&
           yardsticks(least.engine) <= goal(ENGINE_GOAL_NS);
}

static void tell(int number, const char *what, double ns, int goal_ns)
{
    printf(
        "%sok %d - %s: %.2f times the yardstick (%.0f ns a packet; goal %.2f, which is %d ns where the yardstick takes "
        "%d and not %.0f)\n",
        yardsticks(ns) <= goal(goal_ns) ? "" : "not ", number, what, yardsticks(ns), ns, goal(goal_ns), goal_ns,
        YARDSTICK_NS, least.yardstick);
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 100 : 1000;
    if (CLOCK_SANITIZED) {
        printf("1..0 # SKIP built with a sanitizer\n");
        return 0;
    }
    policy_init_default(&policy);
    fill_message();
    init_smtp();
    play_init(&policy);
    play_learn();
    for (uint32_t turn = 0; clock_again(turn, all_met()); turn++)
        measure(1 + turn * rounds, 1 + (turn + 1) * rounds);
    tell(1, "SMTP of a dialogue, each command and reply a packet", least.spoken, SMTP_GOAL_NS);
    tell(2, "SMTP of a dialogue, each octet a packet", least.octets, SMTP_GOAL_NS);
    tell(3, "the engine, handshake and closing included", least.engine, ENGINE_GOAL_NS);
    printf("1..3\n");
    return all_met() ? 0 : 1;
}
