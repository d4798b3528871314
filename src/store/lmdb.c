/*
 * The store lmdb: records in a file of LMDB, behind the table.
 *
 * Two threads: one reads what the table cannot answer, so that it alone waits where a page must come from the disk; one
 * writes what was put, every half of sync_ms, in transactions that are synced before they count. LMDB never writes over
 * a page that the last two transactions need, so a power cut costs what was put since the last commit and nothing else.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/octets.h"
#include "store/backend.h"
#include "store/lmdb_walk.h"
#include "store/record.h"

enum {
    /* Pages that a transaction leaves behind are used again two transactions later, so one that touches few of all
       pages keeps the file small. Puts go to disk in the order of their keys, in slices. */
    SLICE_LEAST = 64,
    SLICE_MAX = 4096,
    SLICES = 128,
    QUESTIONS_MAX = 64,
    SWEEP_MAX = 2000, /* records that are looked at each time, for those that have expired */
    LOOK_MS = 400,    /* how often others' writes are looked for, at least */
    STALE_READERS_MS = 60000,
    WALK_FLUSH_MS = 5000,
};

/* Where a write stands among those of its transaction. */
struct write_order {
    uint64_t key;   /* its first octets, which is enough to lie near */
    uint32_t index; /* in `writes`: of a key that was put twice the later put has the higher one */
};

struct lmdb {
    struct store *store;
    struct lmdb_env env;
    pthread_t reader, writer;
    bool reading, writing; /* the threads were started */
    _Atomic bool ending;
    _Atomic uint64_t entries;
    bool failing;         /* the last write failed */
    _Atomic bool damaged; /* a record was; stays so. `damage` was written before */
    char damage[STORE_MESSAGE_BYTES_MAX];
    bool all_synced; /* nothing failed since the last commit */

    /* The writer's own. */
    char moved[STORE_MESSAGE_BYTES_MAX]; /* what is wrong while another file is in the place of ours; else empty */
    size_t slice;                        /* puts to a transaction */
    uint64_t leaf_pages;
    size_t last_transaction; /* ours, or one that was taken note of */
    int64_t readers_checked_ms;
    struct store_key sweep_from;
    struct store_key expired[SWEEP_MAX + 1];
    struct table_write writes[SLICE_MAX];
    struct write_order order[SLICE_MAX];
    uint8_t stored[RECORD_BYTES_MAX];
};

/* ---- reading ---- */

/* By the thread that reads. */
static void tell_damage(struct lmdb *lmdb, const char *what)
{
    if (atomic_load(&lmdb->damaged))
        return;
    snprintf(lmdb->damage, sizeof lmdb->damage, "%.300s: %s; restart to have it checked", lmdb->env.home.data, what);
    atomic_store(&lmdb->damaged, true);
    store_set_fault(lmdb->store, lmdb->damage);
}

static struct store_reply reply_to(struct lmdb *lmdb, MDB_txn *transaction, uint32_t generation,
                                   const struct store_key *of)
{
    struct store_record record;
    struct store_reply reply = {.status = STORE_FAILED};
    struct span text;
    MDB_val key = lmdb_key(of), value;
    int error = mdb_get(transaction, lmdb->env.about.records, &key, &value);
    bool found =
        error == 0 && record_decode(of, (struct span){value.mv_data, value.mv_size}, &record, &text) == RECORD_GOOD;
    if (!found && error != MDB_NOTFOUND) {
        tell_damage(lmdb, error ? mdb_strerror(error) : "a record does not pass its check");
        return reply;
    }
    enum table_found known = table_learn(&lmdb->store->table, of, generation, store_now_s(lmdb->store),
                                         found ? &record : NULL, &reply.record);
    reply.status = known == TABLE_RECORD ? STORE_GOOD : STORE_ABSENT;
    return reply;
}

