#include "population.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "greylist/service.h"

enum {
    SECOND_US = 1000000,
    SPREAD_S = 10 * 86400,    /* over which the mails of a sender are sent */
    BURST_S = 60,             /* over which mails sent at once are */
    ANSWER_AFTER_S = 3600,    /* our mail */
    SERVER_PUTS_OFF_IN = 100, /* of so many recipients one */
    SERVER_REFUSES_SPAM = 60, /* of 100 messages that came to it */
    PROVIDER = 1,             /* in the place of a sender's number */
};
static const int64_t epoch_us = INT64_C(1200000000) * SECOND_US;

struct sender {
    uint32_t kind;
    uint32_t number;
};

struct mail {
    uint32_t sender;
    uint32_t number; /* of its sender's */
    struct random_source random;
    uint32_t pauses_s[POPULATION_ATTEMPTS_MAX];
    uint32_t pause_count, next_pause;
    int64_t first_us, came_us;
    uint32_t attempts, open; /* connections */
    uint32_t network, host;  /* of the present attempt */
    bool came, put_off;      /* put_off: the server itself did, the last time */
};

enum event_type {
    EVENT_ATTEMPT,
    EVENT_READ, /* a refusal has been read, or was not waited for */
    EVENT_OURS, /* mail of ours to this sender */
};

struct event {
    int64_t at_us;
    uint64_t order; /* of those at the same time */
    enum event_type type;
    uint32_t mail;
    uint64_t flow_id, question_id;
    int64_t began_us;
    bool tls; /* it was the reply to STARTTLS */
};

struct world {
    const struct population_policy *policy;
    struct sender *senders;
    uint32_t sender_count;
    struct mail *mails;
    uint32_t mail_count;
    struct event *heap;
    size_t heap_count, heap_room;
    uint64_t order, flow_id, question_id;
    int64_t now_us;
    struct store *store;
    struct store_client *client;
    struct greylist_service *service;
};

static void *must(void *memory)
{
    if (!memory) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    return memory;
}

/* ---- what happens when ---- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct world *world, struct event event)
{
    if (world->heap_count == world->heap_room) {
        world->heap_room = world->heap_room ? world->heap_room * 2 : 1024;
        world->heap = must(realloc(world->heap, world->heap_room * sizeof *world->heap));
    }
    event.order = world->order++;
    size_t at = world->heap_count++;
    for (; at > 0 && is_before(&event, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    world->heap[at] = event;
}

static struct event pop(struct world *world)
{
    struct event first = world->heap[0], last = world->heap[--world->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < world->heap_count; at = child) {
        child += child + 1 < world->heap_count && is_before(&world->heap[child + 1], &world->heap[child]);
        if (!is_before(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
    }
    world->heap[at] = last;
    return first;
}

/* ---- who sends ---- */

static const struct sender_kind *kind_of(const struct world *world, const struct mail *mail)
{
    return &sender_kinds[world->senders[mail->sender].kind];
}

static void add_mail(struct world *world, uint32_t sender, uint32_t number, struct random_source *random)
{
    struct mail *mail = &world->mails[world->mail_count];
    const struct sender_kind *kind = &sender_kinds[world->senders[sender].kind];
    uint32_t spread_s = kind->burst ? BURST_S : SPREAD_S;
    *mail = (struct mail){.sender = sender, .number = number, .random = {random_next(random)}};
    mail->pause_count = kind->schedule(&mail->random, mail->pauses_s);
    uint32_t day_s = kind->burst ? world->senders[sender].number % SPREAD_S : 0;
    mail->first_us = epoch_us + (int64_t)(ANSWER_AFTER_S + day_s + random_below(random, spread_s)) * SECOND_US +
                     random_below(random, SECOND_US);
    if (kind->answers)
        push(world, (struct event){.at_us = mail->first_us - (int64_t)ANSWER_AFTER_S * SECOND_US,
                                   .type = EVENT_OURS,
                                   .mail = world->mail_count});
    push(world, (struct event){.at_us = mail->first_us, .type = EVENT_ATTEMPT, .mail = world->mail_count});
    world->mail_count++;
}

/* One more sender of this kind, and its mails, `room` at most; returns how many. */
static uint32_t add_sender(struct world *world, uint32_t kind, uint32_t room, struct random_source *random)
{
    uint32_t most = sender_kinds[kind].burst ? 3 : sender_kinds[kind].mails_max;
    uint32_t mails = most > 1 ? 1 + random_below(random, most) : 1;
    mails = mails < room ? mails : room;
    uint32_t sender = world->sender_count++;
    world->senders[sender] = (struct sender){kind, (uint32_t)random_next(random)};
    for (uint32_t i = 0; i < mails; i++)
        add_mail(world, sender, i, random);
    return mails;
}

