/*
 * store/lmdb_env - a file of LMDB that is open, in its folder, with its databases: its transactions, and what is said
 * of what goes wrong.
 *
 * Thread: any, but for opening and closing. Each transaction holds the map where it is.
 * Errors: LMDB's numbers, or false with a message of at most `size` octets.
 */
#ifndef POSTERN_STORE_LMDB_ENV_H
#define POSTERN_STORE_LMDB_ENV_H

#include <lmdb.h>
#include <pthread.h>

#include "store/lmdb_about.h"
#include "store/lmdb_home.h"
#include "store/store.h"

struct lmdb_env {
    struct lmdb_home home;
    struct lmdb_about about;
    MDB_env *env;
    pthread_rwlock_t map_lock; /* held by each transaction; the map may be moved by whoever has it alone */
    uint64_t map_bytes;        /* that the file may have */
};

/* Make or open the store in a folder. On zeroed memory; lmdb_env_close also after a failure. */
bool lmdb_env_open(struct lmdb_env *env, const char *folder, uint64_t map_bytes, char *message, size_t size);

/* `clean`: all that was written has been synced. */
void lmdb_env_close(struct lmdb_env *env, bool clean);

/* Whether the file that is open is still the one in the folder. */
bool lmdb_env_in_place(const struct lmdb_env *env);

/* Begin a transaction: `flags` 0, or MDB_RDONLY. After an error there is none. */
int lmdb_begin(struct lmdb_env *env, unsigned flags, MDB_txn **transaction);

/* One of them ends it, with all that it did or nothing. */
int lmdb_commit(struct lmdb_env *env, MDB_txn *transaction);
void lmdb_give_up(struct lmdb_env *env, MDB_txn *transaction);

/* A key as LMDB takes it; the octets stay the caller's. */
MDB_val lmdb_key(const struct store_key *key);

/* What `error` means, behind `what`, which could not be done. */
void lmdb_explain(const struct lmdb_env *env, int error, const char *what, char *message, size_t size);

#endif
