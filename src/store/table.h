/*
 * store/table - records in memory: those seen lately, and those that wait to be written.
 *
 * In:     puts of clients; what the place where records are kept (a disk, a server) was found to hold; what of the
 *         puts has been written there.
 * Out:    what is known of a key; puts to be written, in the order in which they came within a shard.
 * Owner:  the table copies records and texts.
 * Thread: any; a shard has a lock of its own, held for some microseconds at most, unless its holder loses the
 *         processor. A client does not wait for that: its put goes into the shard's inbox, which whoever locks the
 *         shard next empties first, and its get is TABLE_UNKNOWN. Without an elsewhere there is no inbox: it waits.
 * Limits: clean_max and unwritten_max, spread over the shards. Beyond clean_max the one unused for longest makes room;
 *         beyond unwritten_max the oldest put is forgotten and counted.
 * Note:   shards divide keys by their first octet, so that what one shard has to write lies together in a sorted file.
 *         Keys are keyed hashes: nobody outside can choose them to fill one shard.
 */
#ifndef POSTERN_STORE_TABLE_H
#define POSTERN_STORE_TABLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "store/store.h"

#define TABLE_SHARDS_MAX 64

enum table_list {
    TABLE_CLEAN,     /* as it is kept elsewhere; may make room. Without an elsewhere: all */
    TABLE_UNWRITTEN, /* a put that nobody has taken to be written */
    TABLE_WRITING,   /* taken, not settled */
    TABLE_LISTS
};

enum table_found {
    TABLE_UNKNOWN, /* elsewhere must be looked at, or another thread has the lock */
    TABLE_RECORD,
    TABLE_NONE, /* there is no such record, or it has expired */
};

struct table_chain {
    uint32_t oldest, newest; /* entries */
    uint32_t count;
};

struct table_put; /* in an inbox */

struct table_shard {
    _Alignas(64) pthread_mutex_t lock;
    struct table_put *_Atomic inbox; /* the newest first */
    struct pool entries;
    uint32_t *buckets; /* entries, each the first of its chain */
    struct table_chain lists[TABLE_LISTS];
    uint32_t versions; /* the last one given to a put */
    uint64_t lost;
};

struct table {
    struct table_shard shards[TABLE_SHARDS_MAX];
    uint32_t shards_count;  /* a power of two */
    uint32_t buckets_count; /* of a shard */
    uint32_t clean_max;     /* of a shard, as the next two */
    uint32_t unwritten_max;
    uint32_t writing_max;
    _Atomic uint32_t generation;
    bool is_all; /* there is no elsewhere: what is not here is not */
    void *memory;
    size_t memory_bytes;
};

/* A put on its way. `absent`: the record was dropped. */
struct table_write {
    struct store_key key;
    struct store_record record;
    uint8_t *text;    /* the table's, through table_settle */
    uint32_t version; /* of two puts of a key the later one has the higher */
    uint16_t text_len;
    bool absent;
};

/* An unwritten_max of 0 makes a table without an elsewhere. False where there is no memory. */
bool table_init(struct table *table, uint32_t clean_max, uint32_t unwritten_max);

void table_fini(struct table *table);

enum table_found table_get(struct table *table, const struct store_key *key, int64_t now_s,
                           struct store_record *record);

/* `record` NULL: the record is dropped. True where so much waits that it should be written soon. */
bool table_put(struct table *table, const struct store_key *key, const struct store_record *record, struct span text);

/* The number to give with what is looked up from now on. */
uint32_t table_generation(const struct table *table);

/*
 * What was learnt elsewhere before the second table_outdate behind now counts for nothing: it must be looked up
 * again. Puts that wait are not touched.
 */
void table_outdate(struct table *table);

/*
 * A key was looked up elsewhere: `found`, NULL where there is none. What was put here meanwhile holds instead, so what
 * is known in the end comes back in `record`.
 */
enum table_found table_learn(struct table *table, const struct store_key *key, uint32_t generation, int64_t now_s,
                             const struct store_record *found, struct store_record *record);

/* Up to `max` puts, the oldest of a shard first, from *shard on, which is where to go on; a key that is put meanwhile
   may be among them twice. Each must be settled. Fewer than `max` only where no shard is left. */
size_t table_take_writes(struct table *table, uint32_t *shard, struct table_write *writes, size_t max);

/* They were written, or not: then they wait again, as the oldest. */
void table_settle(struct table *table, const struct table_write *writes, size_t count, bool written);

struct table_sums {
    uint32_t unwritten, all; /* puts that are not written; records in all */
    uint64_t lost;           /* puts that were forgotten */
};

struct table_sums table_sums(struct table *table);

/* Every record of a table without an elsewhere. False from `visit` ends the walk, as does want of memory: false. */
bool table_walk(struct table *table, store_visit *visit, void *context);

#endif
