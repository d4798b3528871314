/* What is remembered, for eyes and as JSON. */
#include <inttypes.h>
#include <string.h>

#include "cmd/greylist.h"
#include "greylist/export.h"
#include "report/json.h"
#include "report/text.h"

enum { SHOWN_MAX = 64, KEY_DIGITS = 2 * STORE_KEY_BYTES };

/* ---- rows ---- */

struct rows {
    struct greylist *greylist;
    const struct greylist_attempt *attempt; /* only what is about it; NULL: all */
    const struct store_key *but;            /* these were shown already */
    size_t but_count;
    uint64_t shown, hashed; /* of those, how many have no text */
    uint64_t hidden;        /* hashes that may be about it, too */
    uint64_t cuts;          /* mails that were cut for what they contain */
    bool full;              /* with everything that export writes, and nothing else */
    bool incomplete;        /* one could not be written */
};

static const char *state_of(const struct greylist *greylist, const struct greylist_entry *entry, char *text,
                            size_t size)
{
    char time[GREYLIST_TIME_BYTES];
    uint32_t enough = greylist->conf.greylist.client_passes;
    if (greylist_is_ruling(entry->kind))
        return entry->record.passes ? "allowed" : "denied";
    struct greylist_decision standing = greylist_standing(greylist, entry->kind, &entry->record);
    if (standing.pass)
        return "passes";
    if (entry->kind == GREYLIST_CLIENT)
        snprintf(text, size, "%u of %u mails", entry->record.passes, enough);
    else
        snprintf(text, size, "from %s", greylist_time(standing.passes_from_ms, time));
    return text;
}

/* Nobody counts such a long time. */
static bool for_ever(const struct greylist_entry *entry)
{
    return greylist_is_ruling(entry->kind) && entry->record.waited_until_ms == 0;
}

static void print_head(void)
{
    printf("%-22s %-25s  %-25s %9s %6s  %-30s  %-25s  %s\n", "kind", "first seen", "last seen", "attempts", "passes",
           "state", "until", "about");
}

static void print_about(const struct greylist_entry *entry)
{
    char text[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)];
    const struct keep_about *about = &entry->about;
    bool of_mail =
        entry->kind == GREYLIST_TRIPLET || entry->kind == GREYLIST_POOL || entry->kind == GREYLIST_RULED_MAIL;
    const struct span parts[] = {about->network, about->helo, about->sender, about->recipient};
    if (entry->text.len == 0)
        for (size_t i = 0; i < sizeof entry->key.octets; i++)
            printf("%02x", entry->key.octets[i]);
    const char *blank = "";
    for (size_t i = 0; entry->text.len && i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].len == 0 && !(i == 2 && of_mail))
            continue;
        printf("%s%s", blank, parts[i].len ? text_escape(parts[i], text, sizeof text) : "<>");
        blank = "  ";
    }
    if (about->comment.len)
        printf("  # %s", text_escape(about->comment, text, sizeof text));
    putchar('\n');
}

static void print_row(const struct greylist *greylist, const struct greylist_entry *entry)
{
    char first[GREYLIST_TIME_BYTES], last[GREYLIST_TIME_BYTES], until[GREYLIST_TIME_BYTES], state[64];
    const struct greylist_record *record = &entry->record;
    bool ruling = greylist_is_ruling(entry->kind);
    printf("%-22s %-25s  %-25s %9" PRIu32 " %6u  %-30s  %-25s  ", greylist_kind_name(entry->kind),
           greylist_time(record->first_ms, first), greylist_time(record->last_ms, last), record->attempts,
           ruling ? 0u : record->passes, state_of(greylist, entry, state, sizeof state),
           for_ever(entry) ? "for ever" : greylist_time(entry->expires_s * 1000, until));
    print_about(entry);
}

