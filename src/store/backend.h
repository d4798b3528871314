/*
 * store/backend - what a kind of store brings: calls that may take their time. store/driver calls them from threads of
 * its own, with the table in front.
 *
 * Thread: get_batch is called by the thread that reads, put_batch and tend by the one that writes; open, close and walk
 *         by others. A kind has what each of them needs apart (a connection, mostly).
 * Owner:  `state` is the kind's.
 * Errors: what is wrong is said with store_set_fault, and taken back there.
 */
#ifndef POSTERN_STORE_BACKEND_H
#define POSTERN_STORE_BACKEND_H

#include <semaphore.h>

#include "store/table.h"

/* Somebody to be woken: no system call where it is awake. */
struct store_waker {
    sem_t calls;
    _Atomic bool asleep;
};

struct store_reply {
    enum store_status status; /* GOOD, ABSENT or FAILED */
    struct store_record record;
};

struct store_backend {
    const char *scheme; /* what its URIs begin with */
    bool is_shared;     /* several gateways may use it */
    uint32_t tick_ms;   /* what was put waits for that long to be written, and `tend` is called so often, at least */

    /* Whether it is a URI of this kind, wherever that leads. False with a message. NULL: each is. */
    bool (*understands)(const char *rest, char *message, size_t size);
    /* `rest` is the URI behind the scheme. Sets secret, and lag_s. False with a message; `close` is called all the same
       where `state` is set. */
    bool (*open)(struct store *store, const char *rest, char *message, size_t size);
    void (*close)(struct store *store);

    /* NULL for the table alone: then there are no threads, and the next two are NULL as well. */
    void (*get_batch)(struct store *store, const struct store_key *keys, struct store_reply *replies, size_t count);
    /* All or nothing; false where nothing could be written now. It may change their order. */
    bool (*put_batch)(struct store *store, struct table_write *writes, size_t count);
    /* Each tick: look for others' writes (table_outdate), remove what has expired. */
    void (*tend)(struct store *store);

    bool (*walk)(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message, size_t size);
};

extern const struct store_backend store_memory, store_sqlite, store_redis;
extern const struct store_backend store_lost; /* stands in for one that cannot be opened yet; no URI names it */

/* What may be wrong at the same time; the first of them is told. */
enum store_fault_of { FAULT_WRITING, FAULT_PLACE, FAULT_RECORDS, STORE_FAULTS };

struct store {
    struct table table;
    const struct store_backend *backend;
    void *state; /* the backend's */
    struct store_settings settings;
    uint8_t secret[STORE_SECRET_BYTES];

    _Atomic int64_t ahead_ms; /* of the steady clock: its clients' time (see store_now_s) */
    int64_t lag_s;            /* that its clients' time is ahead of its own (store/lag). Set by `open` */

    pthread_t reader, writer;
    bool reading, writing; /* they were started */
    _Atomic bool ending;
    _Atomic bool down;                 /* there is nobody to ask: questions fail at once */
    _Atomic uint32_t kinds;            /* store_kinds */
    struct store_waker asked, written; /* the thread that reads, and the one that writes */
    _Atomic uint64_t records;          /* behind the table */
    _Atomic uint64_t written_count, reconnects;

    pthread_mutex_t clients_lock;
    struct store_client **clients; /* clients_max; NULL where free */
    uint64_t clients_made;
    struct store_counters past; /* of clients that are gone */

    pthread_mutex_t fault_lock;
    char faults[STORE_FAULTS][STORE_MESSAGE_BYTES_MAX]; /* each empty while all is well */
};

static inline uint32_t store_kind_bit(uint8_t kind)
{
    return UINT32_C(1) << (kind < 31 ? kind : 31);
}

/* There may be records of these, too. */
static inline void store_note_kinds(struct store *store, uint32_t kinds)
{
    if (kinds & ~atomic_load_explicit(&store->kinds, memory_order_relaxed))
        atomic_fetch_or(&store->kinds, kinds);
}

/* What is wrong from now on; NULL: nothing any more. */
void store_set_fault(struct store *store, enum store_fault_of of, const char *fault);

int64_t store_clock_ms(void); /* steady */

/* Seconds since 1970 by the store's own time, which follows its clients' clock: what its threads think has expired must
   have for them, even where the system's clock was set meanwhile. Records in the table and behind it have this time. */
int64_t store_now_s(const struct store *store);

bool store_random(uint8_t *octets, size_t len);

#endif
