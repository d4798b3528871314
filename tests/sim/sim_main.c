/*
 * Simulation: two modelled TCP endpoints speak SMTP through an engine, over a network that loses, repeats, reorders,
 * delays and corrupts packets, on a virtual clock. One seed decides everything.
 *
 *   sim_main [FROM:COUNT]              default 1:2000; prints TAP
 *   sim_main --seed N [TRACE.pcap]     one seed, with what happened; the trace has what came to the gateway
 *
 * A run is made without the filter and with it, and what each side must have read is said by an independent reference.
 * A failing seed is run again with one difficulty less at a time, as long as it still fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/rules.h"
#include "answers.h"
#include "apps.h"
#include "gateway.h"
#include "io/capture.h"
#include "laws.h"
#include "links.h"
#include "plan.h"
#include "policy/policy.h"
#include "reference.h"

enum { FAILURES_MAX = 5, TURNS_MAX = 400000 };
enum { DLT_RAW_IP = 12 };

struct run {
    struct plan plan;
    bool filtered;
    struct random_source random;
    int64_t now_us;
    struct endpoint ends[2]; /* the client, the server */
    struct apps apps;
    struct links links;
    struct gateway gateway;
    struct answers answers;
    struct laws laws;
    struct capture_writer *trace;
    struct fault fault;
};

static struct policy policies[2][2]; /* that ask, and that delay replies */

/* ---- one run ---- */

static void endpoint_sends(void *context, struct endpoint *from, uint8_t *packet, uint32_t len)
{
    struct run *run = context;
    links_cross(&run->links, from == &run->ends[0] ? 0 : 1, FLIGHT_TO_GATEWAY, packet, len, run->now_us);
}

static void gateway_sends(void *context, const struct gateway_packet *arrived, uint8_t *packet, uint32_t len)
{
    struct run *run = context;
    laws_check(&run->laws, arrived, packet, len);
    links_cross(&run->links, arrived->side, !arrived->side, packet, len, run->now_us);
}

static void at_gateway(struct run *run, const struct flight *flight)
{
    if (run->trace)
        capture_write(run->trace, run->now_us, (struct span){0}, (struct span){flight->packet, flight->len});
    if (!run->filtered) {
        links_cross(&run->links, flight->side, !flight->side, flight->packet, flight->len, run->now_us);
        return;
    }
    laws_note_arrival(&run->laws, flight->side, flight->packet, flight->len);
    gateway_arrive(&run->gateway, flight->side, flight->packet, flight->len, run->now_us);
}

