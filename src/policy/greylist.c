#include "policy/greylist.h"

#include "base/octets.h"

enum { MINUTE_S = 60, HOUR_S = 60 * MINUTE_S, DAY_S = 24 * HOUR_S };

struct greylist_settings greylist_settings_default(void)
{
    return (struct greylist_settings){
        .delay_s = 5 * MINUTE_S,
        .hung_up_delay_s = HOUR_S,
        .retry_window_s = 2 * DAY_S,
        .lifetime_s = 36 * DAY_S,
        .client_passes = 5,
        .client_lifetime_s = 36 * DAY_S,
        .pass_spacing_s = HOUR_S,
        .answer_lifetime_s = 7 * DAY_S,
        .refused_lifetime_s = DAY_S,
        .stutter_ms = 30000,
        .patience = {.attempts = 3, .wait_ms = 20000, .total_ms = 75000, .uneven_times = 3, .at_once = 3},
        .prefix_v4 = 24,
        .prefix_v6 = 64,
        .pools = true,
    };
}

/* ---- who is never greylisted ---- */

bool greylist_exempt_network(struct greylist_exempt *exempt, struct arena *arena, struct network network)
{
    return network_table_add(&exempt->clients, arena, network, 0, false);
}

bool greylist_exempt_word(struct greylist_exempt *exempt, struct arena *arena, enum greylist_list list,
                          enum word_kind kind, struct span text)
{
    struct word_table *table = list == GREYLIST_SENDERS ? &exempt->senders : &exempt->recipients;
    return words_add(table, arena, kind, text, 0, false);
}

bool greylist_exempt_seal(struct greylist_exempt *exempt, struct arena *arena)
{
    return network_table_seal(&exempt->clients, arena);
}

static bool names_network(const struct network_table *table, uint8_t ip_version, const uint8_t *address)
{
    if (table->range_count == 0)
        return false;
    uint16_t class = network_table_class(table, ip_version, address);
    return class != 0 && rule_set_has(&table->classes[class].match, 0);
}

static bool names_address(const struct word_table *table, struct span address)
{
    struct rule_marks marks = {0};
    words_find_address(table, address, &marks);
    return rule_set_has(&marks.match, 0);
}

static bool is_exempt(const struct greylist_exempt *exempt, const struct greylist_attempt *attempt,
                      enum greylist_reason *reason)
{
    *reason = GREYLIST_EXEMPT_CLIENT;
    if (names_network(&exempt->clients, attempt->ip_version, attempt->client))
        return true;
    if (attempt->tls || attempt->unread)
        return false;
    *reason = GREYLIST_EXEMPT_SENDER;
    if (names_address(&exempt->senders, attempt->sender))
        return true;
    *reason = GREYLIST_EXEMPT_RECIPIENT;
    return span_equal_nocase(attempt->recipient, span_of("postmaster")) ||
           names_address(&exempt->recipients, attempt->recipient);
}

/* ---- records ---- */

enum {
    VERSION = 1,
    TIME_BYTES = 6,
    VALUE_BYTES = 1 + 3 * TIME_BYTES + 2 * 4 + 3 * 2 + 4,
};
_Static_assert(VALUE_BYTES <= GREYLIST_VALUE_BYTES, "a record is a store's value");

static void put_time(uint8_t *at, int64_t time_ms)
{
    store_be16(at, (uint16_t)(time_ms >> 32));
    store_be32(at + 2, (uint32_t)time_ms);
}

static int64_t get_time(const uint8_t *at)
{
    return (int64_t)load_be16(at) << 32 | load_be32(at + 2);
}

void greylist_encode(const struct greylist_record *record, uint8_t value[GREYLIST_VALUE_BYTES])
{
    memset(value, 0, GREYLIST_VALUE_BYTES);
    *value++ = VERSION;
    put_time(value, record->first_ms);
    put_time(value + TIME_BYTES, record->last_ms);
    put_time(value + 2 * TIME_BYTES, record->waited_until_ms);
    value += 3 * TIME_BYTES;
    store_be32(value, record->attempts);
    store_be32(value + 4, record->waited_ms);
    store_be16(value + 8, record->pace_min_s);
    store_be16(value + 10, record->pace_max_s);
    store_be16(value + 12, record->passes);
    value[14] = record->patient;
    value[15] = record->beside;
    value[16] = record->excused;
    value[17] = record->hung_up;
}

