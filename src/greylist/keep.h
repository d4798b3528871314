/*
 * greylist/keep - how records of the greylist lie in a store: their keys, their values, and what they are about in
 * clear.
 *
 * Owner:  a keeper borrows what it points to; texts lie in the caller's room.
 * Thread: that of the store's client.
 * Limits: STORE_TEXT_BYTES_MAX of a text; what is longer is cut.
 */
#ifndef POSTERN_GREYLIST_KEEP_H
#define POSTERN_GREYLIST_KEEP_H

#include "policy/greylist.h"
#include "store/store.h"

#define KEEP_NETWORK_BYTES 64

struct keeper {
    const struct greylist_settings *settings; /* prefixes make keys, lifetimes expiries */
    const uint8_t *secret;                    /* the store's: store_secret */
    int64_t lag_s;                            /* the store's: store_lag_s */
    struct store_client *client;              /* for keep_put alone */
    bool clear_text;                          /* what records are about is kept beside them; of rulings it always is */
};

/* The key of the record that is about this attempt. */
struct store_key keep_key(const struct keeper *keeper, enum greylist_kind kind, const struct greylist_attempt *attempt);

/* Those of some kinds, bits 1u << enum greylist_kind; the others are not set. `parts`: as greylist_keys has it. */
void keep_keys(const struct keeper *keeper, uint32_t kinds, const struct greylist_attempt *attempt,
               struct greylist_parts *parts, struct store_key keys[GREYLIST_KINDS]);

/* A record as a store has it. */
struct store_record keep_record(const struct keeper *keeper, enum greylist_kind kind,
                                const struct greylist_record *record);

/* False where it is none that keep_record makes: of another version, another program, or damaged. */
bool keep_read_record(const struct keeper *keeper, const struct store_record *kept, struct greylist_record *record);

/* Put a record, with its text where that is kept. `key`: keep_key of this kind and attempt. Cannot fail here, as
 * store_put. */
void keep_put(const struct keeper *keeper, enum greylist_kind kind, const struct store_key *key,
              const struct greylist_attempt *attempt, const struct greylist_record *record);

/* ---- what a record is about, in clear ---- */

/* The network of a client in CIDR; returns `text`. */
const char *keep_network(uint8_t ip_version, const uint8_t *client, uint8_t prefix, char text[KEEP_NETWORK_BYTES]);

/*
 * The parts of an attempt that a kind is about, each behind a TAB but the first; the null sender is no part. Of a
 * ruling, its comment behind KEEP_COMMENT.
 */
#define KEEP_COMMENT           "\t# "
#define KEEP_COMMENT_BYTES_MAX 200
struct span keep_text(const struct greylist_settings *settings, enum greylist_kind kind,
                      const struct greylist_attempt *attempt, char text[STORE_TEXT_BYTES_MAX]);

/* Such a text taken apart: spans into it. Empty where a kind has no such part, or the text is none. */
struct keep_about {
    struct span network, helo, sender, recipient;
    struct span comment; /* of a ruling */
};

struct keep_about keep_read_text(enum greylist_kind kind, struct span text);

/* An attempt that such a record is about; false where the parts are not those of the kind, or its network is not as
   wide as the settings say. */
bool keep_read_attempt(const struct greylist_settings *settings, enum greylist_kind kind,
                       const struct keep_about *about, struct greylist_attempt *attempt);

/* ADDRESS or ADDRESS/BITS; without bits those of an address. An IPv4 address mapped into IPv6 is itself. False where it
   is neither. */
bool keep_read_network(struct span text, uint8_t *ip_version, uint8_t client[16], uint8_t *prefix);

#endif
