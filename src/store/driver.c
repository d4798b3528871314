#include "store/driver.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/steady.h"
#include "store/client.h"

enum {
    QUESTIONS_MAX = 256,
    WRITES_MAX = 8192, /* of one transaction */
    JOIN_S = 2,
};

/* ---- waking ---- */

void driver_wake(struct store_waker *waker)
{
    if (atomic_load(&waker->asleep) && atomic_exchange(&waker->asleep, false))
        sem_post(&waker->calls);
}

/* Unless there is work now. */
static void sleep_for(struct store_waker *waker, int64_t wait_ms, bool (*has_work)(struct store *store),
                      struct store *store)
{
    struct timespec until = steady_after(wait_ms);
    atomic_store(&waker->asleep, true);
    if (!atomic_load(&store->ending) && !(has_work && has_work(store)))
        while (steady_wait(&waker->calls, &until) != 0 && errno == EINTR)
            continue;
    if (!atomic_exchange(&waker->asleep, false))
        while (sem_trywait(&waker->calls) == 0)
            continue;
}

/* ---- questions ---- */

static void answer(struct store *store, const struct client_question_out *questions, size_t count)
{
    struct store_key keys[QUESTIONS_MAX];
    struct store_reply replies[QUESTIONS_MAX];
    uint32_t generation = table_generation(&store->table);
    for (size_t i = 0; i < count; i++) {
        keys[i] = questions[i].key;
        replies[i] = (struct store_reply){.status = STORE_FAILED};
    }
    store->backend->get_batch(store, keys, replies, count);
    for (size_t i = 0; i < count; i++) {
        if (replies[i].status == STORE_FAILED)
            continue;
        struct store_record found = replies[i].record;
        enum table_found known = table_learn(&store->table, &keys[i], generation, store_now_s(store),
                                             replies[i].status == STORE_GOOD ? &found : NULL, &replies[i].record);
        replies[i].status = known == TABLE_RECORD ? STORE_GOOD : STORE_ABSENT;
    }
    clients_answer(store, questions, replies, count);
}

static void *read_thread(void *context)
{
    struct store *store = context;
    struct client_question_out questions[QUESTIONS_MAX];
    while (!atomic_load(&store->ending)) {
        size_t count = clients_take_questions(store, questions, QUESTIONS_MAX);
        if (count)
            answer(store, questions, count);
        else
            sleep_for(&store->asked, 1000, clients_have_asked, store);
    }
    return NULL;
}

/* ---- puts ---- */

static void write_all(struct store *store, struct table_write *writes)
{
    uint32_t shard = 0;
    bool good = true;
    for (size_t count = WRITES_MAX; good && count == WRITES_MAX;) {
        count = table_take_writes(&store->table, &shard, writes, WRITES_MAX);
        if (count == 0)
            return;
        good = store->backend->put_batch(store, writes, count);
        table_settle(&store->table, writes, count, good);
        atomic_fetch_add(&store->written_count, good ? count : 0);
    }
}

static void *write_thread(void *context)
{
    struct store *store = context;
    struct table_write *writes = calloc(WRITES_MAX, sizeof *writes);
    int64_t tick_ms =
        store->settings.sync_ms / 2 < store->backend->tick_ms ? store->settings.sync_ms / 2 : store->backend->tick_ms;
    while (!atomic_load(&store->ending)) {
        sleep_for(&store->written, tick_ms, NULL, store);
        if (writes)
            write_all(store, writes);
        store->backend->tend(store);
    }
    free(writes);
    return NULL;
}

bool driver_flush(struct store *store, uint32_t wait_ms)
{
    int64_t until_ms = store_clock_ms() + wait_ms;
    while (table_sums(&store->table).unwritten) {
        int64_t left_ms = until_ms - store_clock_ms();
        if (left_ms <= 0)
            return false;
        driver_wake(&store->written);
        poll(NULL, 0, left_ms < 5 ? (int)left_ms : 5);
    }
    return true;
}

/* ---- threads ---- */

/* Signals are for the program's own threads; these hear none. */
static bool start(pthread_t *thread, void *(*run)(void *context), struct store *store)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, run, store) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static bool join(pthread_t thread)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += JOIN_S;
    return steady_join(thread, &until) == 0;
}

bool driver_start(struct store *store)
{
    store->reading = start(&store->reader, read_thread, store);
    store->writing = start(&store->writer, write_thread, store);
    return store->reading && store->writing;
}

bool driver_stop(struct store *store)
{
    atomic_store(&store->ending, true);
    driver_wake(&store->asked);
    driver_wake(&store->written);
    bool ended = !store->reading || join(store->reader);
    return (!store->writing || join(store->writer)) && ended;
}
