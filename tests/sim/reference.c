#include "reference.h"

#include <string.h>

static uint32_t line_len(const uint8_t *at, uint32_t left)
{
    const uint8_t *nl = memchr(at, '\n', left);
    return nl ? (uint32_t)(nl - at) + 1 : left;
}

/* ---- EHLO replies ---- */

static bool is_stripped(const uint8_t *line, uint32_t len)
{
    static const char *const names[] = {"XEXCH50", "X-LINK2STATE"};
    for (int i = 0; i < 2; i++) {
        uint32_t name_len = (uint32_t)strlen(names[i]);
        if (len > 4 + name_len && apps_line_begins(line + 4, len - 4, names[i]) &&
            strchr(" \t=\r\n", line[4 + name_len]))
            return true;
    }
    return false;
}

/* XEXCH50X: a keyword of its own, but nobody knows before its last octet has come. */
static bool begins_stripped(const uint8_t *line, uint32_t len)
{
    return len > 4 &&
           (apps_line_begins(line + 4, len - 4, "XEXCH50") || apps_line_begins(line + 4, len - 4, "X-LINK2STATE"));
}

/* Another keyword of the same length in the place of one that had begun to leave: its rest became hyphens. */
static bool is_spoiled(const uint8_t *sent, const uint8_t *seen, uint32_t len)
{
    uint32_t at = 0;
    if (memcmp(sent, seen, 4) != 0)
        return false;
    for (at = 4; at < len && !strchr(" \t=\r\n", sent[at]); at++)
        if (seen[at] != sent[at] && seen[at] != '-' && !(at == 4 && seen[at] == 'X'))
            return false;
    return memcmp(sent + at, seen + at, len - at) == 0 && memcmp(sent + 4, seen + 4, at - 4) != 0;
}

static bool all_stripped(const uint8_t *lines, uint32_t len)
{
    for (uint32_t at = 0; at < len; at += line_len(lines + at, len - at))
        if (!is_stripped(lines + at, line_len(lines + at, len - at)))
            return false;
    return true;
}

/* What the client read of an EHLO reply; returns octets of it, or UINT32_MAX where that cannot be. */
static uint32_t ehlo_len(const struct apps *apps, struct app_piece piece, uint32_t seen_at)
{
    const uint8_t *sent = apps->ends[1].out + piece.at;
    const uint8_t *seen = apps->ends[0].in;
    uint32_t total = apps->ends[0].read;
    uint32_t from = seen_at;
    for (uint32_t at = 0; at < piece.len;) {
        uint32_t len = line_len(sent + at, piece.len - at);
        const uint8_t *line = sent + at;
        const uint8_t *other = seen + seen_at;
        uint32_t other_len = seen_at < total ? line_len(other, total - seen_at) : 0;
        bool stripped = at > 0 && is_stripped(line, len);
        at += len;
        if (!stripped && other_len == len && memcmp(line, other, len) == 0) {
            seen_at += len;
        } else if (!stripped && other_len == len && begins_stripped(line, len) && is_spoiled(line, other, len)) {
            seen_at += len; /* it had to go on when it was still the same as a keyword to be stripped */
        } else if (!stripped && other_len == len && line[3] == '-' && other[3] == ' ' &&
                   all_stripped(sent + at, piece.len - at) && memcmp(line, other, 3) == 0 &&
                   memcmp(line + 4, other + 4, len - 4) == 0) {
            return seen_at + len - from;
        } else if (stripped && other_len == len && is_spoiled(line, other, len)) {
            seen_at += len;
        } else if (stripped && line[3] == ' ') {
            if (other_len != 8 || memcmp(other, "250 OK\r\n", 8) != 0)
                return UINT32_MAX;
            seen_at += other_len;
        } else if (!stripped) {
            return UINT32_MAX;
        }
    }
    return seen_at - from;
}

/* ---- deferrals ---- */

static bool is_deferral(const uint8_t *line, uint32_t len)
{
    static const char *const forms[] = {"450 4.2.0 Greylisted\r\n", "450 4.2.0\r\n", "450\r\n"};
    for (int i = 0; i < 3; i++)
        if (len == strlen(forms[i]) && memcmp(line, forms[i], len) == 0)
            return true;
    return false;
}

/*
 * The same line by line, where the stream had become short enough already: blanks where the text finds no room, or went
 * on behind a piece that had left. Octets of it, no more than the server's reply has; 0 where it is something else.
 */
static uint32_t deferral_lines_len(const uint8_t *seen, uint32_t len)
{
    static const char text[] = " 4.2.0 Greylisted";
    for (uint32_t at = 0, end; at < len; at = end) {
        end = at + line_len(seen + at, len - at);
        if (end - at < 6 || memcmp(seen + at, "450", 3) != 0 || memcmp(seen + end - 2, "\r\n", 2) != 0)
            return 0;
        for (uint32_t i = 4; i < end - at - 2; i++)
            if (seen[at + i] != ' ' && (i - 3 >= sizeof text - 1 || seen[at + i] != (uint8_t)text[i - 3]))
                return 0;
        if (seen[at + 3] == ' ')
            return end;
        if (seen[at + 3] != '-')
            return 0;
    }
    return 0;
}

