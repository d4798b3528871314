/*
 * store/sqlite_file - the file of the store sqlite: its folder, connections to it, whose it is and whether it is whole,
 * and what is said of what goes wrong with it.
 *
 * Owner:  the caller closes a connection with sqlite3_close, also after a failure.
 * Thread: any, each with a connection of its own.
 * Errors: false with a message of one line, which says what to do.
 */
#ifndef POSTERN_STORE_SQLITE_FILE_H
#define POSTERN_STORE_SQLITE_FILE_H

#include <sqlite3.h>

#include "store/store.h"

struct sqlite_file {
    char path[512];
    uint64_t bytes_max;
    uint8_t secret[STORE_SECRET_BYTES];
};

/* Make or open the file in a folder, with a first connection; `checked`: all of it is looked at. `bytes_max` is set. */
bool sqlite_file_open(struct sqlite_file *file, const char *folder, bool checked, sqlite3 **db, char *message,
                      size_t size);

bool sqlite_connect(const struct sqlite_file *file, sqlite3 **db, char *message, size_t size);

bool sqlite_execute(sqlite3 *db, const char *sql);

/* The number in the first row, 0 where there is none: then it is false. */
bool sqlite_number(sqlite3 *db, const char *sql, int64_t *number);

/* What went wrong last on a connection, behind `what`, which could not be done. Returns false. */
bool sqlite_explain(const struct sqlite_file *file, sqlite3 *db, const char *what, char *message, size_t size);

#endif
