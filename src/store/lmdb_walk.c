#include "store/lmdb_walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/record.h"

enum { WALK_AT_ONCE = 256 };

struct walked {
    struct store_key key;
    struct store_record record;
    uint8_t text[STORE_TEXT_BYTES_MAX];
    size_t text_len;
};

struct walk {
    struct store_key from; /* where to go on */
    bool ended;
    bool damaged; /* a record is */
    size_t count;
    struct walked records[WALK_AT_ONCE];
};

static bool add_walked(struct walk *walk, MDB_val key, MDB_val value)
{
    struct walked *walked = &walk->records[walk->count];
    struct span text;
    if (key.mv_size != sizeof walked->key)
        return false;
    memcpy(&walked->key, key.mv_data, sizeof walked->key);
    if (record_decode(&walked->key, (struct span){value.mv_data, value.mv_size}, &walked->record, &text) != RECORD_GOOD)
        return false;
    if (text.len)
        memcpy(walked->text, text.ptr, text.len);
    walked->text_len = text.len;
    walk->count++;
    return true;
}

static int read_on(struct walk *walk, MDB_cursor *cursor)
{
    struct store_key from = walk->from;
    MDB_val key = lmdb_key(&from), value;
    walk->count = 0;
    int error = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (!error && !walk->damaged && walk->count < WALK_AT_ONCE) {
        walk->damaged = !add_walked(walk, key, value);
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    walk->ended = error == MDB_NOTFOUND || walk->damaged;
    if (!error && !walk->ended)
        memcpy(&walk->from, key.mv_data, key.mv_size < sizeof walk->from ? key.mv_size : sizeof walk->from);
    return error == MDB_NOTFOUND ? 0 : error;
}

/* `visit` may take its time, and while a transaction lasts no page of the file is used again: so each is a short one.
 */
static int read_some(struct lmdb_env *env, struct walk *walk)
{
    MDB_txn *transaction;
    MDB_cursor *cursor;
    int error = lmdb_begin(env, MDB_RDONLY, &transaction);
    if (error)
        return error;
    error = mdb_cursor_open(transaction, env->about.records, &cursor);
    if (!error) {
        error = read_on(walk, cursor);
        mdb_cursor_close(cursor);
    }
    lmdb_give_up(env, transaction);
    return error;
}

bool lmdb_walk(struct lmdb_env *env,
               bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                             struct span text),
               void *context, char *message, size_t size)
{
    struct walk *walk = calloc(1, sizeof *walk);
    int error = walk ? 0 : ENOMEM;
    bool more = walk != NULL;
    while (more && (error = read_some(env, walk)) == 0) {
        for (size_t i = 0; i < walk->count && more; i++)
            more = visit(context, &walk->records[i].key, &walk->records[i].record,
                         (struct span){walk->records[i].text, walk->records[i].text_len});
        more = more && !walk->ended;
    }
    bool damaged = walk && walk->damaged;
    free(walk);
    if (error)
        lmdb_explain(env, error, "cannot be read", message, size);
    else if (damaged)
        snprintf(message, size, "%.300s: a record does not pass its check; restart to have it checked", env->home.data);
    return !error && !damaged;
}
