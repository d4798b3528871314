/*
 * tests/sim/restart_plan - what a seed of restart_main decides: both ends, the network, filters and the ways in which
 * they lose sight of connections.
 *
 * Out:    a plan, without what restart_main adds: its functions, the rules.
 */
#ifndef POSTERN_TESTS_RESTART_PLAN_H
#define POSTERN_TESTS_RESTART_PLAN_H

#include "kernel.h"
#include "receiver.h"
#include "sender.h"

enum { RESTART_WAYS_MAX = 10 };

/* Ways out of sight. */
enum way {
    WAY_STOPPED,
    WAY_KILLED,
    WAY_KILLED_HALFWAY, /* behind an engine_packet whose verdicts are not all carried out */
    WAY_CROWD,
    WAY_RELOAD,
    WAYS
};

struct way_out {
    enum way way;
    enum kernel_heir heir;
    uint32_t packets; /* behind so many more packets at the gateway, */
    int64_t wait_us;  /* and then so much later */
    int64_t away_us;  /* until the next engine begins */
};

/* What a seed decides. */
struct restart_plan {
    struct kernel_plan kernel;
    struct sender_plan sender;
    struct receiver_plan receiver;
    struct endpoint_plan ends[2];
    uint32_t mails, at_once;
    uint32_t loss;   /* per 1000; never three in a row */
    uint32_t forged; /* per 1000 packets, those before which somebody sends one who cannot see their connection */
    int64_t link_us;
    uint32_t way_count;
    struct way_out ways[RESTART_WAYS_MAX];
    uint32_t rules;     /* which of two sets the first filter has */
    bool slow;          /* rules delay replies */
    bool calm;          /* every promise can be kept, see make_calm */
    uint32_t deferrals; /* attempts of which the greylist puts some off */
};

void restart_plan_make(struct restart_plan *plan, uint64_t seed);
/* A filter was, is or will be that does not know a connection any more which the one before knew, or it itself. */
bool restart_plan_forgets(const struct restart_plan *plan);

#endif