bool greylist_decode(struct span value, struct greylist_record *record)
{
    if (value.len != GREYLIST_VALUE_BYTES || value.ptr[0] != VERSION)
        return false;
    for (size_t i = VALUE_BYTES; i < value.len; i++)
        if (value.ptr[i] != 0)
            return false;
    const uint8_t *at = value.ptr + 1;
    record->first_ms = get_time(at);
    record->last_ms = get_time(at + TIME_BYTES);
    record->waited_until_ms = get_time(at + 2 * TIME_BYTES);
    at += 3 * TIME_BYTES;
    record->attempts = load_be32(at);
    record->waited_ms = load_be32(at + 4);
    record->pace_min_s = load_be16(at + 8);
    record->pace_max_s = load_be16(at + 10);
    record->passes = load_be16(at + 12);
    record->patient = at[14];
    record->beside = at[15];
    record->excused = at[16];
    record->hung_up = at[17];
    return record->hung_up <= 1 && record->first_ms <= record->last_ms && record->pace_min_s <= record->pace_max_s &&
           (record->waited_ms == 0 || record->waited_ms <= record->waited_until_ms - record->first_ms);
}

static const char *const kind_names[GREYLIST_KINDS] = {
    [GREYLIST_TRIPLET] = "triplet",
    [GREYLIST_POOL] = "pool",
    [GREYLIST_TLS] = "tls",
    [GREYLIST_CLIENT] = "client",
    [GREYLIST_ANSWER_ADDRESS] = "answer-address",
    [GREYLIST_ANSWER_NETWORK] = "answer-network",
    [GREYLIST_RULED_HOST] = "ruled-host",
    [GREYLIST_RULED_NETWORK] = "ruled-network",
    [GREYLIST_RULED_SITE] = "ruled-site",
    [GREYLIST_RULED_BLOCK] = "ruled-block",
    [GREYLIST_RULED_SENDER] = "ruled-sender",
    [GREYLIST_RULED_SENDER_DOMAIN] = "ruled-sender-domain",
    [GREYLIST_RULED_RECIPIENT] = "ruled-recipient",
    [GREYLIST_RULED_RECIPIENT_DOMAIN] = "ruled-recipient-domain",
    [GREYLIST_RULED_MAIL] = "ruled-mail",
};

const char *greylist_kind_name(enum greylist_kind kind)
{
    return kind_names[kind];
}

static uint32_t lifetime_of(const struct greylist_settings *settings, enum greylist_kind kind,
                            const struct greylist_record *record)
{
    switch (kind) {
    case GREYLIST_TRIPLET:
    case GREYLIST_POOL:
    case GREYLIST_TLS:
        return record->passes ? settings->lifetime_s : settings->retry_window_s;
    case GREYLIST_CLIENT:
        return settings->client_lifetime_s;
    case GREYLIST_ANSWER_ADDRESS:
    case GREYLIST_ANSWER_NETWORK:
        return settings->answer_lifetime_s;
    case GREYLIST_RULED_HOST:
    case GREYLIST_RULED_NETWORK:
    case GREYLIST_RULED_SITE:
    case GREYLIST_RULED_BLOCK:
    case GREYLIST_RULED_SENDER:
    case GREYLIST_RULED_SENDER_DOMAIN:
    case GREYLIST_RULED_RECIPIENT:
    case GREYLIST_RULED_RECIPIENT_DOMAIN:
    case GREYLIST_RULED_MAIL:
        return UINT32_MAX; /* 136 years */
    case GREYLIST_KINDS:
        break;
    }
    return 0;
}

int64_t greylist_expires_s(const struct greylist_settings *settings, enum greylist_kind kind,
                           const struct greylist_record *record)
{
    if (greylist_is_ruling(kind) && record->waited_until_ms)
        return record->waited_until_ms / 1000;
    return record->last_ms / 1000 + lifetime_of(settings, kind, record);
}

/* What is known now. A record of the future is of a clock that was put back: it begins now; a ruling's end lies there.
 */
