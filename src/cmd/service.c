#include "cmd/service.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/clock.h"
#include "cmd/cmd.h"
#include "cmd/figures.h"
#include "cmd/metrics.h"
#include "sys/descriptors.h"
#include "sys/mapping.h"
#include "sys/notify.h"

enum {
    LOOK_MS = 1000, /* at what other threads count */
    TELL_AGAIN_S = 60,
    LOOK_AT_RULES_S = 5,
    RULES_LATE_S = 30, /* a filter may be started before its rules are applied */
};

/* ---- what there is to tell ---- */

void service_ask_workers(struct service *service, struct worker_status *sum)
{
    *sum = (struct worker_status){0};
    for (unsigned i = 0; i < service->queues.workers; i++) {
        struct worker_status one;
        worker_ask(service->workers[i], &one, SERVICE_ANSWER_MS);
        figures_add(sum, &one);
    }
}

static json_t *figures_of(const struct figure *figures, size_t count, const void *structure)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(object, figures[i].name, json_integer((json_int_t)figure_value(&figures[i], structure)));
    return object;
}

static json_t *reasons_of(const struct worker_status *status)
{
    json_t *object = json_object();
    for (int reason = 0; reason < GREYLIST_REASONS; reason++)
        json_object_set_new(object, greylist_reason_name((enum greylist_reason)reason),
                            json_integer((json_int_t)status->greylist.reasons[reason]));
    return object;
}

/* The rules in use, in order, and how often each of them held. */
static json_t *rules_of(const struct policy *policy, const struct worker_status *status)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        if (rule->does)
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s, s:I}", "rule", rule->name, "on",
                                            rule_event_name(rule->on), "action", rule->does, "place",
                                            rule->place ? rule->place : "", "hits", (json_int_t)status->rule_hits[i]));
    }
    return list;
}

/* Sessions that ended: those kinds of which there were any. */
static json_t *sessions_of(const struct engine_sessions *sessions)
{
    json_t *list = json_array();
    for (int direction = 0; direction < POLICY_DIRECTIONS; direction++)
        for (int outcome = 0; outcome < ENGINE_OUTCOMES; outcome++)
            for (int encrypted = 0; encrypted < 2; encrypted++) {
                uint64_t count = sessions->ended[direction][outcome][encrypted];
                if (count)
                    json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:I}", "direction",
                                                          figures_direction((enum policy_direction)direction),
                                                          "outcome", figures_outcome((enum engine_outcome)outcome),
                                                          "encrypted", encrypted, "count", (json_int_t)count));
            }
    return list;
}

/* Handshakes of TLS that were read, by version: those of which there were any. */
static json_t *handshakes_of(const struct engine_sessions *sessions)
{
    json_t *list = json_array();
    for (int version = 0; version < ENGINE_TLS_VERSIONS; version++)
        if (sessions->handshakes[version])
            json_array_append_new(list, json_pack("{s:s, s:I}", "version", figures_tls((enum engine_tls)version),
                                                  "count", (json_int_t)sessions->handshakes[version]));
    return list;
}

static json_t *describe_worker(struct service *service, unsigned number, struct worker_status *sum)
{
    struct worker_status status;
    bool answers = worker_ask(service->workers[number], &status, SERVICE_ANSWER_MS);
    figures_add(sum, &status);
    json_t *queues = json_pack("[i, i]", service->queues.first + (int)number,
                               service->queues.first + (int)(service->queues.workers + number));
    return json_pack("{s:o, s:b, s:o, s:o}", "queues", queues, "answers", answers, "figures",
                     figures_of(worker_figures, worker_figure_count, &status), FIGURES_REASONS, reasons_of(&status));
}

