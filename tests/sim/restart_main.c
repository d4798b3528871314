/*
 * Restarts in simulation: senders bring mails to a server through a filter that ends and is replaced at random moments,
 * forgets, runs out of room, and loses the thread (law 7). One seed decides everything.
 *
 *   restart_main [FROM:COUNT]     default 1:2000; prints TAP
 *   restart_main --seed N         one seed, with what happened
 *
 * Over the life of each mail, attempts included, with the filter well in the end: none is lost, none is bounced but for
 * recipients that are refused for good, nobody gets it in an attempt in which he was refused, and no reply of the
 * server's is read in place of the reply to what it was not shown; none is delivered twice where each filter has the
 * record of the one before; and no promise is broken where it can be kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/rules.h"
#include "../lib/segment.h"
#include "flights.h"
#include "kernel.h"
#include "mails.h"
#include "policy/policy.h"
#include "restart_plan.h"

enum { CONNECTIONS = 3, FAILURES_MAX = 5, TURNS_MAX = 600000 };
#define SECOND_US INT64_C(1000000)

struct connection {
    bool used;
    uint16_t port;
    int64_t over_us; /* since when both ends have come to an end; 0: not */
    struct endpoint ends[2];
    struct sender sender;
    struct receiver receiver;
};

struct run {
    struct restart_plan plan;
    uint64_t seed;
    bool shown;
    struct random_source random;
    int64_t now_us;
    struct connection connections[CONNECTIONS];
    uint16_t ports;
    struct mails mails;
    struct kernel kernel;
    struct flights flights;
    uint32_t lost_in_a_row;
    uint32_t way, packets_left; /* the way out that comes next */
    int64_t way_us, back_us;    /* when it comes, when the next engine begins; 0: not known yet */
    struct fault fault;
    unsigned long long calm; /* runs so far in which every promise had to be kept */
};

static struct policy policies[2][2]; /* rules, and other rules; that delay replies */

/* ---- packets on their way ---- */

static void show(const struct run *run, const char *where, int side, const uint8_t *bytes, uint32_t len)
{
    struct packet p;
    uint8_t copy[2048];
    if (!run->shown || len > sizeof copy)
        return;
    memcpy(copy, bytes, len);
    if (packet_parse(&p, copy, len) != PACKET_TCP)
        return;
    uint16_t port = side ? p.destination_port : p.source_port;
    printf("# %11.6f %s %s %u%s%s%s seq %u ack %u ", (double)run->now_us / 1e6, where, side ? "S" : "C", port,
           p.flags & PACKET_SYN ? " SYN" : "", p.flags & PACKET_FIN ? " FIN" : "", p.flags & PACKET_RST ? " RST" : "",
           p.seq, p.ack);
    for (uint32_t i = 0; i < p.payload_len && i < 100; i++) {
        uint8_t c = p.bytes[p.payload_at + i];
        printf(c >= ' ' && c < 127 ? "%c" : c == '\n' ? "/" : "", c);
    }
    printf(" (%u)\n", p.payload_len);
}

static void fly(struct run *run, int side, int to, uint8_t *packet, uint32_t len)
{
    bool lost = run->lost_in_a_row < 2 && random_below(&run->random, 1000) < run->plan.loss;
    run->lost_in_a_row = lost ? run->lost_in_a_row + 1 : 0;
    if (lost) {
        free(packet);
        return;
    }
    flights_add(&run->flights,
                (struct flight){
                    .at_us = run->now_us + run->plan.link_us, .side = side, .to = to, .packet = packet, .len = len});
}

static void endpoint_sends(void *context, struct endpoint *from, uint8_t *packet, uint32_t len)
{
    fly(context, from->client ? 0 : 1, FLIGHT_TO_GATEWAY, packet, len);
}

static void kernel_sends(void *context, int side, uint8_t *packet, uint32_t len)
{
    show(context, "leaves ", side, packet, len);
    fly(context, side, !side, packet, len);
}

