/* What an administrator decides: who is allowed or denied, and what is forgotten. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/greylist.h"
#include "conf/idna.h"
#include "greylist/import_part.h"

#define ADDRESS_ADVICE "write user@example.net or example.net; patterns have their place in rules"

/* A network between two of the widths is as many of the narrower. */
enum { WIDER_BITS = 8, NETWORKS_MAX = 1 << WIDER_BITS };

/* ---- whom a ruling is about ---- */

/* Attempts that stand for what was said, each of which one record is about. */
struct subjects {
    struct greylist_attempt attempts[NETWORKS_MAX];
    enum greylist_kind kind;
    unsigned count;
};

/* The widest networks that rulings are kept for, and not wider than this one. */
static enum greylist_kind kind_for(uint8_t ip_version, uint8_t prefix)
{
    enum greylist_kind kind = GREYLIST_RULED_BLOCK;
    while (greylist_ruled_prefix(kind, ip_version) < prefix)
        kind--;
    return kind;
}

/* Number `index` of the networks of `bits` that begin with this one. */
static void add_index(uint8_t client[16], uint8_t bits, unsigned index)
{
    for (unsigned bit = bits; index; index >>= 1) {
        bit--;
        if (index & 1)
            client[bit / 8] |= (uint8_t)(0x80u >> (bit % 8));
    }
}

static int take_networks(const char *word, struct subjects *subjects)
{
    char written[KEEP_NETWORK_BYTES];
    uint8_t ip_version, client[16], prefix;
    if (!keep_read_network(span_of(word), &ip_version, client, &prefix))
        return cmd_complain(CMD_USAGE, "'%s' is no network; write one like 192.0.2.0/24 or 2001:db8::/32", word);
    subjects->kind = kind_for(ip_version, prefix);
    uint8_t bits = greylist_ruled_prefix(subjects->kind, ip_version);
    if (bits - prefix > WIDER_BITS)
        return cmd_complain(CMD_USAGE,
                            "%s: that takes more than %d records; write narrower networks, or name it in "
                            "exempt-clients of the rule file",
                            word, NETWORKS_MAX);
    subjects->count = 1u << (bits - prefix);
    struct network network = network_of(ip_version, client, prefix);
    if (memcmp(network.address + 1, client, sizeof client) != 0)
        return cmd_complain(CMD_USAGE, "'%s' has bits set behind its prefix; did you mean %s?", word,
                            keep_network(ip_version, client, prefix, written));
    for (unsigned i = 0; i < subjects->count; i++) {
        subjects->attempts[i] = (struct greylist_attempt){.ip_version = ip_version};
        memcpy(subjects->attempts[i].client, network.address + 1, 16);
        add_index(subjects->attempts[i].client, bits, i);
    }
    return CMD_GOOD;
}

/* user@domain, or @domain, or domain. `room` is for the second form of the third. */
static int take_address(const char *word, bool sender, struct subjects *subjects, char *room, size_t size)
{
    struct span text = span_of(word);
    if (text.len > 1 && word[0] == '<' && word[text.len - 1] == '>')
        text = span_head(span_tail(text, 1), text.len - 2);
    if (text.len == 0 || text.len >= size)
        return cmd_complain(CMD_USAGE, "'%.40s' is no address and no domain; the null sender is everybody's", word);
    const uint8_t *at = memchr(text.ptr, '@', text.len);
    if (!at && !memchr(text.ptr, '.', text.len) && text.ptr[0] != '[')
        return cmd_complain(CMD_USAGE, "'%.40s' is no address and no domain; " ADDRESS_ADVICE, word);
    uint8_t compared[ADDRESS_BYTES_MAX];
    text = address_word(idna_to_ascii, at ? WORD_EXACT : WORD_DOMAIN, text, compared);
    if (text.len >= size)
        return cmd_complain(CMD_USAGE, "'%.40s' is longer than any address", word);
    int len = snprintf(room, size + 1, "%s%.*s", at ? "" : "@", (int)text.len, (const char *)text.ptr);
    struct span address = {(const uint8_t *)room, (size_t)len};
    bool domain = room[0] == '@';
    subjects->attempts[0] = (struct greylist_attempt){.ip_version = 4};
    *(sender ? &subjects->attempts[0].sender : &subjects->attempts[0].recipient) = address;
    subjects->kind = sender ? (domain ? GREYLIST_RULED_SENDER_DOMAIN : GREYLIST_RULED_SENDER)
                            : (domain ? GREYLIST_RULED_RECIPIENT_DOMAIN : GREYLIST_RULED_RECIPIENT);
    subjects->count = 1;
    return CMD_GOOD;
}

