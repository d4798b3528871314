/*
 * tests/lib/sqlite_files - what tests of files of sqlite: share: where they are, records that tell whether they are
 * whole, and what becomes of a file in a process that may not crash over it.
 *
 * Checks: by failing the running cmocka test.
 */
#ifndef POSTERN_TESTS_SQLITE_FILES_H
#define POSTERN_TESTS_SQLITE_FILES_H

#include "stores.h"

/* A child that does not outlive the test. */
pid_t fork_child(void);

/* As a gateway has them, but for a sync_ms of 100, and 256 MiB at most. */
struct store_settings sqlite_settings(void);

/* A folder that no test has used; not made yet. */
const char *sqlite_fresh_uri(char uri[128]);
void sqlite_make_folder(const char *uri);

/* The path of a file in it. */
void sqlite_path(const char *uri, const char *name, char path[256]);

/* Until all puts are on the disk. */
void wait_written(struct store *store);

/* ---- records that hold their number and version, and octets that follow from them ---- */

struct store_record whole_record(uint32_t number, uint32_t version);
bool is_whole(const struct store_record *record);
uint32_t version_of(const struct store_record *record);

/* Under the key of its number. */
void put_whole(struct store_client *client, uint32_t number, uint32_t version);

/* A file with some history: filled with such records, and changed all over a few times. */
void sqlite_fill(const char *uri, uint32_t records);

/* ---- files that may be damaged ---- */

enum sqlite_outcome { SQLITE_OPENED, SQLITE_REFUSED, SQLITE_OUTCOMES };

/* In a process of its own, as it must not crash: open, look at all that can be read, which must be whole, and write
   much. */
enum sqlite_outcome sqlite_try(const char *uri);

#endif
