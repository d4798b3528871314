#include "cmd/watcher.h"

#include <stdlib.h>

#include "base/pool.h"

enum { TEXT_BYTES_MAX = 1024, ADDRESS_BYTES_MAX = 256 };

/* An event whose message is being looked up. */
struct waiting {
    uint32_t next_free; /* the pool's */
    struct watch_place place;
    struct event event; /* its spans are below */
    uint8_t text[TEXT_BYTES_MAX], sender[ADDRESS_BYTES_MAX], recipient[ADDRESS_BYTES_MAX];
};

struct watcher {
    struct watch *watch;
    struct store_client *client;
    struct pool waiting;
};

struct watcher *watcher_new(struct watch *watch, struct store *store)
{
    const uint32_t bytes = (sizeof(struct waiting) + 7) / 8 * 8;
    struct watcher *watcher = calloc(1, sizeof *watcher);
    void *storage = calloc(WATCHER_EVENTS_MAX, bytes);
    struct store_client *client = watcher && storage ? store_client_new(store) : NULL;
    if (!client) {
        free(storage);
        free(watcher);
        return NULL;
    }
    *watcher = (struct watcher){.watch = watch, .client = client};
    pool_init(&watcher->waiting, storage, bytes, WATCHER_EVENTS_MAX);
    return watcher;
}

void watcher_free(struct watcher *watcher)
{
    if (!watcher)
        return;
    store_client_free(watcher->client);
    free(watcher->waiting.storage);
    free(watcher);
}

static struct span keep(uint8_t *room, size_t size, struct span text)
{
    text = span_head(text, size);
    if (text.len)
        memcpy(room, text.ptr, text.len);
    return (struct span){room, text.len};
}

static void copy(struct waiting *waiting, const struct event *event, const struct watch_place *place)
{
    waiting->place = *place;
    waiting->event = *event;
    waiting->event.text = keep(waiting->text, sizeof waiting->text, event->text);
    waiting->event.sender = keep(waiting->sender, sizeof waiting->sender, event->sender);
    waiting->event.recipient = keep(waiting->recipient, sizeof waiting->recipient, event->recipient);
}

bool watcher_take(struct watcher *watcher, struct event *event)
{
    struct store_record record;
    struct watch_place place = watch_place(watcher->watch, event);
    uint32_t index = pool_borrow(&watcher->waiting);
    enum store_status status = STORE_FAILED;
    if (index != POOL_NONE)
        status = store_get(watcher->client, &place.key, index, event->time_us,
                           event->time_us + WATCHER_STORE_MS * INT64_C(1000), &record);
    if (status == STORE_LATER) {
        copy(pool_at(&watcher->waiting, index), event, &place);
        return false;
    }
    if (index != POOL_NONE)
        pool_return(&watcher->waiting, index);
    return watch_take_shared(watcher->watch, event, &place, status == STORE_GOOD ? &record : NULL, watcher->client);
}

bool watcher_next(struct watcher *watcher, int64_t now_us, struct event *event)
{
    struct store_answer answer;
    while (store_next_answer(watcher->client, now_us, &answer)) {
        uint32_t index = (uint32_t)answer.token;
        const struct waiting *waiting = pool_at(&watcher->waiting, index);
        struct watch_place place = waiting->place;
        *event = waiting->event;
        pool_return(&watcher->waiting, index); /* its texts stay as they are until the next event waits */
        if (watch_take_shared(watcher->watch, event, &place, answer.status == STORE_GOOD ? &answer.record : NULL,
                              watcher->client))
            return true;
    }
    return false;
}

int watcher_fd(const struct watcher *watcher)
{
    return store_client_fd(watcher->client);
}

int64_t watcher_due_us(const struct watcher *watcher)
{
    return store_next_due(watcher->client);
}
