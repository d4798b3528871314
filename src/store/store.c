#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/uri.h"
#include "store/client.h"
#include "store/driver.h"
#include "store/lag.h"

enum { WALK_FLUSH_MS = 5000, LOST_RECORDS = 1024 };

static const struct store_backend *const backends[] = {&store_memory, &store_sqlite, &store_redis};

struct store_settings store_settings_default(void)
{
    return (struct store_settings){
        .clients_max = 64,
        .records_max = 1 << 20,
        .backlog_max = 1 << 20,
        .sync_ms = 1000,
        .cache_max = 1 << 20,
        .file_bytes_max = UINT64_C(4) << 30,
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
    return (store_clock_ms() + atomic_load(&store->ahead_ms)) / 1000 - store->lag_s;
}

bool store_random(uint8_t *octets, size_t len)
{
    return getrandom(octets, len, 0) == (ssize_t)len;
}

void store_set_fault(struct store *store, enum store_fault_of of, const char *fault)
{
    pthread_mutex_lock(&store->fault_lock);
    snprintf(store->faults[of], sizeof store->faults[of], "%s", fault ? fault : "");
    pthread_mutex_unlock(&store->fault_lock);
}

/* ---- memory: the table, and nothing behind it ---- */

static bool open_memory(struct store *store, const char *rest, char *message, size_t size)
{
    if (*rest)
        snprintf(message, size, "memory:%.200s: nothing may stand behind memory:", rest);
    else if (!store_random(store->secret, sizeof store->secret))
        snprintf(message, size, "memory: the kernel gives no random octets");
    return message[0] == '\0';
}

static bool walk_memory(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message,
                        size_t size)
{
    (void)unread; /* nothing is damaged there */
    bool good = table_walk(&store->table, visit, context);
    if (!good)
        snprintf(message, size, "memory: no memory to list it");
    return good;
}

const struct store_backend store_memory = {.scheme = "memory:", .open = open_memory, .walk = walk_memory};

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
    sem_destroy(&store->asked.calls);
    sem_destroy(&store->written.calls);
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
    sem_init(&store->asked.calls, 0, 0);
    sem_init(&store->written.calls, 0, 0);
    store->clients = calloc(settings->clients_max, sizeof(void *));
    uint32_t kept = backend->get_batch ? settings->cache_max : settings->records_max;
    uint32_t unwritten = backend->get_batch ? settings->backlog_max : 0;
    if (!store->clients || !table_init(&store->table, kept, unwritten)) {
        free_store(store);
        return NULL;
    }
    return store;
}

