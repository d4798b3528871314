/*
 * store/record - the stored form of a record, on disk and with a server (docs/store.md).
 *
 * In:     octets of a disk or a network, not to be trusted.
 * Out:    a record that is what was put under this key, or a reason why there is none.
 * Note:   the check covers the key: a record under another's key does not pass. Values are mostly counters with zeros
 * in front, so zeros are left out where that makes a record shorter.
 */
#ifndef POSTERN_STORE_RECORD_H
#define POSTERN_STORE_RECORD_H

#include "store/store.h"

#define RECORD_HEADER    11 /* at most */
#define RECORD_BYTES_MAX (RECORD_HEADER + STORE_VALUE_BYTES + STORE_TEXT_BYTES_MAX)

enum record_status {
    RECORD_GOOD,
    RECORD_DAMAGED,
    RECORD_NEWER, /* of a format that a later version writes */
};

/* Returns how many octets; a text beyond STORE_TEXT_BYTES_MAX is cut. Times before 1970 become 1970, after 2106
 * STORE_FOR_EVER. */
size_t record_encode(uint8_t out[RECORD_BYTES_MAX], const struct store_key *key, const struct store_record *record,
                     struct span text);

/* `text` is a part of `stored`. Both are set only where GOOD. */
enum record_status record_decode(const struct store_key *key, struct span stored, struct store_record *record,
                                 struct span *text);

/* A time as it is stored. */
uint32_t record_seconds(int64_t seconds);

/* The check of the key and of all of a stored record but the check itself (octets 1 to 4); at least five octets. */
uint32_t record_check(const struct store_key *key, struct span stored);

#endif
