/*
 * policy/rule - one rule: at which moment of a session it looks, at what, and what then happens.
 *
 * Owner:  texts and patterns live in the policy's arena.
 */
#ifndef POSTERN_POLICY_RULE_H
#define POSTERN_POLICY_RULE_H

#include "policy/facts.h"
#include "smtp/session.h"

#define RULE_CODES_MAX 16
#define RULE_ANY_OVER  UINT32_MAX

/* The moments. */
enum rule_event {
    RULE_ON_CONNECT,   /* both ends have said SYN */
    RULE_ON_GREETING,  /* a line of the server's greeting; matches are patterns of its text */
    RULE_ON_KEYWORD,   /* a keyword of an EHLO reply; matches are keywords */
    RULE_ON_COMMAND,   /* a command line; matches are verbs */
    RULE_ON_ARGUMENT,  /* what follows the verb; matches are patterns */
    RULE_ON_SENDER,    /* MAIL; matches are addresses and domains, `<>` the null sender */
    RULE_ON_RECIPIENT, /* RCPT; likewise */
    RULE_ON_STARTTLS,  /* STARTTLS or X-ANONYMOUSTLS; nothing to match */
    RULE_ON_REPLY, /* the first line of a reply as the client reads it; matches are codes, and patterns of its text */
    RULE_ON_LINE,  /* a line of a message; matches are patterns */
    RULE_ON_FILE_NAME, /* the name of an attachment; matches are patterns */
    RULE_ON_MESSAGE,   /* a message has come to its end; nothing to match */
    RULE_ON_ANOMALY,   /* something that ought not to be; matches are names of anomalies */
    RULE_EVENTS
};

/* A word in lower case, static. */
const char *rule_event_name(enum rule_event event);

/* Which lines of a message. */
enum rule_part {
    RULE_PART_ANY,
    RULE_PART_HEADER, /* of the message, or of one of its MIME parts */
    RULE_PART_BODY,
};

/* A condition that may be left open. */
enum rule_choice {
    RULE_EITHER,
    RULE_YES,
    RULE_NO,
};

enum rule_match {
    RULE_MATCH_NO,
    RULE_MATCH_YES,
    RULE_MATCH_UNDECIDED, /* an expression ran into its limits */
};

/* What no table can find: text with `*` and `?`, or a regular expression. */
struct rule_pattern {
    struct span glob;                                                /* where `matches` is NULL */
    enum rule_match (*matches)(const void *regex, struct span text); /* pure, bounded in time */
    const void *regex;
};

struct rule_patterns {
    struct rule_pattern *list;
    uint32_t count;
};

struct rule_codes {
    uint32_t count; /* none: any */
    struct {
        uint16_t first, last;
    } ranges[RULE_CODES_MAX];
};

struct rule {
    const char *name;  /* for reports */
    const char *does;  /* the action as a rule file says it, likewise; NULL: the filter's own */
    const char *place; /* FILE:LINE at which it stands; NULL likewise */
    enum rule_event on;
    bool has_words;                           /* the policy's tables know texts that it matches */
    bool has_clients, has_servers, has_peers; /* likewise networks */
    struct rule_patterns match;               /* besides those texts */
    struct rule_patterns except;
    uint64_t verbs; /* bits 1 << enum smtp_verb; none: any */
    uint64_t except_verbs;
    uint64_t keyword_verbs;  /* RULE_ON_KEYWORD: what its keywords offer, passed or refused with them; the policy's */
    uint32_t anomalies;      /* RULE_ON_ANOMALY: bits 1 << enum smtp_anomaly */
    struct rule_codes codes; /* RULE_ON_REPLY */
    uint8_t part;            /* RULE_ON_LINE: enum rule_part */
    uint8_t directions;      /* bits 1 << enum policy_direction; none: any */
    uint8_t known, authenticated, early_talker; /* enum rule_choice */
    uint32_t after;            /* the client has read more than so many 4xx and 5xx; RULE_ANY_OVER: however many */
    uint32_t refused_over;     /* of these, to RCPT */
    uint32_t commands_over;    /* commands of this session, this one included */
    uint32_t recipients_over;  /* recipients of this transaction that were accepted, and this one */
    uint32_t length_over;      /* octets of what is looked at */
    uint64_t size_over;        /* RULE_ON_MESSAGE: octets of the message; UINT64_MAX: however large */
    struct smtp_action action; /* first match decides */
    uint32_t delay_step_ms;    /* action.delay_ms grows by this with each error since `after` */
    uint32_t delay_max_ms;
    bool marks;                        /* the connection gets `mark` */
    bool logs;                         /* it is told of */
    bool goes_on;                      /* the rules behind it are looked at, too */
    struct rule_patterns client_names; /* domains of the client's name in the DNS, and patterns */
    struct rule_patterns helo;         /* patterns of the name that the client gave last in EHLO, HELO or LHLO */
    /* Of these two conditions, from 1: bit number - 1 of policy_facts.name_holds and .helo_holds; 0: there is none. */
    uint8_t name_number, helo_number;
    uint8_t variant;  /* action.ask: by which named section of the greylist, from 1; 0: none */
    bool for_session; /* RULE_ON_CONNECT: no rule behind it, and no verdict, is for this connection */
    uint32_t mark;
};

/* A rule that matches whatever happens at that moment, and passes it. */
struct rule rule_of(const char *name, enum rule_event on);

/* What a rule is to look at. */
struct rule_case {
    enum rule_event event;
    enum smtp_verb verb; /* of the command, or of the one that is answered */
    enum smtp_anomaly anomaly;
    enum rule_part part;
    uint16_t code;
    uint16_t recipients; /* accepted in this transaction */
    struct span text;    /* an address folded, see policy/address */
    struct span written; /* an address as it is written, elsewhere nothing; the same octets where nothing folds */
    bool unread;   /* `text` is an argument whose address cannot be read in one way: named, it does not pass by it */
    size_t length; /* octets that length_over is about */
    uint64_t size; /* of the message */
};

/*
 * Whether conditions other than networks and the tables' texts hold. `named`: the tables say that a text does. Where an
 * expression cannot decide it *undecided becomes true, and a rule holds that refuses or delays, while one that lets
 * pass does not: nobody gets by a rule, or through one, by a text that is hard to match.
 */
bool rule_holds(const struct rule *rule, const struct rule_case *what, const struct policy_facts *facts, bool named,
                bool *undecided);

/* Whether what it says of the connection and of the client, besides networks, holds now; not what it counts. */
bool rule_is_for(const struct rule *rule, const struct policy_facts *facts);

/* Whether it refuses a mail for what the mail contains: the connection is cut, its next attempt refused. */
bool rule_refuses_content(const struct rule *rule);

/* Whether a rule means a text, by what it matches and excepts besides the tables' texts. `named` as above. */
bool rule_means(const struct rule *rule, struct span text, bool named);

/*
 * Whether `text` is like `pattern`, in which `*` stands for any octets, also none, and `?` for one; without regard to
 * the case of ASCII letters. Takes time proportional to the product of the lengths at worst.
 */
bool rule_pattern_matches(struct span pattern, struct span text);

/* Whether the condition on the name that the client gives holds. A rule that restricts holds where that cannot be
   decided. */
bool rule_names_helo(const struct rule *rule, struct span name);

/* The same of its name in the DNS: an entry names what is below it, too. */
bool rule_names_client(const struct rule *rule, struct span name);

#endif