static bool is_known(const struct greylist_settings *settings, enum greylist_kind kind, struct greylist_memory *memory,
                     int64_t now_ms)
{
    struct greylist_record *record = &memory->records[kind];
    if (!greylist_knows(memory, kind) || now_ms / 1000 >= greylist_expires_s(settings, kind, record))
        return false;
    if (!greylist_is_ruling(kind) && (record->last_ms > now_ms || record->waited_until_ms > now_ms)) {
        record->first_ms = record->last_ms = record->waited_until_ms = now_ms;
        record->waited_ms = 0;
    }
    return true;
}

/* ---- rulings ---- */

struct greylist_record greylist_ruling(bool allowed, int64_t now_ms, int64_t until_ms)
{
    return (struct greylist_record){
        .first_ms = now_ms, .last_ms = now_ms, .waited_until_ms = until_ms, .passes = allowed};
}

bool greylist_is_ruling(enum greylist_kind kind)
{
    return kind >= GREYLIST_RULED_HOST && kind < GREYLIST_KINDS;
}

uint8_t greylist_ruled_prefix(enum greylist_kind kind, uint8_t ip_version)
{
    static const uint8_t v4[] = {32, 24, 16, 8}, v6[] = {128, 64, 48, 32};
    if (kind < GREYLIST_RULED_HOST || kind > GREYLIST_RULED_BLOCK)
        return 0;
    return ip_version == 4 ? v4[kind - GREYLIST_RULED_HOST] : v6[kind - GREYLIST_RULED_HOST];
}

static bool has_domain(struct span address)
{
    return address.len && memchr(address.ptr, '@', address.len);
}

/* Which rulings may be about an attempt. */
static uint32_t ruled_by(const struct greylist_attempt *attempt)
{
    uint32_t kinds = GREYLIST_CLIENT_KINDS & ~(1u << GREYLIST_CLIENT);
    if (attempt->tls)
        return kinds;
    kinds |= 1u << GREYLIST_RULED_SENDER | 1u << GREYLIST_RULED_RECIPIENT | 1u << GREYLIST_RULED_MAIL;
    kinds |= has_domain(attempt->sender) ? 1u << GREYLIST_RULED_SENDER_DOMAIN : 0;
    return kinds | (has_domain(attempt->recipient) ? 1u << GREYLIST_RULED_RECIPIENT_DOMAIN : 0);
}

enum ruling { RULING_NONE, RULING_ALLOWED, RULING_DENIED };

/* The ruling about a client, a sender or a recipient: kinds from `first` to `last`, the narrowest first. */
static enum ruling ruling_about(const struct greylist_settings *settings, struct greylist_memory *memory,
                                enum greylist_kind first, enum greylist_kind last, int64_t now_ms)
{
    for (enum greylist_kind kind = first; kind <= last; kind++)
        if (is_known(settings, kind, memory, now_ms))
            return memory->records[kind].passes ? RULING_ALLOWED : RULING_DENIED;
    return RULING_NONE;
}

/* What is ruled about the mail comes first; of what is about a client, a sender and a recipient, denials do. */
static enum ruling ruling_of(const struct greylist_settings *settings, struct greylist_memory *memory, int64_t now_ms,
                             enum greylist_reason *reason)
{
    static const struct {
        enum greylist_kind first, last;
        enum greylist_reason allowed, denied;
    } subjects[] = {
        {GREYLIST_RULED_HOST, GREYLIST_RULED_BLOCK, GREYLIST_ALLOWED_CLIENT, GREYLIST_DENIED_CLIENT},
        {GREYLIST_RULED_SENDER, GREYLIST_RULED_SENDER_DOMAIN, GREYLIST_ALLOWED_SENDER, GREYLIST_DENIED_SENDER},
        {GREYLIST_RULED_RECIPIENT, GREYLIST_RULED_RECIPIENT_DOMAIN, GREYLIST_ALLOWED_RECIPIENT,
         GREYLIST_DENIED_RECIPIENT},
    };
    enum ruling ruling = RULING_NONE;
    if ((memory->known & GREYLIST_RULED_KINDS) == 0)
        return ruling;
    ruling = ruling_about(settings, memory, GREYLIST_RULED_MAIL, GREYLIST_RULED_MAIL, now_ms);
    if (ruling != RULING_NONE) {
        *reason = ruling == RULING_ALLOWED ? GREYLIST_ALLOWED_MAIL : GREYLIST_DENIED_MAIL;
        return ruling;
    }
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        enum ruling about = ruling_about(settings, memory, subjects[i].first, subjects[i].last, now_ms);
        if (about > ruling) {
            ruling = about;
            *reason = about == RULING_ALLOWED ? subjects[i].allowed : subjects[i].denied;
        }
    }
    return ruling;
}

