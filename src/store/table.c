#include "store/table.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    SHARD_UNWRITTEN_LEAST = 1024, /* fewer would make the bound of all depend on how keys fall into shards */
    WRITING_MAX = 8192,
    SECOND_CHANCES_MAX = 8,
    TRIES = 100,        /* some microseconds */
    TAKEN_AT_ONCE = 16, /* under one hold of a lock: a worker may find it locked */
};

struct entry {
    struct store_key key;
    uint32_t next;         /* of its bucket */
    uint32_t older, newer; /* of its list */
    uint32_t version;      /* which put of this entry */
    uint32_t generation;
    uint32_t expires_s; /* STORE_FOR_EVER: never */
    uint8_t *text;      /* on the heap; NULL where there is none */
    uint16_t text_len;
    uint8_t kind;
    uint8_t len;
    uint8_t list;
    bool absent;
    bool used; /* since it came to its list, or was passed over there */
    uint8_t value[STORE_VALUE_BYTES];
};

struct table_put {
    struct table_put *next;
    struct store_key key;
    struct store_record record;
    uint8_t *text; /* on the heap */
    uint16_t text_len;
    bool absent;
};

static struct store_record record_of(const struct entry *entry)
{
    struct store_record record = {.kind = entry->kind, .len = entry->len, .expires_s = entry->expires_s};
    memcpy(record.value, entry->value, sizeof record.value);
    return record;
}

/* ---- places ---- */

static struct table_shard *shard_of(struct table *table, const struct store_key *key)
{
    return &table->shards[(uint32_t)key->octets[0] * table->shards_count >> 8];
}

static struct entry *entry_at(const struct table_shard *shard, uint32_t index)
{
    return pool_at(&shard->entries, index);
}

/* Keys are hashes; what all of a shard have alike is left out. */
static uint32_t *bucket_of(const struct table *table, const struct table_shard *shard, const struct store_key *key)
{
    uint32_t bits;
    memcpy(&bits, key->octets + 4, sizeof bits);
    return &shard->buckets[(uint64_t)bits * table->buckets_count >> 32];
}

static uint32_t find(const struct table *table, const struct table_shard *shard, const struct store_key *key)
{
    uint32_t index = *bucket_of(table, shard, key);
    while (index && memcmp(&entry_at(shard, index)->key, key, sizeof *key) != 0)
        index = entry_at(shard, index)->next;
    return index;
}

/* ---- lists ---- */

static void unlink_entry(struct table_shard *shard, uint32_t index)
{
    struct entry *entry = entry_at(shard, index);
    struct table_chain *list = &shard->lists[entry->list];
    if (entry->older)
        entry_at(shard, entry->older)->newer = entry->newer;
    else
        list->oldest = entry->newer;
    if (entry->newer)
        entry_at(shard, entry->newer)->older = entry->older;
    else
        list->newest = entry->older;
    list->count--;
}

/* Between these two of the list; POOL_NONE for an end. */
static void link_between(struct table_shard *shard, uint32_t index, enum table_list to, uint32_t older, uint32_t newer)
{
    struct entry *entry = entry_at(shard, index);
    struct table_chain *list = &shard->lists[to];
    entry->list = (uint8_t)to;
    entry->older = older;
    entry->newer = newer;
    if (older)
        entry_at(shard, older)->newer = index;
    else
        list->oldest = index;
    if (newer)
        entry_at(shard, newer)->older = index;
    else
        list->newest = index;
    list->count++;
}

static void link_newest(struct table_shard *shard, uint32_t index, enum table_list to)
{
    link_between(shard, index, to, shard->lists[to].newest, POOL_NONE);
}

static void remove_entry(struct table *table, struct table_shard *shard, uint32_t index)
{
    struct entry *entry = entry_at(shard, index);
    uint32_t *at = bucket_of(table, shard, &entry->key);
    while (*at != index)
        at = &entry_at(shard, *at)->next;
    *at = entry->next;
    unlink_entry(shard, index);
    free(entry->text);
    pool_return(&shard->entries, index);
}

/* The clean one that was used longest ago, about: one that was used since it came here is passed over, a few times. */
static void make_room(struct table *table, struct table_shard *shard)
{
    struct table_chain *list = &shard->lists[TABLE_CLEAN];
    if (list->count < table->clean_max)
        return;
    for (int i = 0; i < SECOND_CHANCES_MAX && entry_at(shard, list->oldest)->used; i++) {
        uint32_t oldest = list->oldest;
        entry_at(shard, oldest)->used = false;
        unlink_entry(shard, oldest);
        link_newest(shard, oldest, TABLE_CLEAN);
    }
    remove_entry(table, shard, list->oldest);
}