static void add_state(const struct greylist *greylist, const struct greylist_entry *entry, struct json_members *members)
{
    char state[64];
    json_add(members, "state", json_string(state_of(greylist, entry, state, sizeof state)));
    if (greylist_is_ruling(entry->kind) || entry->kind == GREYLIST_CLIENT)
        return;
    struct greylist_decision standing = greylist_standing(greylist, entry->kind, &entry->record);
    if (!standing.pass)
        json_add_number(members, "passes_from_ms", standing.passes_from_ms);
}

/* Not half of it: false where there is no memory for all, or it cannot be written. */
static bool write_json(const struct rows *rows, const struct greylist_entry *entry)
{
    char store[EXPORT_STORE_BYTES];
    export_store_name(rows->greylist->keeper.secret, store);
    struct json_members members = {
        export_record(store, &entry->key, entry->kind, &entry->record, entry->expires_s, entry->text), false};
    if (!rows->full)
        add_state(rows->greylist, entry, &members);
    return json_write_line(stdout, json_whole(&members));
}

static bool show_entry(void *context, const struct greylist_entry *entry)
{
    struct rows *rows = context;
    for (size_t i = 0; i < rows->but_count; i++)
        if (memcmp(&rows->but[i], &entry->key, sizeof entry->key) == 0)
            return true;
    rows->hidden += rows->attempt && entry->text.len == 0;
    if (rows->attempt && !greylist_is_about(rows->greylist, entry, rows->attempt))
        return true;
    if (!rows->greylist->as_json && !rows->full && rows->shown == 0)
        print_head();
    rows->shown++;
    rows->hashed += entry->text.len == 0;
    if (rows->greylist->as_json || rows->full)
        rows->incomplete = !write_json(rows, entry);
    else
        print_row(rows->greylist, entry);
    return !rows->incomplete && !ferror(stdout);
}

static bool show_cut(void *context, const struct greylist_cut *cut)
{
    struct rows *rows = context;
    rows->cuts++;
    if (rows->greylist->as_json)
        rows->incomplete = !json_write_line(stdout, greylist_cut_json(rows->greylist, cut));
    else
        greylist_print_cut(cut);
    return !rows->incomplete && !ferror(stdout);
}

static int finish_rows(const struct rows *rows, uint64_t foreign)
{
    bool eyes = !rows->greylist->as_json && !rows->full;
    if (eyes && rows->hashed)
        printf("%" PRIu64 " of %" PRIu64 " are hashes: whom they are about is kept with keep-addresses = yes only\n",
               rows->hashed, rows->shown);
    if (eyes && rows->hidden)
        printf("%s%" PRIu64 " record%s of mails %s hashed and may be its: a mail is found if it is named in full, "
               "CLIENT FROM TO\n",
               rows->shown ? "" : "nothing is known of it by its network alone; ", rows->hidden,
               rows->hidden == 1 ? "" : "s", rows->hidden == 1 ? "is" : "are");
    if (foreign)
        cmd_complain(CMD_GOOD, "%" PRIu64 " records are of a kind that this version does not know", foreign);
    return greylist_printed(!rows->incomplete);
}

static int show_all(struct rows *rows)
{
    uint64_t foreign;
    int code = greylist_walk(rows->greylist, show_entry, rows, &foreign);
    if (code == CMD_GOOD && !rows->full) /* no copy has them: they are of a day */
        code = greylist_walk_cuts(rows->greylist, NULL, show_cut, rows);
    if (code == CMD_GOOD && rows->shown + rows->cuts == 0 && !rows->full && !rows->greylist->as_json)
        printf("nothing is remembered\n");
    int written = finish_rows(rows, foreign);
    return code != CMD_GOOD ? code : written;
}

int greylist_list(struct greylist *greylist, int count, char **words)
{
    struct rows rows = {.greylist = greylist};
    (void)words;
    int code = count ? -1 : greylist_open(greylist);
    return code == CMD_GOOD ? show_all(&rows) : code;
}

int greylist_export(struct greylist *greylist, int count, char **words)
{
    struct rows rows = {.greylist = greylist, .full = true};
    (void)words;
    int code = count ? -1 : greylist_open(greylist);
    if (code == CMD_GOOD)
        code = show_all(&rows);
    return code == CMD_GOOD && greylist->unread ? CMD_FAILED : code; /* a file that lacks some is no copy */
}