/* ---- decisions ---- */

static const struct {
    const char *name, *setting, *text;
} reasons[GREYLIST_REASONS] = {
    [GREYLIST_OUTBOUND] = {"outbound", "protected", "the client is one of the protected servers"},
    [GREYLIST_SAME_TRANSACTION] = {"same-transaction", "", "another recipient of the same transaction passed"},
    [GREYLIST_ALLOWED_CLIENT] = {"allowed-client", "allow", "an administrator allowed the client"},
    [GREYLIST_ALLOWED_SENDER] = {"allowed-sender", "allow", "an administrator allowed the sender"},
    [GREYLIST_ALLOWED_RECIPIENT] = {"allowed-recipient", "allow", "an administrator allowed the recipient"},
    [GREYLIST_ALLOWED_MAIL] = {"allowed-mail", "allow",
                               "an administrator allowed mail of this sender to the recipient"},
    [GREYLIST_EXEMPT_CLIENT] = {"exempt-client", "exempt",
                                "the client is on the list of those that are never greylisted"},
    [GREYLIST_EXEMPT_SENDER] = {"exempt-sender", "exempt",
                                "the sender is on the list of those that are never greylisted"},
    [GREYLIST_EXEMPT_RECIPIENT] = {"exempt-recipient", "exempt",
                                   "the recipient is on the list of those that are never greylisted"},
    [GREYLIST_CLIENT_KNOWN] = {"client-known", "client-passes", "the client's network has brought enough mail before"},
    [GREYLIST_KNOWN] = {"known", "lifetime", "this client has brought the same before"},
    [GREYLIST_DELAY_OVER] = {"delay-over", "delay", "it was tried again after the delay"},
    [GREYLIST_PATIENT] = {"patient", "patience", "the client waited for enough refusals to their end, at an even pace"},
    [GREYLIST_ANSWER] = {"answer", "answer-lifetime", "the recipient has lately written to this sender or network"},
    [GREYLIST_POOL_KNOWN] = {"pool-known", "pools",
                             "another client of the same EHLO domain has brought the same before"},
    [GREYLIST_POOL_DELAY_OVER] = {"pool-delay-over", "pools",
                                  "it was tried again after the delay, by another client of the same EHLO domain"},
    [GREYLIST_FIRST] = {"first", "delay", "it was never tried before, or too long ago"},
    [GREYLIST_HUNG_UP_ON] = {"hung-up", "hung-up-delay", "its client hung up instead of waiting for the last refusal"},
    [GREYLIST_TOO_SOON] = {"too-soon", "delay", "it was tried again before the delay was over"},
    [GREYLIST_DENIED_CLIENT] = {"denied-client", "deny", "an administrator denied the client"},
    [GREYLIST_DENIED_SENDER] = {"denied-sender", "deny", "an administrator denied the sender"},
    [GREYLIST_DENIED_RECIPIENT] = {"denied-recipient", "deny", "an administrator denied the recipient"},
    [GREYLIST_DENIED_MAIL] = {"denied-mail", "deny", "an administrator denied mail of this sender to the recipient"},
};

const char *greylist_reason_name(enum greylist_reason reason)
{
    return reasons[reason].name;
}

const char *greylist_reason_text(enum greylist_reason reason)
{
    return reasons[reason].text;
}

const char *greylist_reason_setting(enum greylist_reason reason)
{
    return reasons[reason].setting;
}

/* The record by which a retry passes. */
static enum greylist_kind attempts_kind(const struct greylist_attempt *attempt)
{
    return attempt->tls ? GREYLIST_TLS : GREYLIST_TRIPLET;
}

struct greylist_settings greylist_settings_of(const struct greylist_settings *settings,
                                              const struct greylist_variant *variant)
{
    struct greylist_settings of = *settings;
    if (variant) {
        of.delay_s = variant->delay_s;
        of.hung_up_delay_s = variant->hung_up_delay_s;
    }
    return of;
}

