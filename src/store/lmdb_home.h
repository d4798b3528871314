/*
 * store/lmdb_home - the folder of an LMDB store: made where missing, shared by processes, checked by the first of them.
 *
 * Out:    a folder whose data file LMDB may open.
 * Note:   `in-use` in it is locked by each process that has the store open. Who comes when nobody has checks the file,
 *         unless `in-use` says that it is as it was when the last one left.
 */
#ifndef POSTERN_STORE_LMDB_HOME_H
#define POSTERN_STORE_LMDB_HOME_H

#include <stdbool.h>
#include <stddef.h>

struct lmdb_home {
    char data[4096]; /* path of the data file */
    int in_use;      /* file descriptor; -1 while closed */
};

/* False with a message. The message of a success is empty, or says what was mended. */
bool lmdb_home_open(struct lmdb_home *home, const char *folder, const char *records, char *message, size_t size);

/* True where no other process has it open; then none can open it before lmdb_home_share. */
bool lmdb_home_alone(struct lmdb_home *home);
void lmdb_home_share(struct lmdb_home *home);

/* Whether the data file that was opened is still the one in the folder. */
bool lmdb_home_has(const struct lmdb_home *home, int data);

/* `clean`: all that was written has been synced by the one who leaves, to the file that is there. */
void lmdb_home_close(struct lmdb_home *home, bool clean);

#endif
