/*
 * policy/policy - what to do with a unit of SMTP.
 *
 * In:     a unit as smtp/session cuts it.
 * Out:    a plain decision; nothing is changed here.
 * Owner:  the policy owns its strings; it does not change while an engine uses it.
 * Thread: may be shared: read only.
 */
#ifndef POSTERN_POLICY_POLICY_H
#define POSTERN_POLICY_POLICY_H

#include "smtp/session.h"

#define POLICY_KEYWORD_BYTES_MAX 64

struct policy {
    struct smtp_keyword_set strip;                                   /* EHLO keywords that no client shall see */
    uint8_t strip_text[SMTP_KEYWORDS_MAX][POLICY_KEYWORD_BYTES_MAX]; /* where their names are kept */
    uint64_t refuse; /* verbs that no server shall see: bits 1 << enum smtp_verb */
};

/* Exchange's private verbs that no stranger needs: XEXCH50 and X-LINK2STATE stripped, and refused if used all the same.
 */
void policy_init_default(struct policy *policy);

/* No keyword stripped, no verb refused. */
void policy_init_empty(struct policy *policy);

/*
 * Strip one more keyword, and refuse the verb of that name where it is one of Exchange's private ones. False where the
 * set is full, or the keyword is no RFC 5321 ehlo-keyword or too long.
 */
bool policy_strip(struct policy *policy, struct span keyword);

/* The decision about a unit. */
struct smtp_action policy_judge(const struct policy *policy, const struct smtp_unit *unit);

#endif
