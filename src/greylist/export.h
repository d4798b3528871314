/*
 * greylist/export - a record as an object of JSON: for `list --json`, and for files that import reads again.
 *
 * Note:   a key tells only the store that it came from which record it is; `store` says whether that is the same.
 */
#ifndef POSTERN_GREYLIST_EXPORT_H
#define POSTERN_GREYLIST_EXPORT_H

#include <jansson.h>

#include "greylist/keep.h"

#define EXPORT_STORE_BYTES (2 * GREYLIST_KEY_BYTES + 1)

/* A name for the store with this secret, of which nobody learns the secret. */
void export_store_name(const uint8_t secret[GREYLIST_SECRET_BYTES], char name[EXPORT_STORE_BYTES]);

/* The caller owns it; NULL where there is no memory. `store` is a name by export_store_name. */
json_t *export_record(const char *store, const struct store_key *key, enum greylist_kind kind,
                      const struct greylist_record *record, int64_t expires_s, struct span text);

#endif
