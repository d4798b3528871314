/*
 * store/backend - what a kind of store brings, and what store.c does for all of them.
 *
 * A kind that keeps records elsewhere (a disk, a server) has threads of its own. They fetch the questions that the
 * table in front could not answer, answer them, and write what the table says is not written.
 *
 * Thread: functions with "client" in their names are called by clients' threads, all others by those of the backend.
 */
#ifndef POSTERN_STORE_BACKEND_H
#define POSTERN_STORE_BACKEND_H

#include "store/table.h"
#include "store/thread.h"

/* Somebody to be woken: no system call where it is awake. */
struct store_waker {
    int fd; /* an eventfd; -1 for none */
    _Atomic bool asleep;
};

bool waker_init(struct store_waker *waker);
void waker_fini(struct store_waker *waker);
void waker_wake(struct store_waker *waker);

/* Before looking a last time for work; then sleep on `fd`, or find some. */
void waker_about_to_sleep(struct store_waker *waker);
void waker_awake(struct store_waker *waker);

struct store_backend {
    const char *scheme; /* with its colon */
    bool has_table;     /* records are kept elsewhere, the table is in front */

    /* `rest` is the URI behind the scheme. Sets store->secret. False with a message. */
    bool (*open)(struct store *store, const char *rest, char *message, size_t size);
    /* Writes what waits for up to `wait_ms`, then ends the threads; also after an open that failed. False where a
       thread does not come back (from a disk): then the store must stay where it is. */
    bool (*close)(struct store *store, uint32_t wait_ms);
    uint64_t (*records)(struct store *store);
    bool (*walk)(struct store *store,
                 bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                               struct span text),
                 void *context, char *message, size_t size);
};

extern const struct store_backend store_memory, store_lmdb, store_redis;

struct store {
    const struct store_backend *backend;
    void *state; /* the backend's */
    struct store_settings settings;
    uint8_t secret[STORE_SECRET_BYTES];
    struct table table;

    int64_t ahead_ms; /* of the steady clock: its clients' time (see store_now_s) */

    struct store_waker asked;   /* who answers questions */
    struct store_waker written; /* who writes; the same thread may be both */
    _Atomic bool down;          /* there is nobody to ask: questions fail at once */
    _Atomic uint32_t kinds;     /* store_kinds */
    _Atomic uint64_t written_count, reconnects;

    pthread_mutex_t clients_lock;
    struct store_client **clients; /* clients_max; NULL where free */
    uint64_t clients_made;
    struct store_counters past; /* of clients that are gone */

    pthread_mutex_t fault_lock;
    char fault[STORE_MESSAGE_BYTES_MAX]; /* empty while all is well */
};

/* A question on its way through a backend. */
struct store_question {
    struct store_key key;
    uint64_t client; /* how many were made before it; never the same twice */
    uint32_t place;  /* the client's among all */
    uint32_t slot;
};

struct store_reply {
    enum store_status status; /* GOOD, ABSENT or FAILED */
    struct store_record record;
};

size_t store_questions(struct store *store, struct store_question *questions, size_t max);
bool store_has_questions(struct store *store);

/* A client that is gone, or has given up, does not hear it. */
void store_answer_all(struct store *store, const struct store_question *questions, const struct store_reply *replies,
                      size_t count);
void store_answer(struct store *store, const struct store_question *question, enum store_status status,
                  const struct store_record *record);

static inline uint32_t store_kind_bit(uint8_t kind)
{
    return UINT32_C(1) << (kind < 31 ? kind : 31);
}

/* There may be records of these, too. */
void store_note_kinds(struct store *store, uint32_t kinds);

/* What is wrong from now on; NULL: nothing any more. */
void store_set_fault(struct store *store, const char *fault);

/* Wait until nothing waits to be written, for up to `wait_ms`. */
bool store_flush(struct store *store, uint32_t wait_ms);

int64_t store_clock_ms(void); /* steady */

/* Seconds since 1970 as the store's clients have it: what its threads think has expired must have for them, even where
   the system's clock was set meanwhile. */
int64_t store_now_s(const struct store *store);

bool store_random(uint8_t *octets, size_t len);

#endif
