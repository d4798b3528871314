#include "greylist/service.h"

#include <stdlib.h>

#include "greylist/keep.h"
#include "greylist/mails.h"
#include "policy/refused.h"

/* A question or lesson whose records are being looked up. */
struct task {
    bool learns;
    struct greylist_needs needs;           /* of a question */
    uint32_t kinds;                        /* of a lesson, what it is about: bits 1u << enum greylist_kind */
    uint32_t waits;                        /* of what was looked up, what the store has not answered yet */
    uint32_t failed;                       /* and what it could not */
    struct store_key keys[GREYLIST_KINDS]; /* of what was looked up, and of what may be put */
    struct greylist_memory memory;         /* records only where known */
    struct mail_attempt what;              /* texts of its own only while it waits */
    enum question_kind question;           /* of a question */
    uint32_t transaction;                  /* likewise */
    struct question_line line;             /* likewise */
    uint32_t size;                         /* likewise */
    bool content, content_only, outbound;  /* likewise; outbound: the greylist lets it pass whatever is known */
    bool refused;                          /* the mail was cut for what it contains, which is `cut` */
    struct refused cut;
    struct store_key cut_key;
    uint64_t id, flow_id;
    enum greylist_lesson lesson; /* of a lesson */
    uint32_t waited_ms;
};

struct greylist_service {
    struct greylist_service_settings settings;
    const struct store *store;
    struct keeper keeper;
    struct mails mails;
    struct pool tasks;
    struct greylist_parts parts; /* of the task that was made last */
    struct greylist_counters counters;
};

static const struct greylist_exempt nobody;

/* In place of a kind, of a mail that was cut for what it contains. */
enum { CUT = GREYLIST_KINDS, LOOK_UPS };

struct greylist_service_settings greylist_service_settings_default(void)
{
    return (struct greylist_service_settings){
        .greylist = greylist_settings_default(),
        .exempt = &nobody,
        .flows_max = 16384,
        .mails_max = 32768,
        .tasks_max = 1024,
        .network_percent = 25,
        .store_ms = 400,
    };
}

struct greylist_service *greylist_service_new(const struct greylist_service_settings *settings,
                                              const struct store *store, struct store_client *client)
{
    uint32_t task_bytes = (uint32_t)((sizeof(struct task) + 7) / 8 * 8);
    struct greylist_service *service = calloc(1, sizeof *service);
    void *tasks = calloc(settings->tasks_max, task_bytes);
    struct mails_share share = {.percent = settings->network_percent,
                                .prefix_v4 = settings->greylist.prefix_v4,
                                .prefix_v6 = settings->greylist.prefix_v6};
    memcpy(&share.seed, store_secret(store), sizeof share.seed);
    if (!service || !tasks || !mails_init(&service->mails, settings->flows_max, settings->mails_max, share)) {
        free(tasks);
        free(service);
        return NULL;
    }
    service->settings = *settings;
    service->store = store;
    service->keeper = (struct keeper){
        .settings = &service->settings.greylist,
        .secret = store_secret(store),
        .lag_s = store_lag_s(store),
        .client = client,
        .clear_text = settings->clear_text,
    };
    pool_init(&service->tasks, tasks, task_bytes, settings->tasks_max);
    return service;
}

void greylist_service_free(struct greylist_service *service)
{
    if (!service)
        return;
    mails_fini(&service->mails);
    free(service->tasks.storage);
    free(service);
}

void greylist_service_counters(const struct greylist_service *service, struct greylist_counters *counters)
{
    *counters = service->counters;
    counters->forgotten = service->mails.forgotten;
}

void greylist_service_go_on(struct greylist_service *service, struct greylist_service *before)
{
    struct mails fresh = service->mails;
    service->counters = before->counters;
    service->mails = before->mails;
    before->mails = fresh;
}

/* ---- tasks ---- */

static struct task *new_task(struct greylist_service *service, const struct greylist_attempt *attempt, uint32_t *index)
{
    *index = pool_borrow(&service->tasks);
    if (*index == POOL_NONE)
        return NULL;
    struct task *task = pool_at(&service->tasks, *index);
    task->learns = task->content = task->content_only = task->outbound = task->refused = false;
    task->waits = task->failed = 0;
    task->memory.known = 0;
    task->what.attempt = *attempt;
    service->parts.made = 0;
    return task;
}