const struct greylist_exempt *greylist_exempt_of(const struct greylist_exempt *exempt,
                                                 const struct greylist_variant *variant,
                                                 const struct greylist_attempt *attempt)
{
    enum greylist_reason reason;
    return variant && is_exempt(&variant->opt_out, attempt, &reason) ? &variant->opt_out : exempt;
}

struct greylist_needs greylist_needs(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                                     const struct greylist_attempt *attempt)
{
    enum greylist_reason reason;
    struct greylist_needs needs = {0};
    if (is_exempt(exempt, attempt, &reason))
        return needs;
    needs.first = ruled_by(attempt) | (settings->client_passes ? 1u << GREYLIST_CLIENT : 0);
    needs.first |= 1u << attempts_kind(attempt);
    if (attempt->tls)
        return needs;
    if (settings->answer_lifetime_s && !attempt->unread)
        needs.rest |= 1u << GREYLIST_ANSWER_ADDRESS | 1u << GREYLIST_ANSWER_NETWORK;
    if (settings->pools && attempt->helo.len)
        needs.rest |= 1u << GREYLIST_POOL | 1u << GREYLIST_TLS;
    return needs;
}

static bool is_patient(const struct greylist_patience *patience, const struct greylist_record *record)
{
    uint32_t count = (uint32_t)record->patient + record->excused;
    if (patience->attempts == 0 || record->patient == 0 || count < patience->attempts)
        return false;
    uint64_t credit_ms = (uint64_t)record->excused * patience->total_ms / patience->attempts;
    return record->waited_ms + credit_ms >= patience->total_ms &&
           record->patient + record->beside <= record->patient * patience->at_once &&
           record->pace_max_s <= (uint64_t)record->pace_min_s * patience->uneven_times;
}

/* The decision by one record of attempts. */
static struct greylist_decision by_record(const struct greylist_settings *settings,
                                          const struct greylist_record *record, bool known, int64_t now_ms)
{
    bool hung_up = known && record->hung_up;
    int64_t delay_ms = (int64_t)(hung_up ? settings->hung_up_delay_s : settings->delay_s) * 1000;
    if (!known)
        return (struct greylist_decision){.reason = GREYLIST_FIRST, .passes_from_ms = now_ms + delay_ms};
    int64_t from_ms = record->first_ms + delay_ms + record->waited_ms;
    if (record->passes)
        return (struct greylist_decision){.pass = true, .reason = GREYLIST_KNOWN};
    if (now_ms >= from_ms)
        return (struct greylist_decision){.pass = true, .reason = GREYLIST_DELAY_OVER};
    if (is_patient(&settings->patience, record))
        return (struct greylist_decision){.pass = true, .reason = GREYLIST_PATIENT};
    return (struct greylist_decision){.reason = hung_up ? GREYLIST_HUNG_UP_ON : GREYLIST_TOO_SOON,
                                      .passes_from_ms = from_ms};
}

static void note_attempt(struct greylist_record *record, bool known, int64_t now_ms)
{
    if (!known)
        *record = (struct greylist_record){.first_ms = now_ms};
    if (record->attempts == 0)
        record->first_ms = now_ms;
    record->last_ms = now_ms;
    if (record->attempts < UINT32_MAX)
        record->attempts++;
}

/*
 * The decision by a pool's record where nothing bears out that the client is of that pool: by what was tried since the
 * last mail came, for so long and so often that it would have passed from any one network.
 */
static struct greylist_decision by_attempts(const struct greylist_settings *settings,
                                            const struct greylist_record *record, bool known, int64_t now_ms)
{
    uint32_t before = known ? record->attempts : 0;
    int64_t from_ms =
        (before ? record->first_ms + record->waited_ms : now_ms) + (int64_t)settings->hung_up_delay_s * 1000;
    if (before + 1 >= GREYLIST_POOL_ATTEMPTS && now_ms >= from_ms)
        return (struct greylist_decision){.pass = true, .reason = GREYLIST_DELAY_OVER};
    bool next = before + 2 >= GREYLIST_POOL_ATTEMPTS;
    return (struct greylist_decision){.reason = GREYLIST_TOO_SOON, .passes_from_ms = next ? from_ms : INT64_MAX};
}