struct common_status service_common(const struct service *service)
{
    struct common_status common = {.descriptors_out = descriptors_out_count(), .offsets_unkept = mapping_unkept()};
    if (service->log)
        common.log = log_counters(service->log);
    if (service->store)
        store_counters(service->store, &common.store);
    common.watch = watch_counters(service->watch);
    for (int family = 0; family < QUEUE_RULES_FAMILIES; family++)
        common.queue_rules_missing += service->rules_seen.missing[family];
    return common;
}

json_t *service_describe(struct service *service)
{
    struct worker_status sum = {0};
    json_t *workers = json_array();
    for (unsigned i = 0; i < service->queues.workers; i++)
        json_array_append_new(workers, describe_worker(service, i, &sum));
    struct common_status common = service_common(service);
    char *rules = service->rules->path ? realpath(service->rules->path, NULL) : NULL;
    json_t *object = json_pack("{s:s, s:i, s:I, s:s?, s:o, s:o, s:o, s:b, s:b, s:o}", "version", POSTERN_VERSION, "pid",
                               (int)getpid(), "uptime_s", (json_int_t)((clock_now_us() - service->began_us) / 1000000),
                               "rules", rules ? rules : service->rules->path, "figures",
                               figures_of(worker_figures, worker_figure_count, &sum), FIGURES_REASONS, reasons_of(&sum),
                               "workers", workers, "events", service->log != NULL, "store", service->store != NULL,
                               "common_figures", figures_of(common_figures, common_figure_count, &common));
    free(rules);
    struct rules_about about = rules_about(service->rules);
    json_object_set_new(object, FIGURES_SESSIONS, sessions_of(&sum.sessions));
    json_object_set_new(object, FIGURES_TLS, handshakes_of(&sum.sessions));
    json_object_set_new(object, FIGURES_RULES, rules_of(&service->rules->now->policy, &sum));
    json_object_set_new(object, "rules_hash", json_string(about.hash));
    json_object_set_new(object, "dry_run", json_boolean(about.dry_run));
    json_object_set_new(object, "last_reload", json_string(service->reload_failed ? "failed" : "good"));
    char fault[CMD_MESSAGE_BYTES];
    bool faulty = service->store && store_fault(service->store, fault, sizeof fault);
    json_object_set_new(object, "store_fault", faulty ? json_string(fault) : json_null());
    return object;
}

/* ---- requests ---- */

static json_t *plain_answer(int code, const char *message)
{
    return json_pack("{s:i, s:s%}", "code", code, "message", message, strnlen(message, CMD_MESSAGE_BYTES));
}

static int reload(struct service *service, char *message, size_t message_size)
{
    notify("RELOADING=1");
    int code = rules_reload(service->rules, message, message_size);
    service->reload_failed = code != CMD_GOOD;
    service->reloaded_us = code == CMD_GOOD ? clock_now_us() : service->reloaded_us;
    cmd_complain((enum cmd_exit)code, "%s", message);
    notify("READY=1");
    return code;
}

static json_t *answer_request(struct service *service, const char *request)
{
    char message[CMD_MESSAGE_BYTES] = "";
    if (strcmp(request, "status") == 0)
        return json_pack("{s:i, s:s, s:o}", "code", CMD_GOOD, "message", "", "status", service_describe(service));
    if (strcmp(request, "reload") == 0) {
        int code = reload(service, message, sizeof message);
        return plain_answer(code, message);
    }
    if (strcmp(request, "reopen") == 0) {
        if (service->log)
            log_reopen(service->log);
        return plain_answer(CMD_GOOD, service->log ? "the event file is opened anew" : "no events are written");
    }
    return plain_answer(CMD_USAGE, "unknown request; there are status, reload and reopen");
}

static char *answer(void *context, const char *request)
{
    json_t *object = answer_request(context, request);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

/* ---- signals ---- */

bool service_open(struct service *service)
{
    service->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return service->ended >= 0;
}

bool service_take_signals(struct service *service)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaddset(&set, numbers[i]);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    service->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return service->signals >= 0;
}

