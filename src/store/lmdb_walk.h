/*
 * store/lmdb_walk - every record of a file of LMDB, one after the other, in short transactions.
 *
 * Thread: any; others may read and write meanwhile.
 */
#ifndef POSTERN_STORE_LMDB_WALK_H
#define POSTERN_STORE_LMDB_WALK_H

#include "store/lmdb_env.h"

/* As store_walk. False with a message where not all could be read, or a record is damaged. */
bool lmdb_walk(struct lmdb_env *env,
               bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                             struct span text),
               void *context, char *message, size_t size);

#endif