/* What does not pass by its own attempts may by those of its pool, where it is noted, too. */
static void decide_by_pool(const struct greylist_settings *settings, struct greylist_memory *memory, int64_t now_ms,
                           struct greylist_decision *decision)
{
    struct greylist_record *record = &memory->records[GREYLIST_POOL];
    bool known = is_known(settings, GREYLIST_POOL, memory, now_ms);
    bool borne_out = is_known(settings, GREYLIST_TLS, memory, now_ms) && memory->records[GREYLIST_TLS].passes > 0;
    struct greylist_decision pool =
        borne_out ? by_record(settings, record, known, now_ms) : by_attempts(settings, record, known, now_ms);
    note_attempt(record, known, now_ms);
    decision->put |= 1u << GREYLIST_POOL;
    if (pool.pass && pool.reason != GREYLIST_PATIENT) {
        decision->pass = true;
        decision->reason = pool.reason == GREYLIST_KNOWN ? GREYLIST_POOL_KNOWN : GREYLIST_POOL_DELAY_OVER;
        decision->passes_from_ms = 0;
    } else if (!pool.pass && pool.passes_from_ms < decision->passes_from_ms) {
        decision->passes_from_ms = pool.passes_from_ms;
    }
}

static bool is_answer(const struct greylist_settings *settings, struct greylist_memory *memory, int64_t now_ms)
{
    return is_known(settings, GREYLIST_ANSWER_ADDRESS, memory, now_ms) ||
           is_known(settings, GREYLIST_ANSWER_NETWORK, memory, now_ms);
}

static bool network_is_known(const struct greylist_settings *settings, struct greylist_memory *memory, int64_t now_ms)
{
    return settings->client_passes && is_known(settings, GREYLIST_CLIENT, memory, now_ms) &&
           memory->records[GREYLIST_CLIENT].passes >= settings->client_passes;
}

bool greylist_knows_client(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                           struct greylist_memory *memory, const struct greylist_attempt *attempt, int64_t now_ms)
{
    if (names_network(&exempt->clients, attempt->ip_version, attempt->client))
        return true;
    enum ruling ruling = ruling_about(settings, memory, GREYLIST_RULED_HOST, GREYLIST_RULED_BLOCK, now_ms);
    return ruling != RULING_NONE ? ruling == RULING_ALLOWED : network_is_known(settings, memory, now_ms);
}

/* It passes without a look at its attempts. */
static struct greylist_decision passes(enum greylist_reason reason)
{
    return (struct greylist_decision){.pass = true, .reason = reason};
}

/* With all that `needs` names, or with the first of it: then false where that is not enough, and nothing is noted. */
static bool decide(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                   struct greylist_needs needs, bool all, struct greylist_memory *memory,
                   const struct greylist_attempt *attempt, int64_t now_ms, struct greylist_decision *decision)
{
    enum greylist_reason reason = GREYLIST_CLIENT_KNOWN;
    enum ruling ruling = RULING_NONE;
    bool exempted = needs.first == 0 && is_exempt(exempt, attempt, &reason);
    if (!exempted)
        ruling = ruling_of(settings, memory, now_ms, &reason);
    if (ruling == RULING_ALLOWED && attempt->unread && reason != GREYLIST_ALLOWED_CLIENT) {
        ruling = RULING_NONE;
        reason = GREYLIST_CLIENT_KNOWN;
    }
    if (exempted || ruling == RULING_ALLOWED || (ruling == RULING_NONE && network_is_known(settings, memory, now_ms))) {
        *decision = passes(reason);
        return true;
    }
    enum greylist_kind kind = attempts_kind(attempt);
    bool known = is_known(settings, kind, memory, now_ms);
    *decision = by_record(settings, &memory->records[kind], known, now_ms);
    if (!all && (ruling == RULING_DENIED || !decision->pass))
        return false;
    if (ruling == RULING_NONE && !decision->pass && needs.rest >> GREYLIST_ANSWER_ADDRESS & 1 &&
        is_answer(settings, memory, now_ms)) {
        *decision = passes(GREYLIST_ANSWER);
        return true;
    }
    note_attempt(&memory->records[kind], known, now_ms);
    decision->put = 1u << kind;
    if (!decision->pass && needs.rest >> GREYLIST_POOL & 1)
        decide_by_pool(settings, memory, now_ms, decision);
    if (ruling == RULING_DENIED)
        *decision = (struct greylist_decision){.reason = reason, .put = decision->put};
    return true;
}

