/*
 * cmd/metrics - figures for Prometheus, by HTTP on a loopback address.
 *
 * In:     GET /metrics.
 * Out:    text in Prometheus' format 0.0.4: each figure by its name in cmd/figures, `postern_` before it, and `_total`
 *         behind a counter; times in seconds and memory in bytes, by names that say so. Besides what the rules, the
 *         last reload and the store are like. What workers count has a label `worker`; the greylist's answers have a
 *         label `reason`, too. Sessions that ended are of all workers: labels `direction`, `outcome`, `encrypted`.
 * Thread: the one that opened it; nothing waits for a peer.
 * Limits: a few connections, a few seconds each. Where file descriptors are out, one (sys/acceptor).
 */
#ifndef POSTERN_CMD_METRICS_H
#define POSTERN_CMD_METRICS_H

#include <stddef.h>

struct metrics;
struct service;

/* Listen at `where`, ADDRESS:PORT with a loopback address (IPv6 in brackets). NULL on failure, with a message. */
struct metrics *metrics_open(const char *where, struct service *service, char *message, size_t message_size);

/* To be polled for reading, for as long as metrics_timeout_ms says (-1: any time); then metrics_serve. */
int metrics_fd(const struct metrics *metrics);
int metrics_timeout_ms(const struct metrics *metrics);
void metrics_serve(struct metrics *metrics);

void metrics_close(struct metrics *metrics); /* NULL is allowed */

#endif
