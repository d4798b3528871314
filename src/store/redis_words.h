/*
 * store/redis_words - what is said with a redis server: names of records, and its words in messages of ours.
 *
 * Out:    texts; each says in what room.
 */
#ifndef POSTERN_STORE_REDIS_WORDS_H
#define POSTERN_STORE_REDIS_WORDS_H

#include <hiredis/hiredis.h>

#include "store/store.h"

#define REDIS_PREFIX       "postern:r:" /* of records (docs/store.md) */
#define REDIS_NAME_BYTES   (sizeof REDIS_PREFIX - 1 + 2 * STORE_KEY_BYTES)
#define REDIS_QUOTED_BYTES 81

/* What the record with a key is called there. Without an end. */
void redis_name_of(const struct store_key *key, char name[REDIS_NAME_BYTES]);

/* A stranger's words, fit for a message, as many as there is room for; none where `words` is NULL. */
void redis_quote(const char *words, char out[REDIS_QUOTED_BYTES]);

/* The same, up to where they repeat the secret: servers that do not know AUTH name its arguments. */
void redis_quote_without(const char *words, const char *secret, char out[REDIS_QUOTED_BYTES]);

/* What is wrong with an answer; NULL: there was none. */
const char *redis_error_words(const redisReply *reply);

#endif
