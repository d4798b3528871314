/*
 * What whole decisions of the greylist cost: a question in, what is remembered looked up, decided and kept, the answer
 * out; with memory: and sqlite:, of mail never seen and of mail that is known. Prints TAP.
 *
 *   greylist_main [--quick]
 *
 * What is told is processor time, so that it is what one core does: of sqlite: that of all threads, until everything is
 * written. Other work on the machine takes from it all the same, so the best of some rounds counts.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/stores.h"
#include "clock.h"
#include "greylist/service.h"
#include "store/driver.h"

enum {
    GOAL = 20000, /* decisions a second a core: a gateway sees some hundred */
    ROUNDS = 3,
    AT_ONCE = 256, /* questions for which a store may take its time */
    DELAY_S = 400, /* behind the delay */
};

/* Made before the time is taken. */
struct mail {
    char sender[40], recipient[40];
};

struct asker {
    const struct mail *mails;
    struct store *store;
    struct store_client *client;
    struct greylist_service *service;
    int64_t now_us;
    uint64_t id;
    uint32_t open; /* not answered yet */
    uint64_t passed, deferred, failed;
};

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(bool good)
{
    if (!good)
        abort();
}

static struct mail *make_mails(uint32_t count)
{
    struct mail *mails = calloc(count, sizeof *mails);
    must(mails != NULL);
    for (uint32_t number = 0; number < count; number++) {
        snprintf(mails[number].sender, sizeof mails->sender, "user%c%c@example%u.net", 'a' + (int)(number % 26),
                 'a' + (int)(number / 26 % 26), number);
        snprintf(mails[number].recipient, sizeof mails->recipient, "someone%u@example.com", number % 5000);
    }
    return mails;
}

static void note(struct asker *asker, const struct greylist_answer *answer)
{
    asker->passed += answer_passes(answer->answer);
    asker->deferred += answer_defers(answer->answer);
    asker->failed += answer->answer == ANSWER_FAILED;
}

static void collect(struct asker *asker, uint32_t most_open)
{
    struct greylist_answer answer;
    for (;;) {
        while (greylist_service_next(asker->service, asker->now_us, &answer)) {
            note(asker, &answer);
            asker->open--;
        }
        if (asker->open <= most_open)
            return;
        struct pollfd fd = {.fd = store_client_fd(asker->client), .events = POLLIN};
        poll(&fd, 1, 1);
    }
}

static void take(struct asker *asker, struct question *question, enum question_kind kind, uint16_t code)
{
    struct greylist_answer answer;
    question->kind = kind;
    question->code = code;
    if (!greylist_service_take(asker->service, question, asker->now_us, &answer) && kind == QUESTION_RECIPIENT)
        asker->open++;
    collect(asker, 0);
}

/*
 * A mail of ours was taken outside, and its answer here: from now on a stranger's may be an answer, or of a known
 * network, which must be looked up.
 */
static void write_and_be_answered(struct asker *asker)
{
    struct question ours = {
        .flow_id = ++asker->id,
        .ip_version = 4,
        .client = {198, 51, 100, 1},
        .server = {203, 0, 113, 1},
        .sender = span_of("someone@example.com"),
        .recipient = span_of("somebody@example.org"),
        .outbound = true,
    };
    take(asker, &ours, LESSON_ADDRESSED, 0);
    take(asker, &ours, LESSON_MESSAGE, 250);
    take(asker, &ours, LESSON_END, 0);
    struct question theirs = {
        .flow_id = ++asker->id,
        .transaction = 1,
        .ip_version = 4,
        .client = {203, 0, 113, 1},
        .server = {198, 51, 100, 1},
        .sender = ours.recipient,
        .recipient = ours.sender,
    };
    take(asker, &theirs, QUESTION_RECIPIENT, 0);
    take(asker, &theirs, LESSON_MESSAGE, 250);
    take(asker, &theirs, LESSON_END, 0);
    asker->passed = 0;
}

static void begin(struct asker *asker, const char *uri, const struct mail *mails)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = store_settings_default();
    struct greylist_service_settings service = greylist_service_settings_default();
    service.tasks_max = 2 * AT_ONCE;
    *asker = (struct asker){.mails = mails, .now_us = (int64_t)time(NULL) * 1000000};
    asker->store = store_open(uri, &settings, asker->now_us / 1000000, message, sizeof message);
    must(asker->store != NULL);
    asker->client = store_client_new(asker->store);
    asker->service = greylist_service_new(&service, asker->store, asker->client);
    must(asker->service != NULL);
    write_and_be_answered(asker);
}

