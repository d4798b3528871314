/*
 * policy/address - addresses and domains in the one form in which they are compared.
 *
 * In:     what a client sends, or a list names, without brackets and quotes.
 * Out:    the same with its domain in A-labels (RFC 5890 2.3.2.1) and without a final dot; letters of the local part
 *         beyond ASCII are folded, for so servers look mailboxes up; case of ASCII is left as it is.
 * Owner:  the result is a span into the text or into the caller's room.
 * Limits: ADDRESS_BYTES_MAX; what is longer, and what has no A-labels, stays as it is written. A word of a list has
 *         WORD_BYTES_MAX at most.
 */
#ifndef POSTERN_POLICY_ADDRESS_H
#define POSTERN_POLICY_ADDRESS_H

#include "policy/words.h"

#define ADDRESS_BYTES_MAX 2304 /* of a command line, with a domain of 255 octets in the place of a shorter one */

/*
 * A domain with octets beyond ASCII in A-labels, into `out`; its octets, 0 where it has no such form. Handed in, for
 * the core has no such tables (conf/idna). NULL: domains are compared as they are written.
 */
typedef size_t address_to_ascii(struct span domain, uint8_t *out, size_t room);

/* With the letters of its domain folded, too: some servers look domains up so, who knows IDNA does not (RFC 5891 4). */
struct span address_folded(struct span address, uint8_t room[ADDRESS_BYTES_MAX]);

/* An address, or what stands in place of one (`<>`, an argument that has none). */
struct span address_compared(address_to_ascii *to_ascii, struct span address, uint8_t room[ADDRESS_BYTES_MAX]);

/* A word of a list. */
struct span address_word(address_to_ascii *to_ascii, enum word_kind kind, struct span word,
                         uint8_t room[ADDRESS_BYTES_MAX]);

#endif
