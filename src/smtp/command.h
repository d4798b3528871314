/*
 * smtp/command - one command line: its verb and its argument.
 *
 * In:     a line as smtp/line cuts it, or the beginning of one.
 * Out:    spans into it.
 * Note:   classified as liberally as any known server reads it, so that nothing is bypassed: blanks before the verb,
 *         TAB as a separator (behind a verb also a bare CR, VT, FF), any case. What the state becomes is decided by
 *         the server's reply.
 * Source: RFC 5321 2.4, 4.1.1; RFC 3030 2 (BDAT); KB 812455 (XEXCH50).
 */
#ifndef POSTERN_SMTP_COMMAND_H
#define POSTERN_SMTP_COMMAND_H

#include "smtp/verb.h"

struct smtp_command {
    enum smtp_verb verb;  /* SMTP_VERB_EMPTY for a line with nothing on it */
    struct span word;     /* the verb as it was spelled */
    struct span argument; /* what follows it, without blanks at either end and without line end */
    bool separated;       /* something that ends the verb (blank, line end) has come; else it may go on */
};

/* Cannot fail: an unknown verb is SMTP_VERB_UNKNOWN. */
struct smtp_command smtp_command_parse(struct span line);

/* How the octets of a chunk are announced. */
enum smtp_chunk_status {
    SMTP_CHUNK_GOOD,
    SMTP_CHUNK_AMBIGUOUS, /* servers read it in different ways: sign, trailing words, overflow, no number */
};

/* BDAT's argument: `octets` and whether LAST follows (RFC 3030 2). Numbers over 2^63 - 1 are ambiguous. */
enum smtp_chunk_status smtp_chunk_parse(struct span argument, uint64_t *octets, bool *last);

/* XEXCH50's argument: `octets`, then a flag; at most 2^30 (MS03-046: negative or larger overflows the server). */
enum smtp_chunk_status smtp_xexch50_parse(struct span argument, uint64_t *octets);

/* The octets that MAIL's argument announces by SIZE (RFC 1870 3); 0 where it announces none, or what is no number. */
uint64_t smtp_announced_size(struct span argument);

/* A line without its line end: the LF, and all CRs right before it (`CR CR LF` ends one line). */
struct span smtp_line_text(struct span line);

#endif
