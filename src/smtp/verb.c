#include "smtp/verb.h"

static const char *const names[SMTP_VERBS] = {
    [SMTP_VERB_UNKNOWN] = "unknown",
    [SMTP_VERB_EHLO] = "EHLO",
    [SMTP_VERB_HELO] = "HELO",
    [SMTP_VERB_LHLO] = "LHLO",
    [SMTP_VERB_MAIL] = "MAIL",
    [SMTP_VERB_RCPT] = "RCPT",
    [SMTP_VERB_DATA] = "DATA",
    [SMTP_VERB_BDAT] = "BDAT",
    [SMTP_VERB_RSET] = "RSET",
    [SMTP_VERB_NOOP] = "NOOP",
    [SMTP_VERB_QUIT] = "QUIT",
    [SMTP_VERB_HELP] = "HELP",
    [SMTP_VERB_VRFY] = "VRFY",
    [SMTP_VERB_EXPN] = "EXPN",
    [SMTP_VERB_AUTH] = "AUTH",
    [SMTP_VERB_STARTTLS] = "STARTTLS",
    [SMTP_VERB_ETRN] = "ETRN",
    [SMTP_VERB_TURN] = "TURN",
    [SMTP_VERB_ATRN] = "ATRN",
    [SMTP_VERB_XCLIENT] = "XCLIENT",
    [SMTP_VERB_XFORWARD] = "XFORWARD",
    [SMTP_VERB_X_EXPS] = "X-EXPS",
    [SMTP_VERB_X_ANONYMOUSTLS] = "X-ANONYMOUSTLS",
    [SMTP_VERB_X_LINK2STATE] = "X-LINK2STATE",
    [SMTP_VERB_XEXCH50] = "XEXCH50",
    [SMTP_VERB_CONNECT] = "connect",
    [SMTP_VERB_BDAT_LAST] = "bdat-last",
    [SMTP_VERB_END_OF_DATA] = "end-of-data",
    [SMTP_VERB_AUTH_RESPONSE] = "auth-response",
    [SMTP_VERB_XEXCH50_DATA] = "xexch50-data",
    [SMTP_VERB_PROXY_HEADER] = "proxy-header",
    [SMTP_VERB_EMPTY] = "empty",
};

const uint16_t smtp_verb_traits[SMTP_VERBS] = {
    [SMTP_VERB_EHLO] = SMTP_TRAIT_HELLO | SMTP_TRAIT_OFFERS,
    [SMTP_VERB_HELO] = SMTP_TRAIT_HELLO,
    [SMTP_VERB_LHLO] = SMTP_TRAIT_HELLO | SMTP_TRAIT_OFFERS, /* RFC 2033 4.1 */
    [SMTP_VERB_DATA] = SMTP_TRAIT_PAYLOAD | SMTP_TRAIT_AWAITS,
    [SMTP_VERB_BDAT] = SMTP_TRAIT_CHUNK,
    [SMTP_VERB_BDAT_LAST] = SMTP_TRAIT_CHUNK | SMTP_TRAIT_ENDS_MESSAGE,
    [SMTP_VERB_END_OF_DATA] = SMTP_TRAIT_ENDS_MESSAGE,
    [SMTP_VERB_HELP] = SMTP_TRAIT_OFFERED,
    [SMTP_VERB_VRFY] = SMTP_TRAIT_OFFERED, /* RFC 5321 3.5.2 */
    [SMTP_VERB_EXPN] = SMTP_TRAIT_OFFERED,
    [SMTP_VERB_AUTH] = SMTP_TRAIT_AUTHENTICATES | SMTP_TRAIT_AWAITS | SMTP_TRAIT_OFFERED,
    [SMTP_VERB_AUTH_RESPONSE] = SMTP_TRAIT_AUTHENTICATES | SMTP_TRAIT_AWAITS,
    [SMTP_VERB_X_EXPS] = SMTP_TRAIT_AUTHENTICATES | SMTP_TRAIT_AWAITS | SMTP_TRAIT_OFFERED,
    [SMTP_VERB_STARTTLS] = SMTP_TRAIT_ENCRYPTS | SMTP_TRAIT_OFFERED,
    [SMTP_VERB_X_ANONYMOUSTLS] = SMTP_TRAIT_ENCRYPTS | SMTP_TRAIT_OFFERED,
    [SMTP_VERB_ETRN] = SMTP_TRAIT_OFFERED,
    [SMTP_VERB_TURN] = SMTP_TRAIT_AWAITS | SMTP_TRAIT_OFFERED,
    [SMTP_VERB_ATRN] = SMTP_TRAIT_AWAITS | SMTP_TRAIT_OFFERED,
    [SMTP_VERB_XCLIENT] = SMTP_TRAIT_OFFERED,
    [SMTP_VERB_XFORWARD] = SMTP_TRAIT_OFFERED,
    [SMTP_VERB_X_LINK2STATE] = SMTP_TRAIT_OFFERED,
    [SMTP_VERB_XEXCH50] = SMTP_TRAIT_PAYLOAD | SMTP_TRAIT_AWAITS | SMTP_TRAIT_OFFERED,
};

enum smtp_verb smtp_verb_find(struct span word)
{
    if (word.len < 4)
        return SMTP_VERB_UNKNOWN;
    uint8_t first = ascii_upper(word.ptr[0]);
    for (int verb = SMTP_VERB_UNKNOWN + 1; verb < SMTP_VERB_NAMED; verb++)
        if ((uint8_t)names[verb][0] == first && span_equal_nocase(word, span_of(names[verb])))
            return (enum smtp_verb)verb;
    return SMTP_VERB_UNKNOWN;
}

const char *smtp_verb_name(enum smtp_verb verb)
{
    return names[verb];
}

uint64_t smtp_verbs_that_are(unsigned traits)
{
    uint64_t verbs = 0;
    for (int verb = SMTP_VERB_UNKNOWN + 1; verb < SMTP_VERB_NAMED; verb++)
        verbs |= smtp_verb_is((enum smtp_verb)verb, traits) ? UINT64_C(1) << verb : 0;
    return verbs;
}

static const char chunking[] = "CHUNKING";

const char *smtp_verb_keyword(enum smtp_verb verb)
{
    if (verb == SMTP_VERB_BDAT)
        return chunking;
    return smtp_verb_is(verb, SMTP_TRAIT_OFFERED) ? names[verb] : NULL;
}

enum smtp_verb smtp_verb_offered_by(struct span keyword)
{
    if (span_equal_nocase(keyword, span_of(chunking)))
        return SMTP_VERB_BDAT;
    enum smtp_verb verb = smtp_verb_find(keyword);
    return smtp_verb_is(verb, SMTP_TRAIT_OFFERED) ? verb : SMTP_VERB_UNKNOWN;
}

bool smtp_verb_may_begin(uint64_t verbs, struct span prefix)
{
    for (int verb = SMTP_VERB_UNKNOWN + 1; verb < SMTP_VERB_NAMED; verb++)
        if (verbs >> verb & 1) {
            struct span name = span_of(names[verb]);
            if (prefix.len <= name.len && span_equal_nocase(prefix, span_head(name, prefix.len)))
                return true;
        }
    return false;
}
