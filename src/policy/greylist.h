/*
 * policy/greylist - whether a stranger's mail passes now, or has to be tried again.
 *
 * In:     settings, an attempt (who brings whose mail for whom), what was remembered of it, and the time.
 * Out:    a decision with its reason and the time from which on it would pass; what is to be remembered.
 * Owner:  nothing is kept here. Whoever asks keeps records by their keys (greylist/service), in a store.
 * Thread: no state.
 * Limits: GREYLIST_VALUE_BYTES a record, GREYLIST_ADDRESS_BYTES_MAX of an address.
 * Errors: a value that does not decode is as if it were absent: it may come from another program, or a damaged disk.
 * Source: RFC 6647; the policies of spamd and postgrey; Microsoft KB 950757 for what Exchange 2003 does.
 *
 * A mail passes if its client, sender or recipient is exempt, or was allowed by hand; its client's network has brought
 * enough mail; the same was let through before; it is tried again after the delay; or it answers mail of ours. It
 * passes earlier if its client proves patience: a refusal leaves slowly (the rule's delay), and a client that reads
 * some of them to their end, one after the other and at an even pace, is none that fires and forgets. Exchange 2003
 * proves it with the four attempts after which some of its versions lose the mail. It passes later if its client does
 * not wait for a refusal at all. What was denied by hand does not pass, unless it is exempt.
 */
#ifndef POSTERN_POLICY_GREYLIST_H
#define POSTERN_POLICY_GREYLIST_H

#include "policy/network.h"
#include "policy/words.h"

#define GREYLIST_KEY_BYTES         16
#define GREYLIST_SECRET_BYTES      16
#define GREYLIST_VALUE_BYTES       40
#define GREYLIST_ADDRESS_BYTES_MAX 320

/* ---- settings ---- */

/* When a client is patient: `attempts` refusals read to their end. */
struct greylist_patience {
    uint32_t attempts;     /* 0: patience is of no use */
    uint32_t wait_ms;      /* a refusal counts that took so long at least */
    uint32_t total_ms;     /* and all of them together so long */
    uint32_t uneven_times; /* the longest time from one to the next is at most so many times the shortest */
    uint32_t at_once;      /* and on average so many of the same mail were waited for at the same time */
};

struct greylist_settings {
    uint32_t delay_s;            /* a retry passes so long after the first attempt, refusals' own time not counted */
    uint32_t hung_up_delay_s;    /* the same for a client that hung up on the last refusal: RFC 5321 4.5.3.2 would have
                                   it wait for minutes */
    uint32_t retry_window_s;     /* so long after the last attempt the next is a first one */
    uint32_t lifetime_s;         /* so long after its last mail a sender passes at once */
    uint32_t client_passes;      /* mails after which a client's network passes at once; 0: it never does */
    uint32_t client_lifetime_s;  /* for so long, from the last one on */
    uint32_t pass_spacing_s;     /* of mails of a network within so long, one counts */
    uint32_t answer_lifetime_s;  /* so long after mail of ours, an answer passes at once; 0: it does not */
    uint32_t refused_lifetime_s; /* so long after a mail was cut for what it contains it is refused at RCPT */
    uint32_t stutter_ms;         /* how long a refusal takes: the delay of the rule that asks */
    struct greylist_patience patience;
    uint8_t prefix_v4; /* bits of an address that make a client's network */
    uint8_t prefix_v6;
    /* A retry may come from another network with the same EHLO domain: large senders have many. Anybody can say a
       domain, so an earlier pass must bear it out for the network; else the mail is to be tried for an hour
       (hung_up_delay_s), and GREYLIST_POOL_ATTEMPTS times. */
    bool pools;
};

#define GREYLIST_POOL_ATTEMPTS 4

/* docs/greylist.md says where they come from. */
struct greylist_settings greylist_settings_default(void);

/* Who is never greylisted. All zero: nobody. The tables' rule is number 0. */
struct greylist_exempt {
    struct network_table clients;
    struct word_table senders;
    struct word_table recipients;
};

enum greylist_list {
    GREYLIST_SENDERS,
    GREYLIST_RECIPIENTS, /* `postmaster` without a domain (RFC 5321 4.5.1) is exempt without being named */
};