static struct refused refused_mail(const struct greylist_service *service, const struct greylist_attempt *attempt,
                                   uint32_t size)
{
    const struct greylist_settings *settings = &service->settings.greylist;
    return refused_of(attempt->ip_version, attempt->client,
                      attempt->ip_version == 4 ? settings->prefix_v4 : settings->prefix_v6, size);
}

static struct store_key key_of_refused(const struct greylist_service *service, const struct refused *refused,
                                       const struct greylist_attempt *attempt)
{
    struct store_key key;
    refused_key(service->keeper.secret, refused, attempt->sender, attempt->recipient, key.octets);
    return key;
}

/* What the store cannot tell is cut again: that is no failure of the greylist. */
static void take_cut_status(struct task *task, enum store_status status, const struct store_record *record)
{
    if (status == STORE_GOOD)
        task->refused =
            record->kind == REFUSED_KIND && refused_decode((struct span){record->value, record->len}, &task->cut);
    else if (status == STORE_LATER)
        task->waits |= 1u << CUT;
}

static void look_up_cut(struct greylist_service *service, struct task *task, uint32_t index, int64_t now_us)
{
    struct store_record record;
    int64_t deadline_us = now_us + (int64_t)service->settings.store_ms * 1000;
    if (!task->content || !(store_kinds(service->store) >> REFUSED_KIND & 1))
        return;
    struct refused mail = refused_mail(service, &task->what.attempt, task->size);
    task->cut_key = key_of_refused(service, &mail, &task->what.attempt);
    take_cut_status(task,
                    store_get(service->keeper.client, &task->cut_key, (uint64_t)index * LOOK_UPS + CUT, now_us,
                              deadline_us, &record),
                    &record);
}

static void take_status(const struct keeper *keeper, struct task *task, enum greylist_kind kind,
                        enum store_status status, const struct store_record *record)
{
    switch (status) {
    case STORE_GOOD:
        if (record->kind == kind && keep_read_record(keeper, record, &task->memory.records[kind]))
            task->memory.known |= 1u << kind;
        break;
    case STORE_ABSENT:
        break;
    case STORE_LATER:
        task->waits |= 1u << kind;
        break;
    case STORE_FAILED:
        task->failed |= 1u << kind;
        break;
    }
}

/* Look up records of some kinds, whose keys are made, if there may be any. */
static void look_up(struct greylist_service *service, struct task *task, uint32_t index, uint32_t kinds, int64_t now_us)
{
    int64_t deadline_us = now_us + (int64_t)service->settings.store_ms * 1000;
    for (uint32_t rest = kinds & store_kinds(service->store); rest; rest &= rest - 1) {
        enum greylist_kind kind = (enum greylist_kind)__builtin_ctz(rest);
        struct store_record record;
        uint64_t token = (uint64_t)index * LOOK_UPS + kind;
        take_status(&service->keeper, task, kind,
                    store_get(service->keeper.client, &task->keys[kind], token, now_us, deadline_us, &record), &record);
    }
}

/* True where a task must wait for the store. */
static bool waits(struct task *task)
{
    if (task->waits)
        mail_attempt_copy(&task->what, &task->what.attempt);
    return task->waits != 0;
}

/* ---- lessons ---- */

static void finish_learning(struct greylist_service *service, struct task *task, int64_t now_us)
{
    for (uint32_t i = 0; i < GREYLIST_KINDS; i++) {
        enum greylist_kind kind = (enum greylist_kind)i;
        if (!(task->kinds >> i & 1))
            continue;
        if (task->failed >> i & 1) {
            service->counters.lessons_lost++;
            continue;
        }
        struct greylist_record *record = &task->memory.records[kind];
        switch (greylist_learn(&service->settings.greylist, kind, task->lesson, task->waited_ms,
                               greylist_knows(&task->memory, kind), record, now_us / 1000)) {
        case GREYLIST_KEEP:
            continue;
        case GREYLIST_PUT:
            keep_put(&service->keeper, kind, &task->keys[kind], &task->what.attempt, record);
            break;
        case GREYLIST_DROP:
            store_drop(service->keeper.client, &task->keys[kind]);
            break;
        }
        service->counters.lessons++;
    }
}