/* A ruling about what no mail has would never hold. What was said once can be forgotten all the same. */
static bool can_be_ruled(const struct subjects *subjects)
{
    const struct greylist_attempt *attempt = &subjects->attempts[0];
    struct span text = attempt->sender.len ? attempt->sender : attempt->recipient;
    const char *address = (const char *)text.ptr, *at = address ? strrchr(address, '@') : NULL;
    if (!at)
        return false;
    const char *domain = at + 1;
    bool whole = *domain && *domain != '.' && (address + 1 == domain || !strpbrk(address, "*?"));
    return whole && !strpbrk(domain, "*?/ ") && import_is_address(text);
}

static bool is_subject(const char *word)
{
    return strcmp(word, "client") == 0 || strcmp(word, "from") == 0 || strcmp(word, "to") == 0;
}

/* Mail of one sender for one recipient; the null sender is `<>`. */
static int take_mail(char **words, struct subjects *subjects, bool to_rule)
{
    static char rooms[2][GREYLIST_ADDRESS_BYTES_MAX + 1];
    struct greylist_attempt mail = {.ip_version = 4};
    struct span *const parts[] = {&mail.sender, &mail.recipient};
    for (int i = 0; i < 2; i++) {
        if (i == 0 && strcmp(words[i], "<>") == 0)
            continue;
        int code = take_address(words[i], i == 0, subjects, rooms[i], sizeof rooms[i] - 1);
        if (code == CMD_GOOD && (rooms[i][0] == '@' || (to_rule && !can_be_ruled(subjects))))
            code = cmd_complain(CMD_USAGE, "'%.40s' is no address; write mail user@example.net user@example.com",
                                words[i]);
        if (code != CMD_GOOD)
            return code;
        *parts[i] = span_of(rooms[i]);
    }
    subjects->attempts[0] = mail;
    subjects->kind = GREYLIST_RULED_MAIL;
    subjects->count = 1;
    return CMD_GOOD;
}

static int take_subjects(const char *what, const char *word, struct subjects *subjects, char *room, size_t size)
{
    return strcmp(what, "client") == 0 ? take_networks(word, subjects)
                                       : take_address(word, strcmp(what, "from") == 0, subjects, room, size);
}

/* ---- rulings ---- */

enum wish { ALLOW, DENY, FORGET };

static int forget_one(struct greylist *greylist, const struct subjects *subjects, uint64_t *count)
{
    for (unsigned i = 0; i < subjects->count; i++) {
        struct store_key key = keep_key(&greylist->keeper, subjects->kind, &subjects->attempts[i]);
        struct greylist_record record;
        enum store_status status = greylist_fetch(greylist, &key, subjects->kind, &record, NULL);
        if (status == STORE_FAILED)
            return cmd_complain(CMD_FAILED, "the store does not answer");
        if (status == STORE_GOOD) {
            store_drop(greylist->keeper.client, &key);
            ++*count;
        }
    }
    return CMD_GOOD;
}

static int rule_one(struct greylist *greylist, enum wish ruling, const struct subjects *subjects, uint64_t *count)
{
    int64_t now_ms = greylist->now_us / 1000;
    struct greylist_record record =
        greylist_ruling(ruling == ALLOW, now_ms, greylist->hold_ms ? now_ms + greylist->hold_ms : 0);
    if (ruling == FORGET)
        return forget_one(greylist, subjects, count);
    for (unsigned i = 0; i < subjects->count; i++) {
        struct store_key key = keep_key(&greylist->keeper, subjects->kind, &subjects->attempts[i]);
        struct greylist_attempt attempt = subjects->attempts[i];
        attempt.comment = greylist->comment ? span_of(greylist->comment) : (struct span){0};
        keep_put(&greylist->keeper, subjects->kind, &key, &attempt, &record);
    }
    *count += subjects->count;
    return CMD_GOOD;
}

