/*
 * engine/question - what the engine must hear from outside before it can decide, and what it has learnt meanwhile.
 *
 * Some decisions depend on what is remembered beyond a connection (a greylist). The engine cannot look there itself
 * (law 5): it asks, keeps the line about which it asks from leaving, and goes on when the answer comes or the time for
 * it is over. The same queue brings what the asked one may learn from; that wants no answer.
 *
 * In:     answers, by engine_answer; late and unknown ones are ignored.
 * Out:    questions, by engine_next_question, after each engine_packet, engine_tick or engine_answer.
 * Owner:  spans of a question live until the next of these calls.
 * Limits: 1,024 questions and lessons that nobody has fetched, ENGINE_QUESTIONS_MAX that wait; what does not fit is as
 *         if nobody answered, and counted. A client network may have a share of them; what it asks beyond is deferred.
 */
#ifndef POSTERN_ENGINE_QUESTION_H
#define POSTERN_ENGINE_QUESTION_H

#include "base/span.h"

#define ENGINE_QUESTIONS_MAX 1024 /* that wait for an answer at once */

enum question_kind {
    /* Questions. The action under consideration is carried out where the answer is DEFER. */
    QUESTION_RECIPIENT, /* may this client bring mail of `sender` for `recipient`? (RCPT) */
    QUESTION_TLS,       /* may this client encrypt, so that no recipient will be seen? (STARTTLS) */
    QUESTION_CLIENT,    /* is this client known? Asked once both SYNs have come; nothing waits for the answer */
    /* Lessons. */
    LESSON_RECIPIENT, /* the server's own reply to the RCPT of question `about`: `code` */
    LESSON_MESSAGE,   /* the server's last reply to the message of this transaction: `code` */
    LESSON_WAITED,    /* the refusal of question `about`, or the consent that it waited for (`consents`), was read to
                         its end after `waited_ms`; `hung_up`: it was not */
    LESSON_ADDRESSED, /* a protected server names `recipient` to the server outside; `about` is as if it were a
                         question; LESSON_MESSAGE says what came of it */
    LESSON_RESET,     /* the transaction came to nothing: RSET, EHLO, another MAIL, or a refusal of the filter */
    LESSON_CONTENT,   /* the message of this `transaction` was cut for what it contains, by a rule: `refused_by` */
    LESSON_END,       /* the connection, or what can be read of it (encrypted), is over */
    QUESTION_KINDS
};

/* The line that a question is about; the answer brings it back. */
struct question_line {
    uint16_t rule;   /* the number of the rule that asks */
    uint8_t verb;    /* enum smtp_verb */
    uint8_t variant; /* of the greylist's settings, as the rule says: from 1; 0: those for all */
};

struct question {
    enum question_kind kind;
    struct question_line line; /* of QUESTION_RECIPIENT and QUESTION_TLS */
    uint64_t id;               /* of a question: for the answer; never used twice */
    uint64_t about;       /* of a lesson: the question's id; of LESSON_MESSAGE and LESSON_RESET, of the connection's
                             questions and LESSON_ADDRESSED those are meant whose id is not above it, since clients may
                             begin the next transaction before they have read the end of one */
    uint64_t flow_id;     /* of the connection */
    uint8_t ip_version;   /* 4 or 6 */
    uint8_t client[16];   /* the first 4 or all 16 octets: the address of the client (engine/client) */
    uint8_t server[16];   /* and of the server; zero where it is of the other family */
    uint32_t transaction; /* of QUESTION_RECIPIENT and LESSON_CONTENT: the same for all recipients of one MAIL, and for
                             no others; not 0 */
    struct span helo;     /* argument of the last EHLO or HELO */
    struct span sender;   /* without brackets and quotes, as compared (policy/address); empty for the null sender */
    struct span recipient;
    bool outbound;     /* the client is one of the protected servers */
    bool early_talker; /* the client did not wait for the greeting */
    bool content;      /* of QUESTION_RECIPIENT: whether the mail was cut for what it contains is asked, too */
    bool content_only; /* and nothing else */
    bool unread;       /* sender or recipient cannot be read in one way, and stands here as it was written */
    uint16_t code;
    uint32_t size;       /* of a mail, as MAIL announces it; 0: it does not */
    uint32_t refused_by; /* a rule, by its tag (policy_rule_tag) */
    uint32_t waited_ms;
    bool hung_up;
    bool consents;
};

/* A client whose name in the DNS rules want to know; see engine/names. */
#define ENGINE_NAME_QUERIES_MAX 64
struct engine_name_query {
    uint64_t flow_id;
    uint32_t flow_place; /* 1 to flows_max */
    uint8_t ip_version;  /* 4 or 6 */
    uint8_t address[16]; /* the first 4 or all 16 octets */
};

enum answer {
    ANSWER_PASS,   /* of QUESTION_CLIENT: known */
    ANSWER_DEFER,  /* unknown */
    ANSWER_FAILED, /* nobody could tell: what the rules say of a lost store holds */
    ANSWER_BRING,  /* of QUESTION_RECIPIENT: may pass, and so may those of its transaction that were put off and that
                      the server has not answered yet */
    ANSWER_DENY,   /* of QUESTION_RECIPIENT: unknown, and no later attempt passes: it alone is refused */
};

static inline bool answer_passes(enum answer answer)
{
    return answer == ANSWER_PASS || answer == ANSWER_BRING;
}

static inline bool answer_defers(enum answer answer)
{
    return answer == ANSWER_DEFER || answer == ANSWER_DENY;
}

/* An answer, and what is to be told of it. */
struct finding {
    enum answer answer;
    const char *reason;     /* a word, static; NULL where there is none to be told */
    int64_t passes_from_us; /* of DEFER: the time from which on the same would pass; 0: not known */
    int64_t first_seen_us;  /* when it was tried first; 0: by its attempts nothing was decided */
    uint32_t attempts;      /* since then, this one included */
    bool refused;        /* of QUESTION_RECIPIENT: the mail was cut for what it contains, by the rule with this tag; */
    uint32_t refused_by; /* `answer` holds where that rule is in force no more */
    struct question_line line;
    struct span helo, sender, recipient; /* of the question */
};

#endif