static void reach(struct run *run, const struct flight *flight)
{
    struct packet p;
    if (packet_parse(&p, flight->packet, flight->len) != PACKET_TCP)
        return;
    uint16_t port = flight->to ? p.source_port : p.destination_port;
    for (int i = 0; i < CONNECTIONS; i++)
        if (run->connections[i].used && run->connections[i].port == port)
            endpoint_receive(&run->connections[i].ends[flight->to], flight->packet, flight->len, run->now_us);
}

/* ---- the greylist ---- */

static bool answer(void *context, const struct question *question, struct finding *finding, int64_t *delay_us)
{
    struct run *run = context;
    char address[80];
    uint32_t mail, recipient, attempt;
    snprintf(address, sizeof address, "%.*s", (int)question->recipient.len, (const char *)question->recipient.ptr);
    finding->answer = ANSWER_PASS;
    *delay_us = 0;
    if (question->kind == QUESTION_TLS && run->way < run->plan.way_count && random_below(&run->random, 2))
        finding->answer = ANSWER_DEFER;
    if (question->kind != QUESTION_RECIPIENT || run->way >= run->plan.way_count ||
        !mails_parse(&run->mails, address, &mail, &recipient, &attempt))
        return true;
    if (attempt <= run->plan.deferrals && random_below(&run->random, 3))
        finding->answer = ANSWER_DEFER;
    uint32_t drawn = random_below(&run->random, 16);
    *delay_us = drawn < 8 ? 0 : (int64_t)random_below(&run->random, 600000);
    return drawn < 15;
}

/* ---- connections ---- */

static void end_connection(struct connection *connection)
{
    endpoint_fini(&connection->ends[0]);
    endpoint_fini(&connection->ends[1]);
    connection->used = false;
}

static void begin_connection(struct run *run)
{
    struct connection *connection = run->connections;
    uint32_t busy = 0;
    for (int i = 0; i < CONNECTIONS; i++)
        busy += run->connections[i].used && !run->connections[i].over_us;
    while (connection < run->connections + CONNECTIONS && connection->used)
        connection++;
    if (busy >= run->plan.at_once || connection == run->connections + CONNECTIONS ||
        mails_next(&run->mails, run->now_us) < 0)
        return;
    connection->used = true;
    connection->over_us = 0;
    connection->port = (uint16_t)(KERNEL_PORT + 1 + run->ports++);
    if (run->ports >= KERNEL_PORTS - 1)
        fault_note(&run->fault, "too many connections: no end in sight");
    for (int side = 0; side < 2; side++) {
        struct endpoint_plan plan = run->plan.ends[side];
        plan.port = connection->port;
        plan.isn = (uint32_t)random_next(&run->random);
        endpoint_init(&connection->ends[side], &plan, side == 0, endpoint_sends, run, &run->random);
    }
    sender_init(&connection->sender, &run->plan.sender, &connection->ends[0], &run->mails, &run->random, &run->fault);
    receiver_init(&connection->receiver, &run->plan.receiver, &connection->ends[1], &run->mails, &run->random,
                  &run->fault);
    endpoint_open(&connection->ends[0], run->now_us);
}

static void turn_connection(struct run *run, struct connection *connection)
{
    enum { LINGER_S = 20 };
    for (int side = 0; side < 2; side++)
        endpoint_tick(&connection->ends[side], run->now_us);
    sender_turn(&connection->sender, run->now_us);
    receiver_turn(&connection->receiver, run->now_us);
    for (int side = 0; side < 2; side++)
        if (connection->ends[side].conflict)
            fault_note(&run->fault, "the %s was shown two versions of an octet (law 2)", side ? "server" : "client");
    bool over = connection->sender.step == SENDER_OVER;
    for (int side = 0; side < 2; side++)
        over = over && (connection->ends[side].fin_acked || connection->ends[side].state == ENDPOINT_DEAD ||
                        connection->ends[side].state == ENDPOINT_LISTEN);
    if (over && !connection->over_us)
        connection->over_us = run->now_us;
    else if (connection->over_us && run->now_us - connection->over_us >= LINGER_S * SECOND_US)
        end_connection(connection);
}

