#include "restart_plan.h"

#define SECOND_US INT64_C(1000000)
/* Where there is no want of any; and a window of which a record takes all. */
enum { IDLE_S = 1200, FLOWS = 16, BLOCKS = 64, MSS = 1460, WINDOW = 60000, NARROW = 2000 };

static void plan_ends(struct restart_plan *plan, struct random_source *random)
{
    static const uint16_t mss[] = {88, 536, MSS, MSS};
    for (int side = 0; side < 2; side++)
        plan->ends[side] = (struct endpoint_plan){
            .nagle = random_below(random, 4) == 0,
            .sack = random_below(random, 2),
            .delayed_ack = random_below(random, 2),
            .timestamps = random_below(random, 2),
            .fast_retransmit = random_below(random, 2),
            .mss = mss[random_below(random, 4)],
            .window = random_below(random, 4) ? WINDOW : NARROW,
            .rto_us = 200000 << random_below(random, 3),
            .resends_max = 12,
            .ip_version = 4,
            .resegment = random_below(random, 4) == 0,
            .answers_unknown = true,
        };
}

static void plan_engine(struct engine_settings *engine, struct random_source *random, uint64_t seed)
{
    bool tiny = random_below(random, 4) == 0;
    *engine = engine_settings_default();
    engine->flows_max = random_below(random, 3) ? FLOWS : 2;
    engine->held_max = tiny ? 4 + random_below(random, 8) : 64;
    engine->flow_held_max = tiny ? 2 + random_below(random, 4) : 16;
    engine->blocks_max = tiny ? 16 + random_below(random, 8) : BLOCKS;
    engine->flow_blocks_max = tiny ? 16 : 32;
    engine->pass_on_overload = random_below(random, 2);
    if (tiny && engine->pass_on_overload)
        engine->blocks_max -= 8; /* too little to go on with, where it would have to */
    engine->release = random_below(random, 2);
    engine->idle_s = random_below(random, 8) ? IDLE_S : 20;
    engine->questions = (1u << QUESTION_KINDS) - 1;
    engine->seed = seed;
}

static void plan_way(struct way_out *way, struct random_source *random)
{
    static const enum kernel_heir heirs[] = {
        KERNEL_HEIR_RECORD,       KERNEL_HEIR_RECORD,    KERNEL_HEIR_RECORD,   KERNEL_HEIR_OTHER_RULES,
        KERNEL_HEIR_OTHER_LAYOUT, KERNEL_HEIR_NO_RECORD, KERNEL_HEIR_NO_MARKS,
    };
    uint32_t drawn = random_below(random, 10);
    way->way = drawn < 3   ? WAY_STOPPED
               : drawn < 5 ? WAY_KILLED
               : drawn < 8 ? WAY_KILLED_HALFWAY
               : drawn < 9 ? WAY_CROWD
                           : WAY_RELOAD;
    way->heir = heirs[random_below(random, sizeof heirs / sizeof heirs[0])];
    way->packets = 1 + random_below(random, random_below(random, 2) ? 30 : 150);
    drawn = random_below(random, 4);
    way->wait_us = drawn < 2 ? 0 : (int64_t)random_below(random, drawn == 2 ? 20000 : 3000000);
    drawn = random_below(random, 8);
    way->away_us = drawn < 4 ? 0 : (int64_t)random_below(random, drawn < 7 ? 2000000 : 30000000);
}

static void plan_apps(struct restart_plan *plan, struct random_source *random)
{
    plan->sender = (struct sender_plan){
        .model = (enum sender_model)random_below(random, SENDER_MODELS),
        .reuses = random_below(random, 2),
        .resets = random_below(random, 2),
        .whole_chunk = random_below(random, 2),
        .pipelines_end = random_below(random, 2),
        .encrypts = random_below(random, 4) == 0,
        .aborts = random_below(random, 2),
        .odd = random_below(random, 3) ? 0 : 20,
        .patience_us = 300 * SECOND_US,
        .retry_us = (60 + (int64_t)random_below(random, 600)) * SECOND_US,
        .cut = random_below(random, 2) ? APP_CUT_WHOLE : (enum app_cut)random_below(random, APP_CUTS),
        .pause_us = random_below(random, 2) ? 0 : random_below(random, 60000),
    };
    plan->receiver = (struct receiver_plan){
        .pipelining = random_below(random, 4) != 0,
        .chunking = random_below(random, 2),
        .xexch50 = random_below(random, 2),
        .starttls = random_below(random, 2),
        .takes_xexch50 = random_below(random, 2),
        .slow = random_below(random, 2) ? 0 : 5 + random_below(random, 60),
        .slow_up_to_ms = random_below(random, 3) ? 3000 : 60000,
        .defers = random_below(random, 3) ? 0 : 5,
        .goodbyes = random_below(random, 3) ? 0 : 10,
        .patience_us = 400 * SECOND_US,
        .cut = random_below(random, 2) ? APP_CUT_WHOLE : (enum app_cut)random_below(random, APP_CUTS),
        .pause_us = random_below(random, 2) ? 0 : random_below(random, 60000),
    };
}