static void learn(struct greylist_service *service, const struct mail *mail, uint32_t kinds,
                  enum greylist_lesson lesson, uint32_t waited_ms, int64_t now_us)
{
    uint32_t index;
    struct task *task = new_task(service, &mail->what.attempt, &index);
    if (!task) {
        service->counters.lessons_lost++;
        return;
    }
    task->learns = true;
    task->kinds = kinds;
    task->lesson = lesson;
    task->waited_ms = waited_ms;
    keep_keys(&service->keeper, kinds, &task->what.attempt, &service->parts, task->keys);
    look_up(service, task, index, kinds, now_us);
    if (waits(task))
        return;
    finish_learning(service, task, now_us);
    pool_return(&service->tasks, index);
}

/* The records that an attempt is counted in. */
static uint32_t counted_by(const struct mail *mail)
{
    return mail->kinds & (mail->what.attempt.tls ? 1u << GREYLIST_TLS : 1u << GREYLIST_TRIPLET | 1u << GREYLIST_POOL);
}

/* The server's reply to a recipient that was asked about. */
static void learn_recipient(struct greylist_service *service, struct mail_flow *flow, const struct question *lesson,
                            int64_t now_us)
{
    struct mail *mail = mails_about(&service->mails, flow, lesson->about);
    if (!mail || lesson->code / 100 == 2)
        return;
    if (mail->state == MAIL_DEFERRED) {
        bool later = lesson->code / 100 == 4;
        learn(service, mail, counted_by(mail), later ? GREYLIST_PUT_OFF : GREYLIST_REFUSED, 0, now_us);
    }
    mails_remove(&service->mails, flow, mail);
}

static void learn_waited(struct greylist_service *service, struct mail_flow *flow, const struct question *lesson,
                         int64_t now_us)
{
    struct mail *mail = mails_about(&service->mails, flow, lesson->about);
    if (!mail || mail->state != MAIL_DEFERRED)
        return;
    bool patient = !lesson->hung_up && !mail->what.attempt.early_talker;
    if (patient && lesson->consents) {
        mail->state = MAIL_PASSED; /* what can be seen of it ends here: see learn_end */
        return;
    }
    learn(service, mail, counted_by(mail), patient ? GREYLIST_WAITED : GREYLIST_HUNG_UP, lesson->waited_ms, now_us);
    mails_remove(&service->mails, flow, mail);
}

/* The message of this transaction is refused: whoever brings it again is told so. */
static void learn_content(struct greylist_service *service, const struct mail_flow *flow, const struct question *lesson,
                          int64_t now_us)
{
    struct keeper *keeper = &service->keeper;
    char text[STORE_TEXT_BYTES_MAX];
    for (const struct mail *mail = mails_first(&service->mails, flow); mail; mail = mails_next(&service->mails, mail)) {
        if (mail->transaction != lesson->transaction || mail->state != MAIL_PASSED)
            continue;
        const struct greylist_attempt *attempt = &mail->what.attempt;
        struct refused refused = refused_mail(service, attempt, mail->size);
        struct store_key key = key_of_refused(service, &refused, attempt);
        struct store_record record = {.kind = REFUSED_KIND, .len = GREYLIST_VALUE_BYTES};
        refused.rule = lesson->refused_by;
        refused.at_ms = now_us / 1000 - keeper->lag_s * 1000;
        record.expires_s = now_us / 1000000 + service->settings.greylist.refused_lifetime_s;
        refused_encode(&refused, record.value);
        if (keeper->clear_text)
            store_put_text(keeper->client, &key, &record, keep_text(keeper->settings, GREYLIST_TRIPLET, attempt, text));
        else
            store_put(keeper->client, &key, &record);
        service->counters.lessons++;
    }
}

/*
 * The transaction is over, with this reply to its message: what refusals of it are still being read stays, and so do
 * mails of the next one, of which the client may have told already.
 */
