/*
 * policy/refused - what is remembered of a mail that was cut for what it contains, so that its next attempt is refused
 * at RCPT.
 *
 * A rule that refuses a file name, a line or a message holds when the server has taken sender and recipients. Then the
 * connection is cut, and the sender's server comes again. It is told so only where the same mail is recognised before
 * it is sent: by sender, recipient and size as MAIL announces it, or, where that announces none, by sender, recipient
 * and network of the client. The latter is said of all mail between the two, so it holds for one attempt alone.
 *
 * In:     sender and recipient as compared (policy/address); of the sender what is new in each message is left out
 *         (greylist_fold).
 * Out:    a key and a value for a store; whoever asks keeps them (greylist/service).
 * Thread: no state.
 * Errors: a value that does not decode is as if it were absent.
 */
#ifndef POSTERN_POLICY_REFUSED_H
#define POSTERN_POLICY_REFUSED_H

#include "policy/greylist.h"

#define REFUSED_KIND 29 /* struct store_record's `kind`, none of enum greylist_kind */

struct refused {
    int64_t at_ms;          /* when it was cut, since 1970 */
    uint32_t rule;          /* by which rule: policy_rule_tag */
    uint32_t size;          /* octets; 0: MAIL announced none, and `network` counts */
    struct network network; /* of the client; all zero where there is a size */
};

/* A mail of this size, from a client in a network of so many bits. Its time and its rule are 0. */
struct refused refused_of(uint8_t ip_version, const uint8_t *client, uint8_t prefix, uint32_t size);

void refused_key(const uint8_t secret[GREYLIST_SECRET_BYTES], const struct refused *refused, struct span sender,
                 struct span recipient, uint8_t key[GREYLIST_KEY_BYTES]);

/* A value is a version's octet and the fields in network byte order; all of its octets are set. */
void refused_encode(const struct refused *refused, uint8_t value[GREYLIST_VALUE_BYTES]);

/* False where `value` is none that refused_encode makes; *refused is then not to be used. */
bool refused_decode(struct span value, struct refused *refused);

#endif