/* ---- ways out ---- */

static void note_way(struct run *run, const struct way_out *way)
{
    static const char *const ways[] = {"stopped", "killed", "killed halfway", "crowded", "reloads"};
    static const char *const heirs[] = {"the record", "other rules", "another layout", "no record", "no marks"};
    if (run->shown)
        printf("# %11.6f the filter is %s; next: %s, away for %.3f s\n", (double)run->now_us / 1e6, ways[way->way],
               heirs[way->heir], (double)way->away_us / 1e6);
}

static void take_way(struct run *run)
{
    const struct way_out *way = &run->plan.ways[run->way];
    note_way(run, way);
    run->way_us = 0;
    switch (way->way) {
    case WAY_CROWD:
        kernel_crowd(&run->kernel, 3 * run->plan.kernel.engine.flows_max, run->now_us);
        break;
    case WAY_RELOAD:
        kernel_reload(&run->kernel);
        break;
    case WAY_KILLED_HALFWAY:
        kernel_serve_halfway(&run->kernel, run->now_us);
        kernel_end(&run->kernel, true, run->now_us);
        break;
    case WAY_STOPPED:
    case WAY_KILLED:
    case WAYS:
        kernel_end(&run->kernel, way->way == WAY_KILLED, run->now_us);
        break;
    }
    if (run->kernel.engine) {
        run->way++;
        run->packets_left = run->way < run->plan.way_count ? run->plan.ways[run->way].packets : 0;
    } else {
        run->back_us = run->now_us + way->away_us;
    }
}

static void come_back(struct run *run)
{
    kernel_start(&run->kernel, run->plan.ways[run->way].heir, run->way + 1 == run->plan.way_count, run->now_us);
    run->back_us = 0;
    run->way++;
    run->packets_left = run->way < run->plan.way_count ? run->plan.ways[run->way].packets : 0;
    if (run->shown)
        printf("# %11.6f the next filter runs: %llu taken over, %llu resumed\n", (double)run->now_us / 1e6,
               (unsigned long long)engine_counters(run->kernel.engine)->flows_taken_over,
               (unsigned long long)engine_counters(run->kernel.engine)->flows_resumed);
}

static void count_packet(struct run *run)
{
    if (!run->kernel.engine || run->way >= run->plan.way_count || run->way_us)
        return;
    if (run->packets_left > 0)
        run->packets_left--;
    if (run->packets_left == 0)
        run->way_us = run->now_us + run->plan.ways[run->way].wait_us;
}

/* ---- a run ---- */

/*
 * Who cannot see a connection sends a packet in the name of one of its ends: its numbers are far from those that they
 * use. An acknowledgment where the kernel knows no connection (case 92): behind a SYN it would call INVALID what the
 * client says.
 */
static void forge(struct run *run, const struct flight *of)
{
    static const uint8_t flags[] = {PACKET_ACK, PACKET_ACK, PACKET_RST, PACKET_RST | PACKET_ACK, PACKET_SYN};
    struct packet p;
    if (packet_parse(&p, of->packet, of->len) != PACKET_TCP)
        return;
    bool tracked = kernel_tracks(&run->kernel, &p);
    struct segment segment = {
        .ip_version = 4,
        .source = of->side ? 2 : 1,
        .destination = of->side ? 1 : 2,
        .source_port = p.source_port,
        .destination_port = p.destination_port,
        .seq = p.seq + (1u << 30) + random_below(&run->random, 1u << 31),
        .ack = p.ack + (1u << 30) + random_below(&run->random, 1u << 31),
        .flags = tracked ? flags[random_below(&run->random, of->side ? 4 : 5)] : PACKET_ACK,
        .window = p.window,
    };
    if (segment.flags == PACKET_ACK && random_below(&run->random, 2))
        segment.payload = span_of("QUIT\r\n");
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    show(run, "forged ", of->side, bytes, len);
    kernel_arrive(&run->kernel, of->side, bytes, len, run->now_us);
}

