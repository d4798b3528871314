/*
 * The store sqlite: records in a table of SQLite, in a folder of its own (docs/store.md).
 *
 * Each thread has a connection of its own, so that who reads waits for nobody who writes (WAL). A transaction is synced
 * before it counts: a power cut costs what was put since, and nothing else.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/backend.h"
#include "store/lag.h"
#include "store/record.h"
#include "store/sqlite_file.h"

enum {
    SWEEP_MAX = 2000, /* records that are looked at each time, for those that have expired */
    WALK_AT_ONCE = 256,
    SHRINK_PAGES = 256, /* that are given back each time, where a quarter of all is free */
};

enum statement { GET, UPDATE, INSERT, DROP, SWEEP_TO, SWEEP_ANY, SWEEP, NOTE, ADD_KIND, KINDS, CHANGES, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    [GET] = "SELECT key, kind, expires, value, text, crc FROM records WHERE key = ?1",
    [UPDATE] = "UPDATE records SET kind = ?2, expires = ?3, value = ?4, text = ?5, crc = ?6 WHERE key = ?1",
    [INSERT] = "INSERT INTO records (key, kind, expires, value, text, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [DROP] = "DELETE FROM records WHERE key = ?1",
    [SWEEP_TO] = "SELECT key FROM records WHERE key >= ?1 ORDER BY key LIMIT 1 OFFSET ?2",
    [SWEEP_ANY] = "SELECT 1 FROM records WHERE key >= ?1 AND key <= ?2 AND expires <= ?3 LIMIT 1",
    [SWEEP] = "DELETE FROM records WHERE key >= ?1 AND key <= ?2 AND expires <= ?3",
    [NOTE] = "INSERT OR REPLACE INTO about VALUES ('seen', ?1), ('lag', ?2)",
    [ADD_KIND] = "INSERT OR IGNORE INTO kinds VALUES (?1)",
    [KINDS] = "SELECT kind FROM kinds",
    [CHANGES] = "PRAGMA data_version",
};

struct connection {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
};

struct sqlite {
    struct sqlite_file file;
    struct connection reader, writer;
    int64_t changes; /* as SQLite counts those of others */
    bool counted;
    uint32_t kinds; /* bits of those that are in its table */
    bool has_note;  /* of its time */
    struct lag_note note;
    struct store_key sweep_from;
};

/* ---- connections ---- */

static void disconnect(struct connection *connection)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(connection->statements[i]);
    sqlite3_close(connection->db);
    *connection = (struct connection){0};
}

/* Prepared when it is first needed; NULL after an error, which SQLite takes for misuse where it is used. */
static sqlite3_stmt *statement_of(struct connection *connection, enum statement which)
{
    sqlite3_stmt **statement = &connection->statements[which];
    if (!*statement)
        sqlite3_prepare_v3(connection->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    return *statement;
}

/* Run a statement that returns nothing, or whose first row is to be read: then it is reset by who reads it. */
static int run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        sqlite3_reset(statement);
    return code;
}

static void bind_key(sqlite3_stmt *statement, int at, const struct store_key *key)
{
    sqlite3_bind_blob(statement, at, key->octets, sizeof key->octets, SQLITE_STATIC);
}

/* ---- records ---- */

static uint32_t crc_of(const struct store_key *key, const struct store_record *record, struct span text)
{
    uint8_t stored[RECORD_BYTES_MAX];
    return record_check(key, (struct span){stored, record_encode(stored, key, record, text)});
}

/* A row of key, kind, expires, value, text, crc. False where it is none of ours, or damaged. */
static bool read_row(sqlite3_stmt *row, struct store_key *key, struct store_record *record, struct span *text)
{
    int len = sqlite3_column_bytes(row, 3), kind = sqlite3_column_int(row, 1);
    const void *value = sqlite3_column_blob(row, 3), *words = sqlite3_column_blob(row, 4);
    *text = (struct span){words, (size_t)sqlite3_column_bytes(row, 4)};
    if (sqlite3_column_bytes(row, 0) != STORE_KEY_BYTES || kind < 0 || kind > UINT8_MAX || len > STORE_VALUE_BYTES ||
        text->len > STORE_TEXT_BYTES_MAX)
        return false;
    memcpy(key->octets, sqlite3_column_blob(row, 0), STORE_KEY_BYTES);
    *record = (struct store_record){.kind = (uint8_t)kind, .len = (uint8_t)len};
    record->expires_s = sqlite3_column_type(row, 2) == SQLITE_NULL ? STORE_FOR_EVER : sqlite3_column_int64(row, 2);
    if (len)
        memcpy(record->value, value, (size_t)len);
    return (uint32_t)sqlite3_column_int64(row, 5) == crc_of(key, record, *text);
}

