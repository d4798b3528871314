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

/* A question on its way to the thread that answers. */
struct client_question_out {
    struct store_key key;
    uint64_t client; /* how many were made before it; never the same twice */
    uint32_t place;  /* the client's among all */
    uint32_t slot;
};

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

struct store_client {
    /* Lines of the processor's cache with one writer each: here the client's thread, at the end the other. */
    _Alignas(64) _Atomic uint32_t asked_in, answers_out;
    struct store *store;
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

/* The other side's ends of the rings of all clients. */
size_t clients_take_questions(struct store *store, struct client_question_out *questions, size_t max);
bool clients_have_asked(struct store *store);

/* A client that is gone, or has given up, does not hear it. */
void clients_answer(struct store *store, const struct client_question_out *questions, const struct store_reply *replies,
                    size_t count);

#endif