static bool check_settings(const struct store_settings *settings, char *message, size_t size)
{
    if (settings->clients_max && settings->records_max && settings->backlog_max && settings->sync_ms &&
        settings->cache_max && settings->file_bytes_max)
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

void store_set_time(struct store *store, int64_t now_us)
{
    atomic_store(&store->ahead_ms, now_us / 1000 - store_clock_ms());
}

/* NULL with a message where no kind of store has such URIs. */
static const struct store_backend *find_backend(const char *uri, char *message, size_t size)
{
    const struct store_backend *backend = backend_of(uri);
    char shown[200];
    message[0] = '\0';
    if (!backend)
        snprintf(message, size, "%s: no store begins like this; write memory:, sqlite:FOLDER or redis://HOST",
                 uri_shown(uri, shown, sizeof shown));
    return backend;
}

bool store_understands(const char *uri, char *message, size_t size)
{
    const struct store_backend *backend = find_backend(uri, message, size);
    return backend && (!backend->understands || backend->understands(uri + strlen(backend->scheme), message, size));
}

bool store_is_shared(const char *uri)
{
    const struct store_backend *backend = backend_of(uri);
    return backend && backend->is_shared;
}

static struct store *open_with(const struct store_backend *backend, const char *rest, const char *name,
                               const struct store_settings *settings, int64_t now_s, char *message, size_t size)
{
    if (!check_settings(settings, message, size))
        return NULL;
    struct store *store = new_store(backend, settings);
    if (!store) {
        snprintf(message, size, "%.200s: no memory for it", name);
        return NULL;
    }
    atomic_store(&store->ahead_ms, ahead_ms(now_s));
    bool good = backend->open(store, rest, message, size);
    if (good && backend->get_batch && !driver_start(store)) {
        snprintf(message, size, "%.200s: cannot start its threads", name);
        good = false;
    }
    if (good)
        return store;
    store_close(store, 0);
    return NULL;
}

struct store *store_open(const char *uri, const struct store_settings *settings, int64_t now_s, char *message,
                         size_t size)
{
    const struct store_backend *backend = find_backend(uri, message, size);
    char shown[200];
    if (!backend)
        return NULL;
    return open_with(backend, uri + strlen(backend->scheme), uri_shown(uri, shown, sizeof shown), settings, now_s,
                     message, size);
}

struct store *store_open_lost(const char *fault, const struct store_settings *settings, int64_t now_s, char *message,
                              size_t size)
{
    struct store_settings small = *settings;
    small.cache_max = small.backlog_max = LOST_RECORDS;
    message[0] = '\0';
    return open_with(&store_lost, fault, "the stand-in for a store", &small, now_s, message, size);
}

void store_tell_lost(struct store *store, const char *fault)
{
    if (store->backend == &store_lost)
        store_set_fault(store, FAULT_PLACE, fault);
}

uint64_t store_close(struct store *store, uint32_t wait_ms)
{
    if (!store)
        return 0;
    if (store->writing)
        driver_flush(store, wait_ms);
    bool ended = driver_stop(store);
    uint64_t unwritten = store->backend->get_batch ? table_sums(&store->table).unwritten : 0;
    if (!ended)
        return unwritten;
    if (store->state)
        store->backend->close(store);
    table_fini(&store->table);
    free_store(store);
    return unwritten;
}

const uint8_t *store_secret(const struct store *store)
{
    return store->secret;
}

int64_t store_lag_s(const struct store *store)
{
    return store->lag_s;
}

uint32_t store_kinds(const struct store *store)
{
    return atomic_load_explicit(&store->kinds, memory_order_relaxed);
}

bool store_fault(struct store *store, char *message, size_t size)
{
    pthread_mutex_lock(&store->fault_lock);
    unsigned of = 0;
    while (of < STORE_FAULTS - 1 && !store->faults[of][0])
        of++;
    snprintf(message, size, "%s", store->faults[of]);
    bool wrong = store->faults[of][0] != '\0';
    pthread_mutex_unlock(&store->fault_lock);
    return wrong;
}

void store_counters(struct store *store, struct store_counters *counters)
{
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
    }
    pthread_mutex_unlock(&store->clients_lock);
    counters->written = atomic_load(&store->written_count);
    struct table_sums sums = table_sums(&store->table);
    counters->lost = sums.lost;
    counters->waiting = store->backend->get_batch ? sums.unwritten : 0;
    counters->reconnects = atomic_load(&store->reconnects);
    counters->records = store->backend->get_batch ? atomic_load(&store->records) : sums.all;
}

struct walk {
    store_visit *visit;
    void *context;
    int64_t lag_s;
};

static bool visit_as_users(void *context, const struct store_key *key, const struct store_record *record,
                           struct span text)
{
    const struct walk *walk = context;
    struct store_record shown = *record;
    shown.expires_s = lag_users(walk->lag_s, record->expires_s);
    return walk->visit(walk->context, key, &shown, text);
}

bool store_walk(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message, size_t size)
{
    message[0] = '\0';
    *unread = 0;
    if (store->writing)
        driver_flush(store, WALK_FLUSH_MS);
    struct walk walk = {visit, context, store->lag_s};
    return store->backend->walk(store, visit_as_users, &walk, unread, message, size);
}
