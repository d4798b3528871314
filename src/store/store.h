/*
 * store/store - what the filter remembers beyond a connection: small values by key, on disk or shared with other
 * gateways.
 *
 * In:     gets, puts and drops of struct store_record by a key of 16 octets. A key is a keyed hash, so that it tells
 *         nothing of whom it is about; the secret of that hash lives in the store itself (store_secret), so that
 *         gateways that share a store agree.
 * Out:    answers, at once or later; never an answer that was waited for on a disk or a network.
 * Owner:  a store belongs to the process, a client of it to one thread. Texts and records are copied.
 * Thread: each worker has a client of its own; the store has a thread of its own where it needs one (lmdb, redis).
 *         A client's calls never block for longer than a lock on memory is held (100 microseconds at most).
 * Limits: STORE_TEXT_BYTES_MAX; gets under way at once STORE_PENDING_MAX a client; puts that wait to be written
 *         `backlog_max` a store.
 * Errors: a store that is late, down, full or damaged answers STORE_FAILED by the deadline, counts it, and goes on;
 *         what was put meanwhile is written when it comes back. What is wrong with a URI or a file is said at
 *         store_open, in words that name the file and what to do.
 *
 * URIs: memory:            gone with the process; for tests and simulation
 *       lmdb:PATH          a directory, made where it is missing
 *       redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]
 */
#ifndef POSTERN_STORE_STORE_H
#define POSTERN_STORE_STORE_H

#include "base/span.h"

#define STORE_KEY_BYTES      16
#define STORE_VALUE_BYTES    40
#define STORE_TEXT_BYTES_MAX 1024
#define STORE_SECRET_BYTES   16
#define STORE_PENDING_MAX    16384 /* the questions of greylist/service that may wait, with all their kinds */

#define STORE_MESSAGE_BYTES_MAX 512 /* enough for every message */

struct store;
struct store_client;

struct store_key {
    uint8_t octets[STORE_KEY_BYTES];
};

struct store_record {
    uint8_t kind;      /* of its owner's choosing; `store_walk` tells them apart by it */
    uint8_t len;       /* octets of `value` */
    int64_t expires_s; /* seconds since 1970; from then on it counts as absent, and is removed some time later */
    uint8_t value[STORE_VALUE_BYTES];
};

enum store_status {
    STORE_GOOD,
    STORE_ABSENT, /* no such record, or expired */
    STORE_LATER,  /* the answer comes by store_next_answer */
    STORE_FAILED, /* no answer by the deadline: the store is slow, down or damaged */
};

struct store_answer {
    uint64_t token;
    enum store_status status; /* GOOD, ABSENT, FAILED */
    struct store_record record;
};

struct store_settings {
    uint32_t clients_max; /* threads that will use it */
    uint32_t records_max; /* memory: only; the oldest makes room */
    /* Puts that may wait while it is slow or gone, besides those under way to it; beyond, the oldest is forgotten and
       counted. */
    uint32_t backlog_max;
    uint32_t sync_ms;   /* lmdb: how much of the past a power cut may cost at most */
    uint32_t cache_max; /* records that were seen lately, kept in memory in front of lmdb and redis */
    uint64_t map_bytes; /* lmdb: how large the file may become */
};

struct store_settings store_settings_default(void);

struct store_counters {
    uint64_t gets, answered_at_once;
    uint64_t failed;     /* gets that nobody answered in time */
    uint64_t puts;       /* and drops */
    uint64_t written;    /* puts that are on the disk or with the server; several of one key are one */
    uint64_t waiting;    /* puts that are not, yet */
    uint64_t lost;       /* puts that were forgotten before they could be written */
    uint64_t reconnects; /* times that the server was found again */
    uint64_t records;    /* about how many there are */
};

/*
 * Open, make where missing. NULL with a message of one line where that cannot be; else the message is empty, or what
 * the administrator ought to know. `now_s` is the time. Waits for the disk, and up to 3 s for a server.
 */
struct store *store_open(const char *uri, const struct store_settings *settings, int64_t now_s, char *message,
                         size_t size);

/* Writes what waits, for up to `wait_ms`, and closes; its clients are freed before. NULL is allowed. */
void store_close(struct store *store, uint32_t wait_ms);

/* The secret that keys are made with, of STORE_SECRET_BYTES: random, made with the store; it lives as long as that. */
const uint8_t *store_secret(const struct store *store);

/*
 * The kinds of records that there may be, bits 1u << kind (31 and beyond share the highest): of others there is none to
 * be looked up. A kind is among them as soon as the first record of it can be found, and stays. Of redis always all.
 */
uint32_t store_kinds(const struct store *store);

/* What all clients have counted so far, those that are gone included, into *counters; any thread may ask. */
void store_counters(struct store *store, struct store_counters *counters);

/* Whether something is wrong now (full, read-only, gone), and what, in one line. Decisions go on all the same. */
bool store_fault(struct store *store, char *message, size_t size);

/* NULL where there is no memory, or clients_max have one. */
struct store_client *store_client_new(struct store *store);
void store_client_free(struct store_client *client);

/* Keys that will soon be looked up or put, those whose bits are set in `which`: makes that faster. */
void store_expect(const struct store_client *client, const struct store_key *keys, uint32_t which);

/*
 * Look a key up at `now_us`, microseconds since 1970 (as records expire by that clock). GOOD and ABSENT at once where
 * it can be known (*record is set if GOOD), LATER where `token` will be answered by store_next_answer before
 * `deadline_us`, FAILED where it cannot be asked now.
 */
enum store_status store_get(struct store_client *client, const struct store_key *key, uint64_t token, int64_t now_us,
                            int64_t deadline_us, struct store_record *record);

/* Keep a record; seen by all clients of this store at once (after store_next_due where that says so), by others when it
   is written. Cannot fail here. */
void store_put(struct store_client *client, const struct store_key *key, const struct store_record *record);

/* The same with a text that store_walk gives back with it (an address, where a setting asks for it in clear). */
void store_put_text(struct store_client *client, const struct store_key *key, const struct store_record *record,
                    struct span text);

/* Forget a key; as store_put. */
void store_drop(struct store_client *client, const struct store_key *key);

/* Becomes readable when there is an answer to fetch; -1 for a store that always answers at once. */
int store_client_fd(const struct store_client *client);

/* The next answer; false where there is none. What is late at `now_us` is answered FAILED. */
bool store_next_answer(struct store_client *client, int64_t now_us, struct store_answer *answer);

/* When store_next_answer should be called at the latest, as it has something late to tell, or a put of this client
   could not be made known to the others yet; INT64_MAX where nothing is under way. */
int64_t store_next_due(const struct store_client *client);

/* Every record, in no order (of redis some perhaps twice), also those that another process put, and those that have
   expired and are not removed yet; false from `visit` ends the walk. Blocks: for commands, not for workers. False with
   a message where the store failed.
 */
bool store_walk(struct store *store,
                bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                              struct span text),
                void *context, char *message, size_t size);

#endif