/* An entry for a key that has none; on no list yet. */
static uint32_t add_entry(struct table *table, struct table_shard *shard, const struct store_key *key)
{
    make_room(table, shard);
    uint32_t index = pool_borrow(&shard->entries);
    assert(index != POOL_NONE); /* there is one for each of every list */
    uint32_t *bucket = bucket_of(table, shard, key);
    *(struct entry *)entry_at(shard, index) = (struct entry){.key = *key, .next = *bucket};
    *bucket = index;
    return index;
}

/* Where too many wait, the oldest of them is forgotten: its key must be looked up again. */
static void forget_beyond_bound(struct table *table, struct table_shard *shard)
{
    if (shard->lists[TABLE_UNWRITTEN].count > table->unwritten_max) {
        remove_entry(table, shard, shard->lists[TABLE_UNWRITTEN].oldest);
        shard->lost++;
    }
}

/* ---- puts, and locks ---- */

static void overwrite(struct entry *entry, const struct store_record *record, uint8_t *text, uint16_t text_len)
{
    entry->absent = record == NULL;
    if (record) {
        entry->kind = record->kind;
        entry->len = record->len;
        entry->expires_s = record->expires_s < 0                ? 0
                           : record->expires_s > STORE_FOR_EVER ? STORE_FOR_EVER
                                                                : (uint32_t)record->expires_s;
        memcpy(entry->value, record->value, sizeof entry->value);
    }
    entry->text = text;
    entry->text_len = text_len;
}

/* Takes the put's text. */
static void put_locked(struct table *table, struct table_shard *shard, const struct table_put *put)
{
    uint32_t index = find(table, shard, &put->key);
    bool added = index == POOL_NONE;
    if (added && table->is_all && put->absent)
        return;
    if (added)
        index = add_entry(table, shard, &put->key);
    struct entry *entry = entry_at(shard, index);
    free(entry->text);
    overwrite(entry, put->absent ? NULL : &put->record, put->text, put->text_len);
    entry->version = ++shard->versions;
    entry->used = entry->used || !added;
    if (!table->is_all) {
        if (!added)
            unlink_entry(shard, index);
        link_newest(shard, index, TABLE_UNWRITTEN);
        forget_beyond_bound(table, shard);
    } else if (put->absent) {
        remove_entry(table, shard, index);
    } else if (added) {
        link_newest(shard, index, TABLE_CLEAN);
    }
}

/* With the lock: what others could not put, in their order. */
static void empty_inbox(struct table *table, struct table_shard *shard)
{
    struct table_put *newest = atomic_load_explicit(&shard->inbox, memory_order_relaxed), *oldest = NULL;
    if (!newest)
        return;
    newest = atomic_exchange(&shard->inbox, NULL);
    while (newest) {
        struct table_put *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct table_put *put = oldest;
        oldest = put->next;
        put_locked(table, shard, put);
        free(put);
    }
}

static void lock(struct table *table, struct table_shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    empty_inbox(table, shard);
}

static void unlock(struct table_shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}

/* For a client. False where the holder does not go on: it has lost the processor. */
static bool lock_shortly(struct table *table, struct table_shard *shard)
{
    bool locked = table->is_all && pthread_mutex_lock(&shard->lock) == 0;
    for (int i = 0; i < TRIES && !locked; i++)
        locked = pthread_mutex_trylock(&shard->lock) == 0;
    if (locked)
        empty_inbox(table, shard);
    return locked;
}

/* False where there is no memory. */
static bool put_into_inbox(struct table_shard *shard, const struct table_put *put)
{
    struct table_put *copy = malloc(sizeof *copy);
    if (!copy)
        return false;
    *copy = *put;
    copy->next = atomic_load(&shard->inbox);
    while (!atomic_compare_exchange_weak(&shard->inbox, &copy->next, copy))
        continue;
    return true;
}

bool table_put(struct table *table, const struct store_key *key, const struct store_record *record, struct span text)
{
    struct table_shard *shard = shard_of(table, key);
    struct table_put put = {.key = *key, .absent = record == NULL};
    text = span_head(text, STORE_TEXT_BYTES_MAX);
    if (record)
        put.record = *record;
    if (record && text.len && (put.text = malloc(text.len)) != NULL) {
        memcpy(put.text, text.ptr, text.len);
        put.text_len = (uint16_t)text.len;
    }
    if (!lock_shortly(table, shard)) {
        if (put_into_inbox(shard, &put))
            return false;
        lock(table, shard);
    }
    put_locked(table, shard, &put);
    bool urgent = shard->lists[TABLE_UNWRITTEN].count > table->unwritten_max / 4;
    unlock(shard);
    return urgent;
}

