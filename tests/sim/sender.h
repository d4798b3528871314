/*
 * tests/sim/sender - a mail client on one connection: brings mails, and believes what it is told.
 *
 * In:     what its endpoint reads, mails that wait, the time.
 * Out:    commands and messages; what it was told, to mails.
 * Checks: each reply is well formed, and where it is the server's (tests/sim/receiver says whose) it answers the
 *         command whose turn it is.
 * Note:   4xx, a lost connection and a time-out put off those of whom it does not know yet, 5xx bounces them, and so
 *         does a 2xx to DATA, as Postfix's "Protocol error" does.
 */
#ifndef POSTERN_TESTS_SENDER_H
#define POSTERN_TESTS_SENDER_H

#include "mails.h"
#include "writer.h"

enum sender_model {
    SENDER_POSTFIX,  /* MAIL, RCPT and DATA in a group; the dot and QUIT in another */
    SENDER_EXIM,     /* BDAT where it is offered, its first chunk in the group of MAIL and RCPT */
    SENDER_PLAIN,    /* one command at a time */
    SENDER_EXCHANGE, /* the same, with XEXCH50 though nobody offers it; tries again soon, three times */
    SENDER_MODELS
};

struct sender_plan {
    enum sender_model model;
    bool reuses;        /* brings several mails in a session */
    bool resets;        /* says RSET between them */
    bool whole_chunk;   /* BDAT LAST at once */
    bool pipelines_end; /* QUIT behind the dot, not waiting for its reply */
    bool encrypts;      /* where STARTTLS is offered */
    bool aborts;        /* ends a session that it has no patience with by a RST */
    uint32_t odd; /* of 100 transactions, so many have something odd before them: VRFY, NOOP, a line too long; in a
                           group also a NOOP that long behind RCPT */
    int64_t patience_us, retry_us;
    enum app_cut cut;
    int64_t pause_us;
};

enum sender_step {
    SENDER_GREETING,
    SENDER_EHLO,
    SENDER_STARTTLS,
    SENDER_HELLO, /* the ClientHello was sent */
    SENDER_ODD,
    SENDER_ENVELOPE,
    SENDER_DATA, /* DATA was sent; its reply decides */
    SENDER_END,  /* the end of the message was sent */
    SENDER_RSET,
    SENDER_QUIT,
    SENDER_OVER,
};

struct sender_asked {
    char verb; /* the letter of the reply, see tests/sim/receiver */
    uint32_t number;
};

struct sender {
    struct sender_plan plan;
    struct endpoint *end;
    struct mails *mails;
    struct random_source *random;
    struct fault *fault;
    struct writer writer;
    uint32_t parsed;
    enum sender_step step;
    struct sender_asked asked[16]; /* the oldest first */
    uint32_t asked_count;
    uint16_t reply_code; /* of the reply that goes on */
    bool reply_tagged, reply_goodbye;
    bool pipelining, chunking, starttls, encrypted;
    int64_t since_us; /* when it last heard or said something */
    int mail;         /* that is being brought; -1: none */
    unsigned attempt;
    uint32_t said, done; /* commands of the envelope: sent; answered */
    bool mail_refused, accepted[MAILS_RECIPIENTS_MAX];
    uint32_t accepted_count;
    bool data_said, chunk_said, chunk_last_said;
    uint16_t data_code, chunk_code; /* 0: no reply yet */
    bool data_tagged;
    const char *end_reason; /* of the session, for eyes */
};

void sender_init(struct sender *sender, const struct sender_plan *plan, struct endpoint *end, struct mails *mails,
                 struct random_source *random, struct fault *fault);
void sender_turn(struct sender *sender, int64_t now_us);
int64_t sender_due(const struct sender *sender);

#endif