/* False where it is time to end. */
static bool take_signal(struct service *service)
{
    char message[CMD_MESSAGE_BYTES] = "";
    struct signalfd_siginfo signal;
    if (read(service->signals, &signal, sizeof signal) != sizeof signal)
        return true;
    switch (signal.ssi_signo) {
    case SIGHUP:
        reload(service, message, sizeof message);
        return true;
    case SIGUSR1:
        if (service->log)
            log_reopen(service->log);
        return true;
    default:
        return false;
    }
}

/* The watchdog hears of us while every worker answers. */
static void tell_watchdog(struct service *service)
{
    bool answers = true;
    for (unsigned i = 0; i < service->queues.workers && answers; i++) {
        struct worker_status status;
        answers = worker_ask(service->workers[i], &status, SERVICE_ANSWER_MS);
    }
    if (answers)
        notify("WATCHDOG=1");
}

/* Until the watchdog is due; -1: never. */
static int watchdog_due_ms(int every_ms, int64_t told_us)
{
    int64_t left_ms = every_ms - (clock_now_us() - told_us) / 1000;
    if (every_ms < 0)
        return -1;
    return left_ms > 0 ? (int)left_ms : 0;
}

/* The earlier of both, where -1 is never. */
static int earlier(int one_ms, int other_ms)
{
    return one_ms < 0 || (other_ms >= 0 && other_ms < one_ms) ? other_ms : one_ms;
}

bool service_share_guard(struct service *service)
{
    watch_share(service->watch, service->store);
    for (unsigned i = 0; i < service->queues.workers; i++)
        if (!worker_share(service->workers[i], service->store))
            return false;
    return true;
}

/* The store that could not be opened when we started, once it is there. */
static void take_late_store(struct service *service)
{
    char message[CMD_MESSAGE_BYTES];
    struct store *before = service->store, *store = late_store_take(service->late, message, sizeof message);
    if (!store && message[0]) {
        store_tell_lost(before, message);
        cmd_complain(CMD_GOOD, "%s", message);
    }
    if (!store)
        return;
    service->store = service->rules->store = store;
    if (!rules_answer(service->rules, service->rules->now)) {
        service->store = service->rules->store = before; /* for good, as a reload that finds no memory */
        cmd_complain(CMD_GOOD,
                     "the store could be opened, but there is no memory for the greylist: start postern anew");
        store_close(store, 0);
    } else {
        if (!service_share_guard(service))
            cmd_complain(CMD_GOOD, "no memory for the guard: each worker counts alone");
        store_close(before, 0);
    }
    late_store_free(service->late);
    service->late = NULL;
}

/* Said once when the store fails, and once when it is well again; until then what the rules say of a lost store holds.
 */
static void tell_store(struct service *service)
{
    char fault[CMD_MESSAGE_BYTES];
    bool faulty = store_fault(service->store, fault, sizeof fault);
    if (faulty && !service->store_faulty) {
        cmd_complain(CMD_GOOD, "%s", fault);
        descriptors_left(); /* where it is for want of one, it counts */
    } else if (!faulty && service->store_faulty) {
        cmd_complain(CMD_GOOD, "the store is well again");
    }
    service->store_faulty = faulty;
}

/* At once, and then once in a while as long as it goes on. */
static bool worth_telling(struct told *told, uint64_t count)
{
    int64_t now_us = clock_now_us();
    if (count == told->count || (told->count && now_us - told->at_us < TELL_AGAIN_S * INT64_C(1000000)))
        return false;
    *told = (struct told){count, now_us};
    return true;
}

static void tell_shortage(struct service *service)
{
    uint64_t descriptors = descriptors_out_count(), offsets = mapping_unkept();
    if (worth_telling(&service->descriptors, descriptors))
        cmd_complain(CMD_GOOD,
                     "a file descriptor was missing %llu times so far; mail is filtered on. Allow more: LimitNOFILE= "
                     "of the unit, or ulimit -n",
                     (unsigned long long)descriptors);
    if (worth_telling(&service->offsets, offsets))
        cmd_complain(CMD_GOOD,
                     "the disk of the state folder is full: %llu connections that were promised something would "
                     "not outlive this process",
                     (unsigned long long)offsets);
}