static int take_good(enum wish ruling, const char *what, const char *word, struct subjects *subjects, char *room,
                     size_t size)
{
    int code = take_subjects(what, word, subjects, room, size);
    bool client = strcmp(what, "client") == 0;
    if (code != CMD_GOOD || client || ruling == FORGET || can_be_ruled(subjects))
        return code;
    return cmd_complain(CMD_USAGE, "'%.40s' is no address and no domain; " ADDRESS_ADVICE, word);
}

static int finish_ruling(struct greylist *greylist, enum wish ruling, uint64_t records)
{
    static const char *const done[] = {"allowed", "denied", "forgotten"};
    int code = greylist_finish(greylist);
    if (code == CMD_GOOD && records == 0)
        return cmd_complain(CMD_FAILED, "there is no such ruling; 'postern greylist list' shows those there are");
    if (code == CMD_GOOD)
        printf("%s: %" PRIu64 " record%s\n", done[ruling], records, records == 1 ? "" : "s");
    return code;
}

static int rule_mail(struct greylist *greylist, enum wish ruling, int count, char **words)
{
    struct subjects subjects = {0};
    uint64_t records = 0;
    if (count != 3)
        return -1;
    int code = take_mail(words + 1, &subjects, ruling != FORGET);
    if (code == CMD_GOOD)
        code = greylist_open(greylist);
    if (code == CMD_GOOD)
        code = rule_one(greylist, ruling, &subjects, &records);
    return code == CMD_GOOD ? finish_ruling(greylist, ruling, records) : code;
}

static int rule(struct greylist *greylist, enum wish ruling, int count, char **words)
{
    char room[GREYLIST_ADDRESS_BYTES_MAX + 1];
    struct subjects subjects = {0};
    uint64_t records = 0;
    if (count > 0 && strcmp(words[0], "mail") == 0)
        return rule_mail(greylist, ruling, count, words);
    if (count < 2 || !is_subject(words[0]))
        return -1;
    int code = CMD_GOOD;
    for (int i = 1; i < count && code == CMD_GOOD; i++) /* all of them are good, or nothing is done */
        code = take_good(ruling, words[0], words[i], &subjects, room, sizeof room - 1);
    if (code == CMD_GOOD)
        code = greylist_open(greylist);
    for (int i = 1; i < count && code == CMD_GOOD; i++) {
        take_subjects(words[0], words[i], &subjects, room, sizeof room - 1);
        code = rule_one(greylist, ruling, &subjects, &records);
    }
    return code == CMD_GOOD ? finish_ruling(greylist, ruling, records) : code;
}

int greylist_allow(struct greylist *greylist, int count, char **words)
{
    return rule(greylist, ALLOW, count, words);
}

int greylist_deny(struct greylist *greylist, int count, char **words)
{
    return rule(greylist, DENY, count, words);
}

/* ---- forgetting ---- */

struct forgetting {
    struct greylist *greylist;
    const struct greylist_attempt *attempt; /* NULL: everything */
    struct store_key *keys;
    size_t count, room;
    bool no_memory;
};

static void add_key(struct forgetting *forgetting, const struct store_key *key)
{
    if (forgetting->count == forgetting->room) {
        size_t room = forgetting->room ? 2 * forgetting->room : 1024;
        struct store_key *keys = realloc(forgetting->keys, room * sizeof *keys);
        forgetting->no_memory = !keys;
        if (!keys)
            return;
        forgetting->keys = keys;
        forgetting->room = room;
    }
    forgetting->keys[forgetting->count++] = *key;
}

/* What is known of a client: what was ruled about it stays. */
static bool note_key(void *context, const struct greylist_entry *entry)
{
    struct forgetting *forgetting = context;
    const struct greylist_attempt *attempt = forgetting->attempt;
    bool of_mail = entry->kind == GREYLIST_TRIPLET || entry->kind == GREYLIST_POOL;
    if (!attempt || ((of_mail || (entry->kind == GREYLIST_TLS && !attempt->sender.ptr)) &&
                     greylist_is_about(forgetting->greylist, entry, attempt)))
        add_key(forgetting, &entry->key);
    return !forgetting->no_memory;
}

