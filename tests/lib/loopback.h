/*
 * tests/lib/loopback - the real kernel queue, in a network namespace of this process alone.
 *
 * In:     UDP datagrams of this process to itself; iptables puts them, and TCP, into two queues.
 * Out:    what arrives.
 * Note:   the namespace goes with the process, so nothing is left behind. Where none may be made, or no NFQUEUE rule
 *         put into it, the tests are skipped and the reason is said once.
 * Errors: fail the running cmocka test.
 */
#ifndef POSTERN_TESTS_LOOPBACK_H
#define POSTERN_TESTS_LOOPBACK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/types.h>

#include "io/nfqueue.h"

enum {
    LOOPBACK_TO_SERVERS = 40,   /* number of a queue; */
    LOOPBACK_FROM_SERVERS = 41, /* of the other one */
    LOOPBACK_PORT = 2500,       /* UDP and TCP to this port go to LOOPBACK_TO_SERVERS, */
    LOOPBACK_PORT_BACK = 2501,  /* and to this one to LOOPBACK_FROM_SERVERS */
    LOOPBACK_ARRIVAL_MS = 1000, /* whatever arrives is there by then */
};

/* Of a group of tests: enter the namespace; the program has a minute from here on. Returns 0. */
int loopback_enter(void **state);
/* Skip the running test where there is no namespace. */
void loopback_need(void);
bool loopback_set_mtu(int mtu);

struct nfqueue_settings loopback_settings(void);
/* One queue at a time. */
struct nfqueue *loopback_open(const struct nfqueue_settings *settings);
void loopback_close(void);
/* Behind each test: one that failed has not closed its queue, and the next one needs the numbers. Returns 0. */
int loopback_close_left_open(void **state);
/* Packets that arrive, as nfqueue_receive; 0 where none does. */
int loopback_receive(struct nfqueue *queue, struct nfqueue_packet packets[NFQUEUE_BATCH_MAX]);

/* A UDP socket on 127.0.0.1, which the caller closes; with port 0 one that sends only. */
int loopback_udp(uint16_t port);
void loopback_send(int fd, uint16_t port, const void *octets, size_t len);
bool loopback_readable(int fd, int wait_ms);
/* What arrived within the time, or -1. */
ssize_t loopback_take(int fd, void *octets, size_t size, int wait_ms);

#endif
