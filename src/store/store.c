#include "store/store.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "store/client.h"

static const struct store_backend *const backends[] = {&store_memory, &store_lmdb, &store_redis};

struct store_settings store_settings_default(void)
{
    return (struct store_settings){
        .clients_max = 64,
        .records_max = 1 << 20,
        .backlog_max = 1 << 20,
        .sync_ms = 1000,
        .cache_max = 1 << 20,
        .map_bytes = UINT64_C(4) << 30,
    };
}

/* ---- what backends share ---- */

int64_t store_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t store_now_s(const struct store *store)
{
    return (store_clock_ms() + store->ahead_ms) / 1000;
}

bool store_random(uint8_t *octets, size_t len)
{
    return getrandom(octets, len, 0) == (ssize_t)len;
}

bool waker_init(struct store_waker *waker)
{
    waker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return waker->fd >= 0;
}

void waker_fini(struct store_waker *waker)
{
    if (waker->fd >= 0)
        close(waker->fd);
    waker->fd = -1;
}

void waker_wake(struct store_waker *waker)
{
    static const uint64_t one = 1;
    if (atomic_load(&waker->asleep) && atomic_exchange(&waker->asleep, false) &&
        write(waker->fd, &one, sizeof one) != sizeof one)
        atomic_store(&waker->asleep, true);
}

void waker_about_to_sleep(struct store_waker *waker)
{
    atomic_store(&waker->asleep, true);
}

void waker_awake(struct store_waker *waker)
{
    uint64_t woken;
    atomic_store(&waker->asleep, false);
    while (read(waker->fd, &woken, sizeof woken) < 0 && errno == EINTR)
        continue;
}

size_t store_questions(struct store *store, struct store_question *questions, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&store->clients_lock);
    for (uint32_t i = 0; i < store->settings.clients_max; i++)
        while (store->clients[i] && count < max && client_next_asked(store->clients[i], &questions[count]))
            count++;
    pthread_mutex_unlock(&store->clients_lock);
    return count;
}

bool store_has_questions(struct store *store)
{
    bool has = false;
    pthread_mutex_lock(&store->clients_lock);
    for (uint32_t i = 0; i < store->settings.clients_max && !has; i++)
        has = store->clients[i] && client_has_asked(store->clients[i]);
    pthread_mutex_unlock(&store->clients_lock);
    return has;
}

static struct store_client *asker_of(const struct store *store, const struct store_question *question)
{
    struct store_client *client = store->clients[question->place];
    return client && client->number == question->client ? client : NULL;
}

/* Who asked is woken behind the last answer, not by the first. */
void store_answer_all(struct store *store, const struct store_question *questions, const struct store_reply *replies,
                      size_t count)
{
    pthread_mutex_lock(&store->clients_lock);
    for (size_t i = 0; i < count; i++) {
        struct store_client *client = asker_of(store, &questions[i]);
        if (client)
            client_answer(client, questions[i].slot, &replies[i]);
    }
    for (size_t i = 0; i < count; i++) {
        struct store_client *client = asker_of(store, &questions[i]);
        if (client)
            client_tell(client);
    }
    pthread_mutex_unlock(&store->clients_lock);
}

void store_answer(struct store *store, const struct store_question *question, enum store_status status,
                  const struct store_record *record)
{
    struct store_reply reply = {.status = status};
    if (record)
        reply.record = *record;
    store_answer_all(store, question, &reply, 1);
}

void store_note_kinds(struct store *store, uint32_t kinds)
{
    if (kinds & ~atomic_load_explicit(&store->kinds, memory_order_relaxed))
        atomic_fetch_or(&store->kinds, kinds);
}

void store_set_fault(struct store *store, const char *fault)
{
    pthread_mutex_lock(&store->fault_lock);
    snprintf(store->fault, sizeof store->fault, "%s", fault ? fault : "");
    pthread_mutex_unlock(&store->fault_lock);
}

bool store_flush(struct store *store, uint32_t wait_ms)
{
    int64_t until_ms = store_clock_ms() + wait_ms;
    while (table_unwritten(&store->table)) {
        int64_t left_ms = until_ms - store_clock_ms();
        if (left_ms <= 0)
            return false;
        waker_wake(&store->written);
        poll(NULL, 0, left_ms < 5 ? (int)left_ms : 5);
    }
    return true;
}

/* ---- opening and closing ---- */

static const struct store_backend *backend_of(const char *uri)
{
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++)
        if (strncmp(uri, backends[i]->scheme, strlen(backends[i]->scheme)) == 0)
            return backends[i];
    return NULL;
}