static void end(struct asker *asker)
{
    greylist_service_free(asker->service);
    store_client_free(asker->client);
    store_close(asker->store, 60000);
}

/* The mail with this number, on a connection of its own. */
static void ask(struct asker *asker, uint32_t number)
{
    const struct mail *mail = &asker->mails[number];
    struct greylist_answer answer;
    struct question question = {
        .kind = QUESTION_RECIPIENT,
        .transaction = 1,
        .id = ++asker->id,
        .flow_id = asker->id,
        .ip_version = 4,
        .client = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
        .server = {198, 51, 100, 1},
        .helo = span_of("mx.example.net"),
        .sender = span_of(mail->sender),
        .recipient = span_of(mail->recipient),
    };
    if (greylist_service_take(asker->service, &question, asker->now_us, &answer))
        note(asker, &answer);
    else
        asker->open++;
    question.kind = LESSON_END;
    greylist_service_take(asker->service, &question, asker->now_us, &answer);
    if (asker->open >= AT_ONCE)
        collect(asker, AT_ONCE / 2);
}

/* Decisions a second of so many mails. */
static double round_of(struct asker *asker, uint32_t mails, clockid_t clock, bool written)
{
    double began = seconds(clock);
    for (uint32_t number = 0; number < mails; number++)
        ask(asker, number);
    collect(asker, 0);
    struct store_counters counters;
    store_counters(asker->store, &counters);
    while (written && counters.waiting) {
        driver_flush(asker->store, 1000);
        store_counters(asker->store, &counters);
    }
    return (double)mails / (seconds(clock) - began);
}

static unsigned tests, missed;

static void tell(const char *what, double rate, double goal)
{
    missed += rate < goal;
    printf("%sok %u - %s: %.0f decisions a second (goal %.0f)\n", rate < goal ? "not " : "", ++tests, what, rate, goal);
    fflush(stdout);
}

struct rates {
    double fresh, known; /* decisions a second */
};

static double greater(double a, double b)
{
    return a > b ? a : b;
}

/* One more round, in a store that is empty. */
static void measure(struct rates *best, const char *uri, const struct mail *all, uint32_t mails, clockid_t clock,
                    bool written)
{
    struct asker asker;
    begin(&asker, uri, all);
    best->fresh = greater(best->fresh, round_of(&asker, mails, clock, written));
    must(asker.deferred == mails);
    asker.now_us += (int64_t)DELAY_S * 1000000;
    best->known = greater(best->known, round_of(&asker, mails, clock, written));
    must(asker.passed == mails && asker.failed == 0);
    end(&asker);
}

static void tell_store(const char *name, uint32_t mails, clockid_t clock, bool written, struct rates goal)
{
    char uri[256], what[128];
    struct rates best = {0};
    struct mail *all = make_mails(mails);
    for (uint32_t turn = 0; clock_again(turn, best.fresh >= goal.fresh && best.known >= goal.known); turn++)
        for (uint32_t round = 0; round < ROUNDS; round++) {
            if (written)
                snprintf(uri, sizeof uri, "%s%s/%u-%u", name, temporary_folder(), turn, round);
            else
                snprintf(uri, sizeof uri, "%s", name);
            measure(&best, uri, all, mails, clock, written);
        }
    free(all);
    snprintf(what, sizeof what, "greylist, %s, mail never seen", name);
    tell(what, best.fresh, goal.fresh);
    snprintf(what, sizeof what, "greylist, %s, known mail", name);
    tell(what, best.known, goal.known);
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    if (CLOCK_SANITIZED) {
        printf("1..0 # SKIP built with a sanitizer\n");
        return 0;
    }
    uint32_t mails = quick ? 50000 : 300000;
    tell_store("memory:", mails, CLOCK_THREAD_CPUTIME_ID, false, (struct rates){GOAL, GOAL});
    tell_store("sqlite:", mails, CLOCK_PROCESS_CPUTIME_ID, true, (struct rates){GOAL, GOAL});
    printf("1..%u\n", tests);
    return missed > 0;
}