static void tell_damage(struct store *store, const char *what)
{
    const struct sqlite *sqlite = store->state;
    char fault[STORE_MESSAGE_BYTES_MAX];
    snprintf(fault, sizeof fault, "%.300s: %s; restart to have it checked", sqlite->file.path, what);
    store_set_fault(store, FAULT_RECORDS, fault);
}

static struct store_reply reply_to(struct store *store, const struct store_key *key)
{
    struct sqlite *sqlite = store->state;
    struct store_reply reply = {.status = STORE_FAILED};
    struct store_key found;
    struct span text;
    sqlite3_stmt *get = statement_of(&sqlite->reader, GET);
    bind_key(get, 1, key);
    int code = run(get);
    if (code == SQLITE_DONE)
        reply.status = STORE_ABSENT;
    else if (code == SQLITE_ROW && read_row(get, &found, &reply.record, &text))
        reply.status = STORE_GOOD;
    else if (code != SQLITE_BUSY)
        tell_damage(store, code == SQLITE_ROW ? "a record does not pass its check" : sqlite3_errmsg(sqlite->reader.db));
    sqlite3_reset(get);
    return reply;
}

static void sqlite_get(struct store *store, const struct store_key *keys, struct store_reply *replies, size_t count)
{
    struct sqlite *sqlite = store->state;
    bool begun = sqlite_execute(sqlite->reader.db, "BEGIN");
    for (size_t i = 0; i < count; i++)
        replies[i] = reply_to(store, &keys[i]);
    if (begun)
        sqlite_execute(sqlite->reader.db, "COMMIT");
}

/* ---- writing ---- */

static bool write_record(sqlite3_stmt *statement, const struct table_write *write, struct span text)
{
    const struct store_record *record = &write->record;
    bind_key(statement, 1, &write->key);
    sqlite3_bind_int(statement, 2, record->kind);
    if (record->expires_s < STORE_FOR_EVER)
        sqlite3_bind_int64(statement, 3, record->expires_s);
    else
        sqlite3_bind_null(statement, 3);
    sqlite3_bind_blob(statement, 4, record->value, record->len, SQLITE_STATIC);
    sqlite3_bind_text(statement, 5, (const char *)text.ptr, (int)text.len,
                      SQLITE_STATIC); /* NULL where there is none */
    sqlite3_bind_int(statement, 6, (int32_t)crc_of(&write->key, record, text));
    return run(statement) == SQLITE_DONE;
}

/* Before the first record of a kind. After an error its bit is not set. */
static bool add_kind(struct sqlite *sqlite, uint8_t kind)
{
    sqlite3_stmt *add = statement_of(&sqlite->writer, ADD_KIND);
    if (sqlite->kinds & store_kind_bit(kind))
        return true;
    sqlite3_bind_int(add, 1, kind);
    bool good = run(add) == SQLITE_DONE;
    sqlite->kinds |= good ? store_kind_bit(kind) : 0;
    return good;
}

/* Adds to *more how many records there are more than before. */
static bool write_one(struct sqlite *sqlite, const struct table_write *write, int64_t *more)
{
    struct connection *to = &sqlite->writer;
    struct span text = {write->text, write->text ? write->text_len : 0};
    if (write->absent) {
        bind_key(statement_of(to, DROP), 1, &write->key);
        if (run(statement_of(to, DROP)) != SQLITE_DONE)
            return false;
        *more -= sqlite3_changes(to->db);
        return true;
    }
    if (!add_kind(sqlite, write->record.kind) || !write_record(statement_of(to, UPDATE), write, text))
        return false;
    if (sqlite3_changes(to->db))
        return true;
    ++*more;
    return write_record(statement_of(to, INSERT), write, text);
}

