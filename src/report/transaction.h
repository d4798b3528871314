/*
 * report/transaction - one mail transaction, from MAIL to what ends it, as the client saw it.
 *
 * Owner:  the transaction owns what it holds; transaction_clear gives it back.
 * Limits: TRANSACTION_RECIPIENTS_MAX recipients are listed, as far as the account goes; more are counted.
 */
#ifndef POSTERN_REPORT_TRANSACTION_H
#define POSTERN_REPORT_TRANSACTION_H

#include "base/span.h"
#include "report/list.h"

#define TRANSACTION_RECIPIENTS_MAX 1000

/* One reply to the client. */
struct answer {
    uint16_t code;        /* as the client read it; 0 where there was none */
    uint16_t server_code; /* as the server sent it */
    bool by_filter;       /* another one than the server's */
    struct span text;     /* the line as the client read it */
    const char *rule;     /* behind it, where it is the filter's; "" where none */
};

struct transaction {
    bool open;
    int64_t began_us;       /* when MAIL came */
    json_t *mail_from;      /* NULL where there was no room to keep it */
    size_t bytes;           /* of that, taken from the account */
    struct list recipients; /* and what became of each, in order */
    struct list changes;
    uint32_t next_delivered; /* of those listed: who gets the next reply to the message (LMTP, PRDR) */
    bool any_delivered;      /* one of these was a success */
    bool filter_refused;     /* DATA, BDAT or the message, as far as it was answered last */
    uint64_t octets;         /* of the message */
    const char *method;      /* static; NULL before DATA or BDAT */
    json_t *last;            /* the reply to DATA, BDAT or the message; NULL before */
};

/* MAIL was accepted. The transaction must be clear. `mail_from` is NULL where it is not known. */
void transaction_begin(struct transaction *transaction, struct account *account, json_t *mail_from, int64_t began_us);

/* RCPT was answered; `address` is NULL where it is not known. */
void transaction_recipient(struct transaction *transaction, struct account *account, json_t *address,
                           const struct answer *answer);

/* DATA, BDAT or the message was answered. */
void transaction_answer(struct transaction *transaction, const struct answer *answer);

/* One of the recipients' own replies to the message (LMTP, PRDR). */
void transaction_delivered(struct transaction *transaction, const struct answer *answer);

/* Into the objects "smtp" and "postern" of a record. */
void transaction_write(const struct transaction *transaction, json_t *smtp, json_t *postern);

void transaction_clear(struct transaction *transaction, struct account *account);

#endif
