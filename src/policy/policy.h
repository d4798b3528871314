/*
 * policy/policy - what to do with a unit of SMTP.
 *
 * In:     a unit as smtp/session cuts it, and the facts of its session.
 * Out:    a plain decision; nothing is changed here.
 * Owner:  the policy owns its texts; it does not change while an engine uses it. Reasons point into it.
 * Thread: may be shared: read only.
 * Limits: RULES_MAX rules; texts, lists and tables by the arena: its own, or a larger one of the caller's.
 * Cost:   rules are compiled: one look-up in a table says for all rules at once whether they name an address, a domain,
 *         a keyword or a network. What is left of a rule is looked at only where that and the moment fit.
 */
#ifndef POSTERN_POLICY_POLICY_H
#define POSTERN_POLICY_POLICY_H

#include "policy/address.h"
#include "policy/network.h"
#include "policy/rule.h"
#include "policy/words.h"

#define POLICY_KEYWORD_BYTES_MAX 64
#define POLICY_OWN_BYTES         131072
#define POLICY_TAKEN_MAX         16
#define POLICY_NAMES_MAX         16 /* rules with a condition on a name of the client, of each kind */

/* What happens to a session behind something that loses the pairing of commands and replies. */
enum policy_lost {
    POLICY_LOST_PASS,  /* it is not read any more */
    POLICY_LOST_CLOSE, /* it ends, where anything in force could still act on what follows */
    POLICY_LOST_RESET, /* it is reset */
};

struct policy {
    struct smtp_keyword_set strip;                                   /* EHLO keywords that no client shall see */
    uint8_t strip_text[SMTP_KEYWORDS_MAX][POLICY_KEYWORD_BYTES_MAX]; /* where their names are kept */
    uint64_t refuse;                             /* verbs that no server shall see: bits 1 << enum smtp_verb */
    uint64_t watched;                            /* verbs that a rule or a verdict may look at, likewise */
    uint64_t addresses;                          /* MAIL, RCPT: where a rule that may act looks at the address */
    bool whole_replies;                          /* reply lines are to be judged whole, not only those above */
    bool judges_early;                           /* a rule decides about early talkers */
    bool dry_run;                                /* nothing is changed; what would have been is told */
    bool defers_without_store;                   /* an action that asks is carried out where nobody answers */
    struct smtp_refusals refusals;               /* what actions number */
    struct smtp_action verdicts[SMTP_ANOMALIES]; /* where no rule says otherwise */
    uint32_t verdicts_if_acting; /* of these, those that hold where policy_would_act: bits 1 << enum smtp_anomaly */
    uint8_t lost;                /* enum policy_lost */

    uint32_t rule_count;
    uint8_t helo_count;              /* of their conditions on the name that the client gives */
    uint8_t name_count;              /* and on its name in the DNS */
    struct rule rules[RULES_MAX];    /* in order; the first that matches decides */
    struct rule_set on[RULE_EVENTS]; /* rules by the moment they look at */
    uint32_t moments;                /* those that any looks at, bits 1u << enum rule_event */
    struct rule_set on_keyword_verb; /* those of RULE_ON_KEYWORD that also decide about a command */
    struct rule_set acting;          /* rules that may change something behind the beginning of a connection */
    struct rule_set by_table;        /* rules that match by what a table says, and not without */
    struct rule_set has_clients, has_servers, has_peers;
    struct rule_set exempting;        /* rules of RULE_ON_CONNECT that exempt a session from those behind them */
    struct rule_set refusing_content; /* rules that refuse a mail for what it contains */
    uint32_t guard; /* number of the rule that says whose mail is guarded, and what marks a greylist; RULES_MAX: none */
    struct word_table words;
    address_to_ascii *domain_to_ascii; /* NULL until the caller sets it */
    struct network_table clients, servers, peers;
    struct network_table protected_networks, balancers;

    struct arena arena;
    uint8_t own[POLICY_OWN_BYTES] __attribute__((aligned(16)));
};

/* What is to happen. */
struct policy_decision {
    struct smtp_action action;
    const struct rule *rule; /* that decided; NULL where none did */
    bool marks;              /* the connection gets `mark` */
    uint32_t mark;
    bool undecided; /* an expression ran into its limits (rule_holds) */
    bool offered;   /* a rule lets the client see the keyword that offers the command: `strip` is not for it */
    uint32_t taken_count;
    const struct rule *taken[POLICY_TAKEN_MAX]; /* that held, in order; of more the first ones, and what they add */
};

/* Exchange's private verbs that no stranger needs: XEXCH50 and X-LINK2STATE stripped, and refused if used all the same.
 */
void policy_init_default(struct policy *policy);

/* No keyword stripped, no verb refused, no rule; security verdicts as they are by default. */
void policy_init_empty(struct policy *policy);

/* Nothing is changed or refused, whatever comes; anomalies are only told. */
void policy_init_observer(struct policy *policy);