static void answer(struct lmdb *lmdb, const struct store_question *questions, size_t count)
{
    MDB_txn *transaction;
    struct store_reply replies[QUESTIONS_MAX];
    uint32_t generation = table_generation(&lmdb->store->table);
    int error = lmdb_begin(&lmdb->env, MDB_RDONLY, &transaction);
    for (size_t i = 0; i < count; i++)
        replies[i] = error ? (struct store_reply){.status = STORE_FAILED}
                           : reply_to(lmdb, transaction, generation, &questions[i].key);
    if (!error)
        lmdb_give_up(&lmdb->env, transaction);
    store_answer_all(lmdb->store, questions, replies, count);
}

static void *read_thread(void *context)
{
    struct lmdb *lmdb = context;
    struct store_waker *waker = &lmdb->store->asked;
    struct store_question questions[QUESTIONS_MAX];
    while (!atomic_load(&lmdb->ending)) {
        size_t count = store_questions(lmdb->store, questions, QUESTIONS_MAX);
        if (count) {
            answer(lmdb, questions, count);
            continue;
        }
        struct pollfd woken = {.fd = waker->fd, .events = POLLIN};
        waker_about_to_sleep(waker);
        if (!store_has_questions(lmdb->store) && !atomic_load(&lmdb->ending))
            poll(&woken, 1, -1);
        waker_awake(waker);
    }
    return NULL;
}

/* ---- writing ---- */

static int write_one(struct lmdb *lmdb, MDB_cursor *cursor, const struct table_write *write)
{
    MDB_val key = lmdb_key(&write->key);
    if (write->absent) {
        int error = mdb_cursor_get(cursor, &key, NULL, MDB_SET);
        return error == MDB_NOTFOUND ? 0 : error ? error : mdb_cursor_del(cursor, 0);
    }
    size_t len = record_encode(lmdb->stored, &write->key, &write->record, (struct span){write->text, write->text_len});
    MDB_val value = {len, lmdb->stored};
    return mdb_cursor_put(cursor, &key, &value, 0);
}

/* In the order of their keys: then a cursor is mostly on the right page. */
static int write_sorted(struct lmdb *lmdb, MDB_txn *transaction, size_t count)
{
    MDB_cursor *cursor;
    int error = mdb_cursor_open(transaction, lmdb->env.about.records, &cursor);
    if (error)
        return error;
    for (size_t i = 0; i < count && !error; i++)
        error = write_one(lmdb, cursor, &lmdb->writes[lmdb->order[i].index]);
    mdb_cursor_close(cursor);
    return error;
}

static void learn_kinds(struct lmdb *lmdb)
{
    MDB_txn *transaction;
    uint32_t kinds = UINT32_MAX;
    if (lmdb_begin(&lmdb->env, MDB_RDONLY, &transaction) == 0) {
        kinds = about_kinds(&lmdb->env.about, transaction);
        lmdb_give_up(&lmdb->env, transaction);
    }
    store_note_kinds(lmdb->store, kinds);
}

/* Whoever wrote between our transactions may have changed what the table holds. */
static void note_transaction(struct lmdb *lmdb, size_t number, bool ours)
{
    if (number != lmdb->last_transaction + ours) {
        learn_kinds(lmdb);
        table_outdate(&lmdb->store->table);
        table_outdate(&lmdb->store->table);
    }
    lmdb->last_transaction = number;
}

static void note_size(struct lmdb *lmdb, const MDB_stat *about)
{
    lmdb->leaf_pages = about->ms_leaf_pages;
    atomic_store(&lmdb->entries, about->ms_entries);
}

/* The end of a transaction of ours: all that it did, or after an error nothing. */
static int settle(struct lmdb *lmdb, MDB_txn *transaction, int error)
{
    MDB_stat about;
    size_t number = mdb_txn_id(transaction);
    if (!error)
        error = mdb_stat(transaction, lmdb->env.about.records, &about);
    if (error) {
        lmdb_give_up(&lmdb->env, transaction);
        return error;
    }
    error = lmdb_commit(&lmdb->env, transaction);
    if (error)
        return error;
    note_transaction(lmdb, number, true);
    note_size(lmdb, &about);
    return 0;
}

