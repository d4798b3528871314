/*
 * smtp/verb - the verbs of SMTP and what they are called.
 *
 * Source: RFC 5321 4.1.1, RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 1985 (ETRN), RFC 2645 (ATRN),
 *         RFC 2033 (LHLO), Postfix XCLIENT_README and XFORWARD_README, Microsoft KB 812455, 257569, 818222.
 */
#ifndef POSTERN_SMTP_VERB_H
#define POSTERN_SMTP_VERB_H

#include "base/span.h"

enum smtp_verb {
    SMTP_VERB_UNKNOWN, /* none of those below; the server will say what it thinks of it */
    SMTP_VERB_EHLO,
    SMTP_VERB_HELO,
    SMTP_VERB_LHLO,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_BDAT,
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_QUIT,
    SMTP_VERB_HELP,
    SMTP_VERB_VRFY,
    SMTP_VERB_EXPN,
    SMTP_VERB_AUTH,
    SMTP_VERB_STARTTLS,
    SMTP_VERB_ETRN,
    SMTP_VERB_TURN,
    SMTP_VERB_ATRN,
    SMTP_VERB_XCLIENT,
    SMTP_VERB_XFORWARD,
    SMTP_VERB_X_EXPS,                    /* Exchange: authentication between servers, like AUTH */
    SMTP_VERB_X_ANONYMOUSTLS,            /* Exchange: like STARTTLS */
    SMTP_VERB_X_LINK2STATE,              /* Exchange: link state propagation (MS05-021) */
    SMTP_VERB_XEXCH50,                   /* Exchange: message properties (MS03-046) */
    SMTP_VERB_NAMED,                     /* how many verbs have a name; what follows is never on the wire as a verb */
    SMTP_VERB_CONNECT = SMTP_VERB_NAMED, /* the connection itself; its reply is the greeting */
    SMTP_VERB_BDAT_LAST,                 /* BDAT with LAST: its reply ends the transaction */
    SMTP_VERB_END_OF_DATA,               /* the lone dot */
    SMTP_VERB_AUTH_RESPONSE,             /* a line that answers a 334 */
    SMTP_VERB_XEXCH50_DATA,              /* the octets that follow the 354 to XEXCH50 */
    SMTP_VERB_PROXY_HEADER,              /* the first line of a client behind a proxy; perhaps nobody answers it */
    SMTP_VERB_EMPTY,                     /* an empty line; servers answer it */
    SMTP_VERBS
};

/* The verb spelled `word`, in any case, matched whole (`DATAX` is not DATA); SMTP_VERB_UNKNOWN where there is none. */
enum smtp_verb smtp_verb_find(struct span word);

/* Upper case, static; for those that are never on the wire a word in lower case. */
const char *smtp_verb_name(enum smtp_verb verb);

/* In what verbs are alike, bits. */
enum smtp_trait {
    SMTP_TRAIT_HELLO = 1 << 0,         /* says who the client is, and begins the session anew */
    SMTP_TRAIT_OFFERS = 1 << 1,        /* its reply lists extensions */
    SMTP_TRAIT_AUTHENTICATES = 1 << 2, /* a 334 asks for a response, a 235 ends it */
    SMTP_TRAIT_ENCRYPTS = 1 << 3,      /* behind its 220 nothing can be read */
    SMTP_TRAIT_ENDS_MESSAGE = 1 << 4,  /* its reply says what becomes of the message */
    SMTP_TRAIT_PAYLOAD = 1 << 5,       /* a 354 asks for octets that are no commands */
    SMTP_TRAIT_CHUNK = 1 << 6,         /* such octets follow it at once (RFC 3030 2) */
    /* What follows the command means one thing or another until its reply has come: a message or commands (DATA), a
       response or a command (AUTH), octets without lines or commands (XEXCH50), replies or commands (TURN). Not
       STARTTLS: nothing may follow it before the reply (RFC 3207 4.2), so nothing needs to be understood. */
    SMTP_TRAIT_AWAITS = 1 << 7,
    SMTP_TRAIT_OFFERED = 1 << 8, /* the EHLO keyword of its name offers it */
};

extern const uint16_t smtp_verb_traits[SMTP_VERBS];

/* Whether a verb has one of these traits. */
static inline bool smtp_verb_is(enum smtp_verb verb, unsigned traits)
{
    return smtp_verb_traits[verb] & traits;
}

/* The named verbs that have one of these traits: bits 1 << enum smtp_verb. */
uint64_t smtp_verbs_that_are(unsigned traits);

/* The EHLO keyword that offers a verb: CHUNKING BDAT, others one of their own name; NULL for what needs none. */
const char *smtp_verb_keyword(enum smtp_verb verb);

/* The verb that an EHLO keyword, in any case, offers; SMTP_VERB_UNKNOWN where it offers none. */
enum smtp_verb smtp_verb_offered_by(struct span keyword);

/* Whether a named verb in the set `verbs` (bits 1 << enum smtp_verb) is spelled like `prefix` so far, in any case. */
bool smtp_verb_may_begin(uint64_t verbs, struct span prefix);

#endif
