#include "report/secrets.h"

#include <stdlib.h>

#include "smtp/command.h"

enum { TEXT_OCTETS = 1024, ROOM_OCTETS = TEXT_OCTETS + 64 }; /* of an event's text; and with what is put in */

/* What the client of a connection is about. */
enum state {
    STATE_QUIET,      /* commands */
    STATE_TRYING,     /* it has begun to authenticate, and no other command was seen since */
    STATE_CHALLENGED, /* the server waits for its answer */
};

struct secrets {
    uint32_t flows_max;
    uint8_t text[ROOM_OCTETS], shown[ROOM_OCTETS];
    uint8_t states[]; /* enum state, by place */
};

struct secrets *secrets_new(uint32_t flows_max)
{
    struct secrets *secrets = calloc(1, sizeof *secrets + flows_max + 1);
    if (secrets)
        secrets->flows_max = flows_max;
    return secrets;
}

void secrets_free(struct secrets *secrets)
{
    free(secrets);
}

/* ---- words ---- */

static bool authenticates(enum smtp_verb verb)
{
    return smtp_verb_is(verb, SMTP_TRAIT_AUTHENTICATES);
}

/* Where the first of the words that begin authentication ends in a line, wherever it stands; 0 where there is none. */
static size_t behind_auth(struct span line)
{
    static const char *const words[] = {"AUTH", "X-EXPS"};
    for (size_t at = 0; at < line.len; at++)
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (span_equal_nocase(span_head(span_tail(line, at), strlen(words[i])), span_of(words[i])))
                return at + strlen(words[i]);
    return 0;
}

/* What is registered, not what looks like a mechanism: a password may look like one, too. */
static bool is_mechanism(struct span word)
{
    static const char *const names[] = {
        "PLAIN",         "LOGIN",
        "CRAM-MD5",      "DIGEST-MD5",
        "NTLM",          "GSSAPI",
        "GSS-SPNEGO",    "EXTERNAL",
        "ANONYMOUS",     "SKEY",
        "OTP",           "KERBEROS_V4",
        "SECURID",       "SRP",
        "XOAUTH2",       "OAUTHBEARER",
        "OPENID20",      "SAML20",
        "EAP-AES128",    "EAP-AES128-PLUS",
        "GS2-KRB5",      "GS2-KRB5-PLUS",
        "SCRAM-SHA-1",   "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-512", "SCRAM-SHA-512-PLUS",
        "EXCHANGEAUTH",  "X-EXCHANGEAUTH",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_equal_nocase(word, span_of(names[i])))
            return true;
    return false;
}

static size_t blanks_end(struct span line, size_t at)
{
    while (at < line.len && ascii_is_blank(line.ptr[at]))
        at++;
    return at;
}

static size_t word_end(struct span line, size_t at)
{
    while (at < line.len && !ascii_is_blank(line.ptr[at]))
        at++;
    return at;
}

/* How much of a line, without its end, is no secret: up to the mechanism, where the line authenticates. */
static size_t open_octets(struct span line, enum state state)
{
    struct smtp_command command = smtp_command_parse(line);
    bool known = command.verb != SMTP_VERB_UNKNOWN;
    size_t auth = known && !authenticates(command.verb) ? 0 : behind_auth(line);
    if (state == STATE_CHALLENGED)
        return 0;
    if (auth == 0)
        return known || state == STATE_QUIET ? line.len : 0;
    size_t from = blanks_end(line, auth), to = word_end(line, from);
    return from > auth && is_mechanism((struct span){line.ptr + from, to - from}) ? to : auth;
}

/* Up to the enhanced code: `535 5.7.8`. Nothing where there is no code. */
static size_t open_reply_octets(struct span line)
{
    size_t len = 0, dots = 0;
    while (len < 3 && len < line.len && ascii_is_digit(line.ptr[len]))
        len++;
    if (len < 3)
        return 0;
    len += len < line.len && (line.ptr[len] == ' ' || line.ptr[len] == '-');
    size_t at = len;
    for (; at < line.len && at - len <= 9 && (ascii_is_digit(line.ptr[at]) || line.ptr[at] == '.'); at++)
        dots += line.ptr[at] == '.';
    bool enhanced = dots == 2 && (at == line.len || line.ptr[at] == ' ') &&
                    (line.ptr[len] == '2' || line.ptr[len] == '4' || line.ptr[len] == '5');
    return enhanced ? at : len;
}