static uint32_t kinds_of(const struct table_write *writes, size_t count)
{
    uint32_t kinds = 0;
    for (size_t i = 0; i < count; i++)
        if (!writes[i].absent)
            kinds |= store_kind_bit(writes[i].record.kind);
    return kinds;
}

static int write_transaction(struct lmdb *lmdb, size_t count)
{
    MDB_txn *transaction;
    int error = lmdb_begin(&lmdb->env, 0, &transaction);
    if (error)
        return error;
    error = about_add_kinds(&lmdb->env.about, transaction, kinds_of(lmdb->writes, count));
    if (!error)
        error = write_sorted(lmdb, transaction, count);
    return settle(lmdb, transaction, error);
}

static int by_key(const void *a, const void *b)
{
    const struct write_order *first = a, *second = b;
    if (first->key != second->key)
        return first->key < second->key ? -1 : 1;
    return (first->index > second->index) - (first->index < second->index);
}

static void sort(struct lmdb *lmdb, size_t count)
{
    for (size_t i = 0; i < count; i++)
        lmdb->order[i] = (struct write_order){load_be64(lmdb->writes[i].key.octets), (uint32_t)i};
    qsort(lmdb->order, count, sizeof lmdb->order[0], by_key);
}

/* What is wrong though all can be written. */
static const char *lasting_fault(const struct lmdb *lmdb)
{
    return lmdb->moved[0] ? lmdb->moved : atomic_load(&lmdb->damaged) ? lmdb->damage : NULL;
}

static void take_result(struct lmdb *lmdb, int error, const char *what)
{
    char fault[STORE_MESSAGE_BYTES_MAX];
    lmdb->all_synced = error == 0;
    if (error) {
        lmdb_explain(&lmdb->env, error, what, fault, sizeof fault);
        store_set_fault(lmdb->store, fault);
    } else if (lmdb->failing) {
        store_set_fault(lmdb->store, lasting_fault(lmdb));
    }
    lmdb->failing = error != 0;
}

/* One transaction of what waits, from this shard on. Returns the shard to go on with; SHARDS_MAX + 1 after a failure.
 */
static uint32_t write_slice(struct lmdb *lmdb, uint32_t shard)
{
    struct table *table = &lmdb->store->table;
    size_t count = 0;
    while (shard < table->shards_count && count < lmdb->slice) {
        size_t room = lmdb->slice - count, taken = table_take_writes(table, shard, lmdb->writes + count, room);
        count += taken;
        shard += taken < room;
    }
    if (count == 0)
        return shard;
    sort(lmdb, count);
    int error = write_transaction(lmdb, count);
    table_settle(table, lmdb->writes, count, error == 0);
    take_result(lmdb, error, "cannot write");
    if (error)
        return TABLE_SHARDS_MAX + 1;
    atomic_fetch_add(&lmdb->store->written_count, count);
    return shard;
}

/* So that a slice touches few of the pages, be it because they are so many or because the slices are. */
static size_t slice_of(uint64_t leaf_pages, uint32_t unwritten)
{
    uint64_t slice = (leaf_pages > unwritten ? leaf_pages : unwritten) / SLICES;
    return slice < SLICE_LEAST ? SLICE_LEAST : slice > SLICE_MAX ? SLICE_MAX : (size_t)slice;
}

static void sync_all(struct lmdb *lmdb)
{
    int error = mdb_env_sync(lmdb->env.env, 1);
    if (error)
        take_result(lmdb, error, "cannot sync");
}

static void write_all(struct lmdb *lmdb)
{
    uint32_t shard = 0;
    lmdb->slice = slice_of(lmdb->leaf_pages, table_unwritten(&lmdb->store->table));
    uint64_t before = atomic_load(&lmdb->store->written_count);
    while (shard < lmdb->store->table.shards_count)
        shard = write_slice(lmdb, shard);
    if (atomic_load(&lmdb->store->written_count) != before)
        sync_all(lmdb);
}

