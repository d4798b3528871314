#include "cmd/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cmd/clock.h"
#include "cmd/figures.h"
#include "cmd/service.h"
#include "sys/acceptor.h"

enum { CONNECTIONS_MAX = 8, CONNECTION_S = 5, BACKLOG = 16 };

/* The library's own listener would spin where file descriptors are out. */
struct metrics {
    struct MHD_Daemon *daemon;
    struct acceptor acceptor;
    int poll; /* epoll of the listener and of the library's epoll */
    struct service *service;
};

/* ---- the page ---- */

static void head(FILE *out, const char *name, const char *suffix, const char *type, const char *help)
{
    fprintf(out, "# HELP postern_%s%s %s\n# TYPE postern_%s%s %s\n", name, suffix, help, name, suffix, type);
}

/* Figures in other units than Prometheus' own, seconds and bytes; the others are as `postern status` has them. */
static const struct unit {
    const char *figure, *metric, *help;
    double factor;
} units[] = {
    {"tarpit_ms", "tarpit_seconds", "seconds by which replies were to leave later, in all", 1e-3},
    {"tarpit_hangup_ms", "tarpit_hangup_seconds", "seconds that replies had waited when their clients hung up, in all",
     1e-3},
    {"blocks_now", "kept_bytes", "memory in use for octets of connections that are kept, in bytes", ENGINE_BLOCK_BYTES},
};

static const struct unit *unit_of(const struct figure *figure)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i].figure, figure->name) == 0)
            return &units[i];
    return NULL;
}

/* HELP and TYPE of a figure; its metric's whole name into `name`. */
static void figure_head(FILE *out, const struct figure *figure, char *name, size_t size)
{
    const struct unit *unit = unit_of(figure);
    const char *suffix = figure->gauge ? "" : "_total", *metric = unit ? unit->metric : figure->name;
    head(out, metric, suffix, figure->gauge ? "gauge" : "counter", unit ? unit->help : figure->help);
    snprintf(name, size, "postern_%s%s", metric, suffix);
}

static void write_value(FILE *out, const struct figure *figure, const void *structure)
{
    const struct unit *unit = unit_of(figure);
    uint64_t value = figure_value(figure, structure);
    if (unit && unit->factor < 1)
        fprintf(out, " %.3f\n", (double)value * unit->factor);
    else
        fprintf(out, " %" PRIu64 "\n", unit ? value * (uint64_t)unit->factor : value);
}

static void write_workers(FILE *out, const struct figure *figure, const struct worker_status *workers, unsigned count)
{
    char name[96];
    figure_head(out, figure, name, sizeof name);
    for (unsigned i = 0; i < count; i++) {
        fprintf(out, "%s{worker=\"%u\"}", name, i);
        write_value(out, figure, &workers[i]);
    }
}

static void write_reasons(FILE *out, const struct worker_status *workers, unsigned count)
{
    head(out, FIGURES_REASONS, "_total", "counter", FIGURES_REASONS_HELP);
    for (unsigned i = 0; i < count; i++)
        for (int reason = 0; reason < GREYLIST_REASONS; reason++)
            fprintf(out, "postern_" FIGURES_REASONS "_total{worker=\"%u\",reason=\"%s\"} %" PRIu64 "\n", i,
                    greylist_reason_name((enum greylist_reason)reason), workers[i].greylist.reasons[reason]);
}

/* A label's value: what would end it is escaped. */
static void write_label(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text == '\n' ? ' ' : *text);
}

static void write_rule_hits(FILE *out, const struct policy *policy, const struct worker_status *workers, unsigned count)
{
    head(out, FIGURES_RULES, "_total", "counter", FIGURES_RULES_HELP);
    for (unsigned i = 0; i < count; i++)
        for (uint32_t number = 0; number < policy->rule_count; number++) {
            const struct rule *rule = &policy->rules[number];
            if (!rule->does)
                continue;
            fprintf(out, "postern_" FIGURES_RULES "_total{worker=\"%u\",rule=\"", i);
            write_label(out, rule->name);
            fprintf(out, "\",action=\"%s\"} %" PRIu64 "\n", rule->does, workers[i].rule_hits[number]);
        }
}