struct greylist_decision greylist_decide(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                                         struct greylist_needs needs, struct greylist_memory *memory,
                                         const struct greylist_attempt *attempt, int64_t now_ms)
{
    struct greylist_decision decision;
    decide(settings, exempt, needs, true, memory, attempt, now_ms, &decision);
    return decision;
}

bool greylist_decide_early(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                           struct greylist_needs needs, struct greylist_memory *memory,
                           const struct greylist_attempt *attempt, int64_t now_ms, struct greylist_decision *decision)
{
    return decide(settings, exempt, needs, false, memory, attempt, now_ms, decision);
}

/* ---- lessons ---- */

static void learn_pace(struct greylist_record *record, int64_t pace_ms)
{
    int64_t pace_s = pace_ms / 1000 < UINT16_MAX ? pace_ms / 1000 : UINT16_MAX;
    if (record->patient == 1 || pace_s < record->pace_min_s)
        record->pace_min_s = (uint16_t)pace_s;
    if (pace_s > record->pace_max_s)
        record->pace_max_s = (uint16_t)pace_s;
}

/*
 * One refusal after the other counts; of those that were waited for at the same time, the first to end. A client that
 * has several mails alike waits for a few at once, one that fires in parallel for many.
 */
static enum greylist_change learn_waited(const struct greylist_patience *patience, struct greylist_record *record,
                                         bool to_its_end, uint32_t waited_ms, int64_t now_ms)
{
    bool counts = to_its_end && waited_ms >= patience->wait_ms;
    if (now_ms - waited_ms < record->waited_until_ms) {
        if (counts && record->beside < UINT8_MAX)
            record->beside++;
        return counts ? GREYLIST_PUT : GREYLIST_KEEP;
    }
    if (counts && record->patient)
        learn_pace(record, now_ms - record->waited_until_ms);
    if (counts && record->patient < UINT8_MAX)
        record->patient++;
    record->waited_ms += waited_ms < UINT32_MAX - record->waited_ms ? waited_ms : UINT32_MAX - record->waited_ms;
    record->waited_until_ms = now_ms;
    record->hung_up = !to_its_end;
    return GREYLIST_PUT;
}

static enum greylist_change learn_took(const struct greylist_settings *settings, enum greylist_kind kind, bool known,
                                       struct greylist_record *record, int64_t now_ms)
{
    if (!known)
        *record = (struct greylist_record){.first_ms = now_ms, .attempts = 1};
    bool counts = kind != GREYLIST_CLIENT || !known ||
                  now_ms - record->waited_until_ms >= (int64_t)settings->pass_spacing_s * 1000;
    record->last_ms = record->last_ms > now_ms ? record->last_ms : now_ms;
    if (counts && record->passes < UINT16_MAX)
        record->passes++;
    if (kind == GREYLIST_POOL) /* the next attempt is a first one to whom nothing bears out, see by_attempts */
        *record = (struct greylist_record){.first_ms = now_ms, .last_ms = record->last_ms, .passes = record->passes};
    if (counts && kind == GREYLIST_CLIENT)
        record->waited_until_ms = now_ms;
    return GREYLIST_PUT;
}

enum greylist_change greylist_learn(const struct greylist_settings *settings, enum greylist_kind kind,
                                    enum greylist_lesson lesson, uint32_t waited_ms, bool known,
                                    struct greylist_record *record, int64_t now_ms)
{
    known = known && now_ms / 1000 < greylist_expires_s(settings, kind, record);
    switch (lesson) {
    case GREYLIST_TOOK:
        return learn_took(settings, kind, known, record, now_ms);
    case GREYLIST_ADDRESSED:
        *record = (struct greylist_record){.first_ms = now_ms, .last_ms = now_ms};
        return GREYLIST_PUT;
    case GREYLIST_WAITED:
    case GREYLIST_HUNG_UP:
        return known ? learn_waited(&settings->patience, record, lesson == GREYLIST_WAITED, waited_ms, now_ms)
                     : GREYLIST_KEEP;
    case GREYLIST_PUT_OFF:
        if (!known || record->excused == UINT8_MAX)
            return GREYLIST_KEEP;
        record->excused++;
        return GREYLIST_PUT;
    case GREYLIST_REFUSED:
        return known && record->passes == 0 ? GREYLIST_DROP : GREYLIST_KEEP;
    }
    return GREYLIST_KEEP;
}
