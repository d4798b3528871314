#include "cmd/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "cmd/cmd.h"
#include "report/text.h"

struct watch {
    pthread_mutex_t lock; /* of what follows */
    struct guard_settings settings;
    struct watch_counters counters;
    struct guard guard;
};

struct watch *watch_new(const struct guard_settings *settings)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->settings = *settings;
    if (getrandom(watch->guard.secret, sizeof watch->guard.secret, 0) != sizeof watch->guard.secret) {
        free(watch);
        return NULL;
    }
    pthread_mutex_init(&watch->lock, NULL);
    return watch;
}

void watch_free(struct watch *watch)
{
    if (watch)
        pthread_mutex_destroy(&watch->lock);
    free(watch);
}

void watch_use(struct watch *watch, const struct guard_settings *settings)
{
    pthread_mutex_lock(&watch->lock);
    watch->settings = *settings;
    pthread_mutex_unlock(&watch->lock);
}

static void number(struct watch *watch, struct event *event)
{
    struct guard_mail mail = {
        .ip_version = event->ip_version,
        .sender = event->sender,
        .recipient = event->recipient,
        .size = event->octets,
    };
    memcpy(mail.server, event->client.address, sizeof mail.server);
    bool taken = event->code / 100 == 2;
    int64_t now_ms = event->time_us / 1000;
    event->attempts = watch->settings.attempts;
    if (taken) {
        uint32_t before = guard_taken(&watch->guard, &watch->settings, &mail, now_ms);
        event->attempt = before ? before + 1 : 0;
        watch->counters.taken += before > 0;
        return;
    }
    event->attempt = guard_refused(&watch->guard, &watch->settings, &mail, now_ms, event->delay_ms);
    event->last = event->attempt == event->attempts;
    watch->counters.retries += event->attempt > 1;
    watch->counters.last += event->last;
}

bool watch_take(struct watch *watch, struct event *event)
{
    pthread_mutex_lock(&watch->lock);
    number(watch, event);
    pthread_mutex_unlock(&watch->lock);
    return event->attempt > 0;
}

void watch_complain(const struct event *event)
{
    enum { SHOWN = 128 };
    char sender[TEXT_BYTES(SHOWN)], recipient[TEXT_BYTES(SHOWN)], reply[TEXT_BYTES(SHOWN)];
    char ours[TEXT_ADDRESS_BYTES], theirs[TEXT_ADDRESS_BYTES];
    cmd_complain(
        CMD_GOOD,
        "MAIL MAY BE LOST: %s put off the last attempt (%u of %u) of our server %s to send mail from <%s> to "
        "<%s>: %s -- have it sent again; see docs/guard.md",
        text_address(&event->server, event->ip_version, theirs), event->attempt, event->attempts,
        text_address(&event->client, event->ip_version, ours), text_escape(event->sender, sender, sizeof sender),
        text_escape(event->recipient, recipient, sizeof recipient), text_escape(event->text, reply, sizeof reply));
}

struct watch_counters watch_counters(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    struct watch_counters counters = watch->counters;
    pthread_mutex_unlock(&watch->lock);
    return counters;
}