/*
 * Nothing but ends and beginnings, each with the record: no filter forgets, has too little room or loses a verdict,
 * nothing is written that cannot be read, no more is on its way than a record takes, and no line comes in pieces or
 * leaves so, delayed, of which a part could have left.
 */
static void make_calm(struct restart_plan *plan)
{
    struct engine_settings *engine = &plan->kernel.engine;
    engine->flows_max = FLOWS;
    engine->idle_s = IDLE_S;
    engine->blocks_max = BLOCKS;
    engine->held_max = engine->flow_held_max = BLOCKS;
    engine->flow_blocks_max = BLOCKS / 2;
    for (int side = 0; side < 2; side++) {
        plan->ends[side].mss = MSS;
        plan->ends[side].window = NARROW;
        plan->ends[side].resegment = false;
    }
    plan->calm = true;
    plan->slow = false;
    plan->kernel.service_us = 0;
    plan->sender.odd = 0;
    plan->sender.cut = plan->receiver.cut = APP_CUT_WHOLE;
    for (uint32_t i = 0; i < plan->way_count; i++) {
        if (plan->ways[i].way == WAY_KILLED_HALFWAY || plan->ways[i].way == WAY_CROWD)
            plan->ways[i].way = WAY_KILLED;
        if (plan->ways[i].heir > KERNEL_HEIR_OTHER_RULES)
            plan->ways[i].heir = KERNEL_HEIR_RECORD;
    }
}

/* The last filter has what it needs: with too little room, or patience, some mails would never come through. */
static void make_last(struct restart_plan *plan)
{
    struct engine_settings *last = &plan->kernel.last_engine;
    struct way_out *way = &plan->ways[plan->way_count - 1];
    *last = plan->kernel.engine;
    last->held_max = last->flow_held_max = last->blocks_max = BLOCKS;
    last->flow_blocks_max = BLOCKS / 2;
    last->idle_s = IDLE_S;
    if (way->way > WAY_KILLED_HALFWAY)
        way->way = WAY_STOPPED;
}

void restart_plan_make(struct restart_plan *plan, uint64_t seed)
{
    struct random_source random = {seed * 53 + 11};
    *plan = (struct restart_plan){0};
    plan_ends(plan, &random);
    plan_engine(&plan->kernel.engine, &random, seed);
    plan_apps(plan, &random);
    plan->slow = random_below(&random, 3) == 0;
    plan->rules = random_below(&random, 2);
    plan->kernel.service_us = random_below(&random, 2) ? 0 : random_below(&random, 20000);
    plan->mails = 1 + random_below(&random, MAILS_MAX);
    plan->at_once = 1 + random_below(&random, 2);
    plan->loss = random_below(&random, 2) ? 0 : random_below(&random, 80);
    plan->forged = random_below(&random, 2) ? 0 : random_below(&random, 50);
    plan->link_us = 100 + random_below(&random, 10000);
    plan->deferrals = random_below(&random, 4);
    plan->way_count = 1 + random_below(&random, RESTART_WAYS_MAX);
    bool remembers = random_below(&random, 2);
    for (uint32_t i = 0; i < plan->way_count; i++) {
        plan_way(&plan->ways[i], &random);
        if (remembers && plan->ways[i].heir > KERNEL_HEIR_OTHER_RULES)
            plan->ways[i].heir = KERNEL_HEIR_RECORD;
    }
    if (random_below(&random, 4) == 0)
        make_calm(plan);
    make_last(plan);
}

bool restart_plan_forgets(const struct restart_plan *plan)
{
    const struct engine_settings *engine = &plan->kernel.engine;
    bool crowded = engine->flows_max < FLOWS, forgotten = engine->idle_s < IDLE_S;
    for (uint32_t i = 0; i < plan->way_count; i++) {
        bool ends = plan->ways[i].way <= WAY_KILLED_HALFWAY;
        forgotten = forgotten || (ends && plan->ways[i].heir > KERNEL_HEIR_OTHER_RULES);
        crowded = crowded || plan->ways[i].way == WAY_CROWD;
    }
    return forgotten || (crowded && !engine->pass_on_overload);
}