/* Transactions, from 0 on, of which the client read that they were deferred. */
struct deferrals {
    bool recipient[APPS_TRANSACTIONS_MAX], message[APPS_TRANSACTIONS_MAX];
};

/* An answer at the last moment may have been late, or not. */
static void check_deferrals(const struct apps *apps, const struct answers *answers, const struct deferrals *deferred,
                            struct fault *fault)
{
    for (uint32_t t = 0; t < apps->plan.transactions; t++) {
        if (deferred->message[t] != deferred->recipient[t])
            fault_note(fault,
                       "transaction %u: some recipients were deferred, and its message was not, or the other way", t);
        if (deferred->message[t] && !answers_defer(answers, t, ANSWERS_OVER_US))
            fault_note(fault, "transaction %u was deferred, and nobody wanted that", t);
        if (!deferred->message[t] && answers_defer(answers, t, ANSWERS_SURE_US))
            fault_note(fault, "transaction %u was delivered in spite of an answer", t);
    }
}

/* ---- the client ---- */

/* A reply in what the client read, from `seen` on: octets, or UINT32_MAX with a fault. */
static uint32_t reply_len(const struct apps *apps, uint32_t index, uint32_t seen, bool filtered,
                          struct deferrals *deferred, struct fault *fault)
{
    const struct app_reply *reply = &apps->server.replies[index];
    const uint8_t *at = apps->ends[0].in + seen;
    uint32_t left = apps->ends[0].read - seen;
    uint32_t len = reply->piece.len;
    if (filtered && reply->kind == APP_REPLY_EHLO) {
        len = ehlo_len(apps, reply->piece, seen);
        if (len == UINT32_MAX)
            fault_note(fault, "reply %u: the client read another EHLO reply than it may", index);
        return len;
    }
    if (filtered && reply->kind == APP_REPLY_COVERED) {
        uint32_t other_len = line_len(at, left);
        if (other_len <= len + 100 && apps_line_begins(at, other_len, "504") && at[other_len - 1] == '\n')
            return other_len;
        fault_note(fault, "reply %u: XEXCH50 was not answered with 504", index);
        return UINT32_MAX;
    }
    const uint8_t *sent = apps->ends[1].out + reply->piece.at;
    bool may_be_deferred =
        filtered && apps->plan.asks && (reply->kind == APP_REPLY_RCPT || reply->kind == APP_REPLY_DEFERRED);
    uint32_t deferral_len = 0;
    if (may_be_deferred && is_deferral(at, line_len(at, left)))
        deferral_len = line_len(at, left);
    else if (may_be_deferred)
        deferral_len = deferral_lines_len(at, left < len ? left : len);
    if (deferral_len) {
        (reply->kind == APP_REPLY_RCPT ? deferred->recipient : deferred->message)[reply->transaction - 1] = true;
        return deferral_len;
    }
    if (reply->kind == APP_REPLY_DEFERRED) {
        fault_note(fault, "reply %u: a message was put off, and its client does not know", index);
        return UINT32_MAX;
    }
    if (left < len || memcmp(at, sent, len) != 0) {
        fault_note(fault, "reply %u: the client read other octets than the server wrote", index);
        return UINT32_MAX;
    }
    return len;
}

static void check_client(const struct apps *apps, const struct answers *answers, struct fault *fault)
{
    struct deferrals deferred = {0};
    uint32_t seen = 0;
    for (uint32_t i = 0; i < apps->server.reply_count; i++) {
        uint32_t len = reply_len(apps, i, seen, answers != NULL, &deferred, fault);
        if (len == UINT32_MAX)
            return;
        seen += len;
    }
    if (seen != apps->ends[0].read)
        fault_note(fault, "the client read %u octets more than it may", apps->ends[0].read - seen);
    if (answers)
        check_deferrals(apps, answers, &deferred, fault);
}

/* ---- the server ---- */

/* In one of these lines, before its CRLF. */
static bool is_within(const struct app_piece *lines, uint32_t count, uint32_t at)
{
    for (uint32_t i = 0; i < count; i++)
        if (at >= lines[i].at && at + 2 < lines[i].at + lines[i].len)
            return true;
    return false;
}

static void check_server(const struct apps *apps, bool filtered, struct fault *fault)
{
    const struct endpoint *client = &apps->ends[0], *server = &apps->ends[1];
    const struct app_piece *covered = apps->client.covered, *deferred = apps->server.deferred;
    uint32_t covered_count = filtered ? apps->client.covered_count : 0;
    uint32_t deferred_count = filtered ? apps->server.deferred_count : 0;
    if (server->read != client->out_len) {
        fault_note(fault, "the server read %u octets of %u", server->read, client->out_len);
        return;
    }
    for (uint32_t i = 0; i < client->out_len; i++)
        if (server->in[i] != client->out[i] && !is_within(covered, covered_count, i) &&
            !is_within(deferred, deferred_count, i)) {
            fault_note(fault, "octet %u: the server read another than the client wrote", i);
            return;
        }
    for (uint32_t c = 0; c < covered_count; c++)
        if (apps_line_begins(server->in + covered[c].at, covered[c].len, "XEXCH50 "))
            fault_note(fault, "the server read XEXCH50");
}

void reference_check(const struct apps *apps, const struct answers *answers, struct fault *fault)
{
    check_client(apps, answers, fault);
    check_server(apps, answers != NULL, fault);
}
