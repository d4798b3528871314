/*
 * tests/sim/mails - the mails that a sender has to bring, and what became of each of their recipients at both ends.
 *
 * In:     what a sender was told (sent, bounced, refused, lost), and what a receiver took.
 * Out:    mails whose time has come; the fault as soon as one is wrong.
 * Checks: nobody is bounced but who was to be; who was refused in an attempt does not get the mail in that attempt; a
 *         mail that came is the one that was sent; at the end each recipient that was told of has it.
 * Limits: MAILS_MAX mails, MAILS_ATTEMPTS_MAX attempts of each.
 */
#ifndef POSTERN_TESTS_MAILS_H
#define POSTERN_TESTS_MAILS_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/random.h"
#include "fault.h"

enum { MAILS_MAX = 6, MAILS_RECIPIENTS_MAX = 4, MAILS_ATTEMPTS_MAX = 60, MAILS_BODY_MAX = 3000 };

enum mails_kind {
    MAILS_PLAIN,   /* everybody wants it */
    MAILS_REFUSED, /* the filter's rules refuse it for good */
    MAILS_LATER,   /* a static 4xx of the rules refuses it at its first attempts */
    MAILS_UNKNOWN, /* the server refuses it for good */
    MAILS_KINDS
};

enum mails_state {
    MAILS_WAITS,
    MAILS_SENT,    /* the sender was told that it is there */
    MAILS_BOUNCED, /* and that it never will be */
};

struct mails_recipient {
    enum mails_kind kind;
    enum mails_state state;
    unsigned deliveries;
    uint64_t refused_in, delivered_in; /* attempts, by bits */
};

struct mails_mail {
    bool null_sender, busy;
    const char *sender_word; /* that rules look at, in its first attempts: "deny", "close", "reset"; "" for none */
    unsigned attempts;
    int64_t next_us; /* not before then */
    uint32_t recipient_count;
    struct mails_recipient recipients[MAILS_RECIPIENTS_MAX];
    uint32_t body_len;
    uint8_t body[MAILS_BODY_MAX]; /* whole lines, as they are without dots added */
};

struct mails {
    struct mails_mail each[MAILS_MAX];
    uint32_t count;
    unsigned duplicates; /* deliveries of what had been delivered before */
    struct fault *fault;
};

void mails_make(struct mails *mails, uint32_t count, struct random_source *random, struct fault *fault);
/* One that may be tried now, and what waits of it; -1: none. */
int mails_next(const struct mails *mails, int64_t now_us);
/* When one may be tried; INT64_MAX: none waits, or all that do are being tried. */
int64_t mails_due(const struct mails *mails);
bool mails_done(const struct mails *mails);

/* A recipient's address in this attempt, ended by NUL. */
void mails_address(const struct mails *mails, uint32_t mail, uint32_t recipient, uint32_t attempt, char *out,
                   uint32_t room);
/* The sender's, likewise; empty for the null sender. */
void mails_sender(const struct mails *mails, uint32_t mail, uint32_t attempt, char *out, uint32_t room);
/* What an address as it came names; false where it is none of these. */
bool mails_parse(const struct mails *mails, const char *address, uint32_t *mail, uint32_t *recipient,
                 uint32_t *attempt);

/* The sender's side. */
unsigned mails_begin(struct mails *mails, uint32_t mail); /* the number of the attempt */
void mails_refused(struct mails *mails, uint32_t mail, uint32_t recipient, unsigned attempt);
void mails_bounced(struct mails *mails, uint32_t mail, uint32_t recipient, const char *why);
void mails_sent(struct mails *mails, uint32_t mail, uint32_t recipient);
void mails_end(struct mails *mails, uint32_t mail, int64_t next_us);

/* The receiver's side: a message of this attempt was taken for this recipient. */
void mails_delivered(struct mails *mails, uint32_t mail, uint32_t recipient, unsigned attempt, const uint8_t *body,
                     uint32_t body_len);

#endif
