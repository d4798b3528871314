#include "cmd/late_store.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/steady.h"
#include "cmd/clock.h"

enum { PAUSE_LEAST_MS = 1000, PAUSE_MOST_MS = 60000, JOIN_S = 2 };

struct late_store {
    const char *uri;
    struct store_settings settings;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t end;
    bool ending;
    struct store *store; /* open, and not taken yet */
    bool is_new;         /* `message` was not taken yet */
    char message[STORE_MESSAGE_BYTES_MAX];
};

/* False where it ends meanwhile. */
static bool pause_for(struct late_store *late, int64_t ms)
{
    struct timespec until = steady_after(ms);
    int code = 0;
    pthread_mutex_lock(&late->lock);
    while (!late->ending && code == 0)
        code = pthread_cond_timedwait(&late->end, &late->lock, &until);
    bool goes_on = !late->ending;
    pthread_mutex_unlock(&late->lock);
    return goes_on;
}

static bool try(struct late_store *late)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store *store = store_open(late->uri, &late->settings, clock_now_us() / 1000000, message, sizeof message);
    pthread_mutex_lock(&late->lock);
    late->store = store;
    late->is_new = late->is_new || store || strcmp(message, late->message) != 0;
    snprintf(late->message, sizeof late->message, "%s", message);
    pthread_mutex_unlock(&late->lock);
    return store != NULL;
}

static void *run(void *context)
{
    struct late_store *late = context;
    int64_t pause_ms = PAUSE_LEAST_MS;
    while (pause_for(late, pause_ms) && !try(late))
        pause_ms = pause_ms * 2 < PAUSE_MOST_MS ? pause_ms * 2 : PAUSE_MOST_MS;
    return NULL;
}

/* Signals are for the program's main thread. */
static bool start(struct late_store *late)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&late->thread, NULL, run, late) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

struct late_store *late_store_new(const char *uri, const struct store_settings *settings, const char *fault)
{
    struct late_store *late = calloc(1, sizeof *late);
    pthread_condattr_t steady;
    if (!late)
        return NULL;
    late->uri = uri;
    late->settings = *settings;
    snprintf(late->message, sizeof late->message, "%s", fault);
    pthread_mutex_init(&late->lock, NULL);
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&late->end, &steady);
    pthread_condattr_destroy(&steady);
    if (start(late))
        return late;
    free(late);
    return NULL;
}

struct store *late_store_take(struct late_store *late, char *message, size_t size)
{
    pthread_mutex_lock(&late->lock);
    struct store *store = late->store;
    snprintf(message, size, "%s", late->is_new ? late->message : "");
    late->is_new = false;
    late->store = NULL;
    pthread_mutex_unlock(&late->lock);
    return store;
}

void late_store_free(struct late_store *late)
{
    if (!late)
        return;
    struct timespec until = steady_after(JOIN_S * INT64_C(1000));
    pthread_mutex_lock(&late->lock);
    late->ending = true;
    pthread_cond_signal(&late->end);
    pthread_mutex_unlock(&late->lock);
    if (steady_join(late->thread, &until) != 0)
        return; /* it may still use what it has; the program ends */
    store_close(late->store, 0);
    pthread_cond_destroy(&late->end);
    pthread_mutex_destroy(&late->lock);
    free(late);
}