/* False where the arena has no room, or the text is too long. */
bool greylist_exempt_network(struct greylist_exempt *exempt, struct arena *arena, struct network network);
bool greylist_exempt_word(struct greylist_exempt *exempt, struct arena *arena, enum greylist_list list,
                          enum word_kind kind, struct span text);

/* After the last network. False where the arena has no room. */
bool greylist_exempt_seal(struct greylist_exempt *exempt, struct arena *arena);

struct greylist_attempt;

/* A named section of the rule file: what it says otherwise of what its rules ask about. */
struct greylist_variant {
    uint32_t delay_s, hung_up_delay_s; /* see greylist_settings */
    struct greylist_exempt opt_out;    /* recipients alone: who are not greylisted by it */
};

#define GREYLIST_VARIANTS_MAX 32

/* The settings that hold for what a variant is asked about; NULL: those that hold for all. */
struct greylist_settings greylist_settings_of(const struct greylist_settings *settings,
                                              const struct greylist_variant *variant);

/* Who is exempt then: the recipient of the attempt by its own wish, or else whoever is for all. */
const struct greylist_exempt *greylist_exempt_of(const struct greylist_exempt *exempt,
                                                 const struct greylist_variant *variant,
                                                 const struct greylist_attempt *attempt);

/* ---- what is remembered ---- */

/* The values are those of struct store_record's `kind`. */
enum greylist_kind {
    GREYLIST_TRIPLET,        /* network of the client, sender, recipient */
    GREYLIST_POOL,           /* EHLO domain of the client, sender, recipient */
    GREYLIST_TLS,            /* network and EHLO domain of a client: that wants to encrypt, or whose mail came */
    GREYLIST_CLIENT,         /* network of the client */
    GREYLIST_ANSWER_ADDRESS, /* address outside, address of ours */
    GREYLIST_ANSWER_NETWORK, /* network outside, address of ours */
    /* Rulings, what an administrator allowed or denied; of clients by networks of some widths (greylist_ruled_prefix).
     */
    GREYLIST_RULED_HOST,
    GREYLIST_RULED_NETWORK,
    GREYLIST_RULED_SITE,
    GREYLIST_RULED_BLOCK,
    GREYLIST_RULED_SENDER,
    GREYLIST_RULED_SENDER_DOMAIN, /* the domain itself, not what is below it */
    GREYLIST_RULED_RECIPIENT,
    GREYLIST_RULED_RECIPIENT_DOMAIN,
    GREYLIST_RULED_MAIL, /* mail of one sender for one recipient: before all other rulings */
    GREYLIST_KINDS       /* at most GUARD_KIND (policy/guard) */
};

/* A word for records of a kind; static. */
const char *greylist_kind_name(enum greylist_kind kind);

struct greylist_key {
    uint8_t octets[GREYLIST_KEY_BYTES];
};

/* Times are milliseconds since 1970, at most GREYLIST_TIME_MS_MAX, which is in the year 10889. */
#define GREYLIST_TIME_MS_MAX ((INT64_C(1) << 48) - 1)
struct greylist_record {
    int64_t first_ms,
        last_ms; /* attempts; of GREYLIST_CLIENT mails, of answers our mail, of rulings when it was said */
    /* The end of the last refusal that was read, or hung up on; of GREYLIST_CLIENT, the last mail that counted; of
       rulings the time until which they hold; 0: none, of rulings for ever. */
    int64_t waited_until_ms;
    uint32_t attempts;
    uint32_t waited_ms;              /* for refusals, one after the other, in all */
    uint16_t pace_min_s, pace_max_s; /* from the end of one that was read to its end to that of the next */
    uint16_t passes;                 /* mails that the server took; of rulings 1: allowed, 0: denied */
    uint8_t patient;                 /* refusals that were waited out, one after the other */
    uint8_t beside;                  /* those that were waited out at the same time as one of them */
    uint8_t hung_up;                 /* 1: on the last refusal */
    uint8_t excused;                 /* attempts that the server itself put off */
};

/* A value is a version's octet and the fields in network byte order; all of its octets are set. */
void greylist_encode(const struct greylist_record *record, uint8_t value[GREYLIST_VALUE_BYTES]);

/* False where `value` is none that greylist_encode makes; *record is then not to be used. */
bool greylist_decode(struct span value, struct greylist_record *record);

