#include "store/client.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static_assert((STORE_PENDING_MAX & (STORE_PENDING_MAX - 1)) == 0, "indices of rings wrap");

/* ---- the other side's ends of the rings ---- */

bool client_has_asked(const struct store_client *client)
{
    return atomic_load(&client->asked_in) != atomic_load(&client->asked_out);
}

bool client_next_asked(struct store_client *client, struct store_question *question)
{
    uint32_t out = atomic_load_explicit(&client->asked_out, memory_order_relaxed);
    if (out == atomic_load(&client->asked_in))
        return false;
    const struct client_asked *asked = &client->asked[out % STORE_PENDING_MAX];
    *question = (struct store_question){asked->key, client->number, client->place, asked->slot};
    atomic_store(&client->asked_out, out + 1);
    return true;
}

void client_answer(struct store_client *client, uint32_t slot, const struct store_reply *reply)
{
    uint32_t in = atomic_load_explicit(&client->answers_in, memory_order_relaxed);
    assert(in - atomic_load(&client->answers_out) < STORE_PENDING_MAX); /* a question has one answer */
    client->answers[in % STORE_PENDING_MAX] = (struct client_answer){slot, *reply};
    atomic_store(&client->answers_in, in + 1);
}

void client_tell(struct store_client *client)
{
    static const uint64_t one = 1;
    if (!atomic_load(&client->told) && !atomic_exchange(&client->told, true) &&
        write(client->fd, &one, sizeof one) != sizeof one)
        atomic_store(&client->told, false);
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
    waker_wake(&client->store->asked);
    return STORE_LATER;
}

/* ---- puts that were set aside ---- */

static void put_in_table(struct store_client *client, const struct store_key *key, const struct store_record *record,
                         struct span text, enum table_patience patience, bool *done)
{
    enum table_put put = table_put(&client->store->table, key, record, text, patience);
    *done = put != TABLE_PUT_BUSY;
    if (put == TABLE_PUT_URGENT)
        waker_wake(&client->store->written);
}

static enum table_patience patience_of(const struct store_client *client)
{
    return client->patient ? TABLE_PATIENT : TABLE_SHORTLY;
}

/* In their order, up to the first that finds its place locked. */
static void put_aside_back(struct store_client *client, enum table_patience patience)
{
    uint32_t done_count = 0;
    for (bool done = true; done_count < client->aside_count; done_count++) {
        struct client_aside *aside = &client->aside[done_count];
        put_in_table(client, &aside->key, aside->absent ? NULL : &aside->record,
                     (struct span){aside->text, aside->text_len}, patience, &done);
        if (!done)
            break;
        free(aside->text);
    }
    client->aside_count -= done_count;
    if (done_count && client->aside_count)
        memmove(client->aside, client->aside + done_count, client->aside_count * sizeof client->aside[0]);
}

static void set_aside(struct store_client *client, const struct store_key *key, const struct store_record *record,
                      struct span text)
{
    if (client->aside_count == CLIENT_ASIDE_MAX)
        put_aside_back(client, TABLE_PATIENT);
    struct client_aside *aside = &client->aside[client->aside_count++];
    text = span_head(text, STORE_TEXT_BYTES_MAX);
    *aside = (struct client_aside){.key = *key, .absent = record == NULL};
    if (record)
        aside->record = *record;
    if (text.len && (aside->text = malloc(text.len)) != NULL) {
        memcpy(aside->text, text.ptr, text.len);
        aside->text_len = text.len;
    }
}

static enum table_found find_aside(const struct store_client *client, const struct store_key *key, int64_t now_s,
                                   struct store_record *record)
{
    for (uint32_t i = client->aside_count; i-- > 0;) {
        const struct client_aside *aside = &client->aside[i];
        if (memcmp(&aside->key, key, sizeof *key) != 0)
            continue;
        if (aside->absent || aside->record.expires_s <= now_s)
            return TABLE_NONE;
        *record = aside->record;
        return TABLE_RECORD;
    }
    return TABLE_UNKNOWN;
}

/* ---- gets and puts ---- */

void store_expect(const struct store_client *client, const struct store_key *keys, uint32_t which)
{
    table_expect(&client->store->table, keys, which);
}

enum store_status store_get(struct store_client *client, const struct store_key *key, uint64_t token, int64_t now_us,
                            int64_t deadline_us, struct store_record *record)
{
    enum table_found found = TABLE_UNKNOWN;
    count(&client->gets);
    if (client->aside_count) {
        put_aside_back(client, TABLE_ONCE);
        found = find_aside(client, key, now_us / 1000000, record);
    }
    if (found == TABLE_UNKNOWN)
        found = table_get(&client->store->table, key, now_us / 1000000, patience_of(client), record);
    switch (found) {
    case TABLE_RECORD:
        count(&client->answered_at_once);
        return STORE_GOOD;
    case TABLE_NONE:
        count(&client->answered_at_once);
        return STORE_ABSENT;
    case TABLE_UNKNOWN:
    case TABLE_BUSY:
        break;
    }
    return ask(client, key, token, deadline_us);
}

static void put(struct store_client *client, const struct store_key *key, const struct store_record *record,
                struct span text)
{
    bool done = false;
    count(&client->puts);
    if (record)
        store_note_kinds(client->store, store_kind_bit(record->kind));
    if (client->aside_count)
        put_aside_back(client, TABLE_ONCE);
    /* What is set aside must not come after what was put later. */
    struct store_record before;
    if (client->aside_count == 0 || find_aside(client, key, 0, &before) == TABLE_UNKNOWN)
        put_in_table(client, key, record, text, patience_of(client), &done);
    if (!done)
        set_aside(client, key, record, text);
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
    unlink_question(client, given->slot);
    free_slot(client, given->slot);
    atomic_store(&client->answers_out, out + 1);
    return true;
}

bool store_next_answer(struct store_client *client, int64_t now_us, struct store_answer *answer)
{
    uint64_t told;
    if (client->aside_count)
        put_aside_back(client, TABLE_ONCE);
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
    if (client->aside_count)
        return 0; /* it must be tried again soon */
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
    client->patient = !store->backend->has_table;
    for (uint32_t slot = STORE_PENDING_MAX; slot > 0; slot--)
        free_slot(client, slot);
    client->fd = store->backend->has_table ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if ((store->backend->has_table && client->fd < 0) || !take_place(store, client)) {
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
    put_aside_back(client, TABLE_PATIENT);
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