static void learn_message(struct greylist_service *service, struct mail_flow *flow, const struct question *lesson,
                          int64_t now_us)
{
    bool took = lesson->kind == LESSON_MESSAGE && lesson->code / 100 == 2;
    uint32_t client = 1u << GREYLIST_CLIENT; /* one message counts once for its client */
    for (const struct mail *mail = mails_first(&service->mails, flow); mail; mail = mails_next(&service->mails, mail)) {
        if (!took || mail->about > lesson->about || mail->state == MAIL_DEFERRED || mail->what.attempt.tls)
            continue;
        bool ours = mail->state == MAIL_ADDRESSED;
        learn(service, mail, ours ? mail->kinds : mail->kinds & (~(1u << GREYLIST_CLIENT) | client),
              ours ? GREYLIST_ADDRESSED : GREYLIST_TOOK, 0, now_us);
        client &= ~mail->kinds;
    }
    mails_remove_up_to(&service->mails, flow, lesson->about, MAIL_DEFERRED);
}

static void learn_end(struct greylist_service *service, struct mail_flow *flow, int64_t now_us)
{
    for (const struct mail *mail = mails_first(&service->mails, flow); mail; mail = mails_next(&service->mails, mail))
        if (mail->state == MAIL_PASSED && mail->what.attempt.tls)
            learn(service, mail, mail->kinds, GREYLIST_TOOK, 0, now_us);
    mails_forget(&service->mails, flow);
}

/* Mail of ours: who is addressed outside may answer whom it is from. The null sender expects no answer. */
static void note_addressed(struct greylist_service *service, const struct question *lesson)
{
    if (service->settings.greylist.answer_lifetime_s == 0 || lesson->sender.len == 0)
        return;
    struct greylist_attempt attempt = {
        .ip_version = lesson->ip_version,
        .sender = lesson->recipient,
        .recipient = lesson->sender,
    };
    memcpy(attempt.client, lesson->server, sizeof attempt.client);
    struct mail *mail =
        mails_add(&service->mails, mails_of(&service->mails, lesson->flow_id, lesson->ip_version, lesson->client));
    if (!mail) {
        service->counters.lessons_lost++;
        return;
    }
    mail->state = MAIL_ADDRESSED;
    mail->about = lesson->about;
    mail->kinds = 1u << GREYLIST_ANSWER_ADDRESS | 1u << GREYLIST_ANSWER_NETWORK;
    mail_attempt_copy(&mail->what, &attempt);
}

static void take_lesson(struct greylist_service *service, const struct question *lesson, int64_t now_us)
{
    if (lesson->kind == LESSON_ADDRESSED)
        note_addressed(service, lesson);
    struct mail_flow *flow = mails_find(&service->mails, lesson->flow_id);
    if (!flow)
        return;
    if (lesson->kind == LESSON_RECIPIENT)
        learn_recipient(service, flow, lesson, now_us);
    else if (lesson->kind == LESSON_WAITED)
        learn_waited(service, flow, lesson, now_us);
    else if (lesson->kind == LESSON_MESSAGE || lesson->kind == LESSON_RESET)
        learn_message(service, flow, lesson, now_us);
    else if (lesson->kind == LESSON_CONTENT)
        learn_content(service, flow, lesson, now_us);
    else if (lesson->kind == LESSON_END)
        learn_end(service, flow, now_us);
}

/* ---- questions ---- */

static bool by_merit(enum greylist_reason reason)
{
    return reason > GREYLIST_EXEMPT_RECIPIENT;
}

static bool is_denied(enum greylist_reason reason)
{
    return reason >= GREYLIST_DENIED_CLIENT;
}

/* What the success of a mail that passed for this reason teaches. */
static uint32_t taught_by(const struct task *task, enum greylist_reason reason)
{
    uint32_t client = task->needs.first & 1u << GREYLIST_CLIENT;
    if (reason <= GREYLIST_EXEMPT_RECIPIENT && reason != GREYLIST_SAME_TRANSACTION)
        return 0; /* of a mail that may be cut for what it contains alone */
    if (task->what.attempt.tls)
        return 1u << GREYLIST_TLS; /* what the server said of the mail was not seen: nothing for the network */
    if (reason == GREYLIST_CLIENT_KNOWN)
        return client;
    return client | 1u << GREYLIST_TRIPLET | (task->needs.rest & (1u << GREYLIST_POOL | 1u << GREYLIST_TLS));
}