/* Texts, lists and tables go into `memory` of `size` octets, aligned to 16, in place of the policy's own. Before rules.
 */
void policy_use_memory(struct policy *policy, void *memory, size_t size);

/*
 * Strip one more keyword, and refuse the verb that it offers. False where the set is full, or the keyword is no RFC
 * 5321 ehlo-keyword or too long.
 */
bool policy_strip(struct policy *policy, struct span keyword);

/* Whether a word is an RFC 5321 ehlo-keyword, and not too long. */
bool policy_is_keyword(struct span word);

/* Keep a copy of a text of a rule, ended by NUL; NULL where there is no room. Lives as long as the policy. */
const char *policy_keep(struct policy *policy, struct span text);

/* One more rule, behind the others. False where there is no room. */
bool policy_add_rule(struct policy *policy, const struct rule *rule);

/* ---- what the rule that is added next names; its number is rule_count ---- */

bool policy_name_word(struct policy *policy, struct rule *rule, enum word_kind kind, struct span text, bool except);

bool policy_name_pattern(struct policy *policy, struct rule *rule, struct rule_pattern pattern, bool except);

/*
 * The same of the one that says what marks a reply as a greylist's, and in which connections: such a reply is guarded
 * (policy/guard) and leaves later by the rule's delay, whatever other rules say of it. One at most.
 */
bool policy_set_guard(struct policy *policy, const struct rule *rule);

/* Which end of a connection. */
enum policy_end {
    POLICY_CLIENT,
    POLICY_SERVER,
    POLICY_PEER, /* the one that is not protected */
};

bool policy_name_network(struct policy *policy, struct rule *rule, enum policy_end end, struct network network,
                         bool except);

/* One more network that is protected. False where there is no room. */
bool policy_protect(struct policy *policy, struct network network);

/* One more network of load balancers, which begin a connection with a PROXY header. False where there is no room. */
bool policy_name_balancer(struct policy *policy, struct network network);

/* Networks are found from here on; after the last rule that names one. False where there is no room. */
bool policy_seal(struct policy *policy);

/* ---- sessions ---- */

/* An address of a connection's end. */
struct policy_address {
    uint8_t ip_version;    /* 4 or 6 */
    const uint8_t *octets; /* network byte order */
};

/* Whether an end is a load balancer that may say whose the connection is. */
bool policy_is_balancer(const struct policy *policy, struct policy_address end);

/* The facts of a connection that begins. Ends are of two families where a load balancer told of the client. */
void policy_facts_begin(const struct policy *policy, struct policy_address client, struct policy_address server,
                        struct policy_facts *facts);

/* The client has said who it is (EHLO, HELO, LHLO). */
void policy_note_helo(const struct policy *policy, struct span name, struct policy_facts *facts);

/* Its name in the DNS is known. */
void policy_note_name(const struct policy *policy, struct span name, struct policy_facts *facts);

/* The decision about a unit. `recipients`: accepted in this transaction; `code`: of a reply as the client will read it.
 */
void policy_judge(const struct policy *policy, const struct smtp_unit *unit, const struct policy_facts *facts,
                  uint16_t recipients, uint16_t code, struct policy_decision *decision);

/* The decision about what is no unit: RULE_ON_CONNECT, _LINE, _FILE_NAME, _MESSAGE. */
void policy_judge_case(const struct policy *policy, const struct rule_case *what, const struct policy_facts *facts,
                       struct policy_decision *decision);

/* Say what happens to a session whose pairing is lost; the verdicts of anomalies that lose it and have none follow. */
void policy_set_lost(struct policy *policy, enum policy_lost lost);

/* Whether a rule, a keyword to be stripped, a greylist or a guard may act on what a connection brings yet. */
bool policy_would_act(const struct policy *policy, const struct policy_facts *facts);

/* The same where they are in force: not in a dry run. */
bool policy_may_act(const struct policy *policy, const struct policy_facts *facts);

/* Whether a rule may refuse mail of this connection for what it contains; not in a dry run. */
bool policy_refuses_content(const struct policy *policy, const struct policy_facts *facts);

/* What a store has in place of a rule's name. */
uint32_t policy_rule_tag(const char *name);

/* The rule with this tag that may refuse mail of this client, as it is known now, for what it contains; NULL: there is
   none. */
const struct rule *policy_content_rule(const struct policy *policy, const struct policy_facts *facts, uint32_t tag);

/* Whether a connection ends that nobody can read any more, for a reason that has no verdict of its own. */
bool policy_ends_unread(const struct policy *policy, const struct policy_facts *facts);

/* Whether mail of this connection is guarded. */
bool policy_guards(const struct policy *policy, const struct policy_facts *facts);

/* Whether any rule looks at this moment. */
static inline bool policy_looks_at(const struct policy *policy, enum rule_event event)
{
    return policy->moments >> event & 1;
}

#endif
