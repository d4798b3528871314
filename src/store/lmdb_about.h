/*
 * store/lmdb_about - the database `about` of an LMDB store: its format, its secret, and which kinds of records there
 * may be.
 *
 * In:     transactions of the caller, who opens and ends them.
 * Errors: LMDB's numbers, or a message where the file is not for us.
 * Note:   the bits of kinds are set by the transaction that writes a record, and never cleared: they may say too much,
 *         never too little. A file of format 1 has none, and all kinds may be in it; about_upgrade counts them.
 */
#ifndef POSTERN_STORE_LMDB_ABOUT_H
#define POSTERN_STORE_LMDB_ABOUT_H

#include <lmdb.h>

#include "store/store.h"

extern const char lmdb_records_name[];

struct lmdb_about {
    MDB_dbi about, records;
    uint32_t format;
    uint8_t secret[STORE_SECRET_BYTES];
};

/* The databases of a new file, which is empty, with this secret. */
int about_make(struct lmdb_about *about, MDB_txn *transaction);

/* Of a file that has records; MDB_NOTFOUND where it has not even a database `about`. */
int about_open(struct lmdb_about *about, MDB_txn *transaction);

/* What is in it; `data` names the file. False with a message where it is not for us. */
bool about_read(struct lmdb_about *about, MDB_txn *transaction, const char *data, char *message, size_t size);

/* Bits as of store_kinds. */
uint32_t about_kinds(const struct lmdb_about *about, MDB_txn *transaction);
int about_add_kinds(const struct lmdb_about *about, MDB_txn *transaction, uint32_t kinds);

bool about_is_current(const struct lmdb_about *about);

/* Make a file of format 1 one of today, while nobody else has it open: who knows format 1 alone would write records
   without setting bits. An error leaves it as it is. */
int about_upgrade(struct lmdb_about *about, MDB_txn *transaction);

#endif