/* Of all workers together: there are many of them. */
static void write_sessions(FILE *out, const struct worker_status *workers, unsigned count)
{
    head(out, FIGURES_SESSIONS, "_total", "counter", FIGURES_SESSIONS_HELP);
    for (int direction = 0; direction < POLICY_DIRECTIONS; direction++)
        for (int outcome = 0; outcome < ENGINE_OUTCOMES; outcome++)
            for (int encrypted = 0; encrypted < 2; encrypted++) {
                uint64_t sum = 0;
                for (unsigned i = 0; i < count; i++)
                    sum += workers[i].sessions.ended[direction][outcome][encrypted];
                fprintf(out,
                        "postern_" FIGURES_SESSIONS "_total{direction=\"%s\",outcome=\"%s\",encrypted=\"%s\"} %" PRIu64
                        "\n",
                        figures_direction((enum policy_direction)direction),
                        figures_outcome((enum engine_outcome)outcome), encrypted ? "yes" : "no", sum);
            }
}

static void write_handshakes(FILE *out, const struct worker_status *workers, unsigned count)
{
    head(out, FIGURES_TLS, "_total", "counter", FIGURES_TLS_HELP);
    for (int version = 0; version < ENGINE_TLS_VERSIONS; version++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < count; i++)
            sum += workers[i].sessions.handshakes[version];
        fprintf(out, "postern_" FIGURES_TLS "_total{version=\"%s\"} %" PRIu64 "\n",
                figures_tls((enum engine_tls)version), sum);
    }
}

static void write_gauge(FILE *out, const char *name, const char *help, int64_t value)
{
    head(out, name, "", "gauge", help);
    fprintf(out, "postern_%s %" PRId64 "\n", name, value);
}

static void write_rules(FILE *out, const struct service *service)
{
    struct rules_about about = rules_about(service->rules);
    head(out, "rules_info", "", "gauge", "rule file, and a hash of it with what it includes and its lists");
    fputs("postern_rules_info{file=\"", out);
    write_label(out, service->rules->path ? service->rules->path : "");
    fprintf(out, "\",hash=\"%s\"} 1\n", about.hash);
    write_gauge(out, "dry_run", "whether the rules change nothing and only tell what would have happened: 1, else 0",
                about.dry_run);
    write_gauge(out, "last_reload_successful",
                "whether the last reload succeeded: 1; else 0, and the rules from before it hold",
                !service->reload_failed);
    write_gauge(out, "last_reload_success_timestamp_seconds",
                "time when the rules in use were read, in seconds since 1970", service->reloaded_us / 1000000);
}

/* Where a store is in use. */
static void write_store(FILE *out, const struct service *service)
{
    char fault[256];
    if (service->store)
        write_gauge(out, "store_up", "whether the store works: 1; else 0, and what the rules say of a lost store holds",
                    !store_fault(service->store, fault, sizeof fault));
}

static void write_page(FILE *out, struct service *service)
{
    static struct worker_status workers[QUEUES_WORKERS_MAX];
    struct common_status common = service_common(service);
    for (unsigned i = 0; i < service->queues.workers; i++)
        worker_ask(service->workers[i], &workers[i], SERVICE_ANSWER_MS);
    head(out, "info", "", "gauge", "version of the filter that runs");
    fputs("postern_info{version=\"" POSTERN_VERSION "\"} 1\n", out);
    head(out, "uptime_seconds", "", "gauge", "time since the filter was started, in seconds");
    fprintf(out, "postern_uptime_seconds %" PRId64 "\n", (clock_now_us() - service->began_us) / 1000000);
    write_rules(out, service);
    write_store(out, service);
    for (size_t i = 0; i < worker_figure_count; i++)
        write_workers(out, &worker_figures[i], workers, service->queues.workers);
    write_reasons(out, workers, service->queues.workers);
    write_sessions(out, workers, service->queues.workers);
    write_handshakes(out, workers, service->queues.workers);
    write_rule_hits(out, &service->rules->now->policy, workers, service->queues.workers);
    for (size_t i = 0; i < common_figure_count; i++) {
        char name[96];
        figure_head(out, &common_figures[i], name, sizeof name);
        fputs(name, out);
        write_value(out, &common_figures[i], &common);
    }
}

static struct MHD_Response *page(struct service *service)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    write_page(out, service);
    fclose(out);
    struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    return response;
}