/* When it is to be forgotten, seconds since 1970; of a ruling for ever, beyond what a store can say (2106). */
int64_t greylist_expires_s(const struct greylist_settings *settings, enum greylist_kind kind,
                           const struct greylist_record *record);

/* ---- rulings ---- */

/* `until_ms`: 0 for ever. */
struct greylist_record greylist_ruling(bool allowed, int64_t now_ms, int64_t until_ms);

bool greylist_is_ruling(enum greylist_kind kind);

/* All of them, bits 1u << enum greylist_kind. */
#define GREYLIST_RULED_KINDS ((1u << GREYLIST_KINDS) - (1u << GREYLIST_RULED_HOST))

/* The bits of a client's network that this kind of ruling is about; 0 where it is about no client. */
uint8_t greylist_ruled_prefix(enum greylist_kind kind, uint8_t ip_version);

/* ---- attempts ---- */

/* Texts are the caller's, without brackets, as they came; what is not known is empty. */
struct greylist_attempt {
    uint8_t ip_version;    /* 4 or 6 */
    uint8_t client[16];    /* its address in network byte order; of IPv4 the first four octets */
    struct span helo;      /* the argument of EHLO */
    struct span sender;    /* empty: the null sender */
    struct span recipient; /* at most GREYLIST_ADDRESS_BYTES_MAX octets, as the others */
    struct span comment;   /* what an administrator says of a ruling: kept beside it, and of no other use */
    bool tls;              /* it wants to encrypt: neither sender nor recipient is known */
    bool early_talker;     /* its refusals do not count as waited for */
    bool unread;           /* sender or recipient cannot be read in one way: no list, ruling or answer lets it pass */
};

/*
 * A sender as it counts: in lower case, without what is new in each message. Returns a span of `room`, or of `sender`
 * where that is too long.
 */
struct span greylist_fold(struct span sender, uint8_t room[GREYLIST_ADDRESS_BYTES_MAX]);

/* The domain of an EHLO name, a span of it: its last two labels, three where the second last is short; a literal as it
 * is. */
struct span greylist_helo_domain(struct span helo);

/* The bits of a client's network that records of a kind are about: of rulings greylist_ruled_prefix, else the
 * settings'. */
uint8_t greylist_prefix(const struct greylist_settings *settings, enum greylist_kind kind, uint8_t ip_version);

/* The key of a record: SipHash-2-4-128 with `secret`, so that it tells nothing of whom it is about. */
struct greylist_key greylist_key(const struct greylist_settings *settings, const uint8_t secret[GREYLIST_SECRET_BYTES],
                                 enum greylist_kind kind, const struct greylist_attempt *attempt);

/*
 * What keys of an attempt are made of, each made when it is first needed, and for no other attempt. To begin with,
 * `made` is 0.
 */
#define GREYLIST_PARTS          7
#define GREYLIST_PART_BYTES_MAX (2 + GREYLIST_ADDRESS_BYTES_MAX)
struct greylist_parts {
    uint32_t made; /* bits, a part each */
    struct network network;
    struct greylist_part {
        uint16_t len;
        uint8_t octets[GREYLIST_PART_BYTES_MAX];
    } parts[GREYLIST_PARTS];
};

/* Keys of some kinds, bits 1u << enum greylist_kind, at a lower price than one by one; the others are not set. */
void greylist_keys(const struct greylist_settings *settings, const uint8_t secret[GREYLIST_SECRET_BYTES],
                   uint32_t kinds, const struct greylist_attempt *attempt, struct greylist_parts *parts,
                   struct greylist_key keys[GREYLIST_KINDS]);

/* What was looked up for an attempt; a kind that was not, or is absent, is not known. */
struct greylist_memory {
    uint32_t known; /* bits 1u << enum greylist_kind */
    struct greylist_record records[GREYLIST_KINDS];
};

static inline bool greylist_knows(const struct greylist_memory *memory, enum greylist_kind kind)
{
    return memory->known >> kind & 1;
}

/* Which kinds are to be looked up for an attempt: bits 1u << enum greylist_kind; none where it is exempt. */
struct greylist_needs {
    uint32_t first; /* enough for mail that is known, which is most of it */
    uint32_t rest;  /* where the first do not let it pass */
};

struct greylist_needs greylist_needs(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                                     const struct greylist_attempt *attempt);

