/*
 * tests/lib/mail_server - a mail server in memory that keeps its own account of transactions.
 *
 * In:     what it reads. Recipients are <kind?transaction.recipient@example.com>: the kind is o (250), f (251),
 *         m (250 in two lines), t (450) or n (550); any other address is one that it does not relay. A sender that
 *         begins with `busy` is put off. The text of a message begins with `message` and its transaction's number.
 * Out:    what it says, and which messages it took for whom. Now and then it refuses one, or says 421 and no more.
 * Checks: no message is taken for recipients of another one, by failing the running cmocka test.
 */
#ifndef POSTERN_TESTS_MAIL_SERVER_H
#define POSTERN_TESTS_MAIL_SERVER_H

#include "base/span.h"
#include "random.h"

#define MAIL_SERVER_SAID_MAX      16384
#define MAIL_SERVER_ACCEPTED_MAX  32
#define MAIL_SERVER_DELIVERED_MAX 128

struct mail_server_recipient {
    uint32_t transaction, recipient;
};

struct mail_server {
    struct random_source random;
    bool pipelining;
    uint8_t said[MAIL_SERVER_SAID_MAX];
    uint32_t said_len;
    struct mail_server_recipient delivered[MAIL_SERVER_DELIVERED_MAX];
    uint32_t delivered_count;
    bool gone; /* it has said 421 or 221 */

    uint32_t parsed; /* of what it reads */
    bool mail;       /* a transaction has begun */
    struct mail_server_recipient accepted[MAIL_SERVER_ACCEPTED_MAX];
    uint32_t accepted_count;
    bool in_data, last_chunk, chunk_refused;
    uint32_t chunk_left;
    uint32_t message; /* whose text came; UINT32_MAX: nobody's */
};

/* It greets. */
void mail_server_begin(struct mail_server *server, uint64_t seed, bool pipelining);

/* All that it was sent so far. */
void mail_server_read(struct mail_server *server, struct span read);

#endif
