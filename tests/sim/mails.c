#include "mails.h"

#include <stdio.h>
#include <string.h>

enum { LATER_ATTEMPTS = 2 };

static enum mails_kind draw_kind(struct random_source *random)
{
    uint32_t drawn = random_below(random, 12);
    return drawn == 0 ? MAILS_UNKNOWN : drawn <= 2 ? MAILS_REFUSED : drawn == 3 ? MAILS_LATER : MAILS_PLAIN;
}

/* Lines that look like what they are not: commands, replies, the end. */
static void make_body(struct mails_mail *mail, uint32_t number, struct random_source *random)
{
    static const char *const lines[] = {"mail from the coast",
                                        "RSET",
                                        "..",
                                        ". ",
                                        "250 2.0.0 ok",
                                        "",
                                        "QUIT",
                                        "DATA",
                                        "A line of some length, as people write them."};
    uint32_t want = random_below(random, 5) ? random_below(random, 300) : random_below(random, MAILS_BODY_MAX - 100);
    mail->body_len = (uint32_t)snprintf((char *)mail->body, MAILS_BODY_MAX, "Subject: %u\r\n\r\n", number);
    while (mail->body_len < want)
        mail->body_len += (uint32_t)snprintf((char *)mail->body + mail->body_len, MAILS_BODY_MAX - mail->body_len,
                                             "%s\r\n", lines[random_below(random, 9)]);
}

void mails_make(struct mails *mails, uint32_t count, struct random_source *random, struct fault *fault)
{
    memset(mails, 0, sizeof *mails);
    mails->count = count;
    mails->fault = fault;
    for (uint32_t i = 0; i < count; i++) {
        struct mails_mail *mail = &mails->each[i];
        mail->null_sender = random_below(random, 8) == 0;
        static const char *const words[] = {"deny.", "close.", "reset."};
        mail->sender_word = random_below(random, 8) ? "" : words[random_below(random, 3)];
        mail->recipient_count = 1 + random_below(random, MAILS_RECIPIENTS_MAX);
        for (uint32_t j = 0; j < mail->recipient_count; j++)
            mail->recipients[j].kind = draw_kind(random);
        make_body(mail, i, random);
    }
}

static bool is_waiting(const struct mails_mail *mail)
{
    for (uint32_t i = 0; i < mail->recipient_count; i++)
        if (mail->recipients[i].state == MAILS_WAITS)
            return true;
    return false;
}

int mails_next(const struct mails *mails, int64_t now_us)
{
    for (uint32_t i = 0; i < mails->count; i++)
        if (!mails->each[i].busy && mails->each[i].next_us <= now_us && is_waiting(&mails->each[i]))
            return (int)i;
    return -1;
}

int64_t mails_due(const struct mails *mails)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < mails->count; i++)
        if (!mails->each[i].busy && is_waiting(&mails->each[i]) && mails->each[i].next_us < at)
            at = mails->each[i].next_us;
    return at;
}

bool mails_done(const struct mails *mails)
{
    for (uint32_t i = 0; i < mails->count; i++)
        if (is_waiting(&mails->each[i]))
            return false;
    return true;
}

void mails_address(const struct mails *mails, uint32_t mail, uint32_t recipient, uint32_t attempt, char *out,
                   uint32_t room)
{
    enum mails_kind kind = mails->each[mail].recipients[recipient].kind;
    const char *word = kind == MAILS_REFUSED                              ? "refused."
                       : kind == MAILS_UNKNOWN                            ? "unknown."
                       : kind == MAILS_LATER && attempt <= LATER_ATTEMPTS ? "later."
                                                                          : "";
    snprintf(out, room, "%sr%u.m%u.a%u@there.example", word, recipient, mail, attempt);
}

void mails_sender(const struct mails *mails, uint32_t mail, uint32_t attempt, char *out, uint32_t room)
{
    const struct mails_mail *at = &mails->each[mail];
    if (at->null_sender)
        snprintf(out, room, "%s", "");
    else
        snprintf(out, room, "%sm%u@here.example", attempt <= LATER_ATTEMPTS ? at->sender_word : "", mail);
}

bool mails_parse(const struct mails *mails, const char *address, uint32_t *mail, uint32_t *recipient, uint32_t *attempt)
{
    char expected[80];
    const char *number = address + strcspn(address, ".");
    number = number > address && number[-1] >= '0' && number[-1] <= '9' ? address : number + (*number == '.');
    if (sscanf(number, "r%u.m%u.a%u@", recipient, mail, attempt) != 3 || *mail >= mails->count ||
        *recipient >= mails->each[*mail].recipient_count)
        return false;
    mails_address(mails, *mail, *recipient, *attempt, expected, sizeof expected);
    return strcmp(address, expected) == 0;
}

unsigned mails_begin(struct mails *mails, uint32_t mail)
{
    if (mails->each[mail].attempts == MAILS_ATTEMPTS_MAX)
        fault_note(mails->fault, "mail %u: too many attempts, no end in sight", mail);
    mails->each[mail].busy = true;
    return ++mails->each[mail].attempts;
}

static void check_refused(struct mails *mails, uint32_t mail, uint32_t recipient)
{
    const struct mails_recipient *at = &mails->each[mail].recipients[recipient];
    if (at->refused_in & at->delivered_in)
        fault_note(mails->fault, "mail %u: recipient %u was refused, and got it in the same attempt", mail, recipient);
}

void mails_refused(struct mails *mails, uint32_t mail, uint32_t recipient, unsigned attempt)
{
    mails->each[mail].recipients[recipient].refused_in |= UINT64_C(1) << attempt;
    check_refused(mails, mail, recipient);
}

void mails_bounced(struct mails *mails, uint32_t mail, uint32_t recipient, const char *why)
{
    struct mails_recipient *at = &mails->each[mail].recipients[recipient];
    at->state = MAILS_BOUNCED;
    if (at->kind == MAILS_PLAIN || at->kind == MAILS_LATER)
        fault_note(mails->fault, "mail %u: recipient %u was bounced: %s", mail, recipient, why);
}

void mails_sent(struct mails *mails, uint32_t mail, uint32_t recipient)
{
    struct mails_recipient *at = &mails->each[mail].recipients[recipient];
    at->state = MAILS_SENT;
    if (at->deliveries == 0)
        fault_note(mails->fault, "mail %u: recipient %u is lost: its sender was told it is there", mail, recipient);
}

void mails_end(struct mails *mails, uint32_t mail, int64_t next_us)
{
    mails->each[mail].busy = false;
    mails->each[mail].next_us = next_us;
}

void mails_delivered(struct mails *mails, uint32_t mail, uint32_t recipient, unsigned attempt, const uint8_t *body,
                     uint32_t body_len)
{
    const struct mails_mail *sent = &mails->each[mail];
    struct mails_recipient *at = &mails->each[mail].recipients[recipient];
    if (sent->body_len != body_len || memcmp(sent->body, body, body_len) != 0)
        fault_note(mails->fault, "mail %u: recipient %u got other octets than were sent", mail, recipient);
    mails->duplicates += at->deliveries > 0;
    at->deliveries++;
    at->delivered_in |= UINT64_C(1) << attempt;
    check_refused(mails, mail, recipient);
    if (at->state == MAILS_BOUNCED)
        fault_note(mails->fault, "mail %u: recipient %u got it, and was bounced before", mail, recipient);
}