enum greylist_reason {
    GREYLIST_OUTBOUND, /* of greylist/service, as the next */
    GREYLIST_SAME_TRANSACTION,
    GREYLIST_ALLOWED_CLIENT,
    GREYLIST_ALLOWED_SENDER,
    GREYLIST_ALLOWED_RECIPIENT,
    GREYLIST_ALLOWED_MAIL,
    GREYLIST_EXEMPT_CLIENT,
    GREYLIST_EXEMPT_SENDER,
    GREYLIST_EXEMPT_RECIPIENT,
    GREYLIST_CLIENT_KNOWN,
    GREYLIST_KNOWN,
    GREYLIST_DELAY_OVER,
    GREYLIST_PATIENT,
    GREYLIST_ANSWER,
    GREYLIST_POOL_KNOWN,
    GREYLIST_POOL_DELAY_OVER,
    GREYLIST_FIRST, /* from here on: not now */
    GREYLIST_TOO_SOON,
    GREYLIST_HUNG_UP_ON,
    GREYLIST_DENIED_CLIENT, /* from here on: not until the ruling ends */
    GREYLIST_DENIED_SENDER,
    GREYLIST_DENIED_RECIPIENT,
    GREYLIST_DENIED_MAIL,
    GREYLIST_REASONS
};

/* A word for records, and a sentence for people; static. */
const char *greylist_reason_name(enum greylist_reason reason);
const char *greylist_reason_text(enum greylist_reason reason);

/* The setting that decided, as it is named in the rules; static. */
const char *greylist_reason_setting(enum greylist_reason reason);

struct greylist_decision {
    bool pass;
    enum greylist_reason reason;
    /* Of one that does not pass: from when on it will, if it does nothing to prove patience; 0: of denied ones, never.
     */
    int64_t passes_from_ms;
    uint32_t put; /* kinds whose record in `memory` has changed and is to be kept */
};

/*
 * Decide at `now_ms` (since 1970) with all that `needs` names, and note the attempt in *memory: whoever only asks gives
 * a copy. `needs` is greylist_needs of the same attempt.
 */
struct greylist_decision greylist_decide(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                                         struct greylist_needs needs, struct greylist_memory *memory,
                                         const struct greylist_attempt *attempt, int64_t now_ms);

/* The same with `needs.first` alone. False where that is not enough: then nothing is noted. */
bool greylist_decide_early(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                           struct greylist_needs needs, struct greylist_memory *memory,
                           const struct greylist_attempt *attempt, int64_t now_ms, struct greylist_decision *decision);

/*
 * Whether a client is exempt, allowed, or its network known and not denied; needs GREYLIST_CLIENT_KINDS at most.
 * Records of the future in *memory begin now.
 */
#define GREYLIST_CLIENT_KINDS                                                                                          \
    (1u << GREYLIST_CLIENT | 1u << GREYLIST_RULED_HOST | 1u << GREYLIST_RULED_NETWORK | 1u << GREYLIST_RULED_SITE |    \
     1u << GREYLIST_RULED_BLOCK)
bool greylist_knows_client(const struct greylist_settings *settings, const struct greylist_exempt *exempt,
                           struct greylist_memory *memory, const struct greylist_attempt *attempt, int64_t now_ms);

/* ---- lessons ---- */

enum greylist_lesson {
    GREYLIST_TOOK,      /* the server took the mail, or the connection encrypted */
    GREYLIST_WAITED,    /* a refusal was read to its end */
    GREYLIST_HUNG_UP,   /* one was not */
    GREYLIST_PUT_OFF,   /* the server itself put the recipient off: the attempt is given back */
    GREYLIST_REFUSED,   /* the server does not want the recipient */
    GREYLIST_ADDRESSED, /* a server outside took mail of ours */
};

/* What becomes of a record. */
enum greylist_change {
    GREYLIST_KEEP, /* nothing */
    GREYLIST_PUT,
    GREYLIST_DROP,
};

/*
 * What a lesson of `now_ms` makes of the record of a kind. `known`: *record is; else it is made where the lesson makes
 * one, and holds where the answer is GREYLIST_PUT. `waited_ms` belongs to GREYLIST_WAITED and _HUNG_UP.
 */
enum greylist_change greylist_learn(const struct greylist_settings *settings, enum greylist_kind kind,
                                    enum greylist_lesson lesson, uint32_t waited_ms, bool known,
                                    struct greylist_record *record, int64_t now_ms);

#endif