static void populate(struct world *world, uint32_t mails, uint64_t seed)
{
    world->senders = must(calloc(2 * (size_t)mails + 2 * sender_kind_count, sizeof *world->senders));
    world->mails = must(calloc(2 * (size_t)mails + 2 * sender_kind_count, sizeof *world->mails));
    for (uint32_t kind = 0; kind < sender_kind_count; kind++) {
        struct random_source random = {seed * 1000003 + kind};
        uint32_t left = mails * sender_kinds[kind].share / 1000 + 1;
        while (left > 0)
            left -= add_sender(world, kind, left, &random);
    }
}

/* ---- the gate ---- */

struct connection {
    uint8_t client[16];
    char helo[POPULATION_TEXT_BYTES], sender[POPULATION_TEXT_BYTES], recipient[POPULATION_TEXT_BYTES];
};

/*
 * A pool's networks lie far apart; all its hosts say the same domain, a spammer's say what they are called, or
 * whose they would like to be.
 */
static void identify(const struct world *world, const struct mail *mail, uint32_t recipient, struct connection *is)
{
    const struct sender *sender = &world->senders[mail->sender];
    const struct sender_kind *kind = &sender_kinds[sender->kind];
    uint32_t n = sender->number, home = kind->provider ? PROVIDER : n, network = home + mail->network * 0x9e3779b1u;
    *is = (struct connection){.client = {(uint8_t)(1 + network % 223), (uint8_t)(network >> 8),
                                         (uint8_t)(network >> 16), (uint8_t)(home + mail->host)}};
    if (kind->spam && !kind->forges)
        snprintf(is->helo, sizeof is->helo, "host-%u.isp%u.example", mail->host, network);
    else
        snprintf(is->helo, sizeof is->helo, "mx%u-%u.sender%u.example", mail->network, mail->host,
                 kind->forges ? PROVIDER : home);
    if (kind->verp)
        snprintf(is->sender, sizeof is->sender, "bounces-%u-b%u=example.com@sender%u.example", 7 * mail->number + 1000,
                 mail->number, n);
    else if (!kind->callback)
        snprintf(is->sender, sizeof is->sender, "s%u@sender%u.example", n, n);
    bool same = kind->burst;
    snprintf(is->recipient, sizeof is->recipient, "r%u-%u-%u@example.com", n, same ? 0 : mail->number, recipient);
}

static struct question question_of(const struct connection *is, enum question_kind kind, uint64_t flow_id)
{
    struct question question = {
        .kind = kind,
        .flow_id = flow_id,
        .ip_version = 4,
        .server = {198, 51, 100, 25},
        .helo = span_of(is->helo),
        .sender = span_of(is->sender),
        .recipient = span_of(is->recipient),
    };
    memcpy(question.client, is->client, sizeof question.client);
    return question;
}

static bool passes(struct world *world, const struct connection *is, enum question_kind kind, uint64_t flow_id)
{
    struct question question = question_of(is, kind, flow_id);
    struct greylist_answer answer;
    question.id = ++world->question_id;
    question.transaction = 1; /* of this connection */
    bool answered = greylist_service_take(world->service, &question, world->now_us, &answer);
    assert(answered && answer.answer != ANSWER_FAILED); /* the store memory: does so */
    return answer_passes(answer.answer);
}

static void teach(struct world *world, struct question lesson)
{
    struct greylist_answer answer;
    bool answered = greylist_service_take(world->service, &lesson, world->now_us, &answer);
    assert(!answered);
}

static void teach_code(struct world *world, const struct connection *is, enum question_kind kind, uint64_t flow_id,
                       uint16_t code)
{
    struct question lesson = question_of(is, kind, flow_id);
    lesson.about = world->question_id;
    lesson.code = code;
    teach(world, lesson);
}

/* ---- attempts ---- */

static void finish_attempt(struct world *world, uint32_t index)
{
    struct mail *mail = &world->mails[index];
    if (--mail->open > 0 || mail->came || mail->next_pause == mail->pause_count)
        return;
    int64_t pause_us = (int64_t)mail->pauses_s[mail->next_pause++] * SECOND_US;
    push(world, (struct event){.at_us = world->now_us + pause_us, .type = EVENT_ATTEMPT, .mail = index});
}

