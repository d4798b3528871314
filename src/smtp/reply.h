/*
 * smtp/reply - one line of a reply: its code, whether it is the last, its text; and EHLO keywords.
 *
 * In:     a line as smtp/line cuts it.
 * Out:    spans into it.
 * Errors: a line without a code is no reply line (sendmail echoes a bad command, line break included).
 * Source: RFC 5321 4.2, 4.1.1.1 (ehlo-ok-rsp).
 */
#ifndef POSTERN_SMTP_REPLY_H
#define POSTERN_SMTP_REPLY_H

#include "base/span.h"

#define SMTP_KEYWORDS_MAX 32 /* keywords in a set */

struct smtp_reply {
    uint16_t code; /* 200 to 599 */
    bool last;     /* no hyphen behind the code; also `250` and nothing else */
    struct span text;
};

/* Words without regard to case; each span lives as long as the set. */
struct smtp_keyword_set {
    uint32_t count;
    uint32_t initials; /* first letters of the names, to pass over most words at a glance: bits 1 << (octet & 31) */
    struct span names[SMTP_KEYWORDS_MAX];
};

/* False where the line does not begin with a reply code. */
bool smtp_reply_parse(struct span line, struct smtp_reply *reply);

/* Whether an unfinished line may still become a reply line. */
bool smtp_reply_may_begin(struct span line_so_far);

/*
 * The EHLO keyword of a reply's text: letters, digits and hyphens, up to anything else. What stands before it and is
 * none of a keyword is skipped, as clients skip blanks there (Postfix, swaks); empty where there is none.
 */
struct span smtp_reply_keyword(struct span text);

/* Whether a word that begins with `octet` may be in the set. */
static inline bool smtp_keyword_initial(const struct smtp_keyword_set *set, uint8_t octet)
{
    return set->initials >> (octet & 31) & 1; /* the same bit for both cases of a letter */
}

/* One more name, not empty, whose octets live as long as the set; false where it is full. */
bool smtp_keyword_add(struct smtp_keyword_set *set, struct span name);

/* smtp_keyword_in, of a keyword with an initial that some name has. */
bool smtp_keyword_search(const struct smtp_keyword_set *set, struct span keyword);

/* Whether `keyword` is in the set: whole words only (`XEXCH50X` is not XEXCH50). */
static inline bool smtp_keyword_in(const struct smtp_keyword_set *set, struct span keyword)
{
    return keyword.len && smtp_keyword_initial(set, keyword.ptr[0]) && smtp_keyword_search(set, keyword);
}

/* Whether an unfinished reply line may still turn out to carry a keyword of the set. */
bool smtp_keyword_may_come(const struct smtp_keyword_set *set, struct span line_so_far);

#endif
