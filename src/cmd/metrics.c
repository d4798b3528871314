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

static void write_workers(FILE *out, const struct figure *figure, const struct worker_status *workers, unsigned count)
{
    const char *suffix = figure->gauge ? "" : "_total";
    head(out, figure->name, suffix, figure->gauge ? "gauge" : "counter", figure->help);
    for (unsigned i = 0; i < count; i++)
        fprintf(out, "postern_%s%s{worker=\"%u\"} %" PRIu64 "\n", figure->name, suffix, i,
                figure_value(figure, &workers[i]));
}

static void write_reasons(FILE *out, const struct worker_status *workers, unsigned count)
{
    head(out, FIGURES_REASONS, "_total", "counter", FIGURES_REASONS_HELP);
    for (unsigned i = 0; i < count; i++)
        for (int reason = 0; reason < GREYLIST_REASONS; reason++)
            fprintf(out, "postern_" FIGURES_REASONS "_total{worker=\"%u\",reason=\"%s\"} %" PRIu64 "\n", i,
                    greylist_reason_name((enum greylist_reason)reason), workers[i].greylist.reasons[reason]);
}

static void write_page(FILE *out, struct service *service)
{
    static struct worker_status workers[QUEUES_WORKERS_MAX];
    struct common_status common = service_common(service);
    for (unsigned i = 0; i < service->queues.workers; i++)
        worker_ask(service->workers[i], &workers[i], SERVICE_ANSWER_MS);
    head(out, "info", "", "gauge", "the version that runs");
    fputs("postern_info{version=\"" POSTERN_VERSION "\"} 1\n", out);
    head(out, "uptime_seconds", "", "gauge", "since the start");
    fprintf(out, "postern_uptime_seconds %" PRId64 "\n", (clock_now_us() - service->began_us) / 1000000);
    for (size_t i = 0; i < worker_figure_count; i++)
        write_workers(out, &worker_figures[i], workers, service->queues.workers);
    write_reasons(out, workers, service->queues.workers);
    for (size_t i = 0; i < common_figure_count; i++) {
        head(out, common_figures[i].name, "_total", "counter", common_figures[i].help);
        fprintf(out, "postern_%s_total %" PRIu64 "\n", common_figures[i].name,
                figure_value(&common_figures[i], &common));
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