static void come_through(struct world *world, struct mail *mail)
{
    if (!mail->came)
        mail->came_us = world->now_us;
    mail->came = true;
}

/* A refusal leaves slowly; the client reads it, or hangs up. */
static void be_refused(struct world *world, uint32_t index, uint64_t flow_id, bool tls)
{
    int64_t stutter_us = (int64_t)world->policy->settings.stutter_ms * 1000;
    int64_t patience_us = (int64_t)kind_of(world, &world->mails[index])->patience_s * SECOND_US;
    push(world, (struct event){
                    .at_us = world->now_us + (stutter_us < patience_us ? stutter_us : patience_us),
                    .type = EVENT_READ,
                    .mail = index,
                    .flow_id = flow_id,
                    .question_id = world->question_id,
                    .began_us = world->now_us,
                    .tls = tls,
                });
}

/* The message itself: what the server says of it. */
static void send_message(struct world *world, struct mail *mail, const struct connection *is, uint64_t flow_id)
{
    bool refused = kind_of(world, mail)->spam && random_below(&mail->random, 100) < SERVER_REFUSES_SPAM;
    bool counts = !refused || world->policy->counts_unread;
    teach_code(world, is, LESSON_MESSAGE, flow_id, counts ? 250 : 554);
    come_through(world, mail);
}

/* The recipients of a transaction in clear. Returns whether it is over; else a refusal is being read. */
static bool name_recipients(struct world *world, uint32_t index, uint64_t flow_id)
{
    struct mail *mail = &world->mails[index];
    const struct sender_kind *kind = kind_of(world, mail);
    struct connection is;
    for (uint32_t i = 0; i < (kind->many ? POPULATION_RECIPIENTS_MAX : 1); i++) {
        identify(world, mail, i, &is);
        bool pass = passes(world, &is, QUESTION_RECIPIENT, flow_id);
        bool put_off = random_below(&mail->random, SERVER_PUTS_OFF_IN) == 0;
        teach_code(world, &is, LESSON_RECIPIENT, flow_id, put_off ? 450 : 250);
        mail->put_off = put_off;
        if (kind->callback)
            come_through(world, mail); /* a null sender is put off at DATA */
        if (put_off || kind->callback || !pass)
            teach_code(world, &is, LESSON_RESET, flow_id, 0);
        if (put_off || kind->callback)
            return true;
        if (!pass) {
            be_refused(world, index, flow_id, false);
            return false;
        }
    }
    send_message(world, mail, &is, flow_id);
    return true;
}

static void end_connection(struct world *world, uint32_t index, uint64_t flow_id)
{
    struct connection is;
    identify(world, &world->mails[index], 0, &is);
    teach_code(world, &is, LESSON_END, flow_id, 0);
    finish_attempt(world, index);
}

/* What the server says of it nobody sees. */
static void send_encrypted(struct world *world, uint32_t index, uint64_t flow_id)
{
    struct mail *mail = &world->mails[index];
    mail->put_off = random_below(&mail->random, SERVER_PUTS_OFF_IN) == 0;
    if (!mail->put_off)
        come_through(world, mail);
    end_connection(world, index, flow_id);
}

static void speak_in_clear(struct world *world, uint32_t index, uint64_t flow_id)
{
    if (name_recipients(world, index, flow_id))
        end_connection(world, index, flow_id);
}

static void connect_to(struct world *world, uint32_t index)
{
    struct mail *mail = &world->mails[index];
    const struct sender_kind *kind = kind_of(world, mail);
    uint64_t flow_id = ++world->flow_id;
    bool encrypts = world->senders[mail->sender].number % 100 < kind->encrypts;
    if (world->policy->behind_tls || !encrypts) {
        speak_in_clear(world, index, flow_id);
        return;
    }
    struct connection is;
    identify(world, mail, 0, &is);
    if (!passes(world, &is, QUESTION_TLS, flow_id)) {
        be_refused(world, index, flow_id, true);
        return;
    }
    send_encrypted(world, index, flow_id);
}

static void attempt(struct world *world, uint32_t index)
{
    struct mail *mail = &world->mails[index];
    const struct sender_kind *kind = kind_of(world, mail);
    mail->attempts++;
    mail->network = kind->networks ? random_below(&mail->random, kind->networks) : 0;
    mail->host = kind->hosts ? random_below(&mail->random, kind->hosts) : 0;
    mail->open = kind->parallel ? kind->parallel : 1;
    for (uint32_t left = mail->open; left > 0; left--)
        connect_to(world, index);
}

