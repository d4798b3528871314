/*
 * tests/sim/receiver - a mail server on one connection: the state machine of RFC 5321, slow to answer.
 *
 * In:     what its endpoint reads, the time.
 * Out:    replies; deliveries to mails.
 * Note:   each reply names what it answers, `~` and a letter, of RCPT a number, so that a client that reads it knows
 *         whether it was meant. `~!` is a 421 that answers nothing.
 *
 *             ~G greeting  ~E EHLO  ~M MAIL  ~R7 RCPT  ~D DATA  ~. end of a message  ~B BDAT  ~L BDAT LAST  ~X XEXCH50
 *             ~b its octets  ~N NOOP  ~S RSET  ~V VRFY  ~T STARTTLS  ~Q QUIT  ~? anything else
 */
#ifndef POSTERN_TESTS_RECEIVER_H
#define POSTERN_TESTS_RECEIVER_H

#include "mails.h"
#include "writer.h"

struct receiver_plan {
    bool pipelining, chunking, xexch50, starttls; /* offered */
    bool takes_xexch50;
    uint32_t slow;          /* of 100 commands, so many are answered later, */
    uint32_t slow_up_to_ms; /* by so much at most */
    uint32_t defers;        /* of 100 commands that it would accept, so many it answers 4xx */
    uint32_t goodbyes;      /* of 1000 commands, so many it answers 421, and closes */
    int64_t patience_us;
    enum app_cut cut;
    int64_t pause_us;
};

enum receiver_mode { RECEIVER_COMMANDS, RECEIVER_MESSAGE, RECEIVER_OCTETS, RECEIVER_HELLO };

struct receiver {
    struct receiver_plan plan;
    struct endpoint *end;
    struct mails *mails;
    struct random_source *random;
    struct fault *fault;
    struct writer writer;
    bool greeted, over, encrypted;
    uint32_t parsed, heard;
    int64_t since_us; /* when it last heard something */
    int64_t reply_us; /* when the reply leaves that it thinks about; 0: none */
    char reply[1000];
    enum receiver_mode mode;
    bool mail_open;
    uint32_t recipient_count; /* accepted in this transaction */
    struct {
        uint32_t mail, recipient, attempt;
    } recipients[MAILS_RECIPIENTS_MAX];
    uint32_t octets_left;
    bool octets_last, octets_xexch50, octets_wanted;
    uint32_t message_len;
    uint8_t message[WRITER_BYTES];
};

void receiver_init(struct receiver *receiver, const struct receiver_plan *plan, struct endpoint *end,
                   struct mails *mails, struct random_source *random, struct fault *fault);
void receiver_turn(struct receiver *receiver, int64_t now_us);
/* When receiver_turn is needed though nothing has come; INT64_MAX: not. */
int64_t receiver_due(const struct receiver *receiver);

#endif