static int by_key(const void *a, const void *b)
{
    const struct table_write *first = a, *second = b;
    int order = memcmp(&first->key, &second->key, sizeof first->key);
    return order ? order : (int32_t)(first->version - second->version) < 0 ? -1 : 1;
}

/* That passed since the last note of it. */
static int64_t unnoted_s(const struct store *store)
{
    const struct sqlite *sqlite = store->state;
    return store_now_s(store) - sqlite->note.seen_s;
}

/* Within a transaction. */
static bool note_time(struct store *store, int64_t after_s)
{
    struct sqlite *sqlite = store->state;
    sqlite3_stmt *note = statement_of(&sqlite->writer, NOTE);
    if (store->settings.is_guest ||
        (sqlite->has_note && sqlite->note.lag_s == store->lag_s && unnoted_s(store) < after_s))
        return true;
    sqlite->has_note = true; /* where it is not written another one follows by and by */
    sqlite->note = (struct lag_note){store_now_s(store), store->lag_s};
    sqlite3_bind_int64(note, 1, sqlite->note.seen_s);
    sqlite3_bind_int64(note, 2, sqlite->note.lag_s);
    return run(note) == SQLITE_DONE;
}

/* The end of a transaction of the writer's: all that it did, or after an error nothing. */
static bool settle(struct store *store, bool good, int64_t more, const char *what)
{
    struct sqlite *sqlite = store->state;
    char fault[STORE_MESSAGE_BYTES_MAX];
    good = good && sqlite_execute(sqlite->writer.db, "COMMIT");
    if (!good)
        sqlite_explain(&sqlite->file, sqlite->writer.db, what, fault, sizeof fault);
    if (!good && !sqlite3_get_autocommit(sqlite->writer.db))
        sqlite_execute(sqlite->writer.db, "ROLLBACK");
    atomic_fetch_add(&store->records, good ? (uint64_t)more : 0);
    store_set_fault(store, FAULT_WRITING, good ? NULL : fault);
    return good;
}

static bool sqlite_put(struct store *store, struct table_write *writes, size_t count)
{
    struct sqlite *sqlite = store->state;
    int64_t more = 0;
    uint32_t kinds = sqlite->kinds;
    qsort(writes, count, sizeof *writes, by_key); /* then a page is looked for once */
    bool good = sqlite_execute(sqlite->writer.db, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < count && good; i++)
        good = write_one(sqlite, &writes[i], &more);
    good = settle(store, good && note_time(store, LAG_NOTE_S), more, "cannot write");
    sqlite->kinds = good ? sqlite->kinds : kinds;
    return good;
}

/* ---- upkeep ---- */

/* For one of both statements about what has expired; its first step. */
static int run_sweep(struct store *store, enum statement which, const struct store_key *to)
{
    struct sqlite *sqlite = store->state;
    sqlite3_stmt *statement = statement_of(&sqlite->writer, which);
    bind_key(statement, 1, &sqlite->sweep_from);
    bind_key(statement, 2, to);
    sqlite3_bind_int64(statement, 3, store_now_s(store));
    int code = run(statement);
    sqlite3_reset(statement);
    return code;
}

/* Some records, from where the last look ended. */
static void sweep(struct store *store)
{
    struct sqlite *sqlite = store->state;
    struct store_key to;
    sqlite3_stmt *until = statement_of(&sqlite->writer, SWEEP_TO);
    memset(&to, 0xff, sizeof to);
    bind_key(until, 1, &sqlite->sweep_from);
    sqlite3_bind_int(until, 2, SWEEP_MAX);
    bool more = run(until) == SQLITE_ROW && sqlite3_column_bytes(until, 0) == sizeof to;
    if (more)
        memcpy(&to, sqlite3_column_blob(until, 0), sizeof to);
    sqlite3_reset(until);
    if (run_sweep(store, SWEEP_ANY, &to) == SQLITE_ROW) {
        bool good = sqlite_execute(sqlite->writer.db, "BEGIN IMMEDIATE") && run_sweep(store, SWEEP, &to) == SQLITE_DONE;
        settle(store, good, good ? -sqlite3_changes(sqlite->writer.db) : 0, "cannot remove what has expired");
    }
    sqlite->sweep_from = more ? to : (struct store_key){0};
}