static void remember(struct greylist_service *service, const struct task *task,
                     const struct greylist_decision *decision)
{
    struct mail_flow *flow =
        mails_of(&service->mails, task->flow_id, task->what.attempt.ip_version, task->what.attempt.client);
    struct mail *mail = mails_add(&service->mails, flow);
    if (decision->pass && !task->what.attempt.tls && by_merit(decision->reason))
        flow->passed = task->transaction;
    if (!mail) {
        service->counters.lessons_lost++;
        return;
    }
    mail->state = decision->pass ? MAIL_PASSED : MAIL_DEFERRED;
    mail->about = task->id;
    mail->kinds = taught_by(task, decision->reason);
    mail->size = task->size;
    mail->transaction = task->content ? task->transaction : 0;
    mail_attempt_copy(&mail->what, &task->what.attempt);
}

static void count_question(struct greylist_service *service, const struct question *question)
{
    service->counters.clients += question->kind == QUESTION_CLIENT;
    service->counters.asked += question->kind != QUESTION_CLIENT && !question->content_only;
}

static void count_answer(struct greylist_service *service, enum question_kind question,
                         const struct greylist_answer *answer)
{
    if (question == QUESTION_CLIENT) {
        service->counters.clients_known += answer->answer == ANSWER_PASS;
        return;
    }
    if (!answer->reasoned && answer->answer != ANSWER_FAILED)
        return; /* the greylist was not asked */
    service->counters.passed += answer_passes(answer->answer);
    service->counters.deferred += answer_defers(answer->answer);
    service->counters.failed += answer->answer == ANSWER_FAILED;
    if (answer->reasoned)
        service->counters.reasons[answer->reason]++;
}

/* The record of attempts by which it was decided; NULL: by none. */
static const struct greylist_record *decisive_record(const struct greylist_memory *memory, bool tls,
                                                     enum greylist_reason reason)
{
    const uint32_t own = 1u << GREYLIST_DELAY_OVER | 1u << GREYLIST_PATIENT | 1u << GREYLIST_FIRST |
                         1u << GREYLIST_TOO_SOON | 1u << GREYLIST_HUNG_UP_ON;
    if (own >> reason & 1)
        return &memory->records[tls ? GREYLIST_TLS : GREYLIST_TRIPLET];
    return reason == GREYLIST_POOL_DELAY_OVER ? &memory->records[GREYLIST_POOL] : NULL;
}

static struct greylist_answer answer_of(uint64_t id, enum question_kind question,
                                        const struct greylist_decision *decision, const struct greylist_memory *memory)
{
    const struct greylist_record *record = decisive_record(memory, question != QUESTION_RECIPIENT, decision->reason);
    bool recipient = question == QUESTION_RECIPIENT;
    enum answer passes = recipient && by_merit(decision->reason) ? ANSWER_BRING : ANSWER_PASS;
    enum answer does_not = is_denied(decision->reason) ? ANSWER_DENY : ANSWER_DEFER;
    return (struct greylist_answer){
        .id = id,
        .answer = decision->pass ? passes : does_not,
        .reasoned = true,
        .reason = decision->reason,
        .passes_from_ms = decision->passes_from_ms,
        .first_ms = record ? record->first_ms : 0,
        .attempts = record ? record->attempts : 0,
    };
}

static struct greylist_answer finish_client(struct greylist_service *service, struct task *task, int64_t now_us)
{
    bool known = greylist_knows_client(&service->settings.greylist, service->settings.exempt, &task->memory,
                                       &task->what.attempt, now_us / 1000);
    enum answer unknown = task->failed ? ANSWER_FAILED : ANSWER_DEFER;
    return (struct greylist_answer){.id = task->id, .answer = known ? ANSWER_PASS : unknown};
}

