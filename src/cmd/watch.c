#include "cmd/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/octets.h"
#include "cmd/cmd.h"
#include "report/text.h"

struct watch {
    pthread_mutex_t lock; /* of what follows */
    struct guard_settings settings;
    struct watch_counters counters;
    struct guard guard;
    uint32_t counted[GUARD_SETS]; /* attempts of the messages that the hash puts together */
    int64_t lag_ms;               /* of the store's time */
};

static_assert(STORE_KEY_BYTES == SIPHASH_BYTES && STORE_SECRET_BYTES == SIPHASH_KEY_BYTES, "a store's keys are ours");
static_assert(STORE_VALUE_BYTES >= GUARD_VALUE_BYTES, "a record has room for what is known");

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

static struct guard_mail mail_of(const struct event *event)
{
    struct guard_mail mail = {
        .ip_version = event->ip_version,
        .sender = event->sender,
        .recipient = event->recipient,
        .size = event->octets,
    };
    memcpy(mail.server, event->client.address, sizeof mail.server);
    return mail;
}

static void number(struct watch *watch, struct event *event)
{
    struct guard_mail mail = mail_of(event);
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

void watch_share(struct watch *watch, const struct store *store)
{
    pthread_mutex_lock(&watch->lock);
    memcpy(watch->guard.secret, store_secret(store), sizeof watch->guard.secret);
    watch->lag_ms = store_lag_s(store) * 1000;
    pthread_mutex_unlock(&watch->lock);
}

static uint32_t *counted_at(struct watch *watch, const struct store_key *key)
{
    return &watch->counted[load_be16(key->octets) % GUARD_SETS];
}

struct watch_place watch_place(struct watch *watch, const struct event *event)
{
    struct watch_place place;
    struct guard_mail mail = mail_of(event);
    pthread_mutex_lock(&watch->lock);
    guard_key(&watch->guard, &mail, place.key.octets);
    place.counted = *counted_at(watch, &place.key);
    pthread_mutex_unlock(&watch->lock);
    return place;
}

static void save(struct watch *watch, const struct event *event, const struct store_key *key,
                 struct store_client *client)
{
    int64_t now_ms = event->time_us / 1000;
    struct store_record record = {
        .kind = GUARD_KIND,
        .len = GUARD_VALUE_BYTES,
        .expires_s = (now_ms + event->delay_ms) / 1000 + watch->settings.retry_gap_s + 1,
    };
    guard_save(&watch->guard, &watch->settings, key->octets, now_ms, watch->lag_ms, record.value);
    store_put(client, key, &record);
}

bool watch_take_shared(struct watch *watch, struct event *event, const struct watch_place *place,
                       const struct store_record *record, struct store_client *client)
{
    pthread_mutex_lock(&watch->lock);
    uint32_t *counted = counted_at(watch, &place->key);
    if (record && record->kind == GUARD_KIND && *counted == place->counted)
        guard_load(&watch->guard, &watch->settings, place->key.octets, event->time_us / 1000, watch->lag_ms,
                   (struct span){record->value, record->len});
    number(watch, event);
    if (event->attempt > 0) {
        ++*counted;
        save(watch, event, &place->key, client);
    }
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
