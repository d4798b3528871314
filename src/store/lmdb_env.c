#include "store/lmdb_env.h"

#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>

MDB_val lmdb_key(const struct store_key *key)
{
    union {
        const void *in;
        void *out;
    } pointer = {key->octets}; /* LMDB does not change what it is given */
    return (MDB_val){sizeof key->octets, pointer.out};
}

/* ---- transactions ---- */

/* Another process may have made the file larger than the map. */
int lmdb_begin(struct lmdb_env *env, unsigned flags, MDB_txn **transaction)
{
    pthread_rwlock_rdlock(&env->map_lock);
    int error = mdb_txn_begin(env->env, NULL, flags, transaction);
    if (error == MDB_MAP_RESIZED) {
        pthread_rwlock_unlock(&env->map_lock);
        pthread_rwlock_wrlock(&env->map_lock);
        mdb_env_set_mapsize(env->env, 0);
        pthread_rwlock_unlock(&env->map_lock);
        pthread_rwlock_rdlock(&env->map_lock);
        error = mdb_txn_begin(env->env, NULL, flags, transaction);
    }
    if (error)
        pthread_rwlock_unlock(&env->map_lock);
    return error;
}

int lmdb_commit(struct lmdb_env *env, MDB_txn *transaction)
{
    int error = mdb_txn_commit(transaction);
    pthread_rwlock_unlock(&env->map_lock);
    return error;
}

void lmdb_give_up(struct lmdb_env *env, MDB_txn *transaction)
{
    mdb_txn_abort(transaction);
    pthread_rwlock_unlock(&env->map_lock);
}

/* LMDB calls it EIO where only a part found room. */
static bool is_disk_full(const struct lmdb_env *env)
{
    struct statvfs about;
    return statvfs(env->home.data, &about) == 0 && about.f_bavail == 0;
}

void lmdb_explain(const struct lmdb_env *env, int error, const char *what, char *message, size_t size)
{
    if (error == EIO && is_disk_full(env))
        error = ENOSPC;
    if (error == MDB_MAP_FULL)
        snprintf(message, size, "%.300s: %s: it has reached the size that is allowed (%llu MiB)", env->home.data, what,
                 (unsigned long long)(env->map_bytes >> 20));
    else if (error == ENOSPC || error == EDQUOT || error == EFBIG)
        snprintf(message, size, "%.300s: %s: %s; free some space, what waits is written then", env->home.data, what,
                 mdb_strerror(error));
    else
        snprintf(message, size, "%.300s: %s: %s", env->home.data, what, mdb_strerror(error));
}

/* ---- opening ---- */

static bool is_empty(MDB_txn *transaction)
{
    MDB_dbi main;
    MDB_stat about;
    return mdb_dbi_open(transaction, NULL, 0, &main) == 0 && mdb_stat(transaction, main, &about) == 0 &&
           about.ms_entries == 0;
}

/* Without a lock where the databases are there; else alone, as another process may be making them too. */
static bool open_databases(struct lmdb_env *env, unsigned flags, char *message, size_t size)
{
    MDB_txn *transaction;
    int error = lmdb_begin(env, flags, &transaction);
    if (error) {
        lmdb_explain(env, error, "cannot be read", message, size);
        return false;
    }
    error = about_open(&env->about, transaction);
    bool empty = error == MDB_NOTFOUND && is_empty(transaction);
    if (empty && flags) {
        lmdb_give_up(env, transaction);
        return open_databases(env, 0, message, size);
    }
    if (empty)
        error = about_make(&env->about, transaction);
    bool good = error == 0 && (empty || about_read(&env->about, transaction, env->home.data, message, size));
    if (error == MDB_NOTFOUND || error == MDB_INCOMPATIBLE)
        snprintf(message, size, "%.300s: not postern's; name another folder, or move this file away", env->home.data);
    else if (error)
        lmdb_explain(env, error, "cannot be made", message, size);
    if (!good) {
        lmdb_give_up(env, transaction);
        return false;
    }
    error = lmdb_commit(env, transaction);
    if (error)
        lmdb_explain(env, error, "cannot be made", message, size);
    return error == 0;
}

static void upgrade(struct lmdb_env *env)
{
    MDB_txn *transaction;
    if (about_is_current(&env->about) || !lmdb_home_alone(&env->home))
        return;
    if (lmdb_begin(env, 0, &transaction) == 0) {
        if (about_upgrade(&env->about, transaction))
            lmdb_give_up(env, transaction);
        else
            lmdb_commit(env, transaction);
    }
    lmdb_home_share(&env->home);
}

static bool open_env(struct lmdb_env *env, const char *folder, char *message, size_t size)
{
    int dead;
    int error = mdb_env_create(&env->env);
    if (error) {
        lmdb_explain(env, error, "cannot be opened", message, size);
        return false;
    }
    mdb_env_set_maxdbs(env->env, 4);
    mdb_env_set_mapsize(env->env, (size_t)env->map_bytes);
    /* The page that says which transaction is the last one is synced with the next, and at the end of several: until
       then a power cut may take the last one back. Lookups are at random, reading ahead would only fill the memory.
       Readers end with their transactions, not with their threads. */
    error = mdb_env_open(env->env, folder, MDB_NOTLS | MDB_NORDAHEAD | MDB_NOMETASYNC, 0600);
    if (error == MDB_VERSION_MISMATCH || error == MDB_INVALID) {
        snprintf(message, size, "%.300s: of another version of LMDB; move the files in the folder away to begin anew",
                 env->home.data);
        return false;
    }
    if (error) {
        lmdb_explain(env, error, "cannot be opened", message, size);
        return false;
    }
    mdb_reader_check(env->env, &dead);
    return true;
}

bool lmdb_env_open(struct lmdb_env *env, const char *folder, uint64_t map_bytes, char *message, size_t size)
{
    env->map_bytes = map_bytes;
    pthread_rwlock_init(&env->map_lock, NULL);
    if (!lmdb_home_open(&env->home, folder, lmdb_records_name, message, size) ||
        !open_env(env, folder, message, size) || !open_databases(env, MDB_RDONLY, message, size))
        return false;
    upgrade(env);
    return true;
}

bool lmdb_env_in_place(const struct lmdb_env *env)
{
    int data;
    return mdb_env_get_fd(env->env, &data) == 0 && lmdb_home_has(&env->home, data);
}

void lmdb_env_close(struct lmdb_env *env, bool clean)
{
    clean = clean && lmdb_env_in_place(env);
    if (env->env)
        mdb_env_close(env->env);
    lmdb_home_close(&env->home, clean);
    pthread_rwlock_destroy(&env->map_lock);
}