/* ---- what is known of one ---- */

/* Kinds whose key can be made of what was said. */
static uint32_t kinds_known(const struct greylist_attempt *attempt)
{
    uint32_t kinds = GREYLIST_CLIENT_KINDS;
    if (attempt->helo.len)
        kinds |= 1u << GREYLIST_TLS;
    if (attempt->sender.ptr)
        kinds |= 1u << GREYLIST_RULED_SENDER | 1u << GREYLIST_RULED_SENDER_DOMAIN;
    if (!attempt->recipient.ptr)
        return kinds;
    kinds |= 1u << GREYLIST_TRIPLET | 1u << GREYLIST_ANSWER_ADDRESS | 1u << GREYLIST_ANSWER_NETWORK |
             1u << GREYLIST_RULED_RECIPIENT | 1u << GREYLIST_RULED_RECIPIENT_DOMAIN | 1u << GREYLIST_RULED_MAIL;
    return kinds | (attempt->helo.len ? 1u << GREYLIST_POOL : 0);
}

/* By its key; a text is made for it of what was said. */
static int show_kind(struct rows *rows, const struct greylist_attempt *attempt, enum greylist_kind kind,
                     struct store_key *key)
{
    const struct greylist *greylist = rows->greylist;
    struct greylist_entry entry = {.kind = kind, .key = keep_key(&greylist->keeper, kind, attempt)};
    char text[STORE_TEXT_BYTES_MAX];
    *key = entry.key;
    switch (greylist_fetch(rows->greylist, &entry.key, kind, &entry.record, &entry.expires_s)) {
    case STORE_GOOD:
        break;
    case STORE_ABSENT:
        return CMD_GOOD;
    case STORE_LATER:
    case STORE_FAILED:
        return cmd_complain(CMD_FAILED, "the store does not answer");
    }
    entry.text = keep_text(&greylist->conf.greylist, kind, attempt, text);
    entry.about = keep_read_text(kind, entry.text);
    return show_entry(rows, &entry) ? CMD_GOOD : CMD_FAILED;
}

static int show_known(struct rows *rows, const struct greylist_attempt *attempt)
{
    struct store_key keys[GREYLIST_KINDS];
    uint32_t kinds = kinds_known(attempt);
    size_t count = 0;
    uint64_t foreign = 0;
    int code = CMD_GOOD;
    for (int kind = 0; kind < GREYLIST_KINDS && code == CMD_GOOD; kind++)
        if (kinds >> kind & 1)
            code = show_kind(rows, attempt, (enum greylist_kind)kind, &keys[count++]);
    if (code == CMD_GOOD && !attempt->recipient.ptr) {
        rows->attempt = attempt;
        rows->but = keys;
        rows->but_count = count;
        code = greylist_walk(rows->greylist, show_entry, rows, &foreign);
    }
    if (code == CMD_GOOD)
        code = greylist_walk_cuts(rows->greylist, attempt, show_cut, rows);
    int written = finish_rows(rows, foreign);
    return code != CMD_GOOD ? code : written;
}

int greylist_show(struct greylist *greylist, int count, char **words)
{
    struct greylist_attempt attempt;
    struct rows rows = {.greylist = greylist};
    if (count < 1 || count > 3)
        return -1;
    int code = greylist_attempt_of(greylist, count, words, &attempt);
    if (code == CMD_GOOD)
        code = greylist_open(greylist);
    if (code == CMD_GOOD)
        code = show_known(&rows, &attempt);
    if (code != CMD_GOOD || rows.shown > 0 || rows.cuts > 0 || rows.hidden > 0 || greylist->as_json)
        return code;
    printf("nothing is known of %s%s\n", words[0], count > 1 ? " with this mail" : "");
    return greylist_printed(true);
}

/* ---- counts ---- */

struct stats {
    struct greylist *greylist;
    uint64_t kinds[GREYLIST_KINDS];
    uint64_t waiting, passing, patient, allowed, denied, cuts;
    int64_t oldest_ms; /* INT64_MAX: there is none */
};