/* ---- the table ---- */

static uint32_t share(uint32_t whole, uint32_t shards)
{
    return (uint32_t)(((uint64_t)whole + shards - 1) / shards);
}

bool table_init(struct table *table, uint32_t clean_max, uint32_t unwritten_max)
{
    uint32_t smaller = unwritten_max && unwritten_max < clean_max ? unwritten_max : clean_max;
    uint32_t shards = TABLE_SHARDS_MAX;
    while (shards > 1 && smaller / shards < SHARD_UNWRITTEN_LEAST)
        shards /= 2;
    *table = (struct table){.shards_count = shards, .is_all = unwritten_max == 0};
    table->clean_max = share(clean_max ? clean_max : 1, shards);
    table->unwritten_max = share(unwritten_max, shards);
    table->writing_max = table->unwritten_max < WRITING_MAX ? table->unwritten_max : WRITING_MAX;
    /* One over: an entry is added before another list is relieved. */
    uint32_t entries = table->clean_max + table->unwritten_max + table->writing_max + 1;
    table->buckets_count = entries | 1;
    size_t entry_bytes = pool_bytes(sizeof(struct entry), entries);
    size_t shard_bytes = entry_bytes + (table->buckets_count + 1) * sizeof(uint32_t);
    table->memory_bytes = shards * shard_bytes;
    table->memory =
        mmap(NULL, table->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table->memory == MAP_FAILED)
        return false;
    /* The kernel clears a small page in a microsecond, a large one in some hundred: too long for a packet. */
    madvise(table->memory, table->memory_bytes, MADV_NOHUGEPAGE);
    for (uint32_t i = 0; i < shards; i++) {
        uint8_t *memory = (uint8_t *)table->memory + i * shard_bytes;
        pthread_mutex_init(&table->shards[i].lock, NULL);
        pool_init(&table->shards[i].entries, memory, sizeof(struct entry), entries);
        table->shards[i].buckets = (uint32_t *)(void *)(memory + entry_bytes);
    }
    return true;
}

void table_fini(struct table *table)
{
    for (uint32_t i = 0; i < table->shards_count; i++) {
        struct table_shard *shard = &table->shards[i];
        lock(table, shard);
        for (int list = 0; list < TABLE_LISTS; list++)
            for (uint32_t at = shard->lists[list].oldest; at; at = entry_at(shard, at)->newer)
                free(entry_at(shard, at)->text);
        unlock(shard);
        pthread_mutex_destroy(&shard->lock);
    }
    munmap(table->memory, table->memory_bytes);
}

static bool is_outdated(const struct table *table, const struct entry *entry)
{
    return entry->list == TABLE_CLEAN && !table->is_all && table_generation(table) - entry->generation > 1;
}

static enum table_found tell(struct entry *entry, int64_t now_s, struct store_record *record)
{
    entry->used = true;
    if (entry->absent)
        return TABLE_NONE;
    *record = record_of(entry);
    return store_is_expired(record, now_s) ? TABLE_NONE : TABLE_RECORD;
}

enum table_found table_get(struct table *table, const struct store_key *key, int64_t now_s, struct store_record *record)
{
    struct table_shard *shard = shard_of(table, key);
    enum table_found found = table->is_all ? TABLE_NONE : TABLE_UNKNOWN;
    if (!lock_shortly(table, shard))
        return TABLE_UNKNOWN;
    uint32_t index = find(table, shard, key);
    if (index != POOL_NONE && !is_outdated(table, entry_at(shard, index))) {
        found = tell(entry_at(shard, index), now_s, record);
        if (found == TABLE_NONE && table->is_all)
            remove_entry(table, shard, index);
    }
    unlock(shard);
    return found;
}

/* ---- what is elsewhere ---- */

uint32_t table_generation(const struct table *table)
{
    return atomic_load_explicit(&table->generation, memory_order_acquire);
}

void table_outdate(struct table *table)
{
    atomic_fetch_add_explicit(&table->generation, 1, memory_order_acq_rel);
}

enum table_found table_learn(struct table *table, const struct store_key *key, uint32_t generation, int64_t now_s,
                             const struct store_record *found, struct store_record *record)
{
    struct table_shard *shard = shard_of(table, key);
    lock(table, shard);
    uint32_t index = find(table, shard, key);
    bool put_here = index != POOL_NONE && entry_at(shard, index)->list != TABLE_CLEAN;
    if (index == POOL_NONE) {
        index = add_entry(table, shard, key);
        link_newest(shard, index, TABLE_CLEAN);
    }
    struct entry *entry = entry_at(shard, index);
    if (!put_here && (is_outdated(table, entry) || entry->version == 0)) {
        overwrite(entry, found, NULL, 0);
        entry->generation = generation;
    }
    enum table_found known = tell(entry, now_s, record);
    unlock(shard);
    return known;
}