static struct MHD_Response *remark(const char *text)
{
    char *copy = strdup(text);
    return copy ? MHD_create_response_from_buffer(strlen(copy), copy, MHD_RESPMEM_MUST_FREE) : NULL;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct metrics *metrics = context;
    struct MHD_Response *response;
    unsigned code = MHD_HTTP_OK;
    (void)version, (void)upload, (void)upload_size, (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        code = MHD_HTTP_METHOD_NOT_ALLOWED;
        response = remark("only GET\n");
    } else if (strcmp(url, "/metrics") != 0) {
        code = MHD_HTTP_NOT_FOUND;
        response = remark("there is /metrics\n");
    } else {
        response = page(metrics->service);
    }
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- the listener ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static bool parse_port(const char *text, uint16_t *port_be)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    *port_be = htons((uint16_t)port);
    return *text >= '0' && *text <= '9' && !*end && port > 0 && port <= 65535;
}

/* ADDRESS:PORT or [ADDRESS]:PORT, loopback only: whoever reads the figures knows who mails whom how often. */
static bool parse_where(const char *where, union address *address)
{
    char host[64];
    const char *colon = strrchr(where, ':');
    size_t len = colon ? (size_t)(colon - where) : 0;
    *address = (union address){0};
    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, where, len);
    host[len] = '\0';
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        address->six.sin6_family = AF_INET6;
        return inet_pton(AF_INET6, host + 1, &address->six.sin6_addr) == 1 &&
               IN6_IS_ADDR_LOOPBACK(&address->six.sin6_addr) && parse_port(colon + 1, &address->six.sin6_port);
    }
    address->four.sin_family = AF_INET;
    return inet_pton(AF_INET, host, &address->four.sin_addr) == 1 &&
           ntohl(address->four.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET &&
           parse_port(colon + 1, &address->four.sin_port);
}

static bool listen_at(struct metrics *metrics, const union address *address)
{
    socklen_t len = address->any.sa_family == AF_INET6 ? sizeof address->six : sizeof address->four;
    int listener = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    return listener >= 0 && acceptor_open(&metrics->acceptor, metrics->poll, listener) &&
           setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(listener, &address->any, len) == 0 && listen(listener, BACKLOG) == 0;
}

static bool start_daemon(struct metrics *metrics)
{
    metrics->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, answer, metrics,
                                       MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                       MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_S, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        metrics->daemon ? MHD_get_daemon_info(metrics->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    struct epoll_event event = {.events = EPOLLIN};
    return info && epoll_ctl(metrics->poll, EPOLL_CTL_ADD, info->epoll_fd, &event) == 0;
}

struct metrics *metrics_open(const char *where, struct service *service, char *message, size_t message_size)
{
    union address address;
    if (!parse_where(where, &address)) {
        snprintf(message, message_size, "%s: give a loopback address and a port, for example 127.0.0.1:9125", where);
        return NULL;
    }
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics) {
        snprintf(message, message_size, "no memory");
        return NULL;
    }
    metrics->service = service;
    metrics->acceptor = ACCEPTOR_NONE;
    metrics->poll = epoll_create1(EPOLL_CLOEXEC);
    if (metrics->poll >= 0 && listen_at(metrics, &address) && start_daemon(metrics))
        return metrics;
    snprintf(message, message_size, "%s: cannot be listened at: %m", where);
    metrics_close(metrics);
    return NULL;
}

int metrics_fd(const struct metrics *metrics)
{
    return metrics->poll;
}

int metrics_timeout_ms(const struct metrics *metrics)
{
    MHD_UNSIGNED_LONG_LONG ms;
    int pause_ms = acceptor_timeout_ms(&metrics->acceptor);
    if (MHD_get_timeout(metrics->daemon, &ms) != MHD_YES)
        return pause_ms;
    int due_ms = (int)(ms < 60000 ? ms : 60000);
    return pause_ms >= 0 && pause_ms < due_ms ? pause_ms : due_ms;
}

static void accept_connection(struct metrics *metrics)
{
    union address peer = {0};
    socklen_t len = sizeof peer;
    int fd = acceptor_take(&metrics->acceptor);
    if (fd >= 0 && getpeername(fd, &peer.any, &len) == 0)
        MHD_add_connection(metrics->daemon, fd, &peer.any, len); /* which closes it where it takes none */
    else if (fd >= 0)
        close(fd);
}

void metrics_serve(struct metrics *metrics)
{
    acceptor_refresh(&metrics->acceptor);
    accept_connection(metrics);
    MHD_run(metrics->daemon);
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics)
        return;
    if (metrics->daemon)
        MHD_stop_daemon(metrics->daemon);
    acceptor_close(&metrics->acceptor);
    if (metrics->poll >= 0)
        close(metrics->poll);
    free(metrics);
}
