#include "store/client.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "store/driver.h"
#include "store/lag.h"

static_assert((STORE_PENDING_MAX & (STORE_PENDING_MAX - 1)) == 0, "indices of rings wrap");

/* ---- the other side's ends of the rings ---- */

bool clients_have_asked(struct store *store)
{
    bool has = false;
    pthread_mutex_lock(&store->clients_lock);
    for (uint32_t i = 0; i < store->settings.clients_max && !has; i++) {
        const struct store_client *client = store->clients[i];
        has = client && atomic_load(&client->asked_in) != atomic_load(&client->asked_out);
    }
    pthread_mutex_unlock(&store->clients_lock);
    return has;
}

static bool next_asked(struct store_client *client, struct client_question_out *question)
{
    uint32_t out = atomic_load_explicit(&client->asked_out, memory_order_relaxed);
    if (out == atomic_load(&client->asked_in))
        return false;
    const struct client_asked *asked = &client->asked[out % STORE_PENDING_MAX];
    *question = (struct client_question_out){asked->key, client->number, client->place, asked->slot};
    atomic_store(&client->asked_out, out + 1);
    return true;
}

size_t clients_take_questions(struct store *store, struct client_question_out *questions, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&store->clients_lock);
    for (uint32_t i = 0; i < store->settings.clients_max; i++)
        while (store->clients[i] && count < max && next_asked(store->clients[i], &questions[count]))
            count++;
    pthread_mutex_unlock(&store->clients_lock);
    return count;
}

static struct store_client *asker_of(const struct store *store, const struct client_question_out *question)
{
    struct store_client *client = store->clients[question->place];
    return client && client->number == question->client ? client : NULL;
}

static void tell(struct store_client *client)
{
    static const uint64_t one = 1;
    if (!atomic_load(&client->told) && !atomic_exchange(&client->told, true) &&
        write(client->fd, &one, sizeof one) != sizeof one)
        atomic_store(&client->told, false);
}

/* Who asked is woken behind the last answer, not by the first. */
void clients_answer(struct store *store, const struct client_question_out *questions, const struct store_reply *replies,
                    size_t count)
{
    pthread_mutex_lock(&store->clients_lock);
    for (size_t i = 0; i < count; i++) {
        struct store_client *client = asker_of(store, &questions[i]);
        if (!client)
            continue;
        uint32_t in = atomic_load_explicit(&client->answers_in, memory_order_relaxed);
        assert(in - atomic_load(&client->answers_out) < STORE_PENDING_MAX); /* a question has one answer */
        client->answers[in % STORE_PENDING_MAX] = (struct client_answer){questions[i].slot, replies[i]};
        atomic_store(&client->answers_in, in + 1);
    }
    for (size_t i = 0; i < count; i++) {
        struct store_client *client = asker_of(store, &questions[i]);
        if (client)
            tell(client);
    }
    pthread_mutex_unlock(&store->clients_lock);
}

/* ---- what is under way ---- */

static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* By deadline; nearly always the last. */
static void link_question(struct store_client *client, uint32_t slot)
{
    struct client_question *question = &client->questions[slot];
    uint32_t earlier = client->latest;
    while (earlier && client->questions[earlier].deadline_us > question->deadline_us)
        earlier = client->questions[earlier].earlier;
    question->earlier = earlier;
    question->later = earlier ? client->questions[earlier].later : client->earliest;
    if (earlier)
        client->questions[earlier].later = slot;
    else
        client->earliest = slot;
    if (question->later)
        client->questions[question->later].earlier = slot;
    else
        client->latest = slot;
}

static void unlink_question(struct store_client *client, uint32_t slot)
{
    struct client_question *question = &client->questions[slot];
    if (question->earlier)
        client->questions[question->earlier].later = question->later;
    else
        client->earliest = question->later;
    if (question->later)
        client->questions[question->later].earlier = question->earlier;
    else
        client->latest = question->earlier;
}

static void free_slot(struct store_client *client, uint32_t slot)
{
    client->questions[slot].later = client->free;
    client->free = slot;
}

/* Answers that nobody waits for any more, at the front of the ring. */
static void drop_answers_given_up(struct store_client *client)
{
    uint32_t out = atomic_load_explicit(&client->answers_out, memory_order_relaxed);
    while (out != atomic_load(&client->answers_in)) {
        uint32_t slot = client->answers[out % STORE_PENDING_MAX].slot;
        if (!client->questions[slot].given_up)
            return;
        free_slot(client, slot);
        atomic_store(&client->answers_out, ++out);
    }
}

static enum store_status ask(struct store_client *client, const struct store_key *key, uint64_t token,
                             int64_t deadline_us)
{
    if (client->free == POOL_NONE)
        drop_answers_given_up(client);
    uint32_t slot = client->free;
    if (slot == POOL_NONE || atomic_load_explicit(&client->store->down, memory_order_relaxed)) {
        count(&client->failed);
        return STORE_FAILED;
    }
    client->free = client->questions[slot].later;
    client->questions[slot] = (struct client_question){.token = token, .deadline_us = deadline_us};
    link_question(client, slot);
    uint32_t in = atomic_load_explicit(&client->asked_in, memory_order_relaxed);
    client->asked[in % STORE_PENDING_MAX] = (struct client_asked){slot, *key};
    atomic_store(&client->asked_in, in + 1);
    driver_wake(&client->store->asked);
    return STORE_LATER;
}

