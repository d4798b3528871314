/*
 * report/exchanges - the commands of one session whose replies have not all come, oldest first.
 *
 * Owner:  the queue owns its entries and what they hold.
 * Limits: EXCHANGES_MAX, and the account. One that finds no room is not in the queue: its reply then stands alone.
 */
#ifndef POSTERN_REPORT_EXCHANGES_H
#define POSTERN_REPORT_EXCHANGES_H

#include <jansson.h>

#include "engine/event.h"
#include "report/account.h"

#define EXCHANGES_MAX 1024 /* more than an engine lets wait */

struct exchange {
    uint32_t number; /* as in events */
    uint8_t verb;    /* enum smtp_verb as the client sent it; BDAT_LAST, END_OF_DATA */
    int64_t time_us;
    uint64_t octets;  /* of the message or chunk that belongs to it */
    bool answered;    /* nothing more will answer it */
    json_t *argument; /* MAIL, RCPT: the address; EHLO, HELO, LHLO: the name; else NULL */
    json_t *change;   /* an entry of a list of changes; NULL where it left as it came */
    const char *why;  /* of that change */
    size_t bytes;     /* of argument and change, taken from the account */
};

struct exchanges {
    struct exchange *ring;
    uint32_t head, count, room; /* room is 0 or a power of two */
};

/* A new one at the end, zeroed, or NULL where there is no room. */
struct exchange *exchanges_add(struct exchanges *exchanges, struct account *account);

/* The oldest and the newest one; NULL where there is none. They live until the next add or pop. */
struct exchange *exchanges_oldest(const struct exchanges *exchanges);
struct exchange *exchanges_newest(const struct exchanges *exchanges);

/* Take the oldest out; what it holds is the caller's. There must be one. */
struct exchange exchanges_pop(struct exchanges *exchanges, struct account *account);

/* The queue, which must be empty, gives its memory back. */
void exchanges_clear(struct exchanges *exchanges, struct account *account);

#endif