static void read_refusal(struct world *world, const struct event *event)
{
    struct connection is;
    identify(world, &world->mails[event->mail], 0, &is);
    struct question lesson = question_of(&is, LESSON_WAITED, event->flow_id);
    lesson.about = event->question_id;
    lesson.waited_ms = (uint32_t)((world->now_us - event->began_us) / 1000);
    lesson.hung_up = lesson.waited_ms < world->policy->settings.stutter_ms;
    lesson.consents = event->tls && !world->policy->defers_tls;
    if (world->policy->settings.stutter_ms)
        teach(world, lesson);
    if (lesson.consents && !lesson.hung_up)
        send_encrypted(world, event->mail, event->flow_id);
    else
        end_connection(world, event->mail, event->flow_id);
}

/* Our mail to this sender, from whom it will write to. */
static void send_ours(struct world *world, uint32_t index)
{
    struct connection is;
    identify(world, &world->mails[index], 0, &is);
    struct question lesson = question_of(&is, LESSON_ADDRESSED, ++world->flow_id);
    lesson.outbound = true;
    memcpy(lesson.server, is.client, sizeof lesson.server);
    lesson.sender = span_of(is.recipient);
    lesson.recipient = span_of(is.sender);
    teach(world, lesson);
    teach_code(world, &is, LESSON_MESSAGE, world->flow_id, 250);
    teach_code(world, &is, LESSON_END, world->flow_id, 0);
}

/* ---- results ---- */

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of the mails of one kind, or of one side. */
static struct kind_result result_of(const struct world *world, bool (*chosen)(const struct sender_kind *, uint32_t),
                                    uint32_t which)
{
    struct kind_result result = {0};
    int64_t *times_us = must(calloc(world->mail_count, sizeof *times_us));
    for (uint32_t i = 0; i < world->mail_count; i++) {
        const struct mail *mail = &world->mails[i];
        if (!chosen(kind_of(world, mail), which))
            continue;
        result.mails++;
        result.attempts += mail->attempts;
        result.lost += !mail->came && !mail->put_off;
        if (mail->came)
            times_us[result.came++] = mail->came_us - mail->first_us;
    }
    qsort(times_us, result.came, sizeof *times_us, compare_times);
    if (result.came) {
        result.median_s = (double)times_us[result.came / 2] / SECOND_US;
        result.p95_s = (double)times_us[(uint64_t)result.came * 95 / 100] / SECOND_US;
    }
    free(times_us);
    return result;
}

static bool is_kind(const struct sender_kind *kind, uint32_t which)
{
    return kind == &sender_kinds[which];
}

static bool is_side(const struct sender_kind *kind, uint32_t spam)
{
    return kind->spam == (spam != 0);
}

/* ---- a run ---- */

static void open_gate(struct world *world)
{
    char message[256];
    struct store_settings store = store_settings_default();
    struct greylist_service_settings settings = greylist_service_settings_default();
    settings.greylist = world->policy->settings;
    world->store = store_open("memory:", &store, epoch_us / SECOND_US, message, sizeof message);
    world->client = store_client_new(must(world->store));
    world->service = must(greylist_service_new(&settings, world->store, must(world->client)));
}

struct population_result population_run(const struct population_policy *policy, uint32_t mails, uint64_t seed)
{
    struct world world = {.policy = policy};
    open_gate(&world);
    populate(&world, mails, seed);
    while (world.heap_count) {
        struct event event = pop(&world);
        world.now_us = event.at_us;
        if (event.type == EVENT_ATTEMPT)
            attempt(&world, event.mail);
        else if (event.type == EVENT_READ)
            read_refusal(&world, &event);
        else
            send_ours(&world, event.mail);
    }
    struct population_result result = {.kinds = must(calloc(sender_kind_count, sizeof *result.kinds))};
    for (uint32_t kind = 0; kind < sender_kind_count; kind++)
        result.kinds[kind] = result_of(&world, is_kind, kind);
    result.legitimate = result_of(&world, is_side, false);
    result.spam = result_of(&world, is_side, true);
    greylist_service_free(world.service);
    store_client_free(world.client);
    store_close(world.store, 0);
    free(world.heap);
    free(world.senders);
    free(world.mails);
    return result;
}

void population_free(struct population_result *result)
{
    free(result->kinds);
    result->kinds = NULL;
}
