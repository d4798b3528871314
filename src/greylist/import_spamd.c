/*
 * What spamdb prints: GREY|address|helo|<from>|<to>|first|pass|expire|blocked|passed (without helo in old versions),
 * WHITE|address|||first|pass|expire|blocked|passed, TRAPPED|address|expire, SPAMTRAP|recipient.
 */
#include "greylist/import_part.h"

enum { NUMBERS = 5 };

/* In the order of the line. */
enum { FIRST, PASS, EXPIRE, BLOCKED, PASSED };

static bool take_field(struct span *rest, struct span *field)
{
    size_t at = import_find(*rest, '|');
    *field = span_head(*rest, at);
    bool more = at < rest->len;
    *rest = span_tail(*rest, at + 1);
    return more;
}

/* The numbers at the end of a line; *rest becomes what is before them. */
static bool take_numbers(struct span *rest, int64_t numbers[NUMBERS])
{
    for (int i = NUMBERS; i-- > 0;) {
        size_t at = rest->len;
        while (at > 0 && rest->ptr[at - 1] != '|')
            at--;
        if (at == 0 || !import_number(span_tail(*rest, at), &numbers[i]))
            return false;
        *rest = span_head(*rest, at - 1);
    }
    return true;
}

static struct span without_brackets(struct span text)
{
    bool bracketed = text.len > 1 && text.ptr[0] == '<' && text.ptr[text.len - 1] == '>';
    return bracketed ? span_head(span_tail(text, 1), text.len - 2) : text;
}

/* `|<`, the last before `end`: a local part may have a bar in it. Returns `end` where there is none. */
static size_t last_bar(struct span text, size_t end)
{
    for (size_t at = end; at-- > 0;)
        if (text.ptr[at] == '|' && at + 1 < end && text.ptr[at + 1] == '<')
            return at;
    return end;
}

/* helo|<from>|<to> */
static bool take_addresses(struct span text, struct greylist_attempt *attempt)
{
    size_t to = last_bar(text, text.len);
    if (to == text.len)
        return false;
    size_t from = text.ptr[0] == '<' ? 0 : last_bar(text, to);
    if (from == to)
        return false;
    attempt->helo = span_head(text, from);
    attempt->sender = without_brackets(span_tail(span_head(text, to), from ? from + 1 : 0));
    attempt->recipient = without_brackets(span_tail(text, to + 1));
    return attempt->recipient.len && import_is_address(attempt->helo) && import_is_address(attempt->sender) &&
           import_is_address(attempt->recipient);
}

/* Not later than now; what is further in the future than clocks differ is none. */
static bool take_time(const struct importer *importer, int64_t seconds, int64_t *time_ms)
{
    enum { DAY_S = 86400 };
    *time_ms = seconds * 1000 < importer->now_ms ? seconds * 1000 : importer->now_ms;
    return seconds <= importer->now_ms / 1000 + DAY_S;
}

static uint32_t at_most(int64_t number, uint32_t most)
{
    return number < most ? (uint32_t)number : most;
}

static enum import_status take_grey(const struct importer *importer, struct span rest, struct import_entry *entry,
                                    const char **wrong)
{
    int64_t numbers[NUMBERS];
    struct greylist_record *record = &entry->record;
    if (!take_numbers(&rest, numbers))
        return import_wrong(wrong, "no five numbers at its end");
    if (!take_addresses(rest, &entry->attempt))
        return import_wrong(wrong, "no <sender>|<recipient> behind the client");
    if (!take_time(importer, numbers[FIRST], &record->first_ms))
        return import_wrong(wrong, "a time in the future");
    bool pool = importer->settings->pools && entry->attempt.helo.len;
    entry->kinds = 1u << GREYLIST_TRIPLET | (pool ? 1u << GREYLIST_POOL : 0);
    record->last_ms = record->first_ms;
    record->attempts = at_most(numbers[BLOCKED] > 0 ? numbers[BLOCKED] : 1, UINT32_MAX);
    record->passes = (uint16_t)at_most(numbers[PASSED], UINT16_MAX);
    return IMPORT_ENTRY;
}

/* It is known as long as spamd would have known it, if our lifetime is not shorter. */
static enum import_status take_white(const struct importer *importer, struct span rest, struct import_entry *entry,
                                     const char **wrong)
{
    int64_t numbers[NUMBERS], last_ms;
    struct greylist_record *record = &entry->record;
    uint32_t passes = importer->settings->client_passes;
    if (!take_numbers(&rest, numbers))
        return import_wrong(wrong, "no five numbers at its end");
    if (!take_time(importer, numbers[FIRST], &record->first_ms))
        return import_wrong(wrong, "a time in the future");
    last_ms = (numbers[EXPIRE] - importer->settings->client_lifetime_s) * 1000;
    last_ms = last_ms > importer->now_ms ? importer->now_ms : last_ms;
    record->last_ms = last_ms > record->first_ms ? last_ms : record->first_ms;
    record->waited_until_ms = record->last_ms;
    record->attempts = 1;
    record->passes = (uint16_t)at_most(passes ? passes : 1, UINT16_MAX);
    entry->kinds = 1u << GREYLIST_CLIENT;
    return IMPORT_ENTRY;
}

static enum import_status take_trapped(const struct importer *importer, struct span rest, struct import_entry *entry,
                                       const char **wrong)
{
    int64_t expire;
    if (!import_number(rest, &expire) || expire == 0 || expire > GREYLIST_TIME_MS_MAX / 1000)
        return import_wrong(wrong, "no time until which the client is trapped");
    entry->kinds = 1u << GREYLIST_RULED_HOST;
    entry->record = greylist_ruling(false, importer->now_ms, expire * 1000);
    return IMPORT_ENTRY;
}

static enum import_status take_trap(const struct importer *importer, struct span rest, struct import_entry *entry,
                                    const char **wrong)
{
    entry->attempt = (struct greylist_attempt){.ip_version = 4, .recipient = without_brackets(rest)};
    if (entry->attempt.recipient.len == 0 || !import_is_address(entry->attempt.recipient))
        return import_wrong(wrong, "no recipient that is a trap");
    entry->kinds = 1u << GREYLIST_RULED_RECIPIENT;
    entry->record = greylist_ruling(false, importer->now_ms, 0);
    return IMPORT_ENTRY;
}

enum import_status import_spamd_line(struct importer *importer, struct span line, struct import_entry *entry,
                                     const char **wrong)
{
    static const struct {
        const char *word;
        enum import_status (*take)(const struct importer *importer, struct span rest, struct import_entry *entry,
                                   const char **wrong);
    } types[] = {{"GREY", take_grey}, {"WHITE", take_white}, {"TRAPPED", take_trapped}};
    struct span word, client;
    uint8_t prefix;
    if (!take_field(&line, &word))
        return import_wrong(wrong, "this is no line of spamdb: GREY|, WHITE|, TRAPPED| or SPAMTRAP|");
    if (span_equal(word, span_of("SPAMTRAP")))
        return take_trap(importer, line, entry, wrong);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (!span_equal(word, span_of(types[i].word)))
            continue;
        if (!take_field(&line, &client) || import_find(client, '/') < client.len ||
            !keep_read_network(client, &entry->attempt.ip_version, entry->attempt.client, &prefix))
            return import_wrong(wrong, "it names no address of a client");
        return types[i].take(importer, line, entry, wrong);
    }
    return import_wrong(wrong, "an unknown word at its beginning; spamdb writes GREY, WHITE, TRAPPED or SPAMTRAP");
}