static void land(struct run *run)
{
    struct flight flight;
    while (flights_take(&run->links.flights, run->now_us, &flight)) {
        if (flight.to == FLIGHT_TO_GATEWAY) {
            at_gateway(run, &flight);
            continue;
        }
        endpoint_receive(&run->ends[flight.to], flight.packet, flight.len, run->now_us);
        free(flight.packet);
    }
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

static int64_t next_event(const struct run *run)
{
    int64_t at = earlier(flights_due(&run->links.flights), apps_due(&run->apps));
    for (int side = 0; side < 2; side++)
        at = earlier(at, endpoint_due(&run->ends[side]));
    if (run->filtered)
        at = earlier(at, earlier(engine_next_due(run->gateway.engine), answers_due(&run->answers)));
    return at;
}

static bool finished(const struct run *run)
{
    return endpoint_finished(&run->ends[0]) && endpoint_finished(&run->ends[1]);
}

static bool over(const struct run *run)
{
    return finished(run) || run->ends[0].state == ENDPOINT_DEAD || run->ends[1].state == ENDPOINT_DEAD ||
           run->fault.text[0];
}

static void start(struct run *run, const struct plan *plan, uint64_t seed, bool filtered, struct capture_writer *trace)
{
    run->plan = *plan;
    run->filtered = filtered;
    run->random.state = seed;
    run->now_us = 1000000;
    run->trace = trace;
    run->fault = (struct fault){0};
    for (int side = 0; side < 2; side++)
        endpoint_init(&run->ends[side], &plan->ends[side], side == 0, endpoint_sends, run, &run->random);
    links_init(&run->links, &plan->net, run->ends, &run->random);
    if (filtered) {
        laws_init(&run->laws, run->ends, &run->fault);
        answers_init(&run->answers, &run->random, &run->fault);
        gateway_start(&run->gateway, &plan->engine, &policies[plan->apps.asks][plan->slow], gateway_sends, run,
                      &run->fault);
    }
    apps_init(&run->apps, &plan->apps, run->ends, &run->random, &run->fault);
    endpoint_open(&run->ends[0], run->now_us);
}

static void turn(struct run *run)
{
    land(run);
    if (run->filtered) {
        gateway_tick(&run->gateway, run->now_us);
        while (run->plan.apps.asks && answers_give(&run->answers, run->gateway.engine, run->now_us))
            gateway_carry_out(&run->gateway);
    }
    for (int side = 0; side < 2; side++)
        endpoint_tick(&run->ends[side], run->now_us);
    apps_turn(&run->apps, run->now_us);
}

static void check_end(struct run *run)
{
    if (finished(run) && !run->fault.text[0])
        reference_check(&run->apps, run->filtered ? &run->answers : NULL, &run->fault);
    for (int side = 0; side < 2; side++)
        if (run->ends[side].conflict)
            fault_note(&run->fault, "the %s was shown two versions of an octet (law 2)", side ? "server" : "client");
    if (!run->filtered)
        return;
    gateway_stop(&run->gateway, run->now_us);
    gateway_run_out(&run->gateway, run->now_us);
}

enum outcome { FINISHED, GAVE_UP, WRONG };

/* Run a plan. *ended_us is the virtual time it took. */
static enum outcome simulate(struct run *run, const struct plan *plan, uint64_t seed, bool filtered, int64_t *ended_us,
                             struct capture_writer *trace)
{
    start(run, plan, seed, filtered, trace);
    for (uint32_t turns = 0; !over(run) && turns < TURNS_MAX; turns++) {
        int64_t at = next_event(run);
        if (at == INT64_MAX)
            break;
        run->now_us = at > run->now_us ? at : run->now_us;
        if (run->now_us > INT64_C(4000) * 1000000)
            break;
        turn(run);
    }
    *ended_us = run->now_us;
    check_end(run);
    flights_fini(&run->links.flights);
    for (int side = 0; side < 2; side++)
        endpoint_fini(&run->ends[side]);
    return run->fault.text[0] ? WRONG : finished(run) ? FINISHED : GAVE_UP;
}

/* ---- a seed ---- */

/* Both ways. False, with a fault, where the filter did something it must not. */
static bool seed_passes(struct run *run, const struct plan *plan, uint64_t seed, struct capture_writer *trace)
{
    int64_t without_us, with_us;
    enum outcome without = simulate(run, plan, seed, false, &without_us, NULL);
    if (without == WRONG) {
        struct fault fault = run->fault;
        run->fault = (struct fault){0};
        fault_note(&run->fault, "without the filter: %s", fault.text);
        return false;
    }
    enum outcome with = simulate(run, plan, seed, true, &with_us, trace);
    if (with == WRONG)
        return false;
    if (without == FINISHED && with == FINISHED && with_us > 5 * without_us + INT64_C(300000000))
        fault_note(&run->fault, "took %.1f s without the filter, %.1f s with it", (double)without_us / 1e6,
                   (double)with_us / 1e6);
    if (without == FINISHED && with != FINISHED)
        fault_note(&run->fault, "finished without the filter (%.1f s), not with it (%.1f s)", (double)without_us / 1e6,
                   (double)with_us / 1e6);
    return !run->fault.text[0];
}

/* One difficulty less at a time, as long as it still fails. */
static void shrink(struct run *run, struct plan *plan, uint64_t seed)
{
    for (int i = 0; i < PLAN_LESS_COUNT; i++) {
        struct plan less = plan_less(plan, i);
        if (!seed_passes(run, &less, seed, NULL))
            *plan = less;
    }
}

static bool show_failure(struct run *run, uint64_t seed, const char *trace_path)
{
    struct plan plan;
    char message[256];
    struct capture_writer *trace = NULL;
    plan_make(&plan, seed);
    shrink(run, &plan, seed);
    if (trace_path && capture_create(trace_path, DLT_RAW_IP, &trace, message, sizeof message) != CAPTURE_OK)
        fprintf(stderr, "%s\n", message);
    bool passes = seed_passes(run, &plan, seed, trace);
    capture_finish(trace, message, sizeof message);
    printf("# seed %llu, shrunken: %s; ", (unsigned long long)seed, passes ? "passes" : run->fault.text);
    plan_print(&plan);
    printf("%s%s\n", trace_path ? ", trace in " : "", trace_path ? trace_path : "");
    return passes;
}

static void fill_policies(void)
{
    for (int i = 0; i < 4; i++) {
        struct policy *policy = &policies[i / 2][i % 2];
        policy_init_default(policy);
        rules_add(policy, "ask", RULE_ON_RECIPIENT, i / 2 ? NULL : "nobody", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
        policy->rules[0].action.ask = true;
        if (i % 2 == 0)
            continue;
        policy->refusals.texts[policy->rules[0].action.refusal].delay_ms = 3000;
        struct rule rule = rule_of("slow", RULE_ON_REPLY);
        rule.verbs = UINT64_C(1) << SMTP_VERB_RCPT | UINT64_C(1) << SMTP_VERB_DATA;
        rule.action.delay_ms = 1500;
        if (!policy_add_rule(policy, &rule))
            abort();
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    fill_policies();
    if (argc > 2 && strcmp(argv[1], "--seed") == 0)
        return !show_failure(&run, strtoull(argv[2], NULL, 10), argc > 3 ? argv[3] : NULL);
    unsigned long long from = 1, count = 2000;
    if (argc > 1 && sscanf(argv[1], "%llu:%llu", &from, &count) != 2)
        return 2;
    unsigned long long failures = 0, finished_count = 0;
    for (unsigned long long seed = from; seed < from + count && failures < FAILURES_MAX; seed++) {
        struct plan plan;
        plan_make(&plan, seed);
        if (seed_passes(&run, &plan, seed, NULL)) {
            finished_count += endpoint_finished(&run.ends[0]);
            continue;
        }
        failures++;
        printf("# seed %llu: %s\n", seed, run.fault.text);
        show_failure(&run, seed, "build/sim-trace.pcap");
        fflush(stdout);
    }
    printf("1..2\n%sok 1 - %llu seeds from %llu on: each side read what it had to, every law held\n",
           failures ? "not " : "", count, from);
    /* A network that stops everybody would prove nothing. */
    bool most = failures || finished_count * 100 >= count * 95;
    printf("%sok 2 - %llu of %llu sessions finished\n", most ? "" : "not ", finished_count, count);
    gateway_fini(&run.gateway);
    return failures || !most;
}
