#include "cmd/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/queues.h"
#include "sys/descriptors.h"

static struct conf *conf_new(void)
{
    struct conf *conf = calloc(1, sizeof *conf);
    if (conf)
        conf_init(conf);
    return conf;
}

static void conf_drop(struct conf *conf)
{
    if (conf)
        conf_free(conf);
    free(conf);
}

bool rules_init(struct rules *rules)
{
    *rules = (struct rules){.now = conf_new()};
    return rules->now != NULL;
}

void rules_fini(struct rules *rules)
{
    conf_drop(rules->now);
    for (int i = 0; i < RULES_KEPT_MAX; i++)
        conf_drop(rules->before[i]);
}

/* ---- what runs in the workers' threads ---- */

struct inquiry {
    const struct policy *policy;
    bool yes;
};

static void ask_room(struct engine *engine, void *context)
{
    struct inquiry *inquiry = context;
    inquiry->yes = engine_has_policy_room(engine);
}

static void ask_need(struct engine *engine, void *context)
{
    struct inquiry *inquiry = context;
    inquiry->yes = engine_needs_policy(engine, inquiry->policy);
}

static void use(struct engine *engine, void *context)
{
    struct inquiry *inquiry = context;
    inquiry->yes = engine_use_policy(engine, inquiry->policy);
}

static bool any_needs(const struct rules *rules, const struct policy *policy)
{
    for (unsigned i = 0; i < rules->worker_count; i++) {
        struct inquiry inquiry = {.policy = policy};
        if (worker_call(rules->workers[i], ask_need, &inquiry) && inquiry.yes)
            return true;
    }
    return false;
}

static bool all_have_room(const struct rules *rules)
{
    for (unsigned i = 0; i < rules->worker_count; i++) {
        struct inquiry inquiry = {0};
        if (!worker_call(rules->workers[i], ask_room, &inquiry) || !inquiry.yes)
            return false;
    }
    return true;
}

static void use_all(const struct rules *rules, const struct policy *policy)
{
    for (unsigned i = 0; i < rules->worker_count; i++) {
        struct inquiry inquiry = {.policy = policy};
        bool ran = worker_call(rules->workers[i], use, &inquiry);
        assert(!ran || inquiry.yes); /* all_have_room, and nobody else takes it */
    }
}

bool rules_answer(const struct rules *rules, const struct conf *conf)
{
    struct answers *made[QUEUES_WORKERS_MAX] = {0};
    bool good = true;
    for (unsigned i = 0; good && i < rules->worker_count; i++)
        good = (made[i] = answers_new(conf, rules->store)) != NULL;
    for (unsigned i = 0; i < rules->worker_count; i++)
        if (!good || !worker_use_answers(rules->workers[i], made[i]))
            answers_free(made[i]);
    return good;
}

struct rules_about rules_about(const struct rules *rules)
{
    struct rules_about about = {.dry_run = rules->now->policy.dry_run};
    snprintf(about.hash, sizeof about.hash, "%s", rules->now->hash);
    return about;
}

/* ---- reload ---- */

/* Give back what nobody needs any more. Returns a free place; RULES_KEPT_MAX where there is none. */
static int make_place(struct rules *rules)
{
    int place = RULES_KEPT_MAX;
    for (int i = 0; i < RULES_KEPT_MAX; i++) {
        if (rules->before[i] && !any_needs(rules, &rules->before[i]->policy)) {
            conf_drop(rules->before[i]);
            rules->before[i] = NULL;
        }
        if (!rules->before[i])
            place = i;
    }
    return place;
}

/* Settings by which memory was laid out, and files and stores opened, hold until the next start. */
static const char *not_changed(const struct conf *conf_now, const struct conf *conf_then)
{
    const struct engine_settings *now = &conf_now->engine, *then = &conf_then->engine;
    bool same = conf_now->queue_length == conf_then->queue_length &&
                conf_now->queue_buffer == conf_then->queue_buffer && now->flows_max == then->flows_max &&
                now->blocks_max == then->blocks_max && now->held_max == then->held_max &&
                now->network_percent == then->network_percent && now->prefix_v4 == then->prefix_v4 &&
                now->prefix_v6 == then->prefix_v6 && now->flow_blocks_max == then->flow_blocks_max &&
                now->line_hold_ms == then->line_hold_ms && now->order_hold_ms == then->order_hold_ms &&
                now->ports_count == then->ports_count && memcmp(now->ports, then->ports, sizeof now->ports) == 0 &&
                now->tls_ports == then->tls_ports && now->handshakes == then->handshakes &&
                now->liberal_conntrack == then->liberal_conntrack && now->strip_mptcp == then->strip_mptcp &&
                now->pass_on_overload == then->pass_on_overload && now->ask_hold_ms == then->ask_hold_ms &&
                now->idle_s == then->idle_s && now->offset_idle_s == then->offset_idle_s &&
                strcmp(conf_now->store, conf_then->store) == 0 && strcmp(conf_now->events, conf_then->events) == 0 &&
                conf_now->event_types == conf_then->event_types;
    return same ? "" : "; what changed outside of rules and lists holds from the next start on";
}

int rules_reload(struct rules *rules, char *message, size_t message_size)
{
    if (!rules->path) {
        snprintf(message, message_size, "there is no rule file to read again; start postern with -r FILE");
        return CMD_FAILED;
    }
    struct conf *conf = conf_new();
    if (!conf || !conf_read(conf, rules->path, message, message_size)) {
        if (!conf)
            snprintf(message, message_size, "no memory to read the rules");
        descriptors_left(); /* where it was for want of one, it counts */
        free(conf);
        return CMD_FAILED;
    }
    int place = make_place(rules);
    if (place == RULES_KEPT_MAX || !all_have_room(rules)) {
        snprintf(message, message_size, "connections still need the rules of the last %d reloads; try again later",
                 ENGINE_POLICIES_MAX - 1);
        conf_drop(conf);
        return CMD_FAILED;
    }
    if (!rules->store && answers_wanted(&conf->policy)) {
        snprintf(message, message_size,
                 "%s: these rules need a store (greylist, contents refused); start postern anew to open it",
                 rules->path);
        conf_drop(conf);
        return CMD_FAILED;
    }
    if (rules->store && !rules_answer(rules, conf)) {
        snprintf(message, message_size, "no %s for the greylist of the new rules",
                 descriptors_left() ? "memory" : "file descriptor");
        conf_drop(conf);
        return CMD_FAILED;
    }
    use_all(rules, &conf->policy);
    watch_use(rules->watch, &conf->guard);
    snprintf(message, message_size, "%s: in use for connections that begin from now on%s", rules->path,
             not_changed(rules->now, conf));
    rules->before[place] = rules->now;
    conf->engine.seed = rules->now->engine.seed;
    conf->engine.events = rules->now->engine.events;
    rules->now = conf;
    return CMD_GOOD;
}
