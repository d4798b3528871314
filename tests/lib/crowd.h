/*
 * tests/lib/crowd - very many connections of one client network that use up what connections share, and mails of
 * another network beside them, through one engine with a clock of its own.
 *
 * A connection's client keeps to TCP and SMTP as far as it goes, so that each attack costs what it would outside: a
 * handshake, a greeting, and then what it does. Mails are whole dialogues; what does not arrive is sent again after
 * CROWD_RTO_US, and counted.
 */
#ifndef POSTERN_TESTS_CROWD_H
#define POSTERN_TESTS_CROWD_H

#include "engine/engine.h"
#include "policy/policy.h"

#define CROWD_RTO_US 200000

enum crowd_attack {
    CROWD_SYNS,       /* SYNs */
    CROWD_IDLE,       /* a handshake, and silence */
    CROWD_OFFSETS,    /* a keyword was stripped: something is promised to each */
    CROWD_COMMANDS,   /* one octet of a command */
    CROWD_REPLIES,    /* one octet of the reply to EHLO */
    CROWD_LEDGERS,    /* commands that the server does not answer */
    CROWD_OCTETS,     /* octets of a message that the server does not acknowledge */
    CROWD_EDITS,      /* replies with a stripped keyword that the client does not acknowledge */
    CROWD_GAPS,       /* octets behind a gap */
    CROWD_AWAITING,   /* octets behind DATA before its reply */
    CROWD_TARPITS,    /* a reply that leaves later */
    CROWD_QUESTIONS,  /* a recipient about whom nobody answers */
    CROWD_RECIPIENTS, /* of a guarded server, which the server outside does not answer */
    CROWD_ATTACKS
};

const char *crowd_name(enum crowd_attack attack);

struct crowd {
    struct engine *engine;
    struct policy policy;
    int64_t now_us;
    uint64_t token;    /* of the last packet */
    uint32_t left;     /* octets of its payload, as it left */
    uint8_t flags;     /* as they left */
    uint64_t sent;     /* packets of mails */
    uint64_t relieved; /* anomalies "no-room" that were told */
};

/* An engine with `memory` octets for all connections; ready for any attack. */
struct crowd *crowd_new(size_t memory);
void crowd_free(struct crowd *crowd);

/* Connections [first, first + count) of the network number `network` begin, and go as far as the attack. */
void crowd_attack(struct crowd *crowd, enum crowd_attack attack, uint32_t network, uint32_t first, uint32_t count);

/* Mails of another network, one after the other; `first`: the number of the first one. True where all were taken. */
bool crowd_mails(struct crowd *crowd, uint32_t first, uint32_t count);

/* A bare acknowledgment of a connection of CROWD_COMMANDS or CROWD_REPLIES; true where it passed. Then crowd->flags. */
bool crowd_poke(struct crowd *crowd, enum crowd_attack attack, uint32_t network, uint32_t number, bool from_client);

/* Its client closes, then its server; true where both FINs passed. */
bool crowd_close(struct crowd *crowd, enum crowd_attack attack, uint32_t network, uint32_t number);

void crowd_wait(struct crowd *crowd, int64_t us);

#endif