/* ---- gets and puts ---- */

enum store_status store_get(struct store_client *client, const struct store_key *key, uint64_t token, int64_t now_us,
                            int64_t deadline_us, struct store_record *record)
{
    count(&client->gets);
    enum table_found found = table_get(&client->store->table, key, now_us / 1000000 - client->store->lag_s, record);
    if (found == TABLE_UNKNOWN)
        return ask(client, key, token, deadline_us);
    count(&client->answered_at_once);
    if (found == TABLE_NONE)
        return STORE_ABSENT;
    record->expires_s = lag_users(client->store->lag_s, record->expires_s);
    return STORE_GOOD;
}

/* `users` is by the client's time, NULL for none. */
static void put(struct store_client *client, const struct store_key *key, const struct store_record *users,
                struct span text)
{
    struct store_record own = users ? *users : (struct store_record){0};
    count(&client->puts);
    own.expires_s = lag_own(client->store->lag_s, own.expires_s);
    if (users)
        store_note_kinds(client->store, store_kind_bit(users->kind));
    if (table_put(&client->store->table, key, users ? &own : NULL, text))
        driver_wake(&client->store->written);
}

void store_put(struct store_client *client, const struct store_key *key, const struct store_record *record)
{
    put(client, key, record, (struct span){0});
}

void store_put_text(struct store_client *client, const struct store_key *key, const struct store_record *record,
                    struct span text)
{
    put(client, key, record, text);
}

void store_drop(struct store_client *client, const struct store_key *key)
{
    put(client, key, NULL, (struct span){0});
}

int store_client_fd(const struct store_client *client)
{
    return client->fd;
}

static bool take_answer(struct store_client *client, struct store_answer *answer)
{
    drop_answers_given_up(client);
    uint32_t out = atomic_load_explicit(&client->answers_out, memory_order_relaxed);
    if (out == atomic_load(&client->answers_in))
        return false;
    const struct client_answer *given = &client->answers[out % STORE_PENDING_MAX];
    *answer = (struct store_answer){client->questions[given->slot].token, given->reply.status, given->reply.record};
    if (given->reply.status == STORE_FAILED)
        count(&client->failed);
    answer->record.expires_s = lag_users(client->store->lag_s, answer->record.expires_s);
    unlink_question(client, given->slot);
    free_slot(client, given->slot);
    atomic_store(&client->answers_out, out + 1);
    return true;
}

bool store_next_answer(struct store_client *client, int64_t now_us, struct store_answer *answer)
{
    uint64_t told;
    if (take_answer(client, answer))
        return true;
    if (atomic_load(&client->told)) {
        /* What comes from here on is told again. */
        if (read(client->fd, &told, sizeof told) == sizeof told)
            atomic_store(&client->told, false);
        if (take_answer(client, answer))
            return true;
    }
    uint32_t late = client->earliest;
    if (late == POOL_NONE || client->questions[late].deadline_us > now_us)
        return false;
    client->questions[late].given_up = true;
    unlink_question(client, late);
    count(&client->failed);
    *answer = (struct store_answer){.token = client->questions[late].token, .status = STORE_FAILED};
    return true;
}

int64_t store_next_due(const struct store_client *client)
{
    return client->earliest ? client->questions[client->earliest].deadline_us : INT64_MAX;
}

/* ---- coming and going ---- */

static bool take_place(struct store *store, struct store_client *client)
{
    bool found = false;
    pthread_mutex_lock(&store->clients_lock);
    for (uint32_t i = 0; i < store->settings.clients_max && !found; i++)
        if (!store->clients[i]) {
            store->clients[i] = client;
            client->place = i;
            client->number = store->clients_made++;
            found = true;
        }
    pthread_mutex_unlock(&store->clients_lock);
    return found;
}

struct store_client *store_client_new(struct store *store)
{
    struct store_client *client = aligned_alloc(64, sizeof *client);
    if (!client)
        return NULL;
    memset(client, 0, sizeof *client);
    client->store = store;
    for (uint32_t slot = STORE_PENDING_MAX; slot > 0; slot--)
        free_slot(client, slot);
    client->fd = store->backend->get_batch ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if ((store->backend->get_batch && client->fd < 0) || !take_place(store, client)) {
        if (client->fd >= 0)
            close(client->fd);
        free(client);
        return NULL;
    }
    return client;
}

void store_client_free(struct store_client *client)
{
    if (!client)
        return;
    struct store *store = client->store;
    pthread_mutex_lock(&store->clients_lock);
    for (uint32_t i = 0; i < store->settings.clients_max; i++)
        if (store->clients[i] == client)
            store->clients[i] = NULL;
    store->past.gets += atomic_load(&client->gets);
    store->past.answered_at_once += atomic_load(&client->answered_at_once);
    store->past.failed += atomic_load(&client->failed);
    store->past.puts += atomic_load(&client->puts);
    pthread_mutex_unlock(&store->clients_lock);
    if (client->fd >= 0)
        close(client->fd);
    free(client);
}
