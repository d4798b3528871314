/*
 * greylist/service - the engine's questions, answered from a store.
 *
 * In:     questions and lessons of an engine, and what the store answers.
 * Out:    an answer to each question, with its reason: from greylist_service_take where the store knows at once, else
 *         from greylist_service_next.
 * Owner:  the service borrows the store's client and the exempt lists; they outlive it.
 * Thread: one, that of its store client.
 * Limits: flows_max, mails_max, tasks_max; about 1 KiB a mail and 2 KiB a task.
 * Note:   which mail was cut for what it contains (policy/refused) is remembered beside the greylist's records.
 * Errors: a store that gives no answer by the deadline: ANSWER_FAILED, unless what is known suffices to let it pass.
 * Time:   microseconds since 1970.
 */
#ifndef POSTERN_GREYLIST_SERVICE_H
#define POSTERN_GREYLIST_SERVICE_H

#include "engine/question.h"
#include "policy/greylist.h"
#include "store/store.h"

struct greylist_service;

struct greylist_service_settings {
    struct greylist_settings greylist;
    const struct greylist_exempt *exempt;
    const struct greylist_variant *variants; /* by the number of a question less 1 */
    uint32_t variant_count;
    uint32_t flows_max;       /* connections remembered at once */
    uint32_t mails_max;       /* recipients of them */
    uint32_t tasks_max;       /* questions and lessons for which the store takes its time */
    uint32_t network_percent; /* of the connections and recipients, what those of one client network may be */
    uint32_t store_ms;        /* the store's deadline; below the engine's ask_hold_ms */
    bool clear_text;          /* keep addresses in clear beside their keys, for people to read */
};

/* 16384 connections, 32768 mails, 1024 tasks, 400 ms; nobody is exempt. */
struct greylist_service_settings greylist_service_settings_default(void);

struct greylist_counters {
    uint64_t asked;                     /* questions about RCPT and STARTTLS */
    uint64_t passed, deferred, failed;  /* their answers */
    uint64_t reasons[GREYLIST_REASONS]; /* of those that were passed or deferred */
    uint64_t clients, clients_known;    /* questions about a connection's client; of these, it is known */
    uint64_t lessons;                   /* that changed a record */
    uint64_t lessons_lost;              /* that did not, for want of room or of the store */
    uint64_t forgotten;                 /* connections, and recipients of one, that made room for others */
};

struct greylist_answer {
    uint64_t id; /* the question's */
    enum answer answer;
    bool reasoned; /* `reason` holds; not of QUESTION_CLIENT, and not of ANSWER_FAILED */
    enum greylist_reason reason;
    int64_t passes_from_ms; /* of ANSWER_DEFER: see greylist_decision */
    bool refused;           /* of QUESTION_RECIPIENT: see struct finding */
    uint32_t refused_by;
    int64_t first_ms;          /* when it was tried first; 0: by its attempts nothing was decided */
    uint32_t attempts;         /* since then, this one included */
    struct question_line line; /* the question's, as these: they live until the next call */
    struct span helo, sender, recipient;
};

/* NULL where there is no memory. */
struct greylist_service *greylist_service_new(const struct greylist_service_settings *settings,
                                              const struct store *store, struct store_client *client);
void greylist_service_free(struct greylist_service *service); /* NULL is allowed */

/* A question or lesson. True with *answer set where there is an answer now; of a lesson there is none, ever. */
bool greylist_service_take(struct greylist_service *service, const struct question *question, int64_t now_us,
                           struct greylist_answer *answer);

/* Fetch what the store has answered: call it when store_client_fd is readable and when store_next_due says so, until it
   returns false. True with *answer set for each question that is settled thereby. */
bool greylist_service_next(struct greylist_service *service, int64_t now_us, struct greylist_answer *answer);

/* What was counted so far, into *counters; by the service's thread. */
void greylist_service_counters(const struct greylist_service *service, struct greylist_counters *counters);

/*
 * Before the first question: count on from where `before` is, and go on with the mails of open connections, so that
 * what comes of them is learnt. What `before` still waits for is lost; it is to be freed.
 */
void greylist_service_go_on(struct greylist_service *service, struct greylist_service *before);

#endif