static struct greylist_answer finish_attempt(struct greylist_service *service, struct task *task,
                                             struct greylist_decision decision)
{
    const struct mail_flow *flow = mails_find(&service->mails, task->flow_id);
    bool beside = !task->what.attempt.tls && flow && flow->passed == task->transaction;
    if (beside && !is_denied(decision.reason) && (!decision.pass || task->failed))
        decision = (struct greylist_decision){.pass = true, .reason = GREYLIST_SAME_TRANSACTION};
    if (task->failed && !decision.pass)
        return (struct greylist_answer){.id = task->id, .answer = ANSWER_FAILED};
    for (uint32_t rest = decision.put & ~task->failed; rest; rest &= rest - 1) {
        enum greylist_kind kind = (enum greylist_kind)__builtin_ctz(rest);
        keep_put(&service->keeper, kind, &task->keys[kind], &task->what.attempt, &task->memory.records[kind]);
    }
    if (!decision.pass || by_merit(decision.reason) || decision.reason == GREYLIST_SAME_TRANSACTION || task->content)
        remember(service, task, &decision);
    return answer_of(task->id, task->question, &decision, &task->memory);
}

/* What holds for the rule that asked. */
static const struct greylist_variant *variant_of(const struct greylist_service *service, const struct task *task)
{
    uint32_t number = task->line.variant;
    return number > 0 && number <= service->settings.variant_count ? &service->settings.variants[number - 1] : NULL;
}

static const struct greylist_exempt *exempt_of(const struct greylist_service *service, const struct task *task)
{
    return greylist_exempt_of(service->settings.exempt, variant_of(service, task), &task->what.attempt);
}

/* The greylist is not asked, or lets it pass whatever is known. */
static struct greylist_answer pass_outright(struct greylist_service *service, const struct task *task)
{
    struct greylist_decision decision = {.pass = true, .reason = GREYLIST_OUTBOUND};
    struct greylist_answer answer = answer_of(task->id, task->question, &decision, NULL);
    answer.reasoned = !task->content_only;
    if (task->content)
        remember(service, task, &decision);
    return answer;
}

/* What is known of a mail's contents. What is said of all mail between the two is said once. */
static void add_cut(struct greylist_service *service, const struct task *task, struct greylist_answer *answer)
{
    if (!task->refused)
        return;
    answer->refused = true;
    answer->refused_by = task->cut.rule;
    if (task->cut.size == 0)
        store_drop(service->keeper.client, &task->cut_key);
}

static struct greylist_answer finish_question(struct greylist_service *service, struct task *task, int64_t now_us)
{
    if (task->question == QUESTION_CLIENT)
        return finish_client(service, task, now_us);
    if (task->outbound || task->content_only)
        return pass_outright(service, task);
    struct greylist_settings settings = greylist_settings_of(&service->settings.greylist, variant_of(service, task));
    return finish_attempt(service, task,
                          greylist_decide(&settings, exempt_of(service, task), task->needs, &task->memory,
                                          &task->what.attempt, now_us / 1000));
}

static struct greylist_attempt attempt_of(const struct question *question)
{
    struct greylist_attempt attempt = {
        .ip_version = question->ip_version,
        .helo = span_head(question->helo, MAIL_TEXT_BYTES_MAX),
        .sender = span_head(question->sender, MAIL_TEXT_BYTES_MAX),
        .recipient = span_head(question->recipient, MAIL_TEXT_BYTES_MAX),
        .tls = question->kind == QUESTION_TLS,
        .early_talker = question->early_talker,
        .unread = question->unread,
    };
    memcpy(attempt.client, question->client, sizeof attempt.client);
    return attempt;
}

