/*
 * store/store - what the filter remembers beyond a connection: small values by key, on disk or shared with other
 * gateways.
 *
 * In:     gets, puts and drops of struct store_record by a key of 16 octets. A key is a keyed hash, so that it tells
 *         nothing of whom it is about; the secret of that hash lives in the store itself (store_secret), so that
 *         gateways that share a store agree.
 * Out:    answers, at once or later; never an answer that was waited for on a disk or a network.
 * Owner:  a store belongs to the process, a client of it to one thread. Texts and records are copied.
 * Thread: each worker has a client of its own; sqlite and redis have threads behind them (store/driver). A client's
 *         calls wait for no disk, no server and no other thread.
 * Limits: STORE_TEXT_BYTES_MAX; gets under way at once STORE_PENDING_MAX a client; puts that wait to be written
 *         `backlog_max` a store.
 * Errors: a store that is late, down, full or damaged answers STORE_FAILED by the deadline, counts it, and goes on;
 *         what was put meanwhile is written when it comes back. What is wrong with a URI or a file is said at
 *         store_open, in words that name the file and what to do.
 *
 * URIs: memory:            gone with the process; for tests and simulation
 *       sqlite:FOLDER      a database in a folder of its own, made where it is missing
 *       redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], and its like: store/redis_uri
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
    int64_t expires_s; /* seconds since 1970; from then on it counts as absent, and is removed some time later. From
                          STORE_FOR_EVER on: never */
    uint8_t value[STORE_VALUE_BYTES];
};

/*
 * In 2106: the end of what is stored of an expiry. What is to expire then or later does not, be it a ruling for ever
 * or, in that year, a record of minutes; what it is worth then is decided by the times in its value.
 */
#define STORE_FOR_EVER UINT32_MAX

static inline bool store_is_expired(const struct store_record *record, int64_t now_s)
{
    return record->expires_s < STORE_FOR_EVER && record->expires_s <= now_s;
}

/* False ends a walk. */
typedef bool store_visit(void *context, const struct store_key *key, const struct store_record *record,
                         struct span text);

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
    uint32_t sync_ms;        /* sqlite: how much of the past a power cut may cost at most */
    uint32_t cache_max;      /* records that were seen lately, kept in memory in front of sqlite and redis */
    uint64_t file_bytes_max; /* sqlite: how large the file may become */
    bool is_guest; /* sqlite: a command's, beside the filter: the file is not checked when it is opened, what has
                           expired stays in it, and the time is not noted there (store/lag) */
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
 * the administrator ought to know. `now_s` is the time. Waits for the disk, and up to 3 s for a server, one more
 * for each other host that does not answer.
 */
struct store *store_open(const char *uri, const struct store_settings *settings, int64_t now_s, char *message,
                         size_t size);

/* Whether store_open would try: it is a URI of a store, wherever that leads. False with a message. */
bool store_understands(const char *uri, char *message, size_t size);

/* Whether several gateways may use the store that a URI names. */
bool store_is_shared(const char *uri);

/* A stand-in for a store that cannot be opened yet: its gets fail at once, and nothing is kept. `fault` is what is
   wrong; store_tell_lost says something else. NULL with a message. */
struct store *store_open_lost(const char *fault, const struct store_settings *settings, int64_t now_s, char *message,
                              size_t size);
void store_tell_lost(struct store *store, const char *fault);

/* The time has become `now_us`, for who does not go by the system's clock; also to an earlier one. Any thread. */
void store_set_time(struct store *store, int64_t now_us);

/* Writes what waits, for up to `wait_ms`, and closes; its clients are freed before, or not used any more. Returns how
   many puts could not be written. NULL is allowed. */
uint64_t store_close(struct store *store, uint32_t wait_ms);

/* The secret that keys are made with, of STORE_SECRET_BYTES: random, made with the store; it lives as long as that. */
const uint8_t *store_secret(const struct store *store);

/*
 * By how much its users' clock is ahead of the store's own time (store/lag); mostly 0. It converts times of expiry by
 * itself; times inside of values are kept less this lag, by those who know where they are.
 */
int64_t store_lag_s(const struct store *store);

/* The kinds of records that there may be, bits 1u << kind (31 and beyond share the highest): of others there is none to
   be looked up. It may say too much, never too little; of redis always all. */
uint32_t store_kinds(const struct store *store);

/* What all clients have counted so far, those that are gone included, into *counters; any thread may ask. */
void store_counters(struct store *store, struct store_counters *counters);

/* Whether something is wrong now (full, read-only, gone), and what, in one line. Decisions go on all the same. */
bool store_fault(struct store *store, char *message, size_t size);

/* NULL where there is no memory, or clients_max have one. */
struct store_client *store_client_new(struct store *store);
void store_client_free(struct store_client *client);

/*
 * Look a key up at `now_us`, microseconds since 1970 (as records expire by that clock). GOOD and ABSENT at once where
 * it can be known (*record is set if GOOD), LATER where `token` will be answered by store_next_answer before
 * `deadline_us`, FAILED where it cannot be asked now.
 */
enum store_status store_get(struct store_client *client, const struct store_key *key, uint64_t token, int64_t now_us,
                            int64_t deadline_us, struct store_record *record);

/* Keep a record; seen by all clients of this store at once, by others when it is written. Cannot fail here. */
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

/* When store_next_answer should be called at the latest, as it has something late to tell; INT64_MAX where nothing is
   under way. */
int64_t store_next_due(const struct store_client *client);

/*
 * Every record, in no order (of redis some perhaps twice), also those that another process put, and those that have
 * expired and are not removed yet; false from `visit` ends the walk. Those that cannot be read, for they are damaged or
 * a later version wrote them, are left out and counted in *unread. Blocks: for commands, not for workers. False with a
 * message where the store failed.
 */
bool store_walk(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message, size_t size);

#endif
