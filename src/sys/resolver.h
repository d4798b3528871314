/*
 * sys/resolver - names of addresses in the DNS, verified: the name of an address counts where it has that address, too.
 *
 * In:     addresses, each with the caller's note.
 * Out:    an answer to each: the name, in lower case; none where it has none, or not in time.
 * Owner:  a resolver owns its thread and its clients; resolver_free ends all.
 * Thread: each client is one thread's. Nothing of a client waits for the DNS: that does the resolver's own thread, with
 *         c-ares.
 * Limits: RESOLVER_PENDING_MAX under way at once, an eighth of them for one network (/24, /64), some seconds for each;
 *         what is more is not asked.
 */
#ifndef POSTERN_SYS_RESOLVER_H
#define POSTERN_SYS_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESOLVER_PENDING_MAX    256
#define RESOLVER_NAME_BYTES_MAX 255
#define RESOLVER_NOTE_BYTES     32

struct resolver;
struct resolver_client;

struct resolver_query {
    uint8_t note[RESOLVER_NOTE_BYTES]; /* the caller's, of any use */
    uint8_t ip_version;                /* 4 or 6 */
    uint8_t address[16];               /* the first 4 or all 16 octets */
};

struct resolver_answer {
    struct resolver_query query;
    size_t len; /* 0: there is none */
    uint8_t name[RESOLVER_NAME_BYTES_MAX];
};

/* For so many clients; NULL where there is no memory or descriptor. Before the first query nothing is read or opened
   for the DNS. */
struct resolver *resolver_new(unsigned clients);
bool resolver_start(struct resolver *resolver); /* false where no thread can be */
void resolver_free(struct resolver *resolver);  /* NULL is allowed */

struct resolver_client *resolver_client(struct resolver *resolver, unsigned number);

/* False where there is no room. */
bool resolver_ask(struct resolver_client *client, const struct resolver_query *query);

/* The next answer; false where there is none now. */
bool resolver_next(struct resolver_client *client, struct resolver_answer *answer);

/* Becomes readable when there is one. */
int resolver_fd(const struct resolver_client *client);

#endif