/* What is needed first may be enough; where it is not at hand all is looked up, so that it is waited for once. */
static bool answer_now(struct greylist_service *service, struct task *task, uint32_t index, int64_t now_us,
                       struct greylist_answer *answer)
{
    struct greylist_decision decision;
    struct greylist_settings settings = greylist_settings_of(&service->settings.greylist, variant_of(service, task));
    keep_keys(&service->keeper, task->needs.first | task->needs.rest, &task->what.attempt, &service->parts, task->keys);
    look_up_cut(service, task, index, now_us);
    look_up(service, task, index, task->needs.first, now_us);
    if (task->waits == 0 && task->needs.rest &&
        greylist_decide_early(&settings, exempt_of(service, task), task->needs, &task->memory, &task->what.attempt,
                              now_us / 1000, &decision)) {
        *answer = finish_attempt(service, task, decision);
        add_cut(service, task, answer);
        return true;
    }
    look_up(service, task, index, task->needs.rest, now_us);
    if (waits(task))
        return false;
    *answer = finish_question(service, task, now_us);
    add_cut(service, task, answer);
    return true;
}

static bool take_question(struct greylist_service *service, const struct question *question, int64_t now_us,
                          struct greylist_answer *answer)
{
    struct greylist_attempt attempt = attempt_of(question);
    uint32_t index;
    count_question(service, question);
    if (question->outbound && !question->content) {
        *answer = answer_of(question->id, question->kind,
                            &(struct greylist_decision){.pass = true, .reason = GREYLIST_OUTBOUND}, NULL);
        answer->reasoned = question->kind != QUESTION_CLIENT;
        count_answer(service, question->kind, answer);
        return true;
    }
    struct task *task = new_task(service, &attempt, &index);
    if (!task) {
        *answer = (struct greylist_answer){.id = question->id, .answer = ANSWER_FAILED};
        count_answer(service, question->kind, answer);
        return true;
    }
    task->question = question->kind;
    task->id = question->id;
    task->line = question->line;
    task->flow_id = question->flow_id;
    task->transaction = question->transaction;
    task->size = question->size;
    task->content = question->content;
    task->content_only = question->content_only;
    task->outbound = question->outbound;
    task->needs = (struct greylist_needs){0};
    if (!task->outbound && !task->content_only)
        task->needs = greylist_needs(&service->settings.greylist, exempt_of(service, task), &attempt);
    if (question->kind == QUESTION_CLIENT)
        task->needs = (struct greylist_needs){.first = task->needs.first & GREYLIST_CLIENT_KINDS};
    if (!answer_now(service, task, index, now_us, answer))
        return false;
    count_answer(service, question->kind, answer);
    pool_return(&service->tasks, index);
    return true;
}

static void say_what_about(struct greylist_answer *answer, struct question_line line, struct span helo,
                           struct span sender, struct span recipient)
{
    answer->line = line;
    answer->helo = helo;
    answer->sender = sender;
    answer->recipient = recipient;
}

bool greylist_service_take(struct greylist_service *service, const struct question *question, int64_t now_us,
                           struct greylist_answer *answer)
{
    if (question->kind <= QUESTION_CLIENT) {
        bool answers = take_question(service, question, now_us, answer);
        if (answers)
            say_what_about(answer, question->line, question->helo, question->sender, question->recipient);
        return answers;
    }
    take_lesson(service, question, now_us);
    return false;
}

bool greylist_service_next(struct greylist_service *service, int64_t now_us, struct greylist_answer *answer)
{
    struct store_answer given;
    while (store_next_answer(service->keeper.client, now_us, &given)) {
        uint32_t index = (uint32_t)(given.token / LOOK_UPS);
        uint32_t asked = (uint32_t)(given.token % LOOK_UPS);
        struct task *task = pool_at(&service->tasks, index);
        task->waits &= ~(1u << asked);
        if (asked == CUT)
            take_cut_status(task, given.status, &given.record);
        else
            take_status(&service->keeper, task, (enum greylist_kind)asked, given.status, &given.record);
        if (task->waits)
            continue;
        bool answers = !task->learns;
        if (answers) {
            const struct greylist_attempt *attempt = &task->what.attempt;
            *answer = finish_question(service, task, now_us);
            add_cut(service, task, answer);
            count_answer(service, task->question, answer);
            say_what_about(answer, task->line, attempt->helo, attempt->sender, attempt->recipient);
        } else {
            finish_learning(service, task, now_us);
        }
        pool_return(&service->tasks, index);
        if (answers)
            return true;
    }
    return false;
}