static bool count_entry(void *context, const struct greylist_entry *entry)
{
    struct stats *stats = context;
    const struct greylist_record *record = &entry->record;
    stats->kinds[entry->kind]++;
    if (record->first_ms < stats->oldest_ms)
        stats->oldest_ms = record->first_ms;
    if (greylist_is_ruling(entry->kind)) {
        stats->allowed += record->passes != 0;
        stats->denied += record->passes == 0;
    } else if (entry->kind == GREYLIST_TRIPLET || entry->kind == GREYLIST_TLS) {
        struct greylist_decision standing = greylist_standing(stats->greylist, entry->kind, record);
        stats->waiting += !standing.pass;
        stats->passing += standing.pass;
        stats->patient += record->patient > 0;
    }
    return true;
}

static bool count_cut(void *context, const struct greylist_cut *cut)
{
    struct stats *stats = context;
    (void)cut;
    stats->cuts++;
    return true;
}

static void print_stats(const struct stats *stats, uint64_t foreign)
{
    char oldest[GREYLIST_TIME_BYTES] = "never";
    for (int kind = 0; kind < GREYLIST_KINDS; kind++)
        printf("%-24s %12" PRIu64 "\n", greylist_kind_name((enum greylist_kind)kind), stats->kinds[kind]);
    printf("%-24s %12" PRIu64 "\n", "refused-mail", stats->cuts);
    if (stats->oldest_ms != INT64_MAX)
        greylist_time(stats->oldest_ms, oldest);
    printf("%-24s %12" PRIu64 "\n", "of other versions", foreign);
    printf("\n%-24s %12" PRIu64 "   mails and encrypted connections that are put off now\n", "waiting", stats->waiting);
    printf("%-24s %12" PRIu64 "   that would pass\n", "passing", stats->passing);
    printf("%-24s %12" PRIu64 "   that waited for a refusal to its end\n", "patient", stats->patient);
    printf("%-24s %12" PRIu64 "   rulings\n%-24s %12" PRIu64 "   rulings\n", "allowed", stats->allowed, "denied",
           stats->denied);
    printf("%-24s %s\n", "oldest", oldest);
}

/* Not half of them, as in write_json. */
static bool write_stats(const struct stats *stats, uint64_t foreign)
{
    const struct {
        const char *name;
        uint64_t number;
    } sums[] = {{"foreign", foreign},        {"waiting", stats->waiting}, {"passing", stats->passing},
                {"patient", stats->patient}, {"allowed", stats->allowed}, {"denied", stats->denied}};
    struct json_members members = {json_object(), false}, kinds = {json_object(), false};
    for (int kind = 0; kind < GREYLIST_KINDS; kind++)
        json_add_number(&kinds, greylist_kind_name((enum greylist_kind)kind), (int64_t)stats->kinds[kind]);
    json_add_number(&kinds, "refused-mail", (int64_t)stats->cuts);
    json_add(&members, "kinds", json_whole(&kinds));
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++)
        json_add_number(&members, sums[i].name, (int64_t)sums[i].number);
    if (stats->oldest_ms != INT64_MAX)
        json_add_number(&members, "oldest_ms", stats->oldest_ms);
    return json_write_line(stdout, json_whole(&members));
}

int greylist_stats(struct greylist *greylist, int count, char **words)
{
    struct stats stats = {.greylist = greylist, .oldest_ms = INT64_MAX};
    uint64_t foreign;
    (void)words;
    int code = count ? -1 : greylist_open(greylist);
    if (code == CMD_GOOD)
        code = greylist_walk(greylist, count_entry, &stats, &foreign);
    if (code == CMD_GOOD)
        code = greylist_walk_cuts(greylist, NULL, count_cut, &stats);
    if (code != CMD_GOOD)
        return code;
    bool whole = true;
    if (greylist->as_json)
        whole = write_stats(&stats, foreign);
    else
        print_stats(&stats, foreign);
    return greylist_printed(whole);
}
