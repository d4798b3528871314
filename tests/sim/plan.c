#include "plan.h"

#include <stdio.h>

enum { TINY = 16, BODY_MIN = 60 };

/*
 * There are three sources of numbers, so that what was added later left the plans of seeds before it as they were. The
 * order in which numbers are drawn is the meaning of a seed.
 */

static void plan_net(struct impairments *net, struct random_source *first)
{
    if (random_below(first, 4)) {
        net->loss = random_below(first, 2) ? random_below(first, 120) : 0;
        net->repeat = random_below(first, 2) ? random_below(first, 100) : 0;
        net->reorder = random_below(first, 2) ? random_below(first, 150) : 0;
        net->corrupt = random_below(first, 3) ? 0 : random_below(first, 60);
    }
    net->delay_us = 50 + random_below(first, 20000);
    net->jitter_us = random_below(first, 3000);
}

static void plan_end(struct plan *plan, int side, struct random_source *first, struct random_source *second)
{
    static const uint16_t mss[] = {88, 536, 1400, 1460};
    static const uint32_t windows[] = {300, 2000, 16000, 60000};
    struct endpoint_plan *end = &plan->ends[side];
    end->nagle = random_below(first, 2);
    end->sack = random_below(first, 2);
    end->delayed_ack = random_below(first, 2);
    end->timestamps = random_below(first, 2);
    end->fast_retransmit = random_below(first, 2);
    end->mss = mss[random_below(first, 4)];
    end->window = windows[random_below(first, 4)];
    end->window_shift = (uint8_t)random_below(first, 4);
    end->ip_version = random_below(second, 2) ? 6 : 4;
    end->drain_bytes = random_below(second, 4) ? 0 : 100 + random_below(second, 3000);
    end->drain_us = 1000 + random_below(second, 100000);
    if (side == 0 && random_below(second, 4) == 0)
        end->aggregate = 2 + random_below(second, 20);
    end->keep_alive = random_below(second, 4) == 0;
    end->rto_us = 200000 << random_below(first, 3);
    end->resends_max = random_below(first, 2) ? 15 : 5;
    end->resegment = random_below(first, 2);
    end->isn = random_below(first, 2) ? UINT32_MAX - random_below(first, 3000) : (uint32_t)random_next(first);
    plan->apps.cut[side] = (enum app_cut)random_below(first, APP_CUTS);
    plan->apps.pause_us[side] = random_below(first, 2) ? 0 : random_below(first, 12000);
}

/* What is rarer. */
static void plan_end_again(struct plan *plan, int side, struct random_source *second)
{
    struct endpoint_plan *end = &plan->ends[side];
    if (random_below(second, 2))
        end->mss = (uint16_t)(88 + random_below(second, 1373));
    if (random_below(second, 4) == 0)
        end->resends_max = 5;
    if (random_below(second, 3) == 0) {
        end->window_shift = (uint8_t)random_below(second, 15);
        end->window = 60000;
    }
    if (random_below(second, 4) == 0)
        plan->apps.pause_us[side] = random_below(second, 60000);
}

static void plan_apps(struct apps_plan *apps, struct random_source *first)
{
    apps->pipelined = random_below(first, 2);
    apps->chunking = random_below(first, 2);
    apps->authenticate = random_below(first, 4) == 0;
    apps->starttls = random_below(first, 5) == 0;
    apps->offer = random_below(first, 8) != 0;
    apps->force_xexch50 = random_below(first, 2);
    apps->accepts_xexch50 = random_below(first, 2);
    apps->transactions = 1 + random_below(first, APPS_TRANSACTIONS_MAX);
    apps->recipients = 1 + random_below(first, 3);
    apps->body_len = random_below(first, 3) ? random_below(first, 400) : random_below(first, 12000);
    if (apps->body_len < BODY_MIN)
        apps->body_len = BODY_MIN;
}

static void plan_engine(struct engine_settings *engine, struct random_source *second, uint64_t seed)
{
    *engine = engine_settings_default();
    engine->flows_max = 16;
    bool tiny = random_below(second, 3) == 0;
    engine->held_max = tiny ? 1 + random_below(second, 4) : 4 + random_below(second, 60);
    engine->flow_held_max = tiny ? 1 + random_below(second, 4) : 4 + random_below(second, 60);
    engine->blocks_max = (tiny ? TINY : 24) + random_below(second, tiny ? 8 : 200);
    engine->flow_blocks_max = (tiny ? TINY : 16) + random_below(second, tiny ? 8 : 200);
    engine->liberal_conntrack = false;
    engine->seed = seed;
}

void plan_make(struct plan *plan, uint64_t seed)
{
    struct random_source first = {seed * 31 + 7}, second = {seed * 77 + 3}, third = {seed * 101 + 13};
    *plan = (struct plan){0};
    plan_net(&plan->net, &first);
    for (int side = 0; side < 2; side++)
        plan_end(plan, side, &first, &second);
    plan->ends[1].ip_version = plan->ends[0].ip_version;
    for (int side = 0; side < 2; side++)
        plan_end_again(plan, side, &second);
    plan_apps(&plan->apps, &first);
    plan_engine(&plan->engine, &second, seed);
    plan->apps.asks = random_below(&third, 3) == 0;
    plan->slow = random_below(&third, 3) == 0;
    plan->apps.impatient = !plan->apps.asks && random_below(&third, 4) == 0;
    plan->engine.questions = plan->apps.asks ? (1u << QUESTION_KINDS) - 1 : 0;
}

struct plan plan_less(const struct plan *plan, int index)
{
    struct plan less = *plan;
    switch (index) {
    case 0:
        less.net.loss = 0;
        break;
    case 1:
        less.net.repeat = 0;
        break;
    case 2:
        less.net.reorder = 0;
        break;
    case 3:
        less.net.corrupt = 0;
        break;
    case 4:
        less.net.jitter_us = 0;
        break;
    case 5:
        less.apps.transactions = 1;
        break;
    case 6:
        less.apps.recipients = 1;
        break;
    case 7:
        less.apps.body_len = BODY_MIN;
        break;
    case 8:
        less.apps.authenticate = less.apps.starttls = false;
        break;
    case 9:
        less.apps.pipelined = less.apps.chunking = less.apps.impatient = false;
        break;
    case 10:
        less.apps.cut[0] = APP_CUT_WHOLE;
        break;
    case 11:
        less.apps.cut[1] = APP_CUT_WHOLE;
        break;
    }
    return less;
}

void plan_print(const struct plan *plan)
{
    const struct endpoint_plan *client = &plan->ends[0], *server = &plan->ends[1];
    printf("loss %u repeat %u reorder %u corrupt %u, cut %d/%d, mss %u/%u, window %u/%u, nagle %d/%d shift %u/%u drain "
           "%u/%u blocks %u/%u held %u/%u agg %u ka %d/%d rtomax %u/%u",
           plan->net.loss, plan->net.repeat, plan->net.reorder, plan->net.corrupt, plan->apps.cut[0], plan->apps.cut[1],
           client->mss, server->mss, client->window, server->window, client->nagle, server->nagle, client->window_shift,
           server->window_shift, client->drain_bytes, server->drain_bytes, plan->engine.blocks_max,
           plan->engine.flow_blocks_max, plan->engine.held_max, plan->engine.flow_held_max, client->aggregate,
           client->keep_alive, server->keep_alive, client->resends_max, server->resends_max);
}