/* A family that had rules and has none any more, or has them again. */
static void tell_rules_of(struct rules_seen *rules, enum queue_rules_family family, bool there)
{
    static const char *const names[QUEUE_RULES_FAMILIES] = {"IPv4", "IPv6"};
    if (there && rules->seen[family] && rules->missing[family])
        cmd_complain(CMD_GOOD, "rules send %s packets to the queues again", names[family]);
    else if (!there && rules->seen[family] && !rules->missing[family])
        cmd_complain(
            CMD_GOOD,
            "no rule sends %s packets to the queues any more: mail passes unfiltered; run 'postern setup --check', "
            "and 'postern setup --apply'",
            names[family]);
    rules->seen[family] = rules->seen[family] || there;
    rules->missing[family] = rules->seen[family] && !there;
}

/* Rules vanish without a word to us when somebody loads others. */
static void look_at_rules(struct service *service)
{
    struct rules_seen *rules = &service->rules_seen;
    int64_t now_us = clock_now_us();
    if (!service->queue_rules || (rules->looked_us && now_us - rules->looked_us < LOOK_AT_RULES_S * INT64_C(1000000)))
        return;
    rules->looked_us = now_us;
    struct queue_rules_state state = queue_rules_look(service->queue_rules);
    if (!state.known)
        return;
    for (enum queue_rules_family family = 0; family < QUEUE_RULES_FAMILIES; family++)
        tell_rules_of(rules, family, state.there[family]);
    if (rules->seen[QUEUE_RULES_IPV4] || rules->seen[QUEUE_RULES_IPV6])
        return;
    rules->missing[QUEUE_RULES_IPV4] = rules->missing[QUEUE_RULES_IPV6] = true;
    if (!rules->told_none && now_us - service->began_us >= RULES_LATE_S * INT64_C(1000000)) {
        rules->told_none = true;
        cmd_complain(CMD_GOOD, "no rule sends packets to the queues: nothing is filtered; run 'postern setup --apply'");
    }
}

int service_run(struct service *service)
{
    int watchdog_ms = notify_watchdog_ms();
    int64_t told_us = clock_now_us();
    struct pollfd fds[] = {
        {.fd = service->signals, .events = POLLIN},
        {.fd = service->ended, .events = POLLIN},
        {.fd = service->control ? control_fd(service->control) : -1, .events = POLLIN},
        {.fd = service->metrics ? metrics_fd(service->metrics) : -1, .events = POLLIN},
    };
    for (;;) {
        int due_ms = watchdog_due_ms(watchdog_ms, told_us);
        int wait_ms = earlier(service->metrics ? metrics_timeout_ms(service->metrics) : -1, due_ms);
        wait_ms = earlier(service->control ? control_timeout_ms(service->control) : -1, wait_ms);
        wait_ms = earlier(LOOK_MS, wait_ms);
        if (poll(fds, sizeof fds / sizeof fds[0], wait_ms) < 0 && errno != EINTR)
            return cmd_complain(CMD_FAILED, "cannot wait for signals: %m");
        if (fds[1].revents)
            return CMD_FAILED;
        if (fds[0].revents && !take_signal(service))
            return CMD_GOOD;
        if (service->control)
            control_serve(service->control, answer, service);
        if (service->metrics)
            metrics_serve(service->metrics);
        if (service->late)
            take_late_store(service);
        if (service->store)
            tell_store(service);
        tell_shortage(service);
        look_at_rules(service);
        if (watchdog_due_ms(watchdog_ms, told_us) == 0) {
            tell_watchdog(service);
            told_us = clock_now_us();
        }
    }
}