static void free_store(struct store *store)
{
    waker_fini(&store->asked);
    waker_fini(&store->written);
    pthread_mutex_destroy(&store->clients_lock);
    pthread_mutex_destroy(&store->fault_lock);
    free(store->clients);
    free(store);
}

/* A store without its backend's part; NULL where there is no memory. */
static struct store *new_store(const struct store_backend *backend, const struct store_settings *settings)
{
    struct store *store = aligned_alloc(64, sizeof *store);
    if (!store)
        return NULL;
    memset(store, 0, sizeof *store);
    store->backend = backend;
    store->settings = *settings;
    pthread_mutex_init(&store->clients_lock, NULL);
    pthread_mutex_init(&store->fault_lock, NULL);
    bool woken = waker_init(&store->asked);
    woken = waker_init(&store->written) && woken;
    store->clients = calloc(settings->clients_max, sizeof(void *));
    uint32_t kept = backend->has_table ? settings->cache_max : settings->records_max;
    uint32_t unwritten = backend->has_table ? settings->backlog_max : 0;
    if (!woken || !store->clients || !table_init(&store->table, kept, unwritten)) {
        free_store(store);
        return NULL;
    }
    return store;
}

static bool check_settings(const struct store_settings *settings, char *message, size_t size)
{
    if (settings->clients_max && settings->records_max && settings->backlog_max && settings->sync_ms &&
        settings->cache_max && settings->map_bytes)
        return true;
    snprintf(message, size, "a store's settings must not be 0");
    return false;
}

/* `now_s` leaves out a part of a second, and was read a moment ago: the system's clock has it, unless that was set. */
static int64_t ahead_ms(int64_t now_s)
{
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t set_s = now_s - wall.tv_sec;
    int64_t now_ms = (wall.tv_sec + (set_s < -1 || set_s > 0 ? set_s : 0)) * 1000 + wall.tv_nsec / 1000000;
    return now_ms - store_clock_ms();
}

struct store *store_open(const char *uri, const struct store_settings *settings, int64_t now_s, char *message,
                         size_t size)
{
    const struct store_backend *backend = backend_of(uri);
    message[0] = '\0';
    if (!backend) {
        snprintf(message, size, "%.200s: no store begins like this; write memory:, lmdb:PATH or redis://HOST", uri);
        return NULL;
    }
    if (!check_settings(settings, message, size))
        return NULL;
    struct store *store = new_store(backend, settings);
    if (!store) {
        snprintf(message, size, "%.200s: no memory for it", uri);
        return NULL;
    }
    store->ahead_ms = ahead_ms(now_s);
    if (!backend->open(store, uri + strlen(backend->scheme), message, size)) {
        store_close(store, 0);
        return NULL;
    }
    return store;
}

void store_close(struct store *store, uint32_t wait_ms)
{
    if (!store)
        return;
    if (!store->backend->close(store, wait_ms))
        return;
    table_fini(&store->table);
    free_store(store);
}

const uint8_t *store_secret(const struct store *store)
{
    return store->secret;
}

uint32_t store_kinds(const struct store *store)
{
    return atomic_load_explicit(&store->kinds, memory_order_relaxed);
}

bool store_fault(struct store *store, char *message, size_t size)
{
    pthread_mutex_lock(&store->fault_lock);
    snprintf(message, size, "%s", store->fault);
    bool wrong = store->fault[0] != '\0';
    pthread_mutex_unlock(&store->fault_lock);
    return wrong;
}

void store_counters(struct store *store, struct store_counters *counters)
{
    uint64_t aside = 0;
    pthread_mutex_lock(&store->clients_lock);
    *counters = store->past;
    for (uint32_t i = 0; i < store->settings.clients_max; i++) {
        const struct store_client *client = store->clients[i];
        if (!client)
            continue;
        counters->gets += atomic_load(&client->gets);
        counters->answered_at_once += atomic_load(&client->answered_at_once);
        counters->failed += atomic_load(&client->failed);
        counters->puts += atomic_load(&client->puts);
        aside += atomic_load(&client->aside_count);
    }
    pthread_mutex_unlock(&store->clients_lock);
    counters->written = atomic_load(&store->written_count);
    counters->lost = table_lost(&store->table);
    counters->waiting = aside + (store->backend->has_table ? table_unwritten(&store->table) : 0);
    counters->reconnects = atomic_load(&store->reconnects);
    counters->records = store->backend->records(store);
}

bool store_walk(struct store *store,
                bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                              struct span text),
                void *context, char *message, size_t size)
{
    message[0] = '\0';
    return store->backend->walk(store, visit, context, message, size);
}
