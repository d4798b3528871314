/*
 * store/table - records in memory: those seen lately, and those that wait to be written.
 *
 * In:     puts of clients; what the place where records are kept (a disk, a server) was found to hold; what of the
 *         puts has been written there.
 * Out:    what is known of a key; puts to be written, in the order in which they came within a shard.
 * Owner:  the table copies records and texts.
 * Thread: any; a shard has a lock of its own, held for some microseconds at most, unless its holder loses the
 *         processor. Who must not wait for that says so.
 * Limits: clean_max and unwritten_max, spread over the shards. Beyond clean_max the one unused for longest makes room;
 *         beyond unwritten_max the oldest put is forgotten and counted.
 * Note:   shards divide keys by their first octet, so that what one shard has to write lies together in a sorted file.
 *         Keys are keyed hashes: nobody outside can choose them to fill one shard.
 */
#ifndef POSTERN_STORE_TABLE_H
#define POSTERN_STORE_TABLE_H

#include <stdatomic.h>

#include "base/pool.h"
#include "store/ahead.h"
#include "store/index.h"
#include "store/store.h"

#define TABLE_SHARDS_MAX 64

enum table_list {
    TABLE_CLEAN,     /* as it is kept elsewhere; may make room. Without an elsewhere: all */
    TABLE_UNWRITTEN, /* a put that nobody has taken to be written */
    TABLE_WRITING,   /* taken, not settled */
    TABLE_LISTS
};

enum table_found {
    TABLE_UNKNOWN, /* elsewhere must be looked at */
    TABLE_RECORD,
    TABLE_NONE, /* there is no such record, or it has expired */
    TABLE_BUSY, /* another thread holds the lock, and does not go on: it lost the processor */
};

enum table_patience {
    TABLE_ONCE,    /* only if nobody has the lock */
    TABLE_SHORTLY, /* for as long as a holder needs that goes on */
    TABLE_PATIENT,
};

enum table_put {
    TABLE_PUT,
    TABLE_PUT_URGENT, /* and so much waits that it should be written soon */
    TABLE_PUT_BUSY,   /* not put: as above */
};

struct table_chain {
    uint32_t oldest, newest; /* entries */
    uint32_t count;
};

struct table_shard {
    _Alignas(64) atomic_flag locked;
    struct pool entries;
    struct index index;
    struct table_chain lists[TABLE_LISTS];
    uint32_t versions; /* the last one given to a put */
    uint64_t lost;
};

struct table {
    struct table_shard shards[TABLE_SHARDS_MAX];
    uint32_t shards_count; /* a power of two */
    uint32_t clean_max;    /* of a shard */
    uint32_t unwritten_max;
    uint32_t writing_max;
    _Atomic uint32_t generation;
    bool is_all; /* there is no elsewhere: what is not here is not */
    struct ahead ahead;
    void *memory;
    size_t memory_bytes;
};

/* A put on its way. `absent`: the record was dropped. */
struct table_write {
    struct store_key key;
    struct store_record record;
    uint8_t *text; /* the table's, through table_settle */
    uint32_t version;
    uint16_t text_len;
    bool absent;
};

/* An unwritten_max of 0 makes a table without an elsewhere. False where there is no memory, or a shard would have more
   than INDEX_ENTRY_MAX entries. */
bool table_init(struct table *table, uint32_t clean_max, uint32_t unwritten_max);

void table_fini(struct table *table);

/* These keys will soon be looked up or put, those whose bits are set in `which`: fetch what is needed for that from
   memory, of all of them at the same time. Takes no lock. */
void table_expect(const struct table *table, const struct store_key *keys, uint32_t which);

enum table_found table_get(struct table *table, const struct store_key *key, int64_t now_s,
                           enum table_patience patience, struct store_record *record);

/* `record` NULL: the record is dropped. */
enum table_put table_put(struct table *table, const struct store_key *key, const struct store_record *record,
                         struct span text, enum table_patience patience);

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

/* Up to `max` puts of one shard, the oldest first; a key that is put meanwhile may be among them twice. Each must be
   settled. */
size_t table_take_writes(struct table *table, uint32_t shard, struct table_write *writes, size_t max);

/* They were written, or not: then they wait again, as the oldest. */
void table_settle(struct table *table, const struct table_write *writes, size_t count, bool written);

/* Puts that are not written, and records in all. */
uint32_t table_unwritten(struct table *table);
uint32_t table_count(struct table *table);

/* Puts that were forgotten. */
uint64_t table_lost(struct table *table);

/* Every record of a table without an elsewhere. False from `visit` ends the walk, as does want of memory: false. */
bool table_walk(struct table *table,
                bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                              struct span text),
                void *context);

#endif
