/*
 * tests/lib/conntrack - what a strict conntrack (nf_conntrack_tcp_be_liberal=0) says of a packet, as far as numbers go.
 *
 * In:     packets of one connection, both directions, as they come to the gateway: before the queue.
 * Out:    whether it takes each, and what it holds against it. What it does not take is INVALID, and changes nothing.
 * Owner:  the caller; all zero is a connection that has not begun.
 * Source: Linux net/netfilter/nf_conntrack_proto_tcp.c, tcp_new and tcp_in_window (6.1), after G. van Rooij, "Real
 *         Stateful TCP Packet Filtering in IP Filter", 2001. Its states are left out: only SYN, what follows, no reuse.
 */
#ifndef POSTERN_TESTS_CONNTRACK_H
#define POSTERN_TESTS_CONNTRACK_H

#include "smtp/session.h"
#include "tcp/packet.h"

enum conntrack_finding {
    CONNTRACK_TAKES,
    CONNTRACK_BEHIND_WINDOW, /* its octets begin behind what its receiver's window ever reached */
    CONNTRACK_BEFORE_WINDOW, /* they end more than the window before the newest */
    CONNTRACK_ACK_UNSEEN,    /* it acknowledges what the other end has not sent */
    CONNTRACK_ACK_OLD,       /* it acknowledges what was sent more than a window ago */
};

/* What one end has sent. */
struct conntrack_end {
    uint32_t end;    /* behind its newest octet */
    uint32_t maxend; /* behind the last octet that the other end's windows allow */
    uint32_t maxwin; /* the widest window that it has shown */
    uint8_t scale;
    bool scales;
};

struct conntrack {
    struct conntrack_end ends[2]; /* by enum smtp_side */
};

enum conntrack_finding conntrack_judge(struct conntrack *conntrack, enum smtp_side from, const struct packet *packet);

#endif