static void shrink(struct sqlite *sqlite)
{
    int64_t pages, unused;
    char sql[64];
    if (!sqlite_number(sqlite->writer.db, "PRAGMA page_count", &pages) ||
        !sqlite_number(sqlite->writer.db, "PRAGMA freelist_count", &unused) || unused < SHRINK_PAGES ||
        unused < pages / 4)
        return;
    snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%d)", SHRINK_PAGES);
    sqlite_execute(sqlite->writer.db, sql);
}

static void learn_kinds(struct store *store)
{
    struct sqlite *sqlite = store->state;
    sqlite3_stmt *kinds = statement_of(&sqlite->writer, KINDS);
    int code;
    while ((code = run(kinds)) == SQLITE_ROW)
        store_note_kinds(store, store_kind_bit((uint8_t)sqlite3_column_int(kinds, 0)));
    if (code != SQLITE_DONE)
        store_note_kinds(store, UINT32_MAX);
}

static void count_records(struct store *store)
{
    struct sqlite *sqlite = store->state;
    int64_t records;
    if (sqlite_number(sqlite->writer.db, "SELECT count(*) FROM records", &records))
        atomic_store(&store->records, (uint64_t)records);
    sqlite->counted = true;
}

/* Whoever else wrote may have changed what the table holds. */
static void look_for_others(struct store *store)
{
    struct sqlite *sqlite = store->state;
    sqlite3_stmt *look = statement_of(&sqlite->writer, CHANGES);
    if (run(look) != SQLITE_ROW)
        return;
    int64_t changes = sqlite3_column_int64(look, 0);
    sqlite3_reset(look);
    if (changes != sqlite->changes) {
        learn_kinds(store); /* before what is known without them is forgotten */
        table_outdate(&store->table);
        table_outdate(&store->table);
    }
    if (changes != sqlite->changes || !sqlite->counted)
        count_records(store);
    sqlite->changes = changes;
}