static void land(struct run *run)
{
    struct flight flight;
    while (flights_take(&run->flights, run->now_us, &flight)) {
        if (flight.to == FLIGHT_TO_GATEWAY) {
            if (random_below(&run->random, 1000) < run->plan.forged)
                forge(run, &flight);
            show(run, "arrives", flight.side, flight.packet, flight.len);
            kernel_arrive(&run->kernel, flight.side, flight.packet, flight.len, run->now_us);
            count_packet(run);
            continue;
        }
        reach(run, &flight);
        free(flight.packet);
    }
}

static void turn(struct run *run)
{
    land(run);
    if (run->way_us && run->way_us <= run->now_us)
        take_way(run);
    if (run->back_us && run->back_us <= run->now_us)
        come_back(run);
    kernel_turn(&run->kernel, run->now_us);
    for (int i = 0; i < CONNECTIONS; i++)
        if (run->connections[i].used)
            turn_connection(run, &run->connections[i]);
    begin_connection(run);
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

static int64_t next_due(const struct run *run)
{
    int64_t at = earlier(flights_due(&run->flights), kernel_due(&run->kernel));
    at = earlier(at, run->way_us ? run->way_us : INT64_MAX);
    at = earlier(at, run->back_us ? run->back_us : INT64_MAX);
    bool room = false;
    for (int i = 0; i < CONNECTIONS; i++) {
        const struct connection *connection = &run->connections[i];
        if (!connection->used) {
            room = true;
            continue;
        }
        for (int side = 0; side < 2; side++)
            at = earlier(at, endpoint_due(&connection->ends[side]));
        at = earlier(at, earlier(sender_due(&connection->sender), receiver_due(&connection->receiver)));
        at = earlier(at, connection->over_us ? connection->over_us + 20 * SECOND_US : INT64_MAX);
    }
    int64_t mail_us = mails_due(&run->mails);
    return room && mail_us > run->now_us ? earlier(at, mail_us) : at;
}

/* Whether every promise can be kept: no rule resets, or closes, which is the same where the command came in pieces. */
static bool is_calm(const struct run *run)
{
    bool calm = run->plan.calm;
    for (uint32_t i = 0; i < run->mails.count; i++) {
        const char *word = run->mails.each[i].sender_word;
        calm = calm && (word[0] == '\0' || strcmp(word, "deny.") == 0);
    }
    return calm;
}

/*
 * Who must reset a connection may do so between the server's 250 to a message and the client's reading it: then it is
 * sent again. That comes of what is not known any more, and of nothing else.
 */
static void check_resets(struct run *run)
{
    struct engine_counters counters = kernel_counters(&run->kernel);
    if (run->mails.duplicates && !restart_plan_forgets(&run->plan) && counters.promises_broken == 0)
        fault_note(&run->fault, "delivered twice, though each promise was known and kept");
    if (is_calm(run) && counters.promises_broken > 0)
        fault_note(&run->fault, "a promise was broken that could be kept");
    run->calm += is_calm(run);
}

static bool seed_passes(struct run *run)
{
    run->random.state = run->seed;
    run->now_us = SECOND_US;
    run->fault = (struct fault){0};
    run->ports = 0;
    run->lost_in_a_row = 0;
    run->way = 0;
    run->way_us = run->back_us = 0;
    run->packets_left = run->plan.ways[0].packets;
    mails_make(&run->mails, run->plan.mails, &run->random, &run->fault);
    kernel_init(&run->kernel, &run->plan.kernel, &run->random, &run->fault);
    begin_connection(run);
    uint32_t turns = 0;
    while (!mails_done(&run->mails) && !run->fault.text[0]) {
        int64_t at = next_due(run);
        if (at == INT64_MAX || ++turns > TURNS_MAX || run->now_us > 500000 * SECOND_US) {
            fault_note(&run->fault, "mails wait for ever (%.0f s, %u turns)", (double)run->now_us / 1e6, turns);
            break;
        }
        run->now_us = at > run->now_us ? at : run->now_us;
        turn(run);
    }
    check_resets(run);
    flights_fini(&run->flights);
    for (int i = 0; i < CONNECTIONS; i++)
        if (run->connections[i].used)
            end_connection(&run->connections[i]);
    return !run->fault.text[0];
}

/* ---- rules ---- */

static void add_refusal(struct policy *policy, const char *name, enum rule_event on, const char *match,
                        enum smtp_action_kind kind, const char *line, uint32_t delay_ms)
{
    rules_add(policy, name, on, match, kind, line);
    policy->refusals.texts[policy->rules[policy->rule_count - 1].action.refusal].delay_ms = delay_ms;
}

static void fill_policies(void)
{
    for (int i = 0; i < 4; i++) {
        struct policy *policy = &policies[i / 2][i % 2];
        uint32_t delay_ms = i % 2 ? 4000 : 0;
        policy_init_default(policy);
        if (i / 2)
            add_refusal(policy, "another", RULE_ON_RECIPIENT, "another@*", SMTP_ACTION_REFUSE, "554 5.7.1 Not that", 0);
        add_refusal(policy, "refused", RULE_ON_RECIPIENT, "refused.*", SMTP_ACTION_REFUSE, "550 5.7.1 Not to you", 0);
        add_refusal(policy, "later", RULE_ON_RECIPIENT, "later.*", SMTP_ACTION_REFUSE, "452 4.5.3 Too many", delay_ms);
        if (i / 2 == 0)
            rules_add(policy, "vrfy", RULE_ON_COMMAND, "VRFY", SMTP_ACTION_CLOSE, "421 4.7.0 Closing");
        add_refusal(policy, "deny", RULE_ON_SENDER, "deny.*", SMTP_ACTION_REFUSE, "451 4.7.1 Not now", delay_ms);
        rules_add(policy, "close", RULE_ON_SENDER, "close.*", SMTP_ACTION_CLOSE, "421 4.7.0 Closing");
        rules_add(policy, "reset", RULE_ON_SENDER, "reset.*", SMTP_ACTION_RESET, NULL);
        add_refusal(policy, "null", RULE_ON_RECIPIENT, "r1.*", SMTP_ACTION_VOID_LATE, "450 4.2.0 Greylisted late",
                    delay_ms);
        policy->rules[policy->rule_count - 1].action.ask = true;
        add_refusal(policy, "grey", RULE_ON_RECIPIENT, NULL, SMTP_ACTION_VOID, "450 4.2.0 Greylisted", delay_ms);
        policy->rules[policy->rule_count - 1].action.ask = true;
        add_refusal(policy, "encrypted", RULE_ON_STARTTLS, NULL, i / 2 ? SMTP_ACTION_REFUSE_ALL : SMTP_ACTION_WAIT,
                    "454 4.7.0 Greylisted", delay_ms);
        policy->rules[policy->rule_count - 1].action.ask = true;
        if (i % 2 == 0)
            continue;
        struct rule rule = rule_of("slow", RULE_ON_REPLY);
        rule.verbs = UINT64_C(1) << SMTP_VERB_RCPT | UINT64_C(1) << SMTP_VERB_DATA;
        rule.action.delay_ms = 1500;
        if (!policy_add_rule(policy, &rule))
            abort();
    }
}

static void make_plan(struct run *run)
{
    struct kernel_plan *kernel = &run->plan.kernel;
    restart_plan_make(&run->plan, run->seed);
    kernel->policy = &policies[run->plan.rules][run->plan.slow];
    kernel->other_policy = &policies[!run->plan.rules][run->plan.slow];
    kernel->leave = kernel_sends;
    kernel->ask = answer;
    kernel->context = run;
}

/* ---- many ---- */

/* What came about in all seeds, for those who want to know whether anything was tried. */
struct tally {
    struct engine_counters counters;
    unsigned long long attempts, connections, duplicates, ways, virtual_s;
};

static void add_tally(struct tally *tally, const struct run *run)
{
    struct engine_counters counters = kernel_counters(&run->kernel);
    tally->duplicates += run->mails.duplicates;
    tally->connections += run->ports;
    tally->ways += run->way;
    tally->virtual_s += (unsigned long long)(run->now_us / SECOND_US);
    for (uint32_t i = 0; i < run->mails.count; i++)
        tally->attempts += run->mails.each[i].attempts;
    tally->counters.promises_broken += counters.promises_broken;
    tally->counters.promises_unknown += counters.promises_unknown;
    tally->counters.flows_resumed += counters.flows_resumed;
    tally->counters.flows_taken_over += counters.flows_taken_over;
    tally->counters.flows_created += counters.flows_created;
    tally->counters.commands_refused += counters.commands_refused;
    tally->counters.replies_replaced += counters.replies_replaced;
    tally->counters.connections_closed += counters.connections_closed;
    tally->counters.keywords_stripped += counters.keywords_stripped;
    tally->counters.tarpits += counters.tarpits;
    tally->counters.flows_unedited += counters.flows_unedited;
    tally->counters.unplaced += counters.unplaced;
    tally->counters.flows_midstream += counters.flows_midstream;
}

static void print_tally(const struct tally *tally, unsigned long long calm)
{
    const struct engine_counters *c = &tally->counters;
    printf("# %llu connections, %llu attempts, %llu ways out, %llu virtual s; delivered twice: %llu; calm: %llu\n",
           tally->connections, tally->attempts, tally->ways, tally->virtual_s, tally->duplicates, calm);
    printf("# flows: %llu created, %llu taken over, %llu resumed, %llu unedited, %llu midstream, %llu unplaced\n",
           (unsigned long long)c->flows_created, (unsigned long long)c->flows_taken_over,
           (unsigned long long)c->flows_resumed, (unsigned long long)c->flows_unedited,
           (unsigned long long)c->flows_midstream, (unsigned long long)c->unplaced);
    printf("# promises: %llu broken, %llu packets of unknown; %llu commands refused, %llu replies replaced, %llu "
           "closed, %llu stripped, %llu tarpits\n",
           (unsigned long long)c->promises_broken, (unsigned long long)c->promises_unknown,
           (unsigned long long)c->commands_refused, (unsigned long long)c->replies_replaced,
           (unsigned long long)c->connections_closed, (unsigned long long)c->keywords_stripped,
           (unsigned long long)c->tarpits);
}

int main(int argc, char **argv)
{
    static struct run run;
    static struct tally tally;
    unsigned long long from = 1, count = 2000, failures = 0;
    fill_policies();
    if (argc > 2 && strcmp(argv[1], "--seed") == 0) {
        run.shown = true;
        from = strtoull(argv[2], NULL, 10);
        count = 1;
    } else if (argc > 1 && sscanf(argv[1], "%llu:%llu", &from, &count) != 2) {
        return 2;
    }
    for (unsigned long long seed = from; seed < from + count && failures < FAILURES_MAX; seed++) {
        run.seed = seed;
        make_plan(&run);
        if (!seed_passes(&run)) {
            failures++;
            printf("# seed %llu: %s\n", seed, run.fault.text);
            fflush(stdout);
        }
        add_tally(&tally, &run);
    }
    print_tally(&tally, run.calm);
    printf("1..1\n%sok 1 - %llu seeds from %llu on: no mail was lost, bounced, or brought to whom it was refused\n",
           failures ? "not " : "", count, from);
    kernel_fini(&run.kernel);
    return failures > 0;
}
