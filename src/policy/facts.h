/*
 * policy/facts - what rules may know of a session besides the unit at hand.
 *
 * Owner:  part of the flow; policy_facts_begin fills it when the connection begins, the engine counts in it.
 */
#ifndef POSTERN_POLICY_FACTS_H
#define POSTERN_POLICY_FACTS_H

#include <stdbool.h>
#include <stdint.h>

/* By where the protected networks are. */
enum policy_direction {
    POLICY_INBOUND,  /* to a protected server; also where nothing is said to be protected */
    POLICY_OUTBOUND, /* from a protected server */
    POLICY_INTERNAL, /* both ends are protected */
    POLICY_TRANSIT,  /* neither is */
    POLICY_DIRECTIONS
};

struct policy_facts {
    uint16_t client_class; /* what rules say of the networks of each end, see policy/network */
    uint16_t server_class;
    uint16_t peer_class;        /* of the end that is not protected */
    uint16_t exempt_from;       /* no rule of this number or a higher one is for the session; 0: all are */
    uint16_t commands;          /* command lines of the client */
    uint16_t errors;            /* replies 4xx and 5xx that the client read */
    uint16_t refused;           /* of these, to RCPT */
    uint8_t direction;          /* enum policy_direction */
    bool known : 1;             /* the client, to the greylist */
    bool authenticated : 1;     /* AUTH or X-EXPS was accepted */
    bool early_talker : 1;      /* the client did not wait for the greeting */
    bool may_be_acted_on : 1;   /* policy_may_act */
    bool would_be_acted_on : 1; /* policy_would_act */
    bool content_counts : 1;    /* a rule refuses mail for what it contains: policy_refuses_content */
    uint16_t helo_holds;        /* conditions on the name in EHLO or HELO that hold, see struct rule */
    uint16_t helo_before;       /* those of the name before, which holds again where the server refuses this one */
    uint16_t name_holds;        /* likewise conditions on the client's name in the DNS; 0 until that is known */
};

#endif
