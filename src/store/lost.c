/*
 * The stand-in for a store that cannot be opened yet: nobody answers, and nothing is kept.
 */
#include <stdio.h>

#include "store/backend.h"

static bool open_lost(struct store *store, const char *rest, char *message, size_t size)
{
    if (!store_random(store->secret, sizeof store->secret)) {
        snprintf(message, size, "the kernel gives no random octets");
        return false;
    }
    atomic_store(&store->down, true);
    store_note_kinds(store, UINT32_MAX); /* what is there nobody can say */
    store_set_fault(store, FAULT_PLACE, rest);
    return true;
}

static void get_none(struct store *store, const struct store_key *keys, struct store_reply *replies, size_t count)
{
    (void)store, (void)keys, (void)replies, (void)count; /* FAILED, as they are */
}

static bool put_none(struct store *store, struct table_write *writes, size_t count)
{
    (void)store, (void)writes, (void)count;
    return false;
}

static void tend_none(struct store *store)
{
    (void)store;
}

static bool walk_none(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message,
                      size_t size)
{
    (void)visit, (void)context, (void)unread;
    store_fault(store, message, size);
    return false;
}

const struct store_backend store_lost = {
    .scheme = "",
    .tick_ms = 1000,
    .open = open_lost,
    .get_batch = get_none,
    .put_batch = put_none,
    .tend = tend_none,
    .walk = walk_none,
};