/* Somebody may put a backup in its place, or remove the folder: what is written then is gone with this process. */
static void look_for_file(struct store *store)
{
    struct sqlite *sqlite = store->state;
    char fault[STORE_MESSAGE_BYTES_MAX];
    int moved = 0;
    snprintf(fault, sizeof fault,
             "%.300s: it was moved away or replaced, what is put now is not kept there; restart postern",
             sqlite->file.path);
    if (sqlite3_file_control(sqlite->writer.db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK)
        store_set_fault(store, FAULT_PLACE, moved ? fault : NULL);
}

static void sqlite_tend(struct store *store)
{
    struct sqlite *sqlite = store->state;
    look_for_others(store);
    look_for_file(store);
    if (store->settings.is_guest)
        return;
    sweep(store);
    shrink(sqlite);
    if (sqlite->has_note && unnoted_s(store) >= LAG_NOTE_IDLE_S)
        settle(store, sqlite_execute(sqlite->writer.db, "BEGIN IMMEDIATE") && note_time(store, LAG_NOTE_IDLE_S), 0,
               "cannot note the time");
}

/* ---- opening ---- */

static bool open_sqlite(struct store *store, const char *folder, char *message, size_t size)
{
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    bool guest = store->settings.is_guest;
    store->state = sqlite;
    if (!sqlite || !*folder) {
        snprintf(message, size, sqlite ? "sqlite: names no folder; write sqlite:FOLDER" : "sqlite: no memory for it");
        return false;
    }
    sqlite->file.bytes_max = store->settings.file_bytes_max;
    sqlite3 **db = &sqlite->writer.db;
    if (!sqlite_file_open(&sqlite->file, folder, !guest, db, message, size) ||
        !sqlite_connect(&sqlite->file, &sqlite->reader.db, message, size))
        return false;
    memcpy(store->secret, sqlite->file.secret, sizeof store->secret);
    sqlite->has_note = sqlite_number(*db, "SELECT value FROM about WHERE name = 'seen'", &sqlite->note.seen_s) &&
                       sqlite_number(*db, "SELECT value FROM about WHERE name = 'lag'", &sqlite->note.lag_s);
    if (!guest)
        store->lag_s = lag_of(sqlite->has_note ? &sqlite->note : NULL, store_now_s(store));
    else if (sqlite->has_note)
        store->lag_s = sqlite->note.lag_s;
    learn_kinds(store);
    if (!guest)
        look_for_others(store);
    return true;
}

/* The last one who leaves takes what is in the log into the file, and removes the log. */
static void close_sqlite(struct store *store)
{
    struct sqlite *sqlite = store->state;
    disconnect(&sqlite->reader);
    disconnect(&sqlite->writer);
    free(sqlite);
}

/* ---- walking ---- */

struct walked {
    struct store_key key;
    struct store_record record;
    uint8_t text[STORE_TEXT_BYTES_MAX];
    size_t text_len;
};

struct walk {
    struct connection connection;
    sqlite3_stmt *some;
    struct store_key last;
    bool begun, ended;
    size_t count;
    struct walked records[WALK_AT_ONCE];
};

/* Those behind the last one. False after an error. */
static bool read_some(struct walk *walk, uint64_t *unread)
{
    int code, rows = 0;
    struct store_key from = walk->last;
    sqlite3_bind_blob(walk->some, 1, from.octets, walk->begun ? sizeof from : 0, SQLITE_STATIC);
    walk->begun = true;
    walk->count = 0;
    for (; (code = sqlite3_step(walk->some)) == SQLITE_ROW; rows++) {
        struct walked *walked = &walk->records[walk->count];
        struct span text;
        int len = sqlite3_column_bytes(walk->some, 0);
        memcpy(walk->last.octets, sqlite3_column_blob(walk->some, 0),
               len < STORE_KEY_BYTES ? (size_t)len : STORE_KEY_BYTES);
        if (!read_row(walk->some, &walked->key, &walked->record, &text)) {
            ++*unread;
            continue;
        }
        if (text.len)
            memcpy(walked->text, text.ptr, text.len);
        walked->text_len = text.len;
        walk->count++;
    }
    sqlite3_reset(walk->some);
    walk->ended = rows < WALK_AT_ONCE || memcmp(&walk->last, &from, sizeof from) <= 0;
    return code == SQLITE_DONE;
}

/* `visit` may take its time, and while a statement lasts the log is not used anew: so each is a short one. */
static bool walk_sqlite(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message,
                        size_t size)
{
    static const char sql[] =
        "SELECT key, kind, expires, value, text, crc FROM records WHERE key > ?1 ORDER BY key LIMIT ?2";
    const struct sqlite *sqlite = store->state;
    struct walk *walk = calloc(1, sizeof *walk);
    if (!walk) {
        snprintf(message, size, "sqlite: no memory to list it");
        return false;
    }
    sqlite3 **db = &walk->connection.db;
    bool good = sqlite_connect(&sqlite->file, &walk->connection.db, message, size), more = good;
    if (good)
        good = sqlite3_prepare_v2(*db, sql, -1, &walk->some, NULL) == SQLITE_OK &&
               sqlite3_bind_int(walk->some, 2, WALK_AT_ONCE) == SQLITE_OK;
    while (good && more && !walk->ended) {
        good = read_some(walk, unread);
        for (size_t i = 0; i < walk->count && good && more; i++)
            more = visit(context, &walk->records[i].key, &walk->records[i].record,
                         (struct span){walk->records[i].text, walk->records[i].text_len});
    }
    if (!good && !message[0])
        sqlite_explain(&sqlite->file, *db, "cannot be read", message, size);
    sqlite3_finalize(walk->some);
    disconnect(&walk->connection);
    free(walk);
    return good;
}

const struct store_backend store_sqlite = {
    .scheme = "sqlite:",
    .tick_ms = 400,
    .open = open_sqlite,
    .close = close_sqlite,
    .get_batch = sqlite_get,
    .put_batch = sqlite_put,
    .tend = sqlite_tend,
    .walk = walk_sqlite,
};
