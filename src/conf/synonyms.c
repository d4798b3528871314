#include "conf/synonyms.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *key;   /* NULL: the words are names of keys */
    const char *words; /* separated by blanks */
    const char *advice;
} synonyms[] = {
    {"action", "reject deny block refused forbid", "write refuse"},
    {"action", "bounce", "write refuse, with a code 5xx: the sender's own server bounces the mail"},
    {"action", "defer tempfail temporary delay",
     "write greylist, which puts strangers off until they try again, or refuse with code = 450"},
    {"action", "drop",
     "write refuse (this command alone), close (the client reads 421) or reset (the connection is torn)"},
    {"action", "discard quarantine", "write refuse: mail that a server has taken is not dropped here"},
    {"action", "disconnect hangup close-connection", "write close (the client reads 421) or reset"},
    {"action", "allow accept permit ok whitelist", "write pass"},
    {"action", "mask hide remove", "write strip"},
    {"action", "slow throttle ratelimit rate-limit stutter", "write tarpit, with a delay"},
    {"action", "report warn notify", "write log"},
    {"on", "rcpt rcpt-to to", "write recipient"},
    {"on", "mail mail-from from envelope-from", "write sender"},
    {"on", "helo ehlo",
     "write argument, with verb = {\"EHLO\", \"HELO\"}, for the name that a client gives; "
     "ehlo-keyword for what a server offers"},
    {"on", "header subject", "write line, with part = header"},
    {"on", "body", "write line, with part = body"},
    {"on", "banner welcome", "write greeting"},
    {"on", "data", "write command, with match = {\"DATA\"}, for the command; message for the end of the message"},
    {"on", "size end-of-data eom", "write message"},
    {"on", "attachment filename mime", "write file-name"},
    {"on", "tls ssl", "write starttls"},
    {"on", "verb", "write command"},
    {"on", "response", "write reply"},
    {"on", "auth", "write argument, with verb = {\"AUTH\"}"},
    {"on", "connection", "write connect"},
    {"method", "void-transaction transaction", "write void"},
    {"method", "recipient single", "write spoil"},
    {"direction", "in incoming ingress", "write inbound"},
    {"direction", "out outgoing egress", "write outbound"},
    {"encrypted", "wait delay stutter tarpit", "write patience"},
    {"encrypted", "reset drop disconnect", "write close"},
    {"encrypted", "refuse tempfail 454", "write defer"},
    {"on-lost-store", "accept allow", "write pass"},
    {"on-lost-store", "tempfail refuse reject", "write defer"},
    {"on-overload", "accept allow", "write pass"},
    {NULL, "event when moment stage", "write on"},
    {NULL, "message reply reason", "write text"},
    {NULL, "ip source src address", "write client, or peer for whichever end is outside"},
    {NULL, "dest destination dst", "write server, or peer for whichever end is outside"},
    {NULL, "mynetworks local-networks networks internal", "write protected"},
    {NULL, "proxy-protocol accept-proxy proxies trusted-proxies", "write balancers"},
    {NULL, "whitelist allowlist", "write exempt-clients, exempt-senders or exempt-recipients in greylist { }"},
    {NULL, "observe test-mode permissive", "write dry-run"},
    {NULL, "reject deny defer allow accept block drop bounce tempfail mask",
     "write a rule: rule \"NAME\" { on = recipient  match = {\"user@example.net\"}  action = refuse }"},
    {NULL, "rcpt helo ehlo header banner mail data attachment from to sender recipient",
     "write the moment as `on`, and what it looks for as `match`, in a rule"},
};

/* Whether `word` is one of those in `words`. */
static int is_among(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strcspn(at, " ") == len && strncasecmp(at, word, len) == 0)
            return 1;
    return 0;
}

const char *synonym_advice(const char *key, const char *word)
{
    for (size_t i = 0; i < sizeof synonyms / sizeof synonyms[0]; i++) {
        const char *of = synonyms[i].key;
        if ((key && of ? strcmp(key, of) == 0 : key == of) && is_among(synonyms[i].words, word))
            return synonyms[i].advice;
    }
    return NULL;
}
