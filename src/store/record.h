/*
 * store/record - the stored form of a record, on disk and with a server (docs/store.md).
 *
 * In:     octets of a disk or a network, not to be trusted.
 * Out:    a record that is what was put under this key, or a reason why there is none.
 * Note:   the check covers the key: a record under another's key does not pass.
 */
#ifndef POSTERN_STORE_RECORD_H
#define POSTERN_STORE_RECORD_H

#include "store/store.h"

#define RECORD_FORMAT    1
#define RECORD_HEADER    10
#define RECORD_BYTES_MAX (RECORD_HEADER + STORE_VALUE_BYTES + STORE_TEXT_BYTES_MAX)

enum record_status {
    RECORD_GOOD,
    RECORD_DAMAGED,
    RECORD_NEWER, /* of a format that a later version writes */
};

/* Returns how many octets; a text beyond STORE_TEXT_BYTES_MAX is cut. Times before 1970 and after 2106 become those. */
size_t record_encode(uint8_t out[RECORD_BYTES_MAX], const struct store_key *key, const struct store_record *record,
                     struct span text);

/* `text` is a part of `stored`. Both are set only where GOOD. */
enum record_status record_decode(const struct store_key *key, struct span stored, struct store_record *record,
                                 struct span *text);

#endif