static bool note_cut(void *context, const struct greylist_cut *cut)
{
    struct forgetting *forgetting = context;
    add_key(forgetting, &cut->entry.key);
    return !forgetting->no_memory;
}

/* What needs no text to be found. */
static int note_known(struct forgetting *forgetting)
{
    const struct greylist_attempt *attempt = forgetting->attempt;
    const enum greylist_kind kinds[] = {
        attempt->recipient.ptr ? GREYLIST_TRIPLET : GREYLIST_CLIENT,
        attempt->recipient.ptr ? GREYLIST_POOL : GREYLIST_TLS,
    };
    if (attempt->sender.ptr && !attempt->recipient.ptr)
        return CMD_GOOD;
    for (int i = 0; i < (attempt->helo.len ? 2 : 1); i++) {
        struct greylist_record record;
        struct store_key key = keep_key(&forgetting->greylist->keeper, kinds[i], attempt);
        enum store_status status = greylist_fetch(forgetting->greylist, &key, kinds[i], &record, NULL);
        if (status == STORE_FAILED)
            return cmd_complain(CMD_FAILED, "the store does not answer");
        if (status == STORE_GOOD)
            add_key(forgetting, &key);
    }
    return CMD_GOOD;
}

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct store_key));
}

static int drop_all(struct forgetting *forgetting)
{
    enum { AT_ONCE = 65536 };
    uint64_t dropped = 0;
    if (forgetting->count)
        qsort(forgetting->keys, forgetting->count, sizeof forgetting->keys[0], by_key);
    for (size_t i = 0; i < forgetting->count; i++) {
        if (i && by_key(&forgetting->keys[i - 1], &forgetting->keys[i]) == 0)
            continue;
        store_drop(forgetting->greylist->keeper.client, &forgetting->keys[i]);
        if (++dropped % AT_ONCE == 0)
            greylist_pause(forgetting->greylist, AT_ONCE);
    }
    int code = greylist_finish(forgetting->greylist);
    if (code == CMD_GOOD && dropped == 0 && forgetting->attempt)
        return cmd_complain(CMD_FAILED, "there was nothing to forget; without keep-addresses = yes the mail has to be "
                                        "named in full: CLIENT FROM TO");
    if (code == CMD_GOOD)
        printf("forgotten: %" PRIu64 " record%s\n", dropped, dropped == 1 ? "" : "s");
    return code;
}

static int forget(struct forgetting *forgetting)
{
    uint64_t foreign;
    int code = forgetting->attempt ? note_known(forgetting) : CMD_GOOD;
    if (code == CMD_GOOD)
        code = greylist_walk(forgetting->greylist, note_key, forgetting, &foreign);
    if (code == CMD_GOOD)
        code = greylist_walk_cuts(forgetting->greylist, forgetting->attempt, note_cut, forgetting);
    if (code == CMD_GOOD && forgetting->no_memory)
        code = cmd_complain(CMD_FAILED, "no memory");
    if (code == CMD_GOOD)
        code = drop_all(forgetting);
    if (code == CMD_GOOD && forgetting->greylist->unread)
        code = CMD_FAILED;
    free(forgetting->keys);
    return code;
}

int greylist_forget(struct greylist *greylist, int count, char **words)
{
    struct greylist_attempt attempt;
    struct forgetting forgetting = {.greylist = greylist, .attempt = greylist->all ? NULL : &attempt};
    bool ruled = count > 0 && (is_subject(words[0]) || strcmp(words[0], "mail") == 0);
    if (ruled && !greylist->all && !greylist->helo)
        return rule(greylist, FORGET, count, words);
    if (greylist->all ? count > 0 : count < 1 || count > 3)
        return -1;
    int code = greylist->all ? CMD_GOOD : greylist_attempt_of(greylist, count, words, &attempt);
    if (code == CMD_GOOD)
        code = greylist_open(greylist);
    return code == CMD_GOOD ? forget(&forgetting) : code;
}
