/* The store memory: the table, and nothing behind it. */
#include <stdio.h>

#include "store/backend.h"

static bool open_memory(struct store *store, const char *rest, char *message, size_t size)
{
    if (*rest) {
        snprintf(message, size, "memory:%.200s: nothing may stand behind memory:", rest);
        return false;
    }
    if (!store_random(store->secret, sizeof store->secret)) {
        snprintf(message, size, "memory: the kernel gives no random octets");
        return false;
    }
    return true;
}

static bool close_memory(struct store *store, uint32_t wait_ms)
{
    (void)store;
    (void)wait_ms;
    return true;
}

static uint64_t memory_records(struct store *store)
{
    return table_count(&store->table);
}

static bool walk_memory(struct store *store,
                        bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                                      struct span text),
                        void *context, char *message, size_t size)
{
    bool good = table_walk(&store->table, visit, context);
    if (!good)
        snprintf(message, size, "memory: no memory to list it");
    return good;
}

const struct store_backend store_memory = {
    .scheme = "memory:",
    .open = open_memory,
    .close = close_memory,
    .records = memory_records,
    .walk = walk_memory,
};