/* ---- removing what has expired ---- */

static bool has_expired(const struct store_key *key, MDB_val value, int64_t now_s)
{
    struct store_record record;
    struct span text;
    return record_decode(key, (struct span){value.mv_data, value.mv_size}, &record, &text) == RECORD_GOOD &&
           record.expires_s <= now_s;
}

/* Look at some records, from where the last look ended. Returns how many of them have expired. */
static size_t find_expired(struct lmdb *lmdb, int64_t now_s)
{
    MDB_txn *transaction;
    MDB_cursor *cursor;
    MDB_val key = lmdb_key(&lmdb->sweep_from), value;
    size_t count = 0;
    if (lmdb_begin(&lmdb->env, MDB_RDONLY, &transaction))
        return 0;
    if (mdb_cursor_open(transaction, lmdb->env.about.records, &cursor) == 0) {
        int error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        memset(&lmdb->sweep_from, 0, sizeof lmdb->sweep_from);
        for (int looked = 0; error == 0 && key.mv_size == sizeof(struct store_key); looked++) {
            if (looked == SWEEP_MAX) {
                memcpy(&lmdb->sweep_from, key.mv_data, sizeof lmdb->sweep_from);
                break;
            }
            memcpy(&lmdb->expired[count], key.mv_data, sizeof lmdb->expired[count]);
            count += has_expired(&lmdb->expired[count], value, now_s);
            error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    lmdb_give_up(&lmdb->env, transaction);
    return count;
}

static int remove_expired(struct lmdb *lmdb, size_t count, int64_t now_s)
{
    MDB_txn *transaction;
    int error = lmdb_begin(&lmdb->env, 0, &transaction);
    if (error)
        return error;
    for (size_t i = 0; i < count && !error; i++) {
        MDB_val key = lmdb_key(&lmdb->expired[i]), value;
        error = mdb_get(transaction, lmdb->env.about.records, &key, &value);
        if (error == 0 && has_expired(&lmdb->expired[i], value, now_s)) /* it may have been put again */
            error = mdb_del(transaction, lmdb->env.about.records, &key, NULL);
        error = error == MDB_NOTFOUND ? 0 : error;
    }
    return settle(lmdb, transaction, error);
}

static void sweep(struct lmdb *lmdb)
{
    int64_t now_s = store_now_s(lmdb->store);
    size_t count = find_expired(lmdb, now_s);
    if (count == 0)
        return;
    take_result(lmdb, remove_expired(lmdb, count, now_s), "cannot remove what has expired");
    sync_all(lmdb);
}

/* ---- the thread that writes ---- */

/* Somebody may put a backup in its place, or remove the folder: what is written then is gone with this process. */
static void look_for_file(struct lmdb *lmdb)
{
    bool there = lmdb_env_in_place(&lmdb->env);
    if (there == (lmdb->moved[0] == '\0'))
        return;
    if (there)
        lmdb->moved[0] = '\0';
    else
        snprintf(lmdb->moved, sizeof lmdb->moved,
                 "%.300s: it was moved away or replaced, what is put now is not kept there; restart postern",
                 lmdb->env.home.data);
    if (!lmdb->failing)
        store_set_fault(lmdb->store, lasting_fault(lmdb));
}

static void look_for_others(struct lmdb *lmdb)
{
    MDB_envinfo info;
    pthread_rwlock_rdlock(&lmdb->env.map_lock);
    int error = mdb_env_info(lmdb->env.env, &info);
    pthread_rwlock_unlock(&lmdb->env.map_lock);
    if (!error)
        note_transaction(lmdb, info.me_last_txnid, false);
    int64_t now_ms = store_clock_ms();
    if (now_ms - lmdb->readers_checked_ms >= STALE_READERS_MS) {
        int dead; /* their pages could not be used again */
        mdb_reader_check(lmdb->env.env, &dead);
        lmdb->readers_checked_ms = now_ms;
    }
}

static void *write_thread(void *context)
{
    struct lmdb *lmdb = context;
    struct store_waker *waker = &lmdb->store->written;
    int tick_ms = (int)(lmdb->store->settings.sync_ms / 2 < LOOK_MS ? lmdb->store->settings.sync_ms / 2 : LOOK_MS);
    while (!atomic_load(&lmdb->ending)) {
        struct pollfd woken = {.fd = waker->fd, .events = POLLIN};
        waker_about_to_sleep(waker);
        poll(&woken, 1, tick_ms);
        waker_awake(waker);
        write_all(lmdb);
        look_for_others(lmdb);
        look_for_file(lmdb);
        sweep(lmdb);
    }
    return NULL;
}

/* ---- opening ---- */

static bool start_threads(struct lmdb *lmdb, char *message, size_t size)
{
    MDB_txn *transaction;
    MDB_stat about;
    if (lmdb_begin(&lmdb->env, MDB_RDONLY, &transaction) == 0) {
        lmdb->last_transaction = mdb_txn_id(transaction);
        if (mdb_stat(transaction, lmdb->env.about.records, &about) == 0)
            note_size(lmdb, &about);
        lmdb_give_up(&lmdb->env, transaction);
    }
    learn_kinds(lmdb);
    lmdb->readers_checked_ms = store_clock_ms();
    lmdb->reading = store_start(&lmdb->reader, read_thread, lmdb);
    lmdb->writing = store_start(&lmdb->writer, write_thread, lmdb);
    if (!lmdb->reading || !lmdb->writing)
        snprintf(message, size, "%.300s: cannot start its threads", lmdb->env.home.data);
    return lmdb->reading && lmdb->writing;
}

static bool open_lmdb(struct store *store, const char *folder, char *message, size_t size)
{
    struct lmdb *lmdb = calloc(1, sizeof *lmdb);
    if (!lmdb || !*folder) {
        snprintf(message, size, lmdb ? "lmdb: names no folder; write lmdb:PATH" : "lmdb: no memory for it");
        free(lmdb);
        return false;
    }
    store->state = lmdb;
    lmdb->store = store;
    lmdb->all_synced = true;
    if (!lmdb_env_open(&lmdb->env, folder, store->settings.map_bytes, message, size))
        return false;
    memcpy(store->secret, lmdb->env.about.secret, STORE_SECRET_BYTES);
    return start_threads(lmdb, message, size);
}

static bool close_lmdb(struct store *store, uint32_t wait_ms)
{
    struct lmdb *lmdb = store->state;
    if (!lmdb)
        return true;
    bool flushed = !lmdb->writing || store_flush(store, wait_ms);
    atomic_store(&lmdb->ending, true);
    waker_wake(&store->asked);
    waker_wake(&store->written);
    if ((lmdb->reading && !store_join(lmdb->reader)) || (lmdb->writing && !store_join(lmdb->writer)))
        return false;
    lmdb_env_close(&lmdb->env, flushed && lmdb->writing && lmdb->all_synced && !lmdb->damaged);
    free(lmdb);
    return true;
}

static uint64_t lmdb_records(struct store *store)
{
    struct lmdb *lmdb = store->state;
    return atomic_load(&lmdb->entries);
}

static bool walk_lmdb(struct store *store,
                      bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                                    struct span text),
                      void *context, char *message, size_t size)
{
    struct lmdb *lmdb = store->state;
    store_flush(store, WALK_FLUSH_MS);
    return lmdb_walk(&lmdb->env, visit, context, message, size);
}

const struct store_backend store_lmdb = {
    .scheme = "lmdb:",
    .has_table = true,
    .open = open_lmdb,
    .close = close_lmdb,
    .records = lmdb_records,
    .walk = walk_lmdb,
};
