/*
 * store/client - one thread's questions: rings to and from the thread that answers, and what is under way.
 *
 * Owner:  the client's thread owns all but the rings; each ring has one reader and one writer.
 * Limits: STORE_PENDING_MAX under way. One that its client gave up counts until it was answered all the same, so that
 *         a store which answers nothing is asked no more than that, and answers always find room.
 */
#ifndef POSTERN_STORE_CLIENT_H
#define POSTERN_STORE_CLIENT_H

#include "store/backend.h"

struct client_question {
    uint64_t token;
    int64_t deadline_us;
    uint32_t earlier, later; /* by deadline; `later` also leads through those that are free. POOL_NONE for none */
    bool given_up;
};

struct client_answer {
    uint32_t slot;
    struct store_reply reply;
};

struct client_asked {
    uint32_t slot;
    struct store_key key;
};

/* A put that found its place in the table locked by a thread that does not go on. */
struct client_aside {
    struct store_key key;
    struct store_record record;
    uint8_t *text; /* on the heap */
    size_t text_len;
    bool absent;
};

#define CLIENT_ASIDE_MAX 512 /* while one of the shards stands still */

struct store_client {
    /* Lines of the processor's cache with one writer each: here the client's thread, at the end the other. */
    _Alignas(64) _Atomic uint32_t asked_in, answers_out;
    struct store *store;
    bool patient; /* there are no threads but those of clients to wait for */
    _Atomic uint32_t aside_count;
    struct client_aside aside[CLIENT_ASIDE_MAX]; /* the oldest first */
    uint64_t number;
    uint32_t place;                                          /* among the store's clients */
    struct client_question questions[STORE_PENDING_MAX + 1]; /* slots from 1 on */
    uint32_t free, earliest, latest;

    struct client_asked asked[STORE_PENDING_MAX];

    struct client_answer answers[STORE_PENDING_MAX];
    int fd;
    _Atomic bool told; /* `fd` is readable */

    _Atomic uint64_t gets, answered_at_once, failed, puts; /* written by the client's thread only */

    _Alignas(64) _Atomic uint32_t asked_out, answers_in;
};

/* What the backend's thread does with a client; under clients_lock. */
bool client_next_asked(struct store_client *client, struct store_question *question);
bool client_has_asked(const struct store_client *client);
void client_answer(struct store_client *client, uint32_t slot, const struct store_reply *reply);

/* Make known to it that there are answers. */
void client_tell(struct store_client *client);

#endif