/* ---- masking ---- */

static size_t put(uint8_t *room, size_t at, const void *octets, size_t len)
{
    if (len)
        memcpy(room + at, octets, len);
    return at + len;
}

/* The line with the mask behind its first `open` octets, and its own end; itself where nothing is behind them. */
static struct span mask_behind(struct span whole, size_t open, uint8_t *room)
{
    struct span line = smtp_line_text(span_head(whole, TEXT_OCTETS));
    if (blanks_end(line, open) == line.len)
        return whole;
    size_t len = put(room, 0, line.ptr, open);
    bool glued = open && room[open - 1] != ' ' && room[open - 1] != '-';
    len = put(room, len, " ", glued);
    len = put(room, len, SECRETS_MASK, sizeof SECRETS_MASK - 1);
    len = put(room, len, whole.ptr + line.len, span_head(whole, TEXT_OCTETS).len - line.len);
    return (struct span){room, len};
}

static struct span mask_line(struct span line, enum state state, uint8_t *room)
{
    return line.len ? mask_behind(line, open_octets(smtp_line_text(line), state), room) : line;
}

static struct span mask_reply(struct span line, uint8_t *room)
{
    return mask_behind(line, open_reply_octets(smtp_line_text(line)), room);
}

static void take_command(struct secrets *secrets, struct event *event, uint8_t *state)
{
    bool unknown = event->verb == SMTP_VERB_UNKNOWN;
    bool begins = authenticates(event->verb) || (unknown && behind_auth(event->text) > 0);
    enum state before = *state == STATE_QUIET ? STATE_QUIET : STATE_TRYING; /* nobody asked for a command's line */
    event->text = mask_line(event->text, before, secrets->text);
    event->shown = mask_line(event->shown, before, secrets->shown);
    if (begins)
        *state = STATE_TRYING;
    else if (!unknown && event->verb < SMTP_VERB_NAMED)
        *state = STATE_QUIET;
}

/* What replaces a reply is our own text, but for what had left of the server's. */
static bool shows_servers_words(const struct event *event, size_t open)
{
    return event->shown.len > open && event->text.len > open && event->shown.ptr[open] == event->text.ptr[open];
}

static void take_reply(struct secrets *secrets, struct event *event, uint8_t *state)
{
    const unsigned challenge = 334;
    bool answers = authenticates(event->verb);
    /* A capture has the server's reply to what we would have covered, under the verb that covers it. */
    bool covered = event->verb == SMTP_VERB_UNKNOWN || event->change != EVENT_KEPT;
    if (answers || (*state != STATE_QUIET && covered)) {
        if (shows_servers_words(event, open_reply_octets(smtp_line_text(event->text))))
            event->shown = mask_reply(event->shown, secrets->shown);
        event->text = mask_reply(event->text, secrets->text);
    }
    if (answers && event->last)
        *state = event->code == challenge ? STATE_CHALLENGED : STATE_TRYING;
}

void secrets_mask(struct secrets *secrets, struct event *event)
{
    assert(event->flow_place <= secrets->flows_max);
    uint8_t *state = &secrets->states[event->flow_place];
    if (event->kind == EVENT_FLOW_START || event->kind == EVENT_FLOW_END)
        *state = STATE_QUIET;
    if (event->lost && *state == STATE_QUIET)
        *state = STATE_TRYING;
    if (event->kind == EVENT_COMMAND)
        take_command(secrets, event, state);
    else if (event->kind == EVENT_REPLY)
        take_reply(secrets, event, state);
    else if ((event->kind != EVENT_RULE && event->kind != EVENT_ANOMALY) || event->complete)
        return; /* of a message, or no text of an end's */
    else if (!event->from_server) {
        event->text = mask_line(event->text, *state, secrets->text);
        event->shown = mask_line(event->shown, *state, secrets->shown);
    } else if (*state != STATE_QUIET)
        event->text = mask_reply(event->text, secrets->text);
}