static size_t take_some(struct table *table, struct table_shard *shard, struct table_write *writes, size_t max)
{
    size_t count = 0;
    lock(table, shard);
    while (count < max && shard->lists[TABLE_UNWRITTEN].count &&
           shard->lists[TABLE_WRITING].count < table->writing_max) {
        uint32_t index = shard->lists[TABLE_UNWRITTEN].oldest;
        struct entry *entry = entry_at(shard, index);
        writes[count++] = (struct table_write){.key = entry->key,
                                               .record = record_of(entry),
                                               .text = entry->text,
                                               .text_len = entry->text_len,
                                               .version = entry->version,
                                               .absent = entry->absent};
        entry->text = NULL;
        unlink_entry(shard, index);
        link_newest(shard, index, TABLE_WRITING);
    }
    unlock(shard);
    return count;
}

size_t table_take_writes(struct table *table, uint32_t *shard, struct table_write *writes, size_t max)
{
    size_t count = 0;
    while (count < max && *shard < table->shards_count) {
        size_t room = max - count < TAKEN_AT_ONCE ? max - count : TAKEN_AT_ONCE;
        size_t taken = take_some(table, &table->shards[*shard], writes + count, room);
        count += taken;
        *shard += taken < room;
    }
    return count;
}

/* True where the text went back to its entry. */
static bool settle(struct table *table, struct table_shard *shard, const struct table_write *write, bool written)
{
    uint32_t index = find(table, shard, &write->key);
    if (index == POOL_NONE || entry_at(shard, index)->version != write->version)
        return false; /* put again meanwhile */
    struct entry *entry = entry_at(shard, index);
    unlink_entry(shard, index);
    if (!written) {
        entry->text = write->text;
        entry->text_len = write->text_len;
        link_between(shard, index, TABLE_UNWRITTEN, POOL_NONE, shard->lists[TABLE_UNWRITTEN].oldest);
        return true;
    }
    make_room(table, shard);
    entry->generation = table_generation(table);
    link_newest(shard, index, TABLE_CLEAN);
    return false;
}

void table_settle(struct table *table, const struct table_write *writes, size_t count, bool written)
{
    for (size_t i = count; i-- > 0;) {
        struct table_shard *shard = shard_of(table, &writes[i].key);
        lock(table, shard);
        bool given_back = settle(table, shard, &writes[i], written);
        forget_beyond_bound(table, shard);
        unlock(shard);
        if (!given_back)
            free(writes[i].text);
    }
}

/* ---- sums ---- */

struct table_sums table_sums(struct table *table)
{
    struct table_sums sums = {0};
    for (uint32_t i = 0; i < table->shards_count; i++) {
        struct table_shard *shard = &table->shards[i];
        lock(table, shard);
        sums.unwritten += shard->lists[TABLE_UNWRITTEN].count + shard->lists[TABLE_WRITING].count;
        sums.all += shard->entries.used;
        sums.lost += shard->lost;
        unlock(shard);
    }
    return sums;
}

/* ---- walking ---- */

/* A bucket at a time: `visit` is called without the lock. False where there is no memory. */
static bool copy_bucket(struct table *table, struct table_shard *shard, uint32_t bucket, struct table_put **copies)
{
    bool good = true;
    lock(table, shard);
    for (uint32_t at = shard->buckets[bucket]; at && good; at = entry_at(shard, at)->next) {
        const struct entry *entry = entry_at(shard, at);
        struct table_put *copy = malloc(sizeof *copy + entry->text_len);
        good = copy != NULL;
        if (!good)
            break;
        *copy = (struct table_put){.next = *copies, .key = entry->key, .record = record_of(entry)};
        copy->text = (uint8_t *)(copy + 1);
        copy->text_len = entry->text_len;
        if (entry->text_len)
            memcpy(copy->text, entry->text, entry->text_len);
        *copies = copy;
    }
    unlock(shard);
    return good;
}

bool table_walk(struct table *table, store_visit *visit, void *context)
{
    bool good = true, more = true;
    for (uint32_t i = 0; i < table->shards_count; i++)
        for (uint32_t bucket = 0; bucket < table->buckets_count && good && more; bucket++) {
            struct table_put *copies = NULL;
            good = copy_bucket(table, &table->shards[i], bucket, &copies);
            while (copies) {
                struct table_put *copy = copies;
                copies = copy->next;
                more = more && good &&
                       visit(context, &copy->key, &copy->record, (struct span){copy->text, copy->text_len});
                free(copy);
            }
        }
    return good;
}
