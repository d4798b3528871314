#include "store/table.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "store/record.h"

enum {
    SHARD_UNWRITTEN_LEAST = 1024, /* fewer would make the bound of all depend on how keys fall into shards */
    WRITING_MAX = 4096,           /* as many as a transaction of lmdb has */
    SECOND_CHANCES_MAX = 8,
    TRIES = 200, /* some microseconds */
    SLEEP_NS = 50000,
    PAGE_BYTES = 4096,
    LARGE_PAGE_BYTES = AHEAD_CHUNK_BYTES,
    TAKEN_AT_ONCE = 16, /* under one hold of a lock: a worker may wait for it */
};

/* Two lines of the processor's cache. */
struct entry {
    struct store_key key;
    uint32_t older, newer; /* of its list */
    uint32_t version;      /* which put of this entry */
    uint32_t generation;
    uint32_t expires_s; /* the record, as it is stored (docs/store.md) */
    uint8_t *text;      /* on the heap; NULL where there is none */
    uint16_t text_len;
    uint8_t kind;
    uint8_t len;
    uint8_t list;
    bool absent;
    bool used; /* since it came to its list, or was passed over there */
    uint8_t value[STORE_VALUE_BYTES];
};

static_assert(sizeof(struct entry) == 96, "an entry that begins in the middle of a line ends with one");

static struct store_record record_of(const struct entry *entry)
{
    struct store_record record = {.kind = entry->kind, .len = entry->len, .expires_s = entry->expires_s};
    memcpy(record.value, entry->value, sizeof record.value);
    return record;
}

/* ---- locks ---- */

/*
 * A shard is locked seven times for a mail never seen and hardly ever by two, so it is done in place: with a mutex of
 * the C library it takes four times as long.
 */
static inline bool try_lock(struct table_shard *shard)
{
    return !atomic_flag_test_and_set_explicit(&shard->locked, memory_order_acquire);
}

static inline void unlock(struct table_shard *shard)
{
    atomic_flag_clear_explicit(&shard->locked, memory_order_release);
}

/* Others have it: look again for some microseconds, and who is patient then sleeps between one look and the next, since
   the holder has lost the processor. */
static bool lock_of_others(struct table_shard *shard, enum table_patience patience)
{
    for (int i = 1; i < TRIES; i++)
        if (try_lock(shard))
            return true;
    if (patience != TABLE_PATIENT)
        return false;
    while (!try_lock(shard))
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    return true;
}

static inline bool lock(struct table_shard *shard, enum table_patience patience)
{
    return try_lock(shard) || (patience != TABLE_ONCE && lock_of_others(shard, patience));
}

static void lock_patiently(struct table_shard *shard)
{
    lock(shard, TABLE_PATIENT);
}

/* ---- places ---- */

static uint32_t shard_number(const struct table *table, const struct store_key *key)
{
    return (uint32_t)key->octets[0] * table->shards_count >> 8;
}

static struct table_shard *shard_of(struct table *table, const struct store_key *key)
{
    return &table->shards[shard_number(table, key)];
}

/* Keys are hashes; what all of a shard have alike is left out. */
static uint64_t hash_of(const struct store_key *key)
{
    uint64_t bits;
    memcpy(&bits, key->octets + 1, sizeof bits);
    return bits * UINT64_C(0x9e3779b97f4a7c15);
}

static struct entry *entry_at(const struct table_shard *shard, uint32_t index)
{
    return pool_at(&shard->entries, index);
}

static bool same_key(const struct store_key *a, const struct store_key *b)
{
    uint64_t of_a[2], of_b[2];
    memcpy(of_a, a, sizeof of_a);
    memcpy(of_b, b, sizeof of_b);
    return ((of_a[0] ^ of_b[0]) | (of_a[1] ^ of_b[1])) == 0;
}

static uint32_t find(struct table_shard *shard, const struct store_key *key)
{
    uint32_t entry;
    struct index_search search = index_search(&shard->index, hash_of(key));
    while ((entry = index_next(&shard->index, &search)) != POOL_NONE && !same_key(&entry_at(shard, entry)->key, key))
        continue;
    return entry;
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

static void link_newest(struct table_shard *shard, uint32_t index, enum table_list to)
{
    struct entry *entry = entry_at(shard, index);
    struct table_chain *list = &shard->lists[to];
    entry->list = (uint8_t)to;
    entry->older = list->newest;
    entry->newer = POOL_NONE;
    if (list->newest)
        entry_at(shard, list->newest)->newer = index;
    else
        list->oldest = index;
    list->newest = index;
    list->count++;
}

static void link_oldest(struct table_shard *shard, uint32_t index, enum table_list to)
{
    struct entry *entry = entry_at(shard, index);
    struct table_chain *list = &shard->lists[to];
    entry->list = (uint8_t)to;
    entry->older = POOL_NONE;
    entry->newer = list->oldest;
    if (list->oldest)
        entry_at(shard, list->oldest)->older = index;
    else
        list->newest = index;
    list->oldest = index;
    list->count++;
}

static void move_to_newest(struct table_shard *shard, uint32_t index, enum table_list to)
{
    unlink_entry(shard, index);
    link_newest(shard, index, to);
}

static void remove_entry(struct table_shard *shard, uint32_t index)
{
    struct entry *entry = entry_at(shard, index);
    index_remove(&shard->index, hash_of(&entry->key), index);
    unlink_entry(shard, index);
    free(entry->text);
    pool_return(&shard->entries, index);
}

/* The clean one that was used longest ago, about: one that was used since it came here is passed over, a few times. */
static void evict(struct table_shard *shard)
{
    for (int i = 0; i < SECOND_CHANCES_MAX; i++) {
        uint32_t oldest = shard->lists[TABLE_CLEAN].oldest;
        if (!entry_at(shard, oldest)->used)
            break;
        entry_at(shard, oldest)->used = false;
        move_to_newest(shard, oldest, TABLE_CLEAN);
    }
    remove_entry(shard, shard->lists[TABLE_CLEAN].oldest);
}

/* An entry for a key that has none; on no list yet. */
static uint32_t add_entry(struct table *table, struct table_shard *shard, const struct store_key *key)
{
    if (shard->lists[TABLE_CLEAN].count >= table->clean_max)
        evict(shard);
    uint32_t index = pool_borrow(&shard->entries);
    assert(index != POOL_NONE); /* there is one for each of every list */
    ahead_used(&table->ahead, entry_at(shard, index));
    *(struct entry *)entry_at(shard, index) = (struct entry){.key = *key};
    index_add(&shard->index, hash_of(key), index);
    return index;
}

/* ---- the table ---- */

static uint32_t share(uint32_t whole, uint32_t shards)
{
    return (uint32_t)(((uint64_t)whole + shards - 1) / shards);
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/*
 * The indices of all shards, and behind them the entries of all, in turns: what is in use lies together. An index is
 * read in no order from the first record on, so all of it is there from the beginning, in large pages where the kernel
 * has some: a look-up then waits for one line from memory, and not for the page tables too. Entries come when they are
 * needed, shortly before.
 */
static uint8_t *map_memory(struct table *table, size_t index_bytes, size_t entry_bytes)
{
    table->memory_bytes = LARGE_PAGE_BYTES + round_up(index_bytes + entry_bytes, LARGE_PAGE_BYTES);
    table->memory =
        mmap(NULL, table->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table->memory == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)table->memory % LARGE_PAGE_BYTES;
    uint8_t *memory = (uint8_t *)table->memory + before;
    size_t first_bytes = round_up(index_bytes, LARGE_PAGE_BYTES);
    madvise(memory, first_bytes, MADV_HUGEPAGE);
    for (size_t at = 0; at < first_bytes; at += PAGE_BYTES)
        *(volatile uint8_t *)&memory[at] = 0;
    ahead_start(&table->ahead, memory + first_bytes, table->memory_bytes - before - first_bytes);
    return memory;
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
    uint64_t entries = (uint64_t)table->clean_max + table->unwritten_max + table->writing_max + 1;
    if (entries > INDEX_ENTRY_MAX)
        return false;
    uint32_t lines = index_lines((uint32_t)entries);
    size_t index_bytes = round_up((size_t)shards * lines * sizeof(struct index_line), PAGE_BYTES);
    uint8_t *memory = map_memory(table, index_bytes, shards * pool_bytes(sizeof(struct entry), (uint32_t)entries));
    if (!memory)
        return false;
    for (uint32_t i = 0; i < shards; i++) {
        struct table_shard *shard = &table->shards[i];
        atomic_flag_clear(&shard->locked);
        shard->index = (struct index){(struct index_line *)(void *)memory + (size_t)i * lines, lines};
        pool_init(&shard->entries, memory + index_bytes + i * sizeof(struct entry),
                  shards * (uint32_t)sizeof(struct entry), (uint32_t)entries);
    }
    return true;
}

void table_fini(struct table *table)
{
    for (uint32_t i = 0; i < table->shards_count; i++) {
        struct table_shard *shard = &table->shards[i];
        for (int list = 0; list < TABLE_LISTS; list++)
            for (uint32_t at = shard->lists[list].oldest; at; at = entry_at(shard, at)->newer)
                free(entry_at(shard, at)->text);
    }
    ahead_stop(&table->ahead);
    munmap(table->memory, table->memory_bytes);
}

/* ---- clients ---- */

void table_expect(const struct table *table, const struct store_key *keys, uint32_t which)
{
    for (uint32_t rest = which; rest; rest &= rest - 1) {
        const struct store_key *key = &keys[__builtin_ctz(rest)];
        index_expect(&table->shards[shard_number(table, key)].index, hash_of(key));
    }
}

static bool is_outdated(const struct table *table, const struct entry *entry)
{
    return entry->list == TABLE_CLEAN && !table->is_all && table_generation(table) - entry->generation > 1;
}

static enum table_found tell(struct entry *entry, int64_t now_s, struct store_record *record)
{
    entry->used = true;
    if (entry->absent || entry->expires_s <= now_s)
        return TABLE_NONE;
    *record = record_of(entry);
    return TABLE_RECORD;
}

enum table_found table_get(struct table *table, const struct store_key *key, int64_t now_s,
                           enum table_patience patience, struct store_record *record)
{
    struct table_shard *shard = shard_of(table, key);
    enum table_found found = table->is_all ? TABLE_NONE : TABLE_UNKNOWN;
    if (!lock(shard, patience))
        return TABLE_BUSY;
    uint32_t index = find(shard, key);
    if (index == POOL_NONE)
        __builtin_prefetch(pool_next(&shard->entries), 1); /* it will often be put */
    if (index != POOL_NONE && !is_outdated(table, entry_at(shard, index))) {
        found = tell(entry_at(shard, index), now_s, record);
        if (found == TABLE_NONE && table->is_all)
            remove_entry(shard, index);
    }
    unlock(shard);
    return found;
}

/* Where too many wait, the oldest of them is forgotten: its key must be looked up again. */
static void forget_beyond_bound(struct table *table, struct table_shard *shard)
{
    if (shard->lists[TABLE_UNWRITTEN].count > table->unwritten_max) {
        remove_entry(shard, shard->lists[TABLE_UNWRITTEN].oldest);
        shard->lost++;
    }
}

static void overwrite(struct entry *entry, const struct store_record *record, uint8_t *text, uint16_t text_len)
{
    entry->absent = record == NULL;
    if (record) {
        entry->kind = record->kind;
        entry->len = record->len;
        entry->expires_s = record_seconds(record->expires_s);
        memcpy(entry->value, record->value, sizeof entry->value);
    }
    entry->text = text;
    entry->text_len = text_len;
}

/* Without an elsewhere: one that is put again keeps its place, and is passed over there. */
static void keep(struct table_shard *shard, uint32_t index, bool added, bool absent)
{
    if (added)
        link_newest(shard, index, TABLE_CLEAN);
    else
        entry_at(shard, index)->used = true;
    if (absent)
        remove_entry(shard, index);
}

static void let_wait(struct table *table, struct table_shard *shard, uint32_t index, bool added)
{
    if (!added)
        unlink_entry(shard, index);
    link_newest(shard, index, TABLE_UNWRITTEN);
    forget_beyond_bound(table, shard);
}

enum table_put table_put(struct table *table, const struct store_key *key, const struct store_record *record,
                         struct span text, enum table_patience patience)
{
    struct table_shard *shard = shard_of(table, key);
    uint16_t text_len = (uint16_t)(text.len < STORE_TEXT_BYTES_MAX ? text.len : STORE_TEXT_BYTES_MAX);
    uint8_t *copy = text_len && record ? malloc(text_len) : NULL;
    if (copy)
        memcpy(copy, text.ptr, text_len);
    if (!lock(shard, patience)) {
        free(copy);
        return TABLE_PUT_BUSY;
    }
    uint32_t index = find(shard, key);
    if (index == POOL_NONE && table->is_all && !record) {
        unlock(shard);
        return TABLE_PUT;
    }
    bool added = index == POOL_NONE;
    if (added)
        index = add_entry(table, shard, key);
    struct entry *entry = entry_at(shard, index);
    uint8_t *text_before = entry->text;
    overwrite(entry, record, copy, copy ? text_len : 0);
    entry->version = ++shard->versions;
    if (table->is_all)
        keep(shard, index, added, !record);
    else
        let_wait(table, shard, index, added);
    bool urgent = shard->lists[TABLE_UNWRITTEN].count > table->unwritten_max / 4;
    unlock(shard);
    free(text_before);
    return urgent ? TABLE_PUT_URGENT : TABLE_PUT;
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
    lock_patiently(shard);
    uint32_t index = find(shard, key);
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
    lock_patiently(shard);
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
        move_to_newest(shard, index, TABLE_WRITING);
    }
    unlock(shard);
    return count;
}

size_t table_take_writes(struct table *table, uint32_t shard, struct table_write *writes, size_t max)
{
    size_t count = 0, taken = TAKEN_AT_ONCE;
    for (; count < max && taken == TAKEN_AT_ONCE; count += taken) {
        size_t room = max - count < TAKEN_AT_ONCE ? max - count : TAKEN_AT_ONCE;
        taken = take_some(table, &table->shards[shard], writes + count, room);
    }
    return count;
}

/* True where the text went back to its entry. */
static bool settle(struct table *table, struct table_shard *shard, const struct table_write *write, bool written)
{
    uint32_t index = find(shard, &write->key);
    if (index == POOL_NONE || entry_at(shard, index)->version != write->version)
        return false; /* put again meanwhile */
    struct entry *entry = entry_at(shard, index);
    unlink_entry(shard, index);
    if (!written) {
        entry->text = write->text;
        entry->text_len = write->text_len;
        link_oldest(shard, index, TABLE_UNWRITTEN);
        return true;
    }
    if (shard->lists[TABLE_CLEAN].count >= table->clean_max)
        evict(shard);
    entry->generation = table_generation(table);
    link_newest(shard, index, TABLE_CLEAN);
    return false;
}

void table_settle(struct table *table, const struct table_write *writes, size_t count, bool written)
{
    for (size_t i = count; i-- > 0;) {
        struct table_shard *shard = shard_of(table, &writes[i].key);
        lock_patiently(shard);
        bool given_back = settle(table, shard, &writes[i], written);
        forget_beyond_bound(table, shard);
        unlock(shard);
        if (!given_back)
            free(writes[i].text);
    }
}

/* ---- sums ---- */

uint32_t table_unwritten(struct table *table)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->shards_count; i++) {
        struct table_shard *shard = &table->shards[i];
        lock_patiently(shard);
        count += shard->lists[TABLE_UNWRITTEN].count + shard->lists[TABLE_WRITING].count;
        unlock(shard);
    }
    return count;
}

uint32_t table_count(struct table *table)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->shards_count; i++) {
        lock_patiently(&table->shards[i]);
        count += table->shards[i].entries.used;
        unlock(&table->shards[i]);
    }
    return count;
}

uint64_t table_lost(struct table *table)
{
    uint64_t lost = 0;
    for (uint32_t i = 0; i < table->shards_count; i++) {
        lock_patiently(&table->shards[i]);
        lost += table->shards[i].lost;
        unlock(&table->shards[i]);
    }
    return lost;
}

/* ---- walking ---- */

struct visited {
    struct store_key key;
    struct store_record record;
    uint8_t text[STORE_TEXT_BYTES_MAX];
    size_t text_len;
};

struct visit_list {
    struct visited *visited;
    size_t count, room;
};

static bool add_visited(struct visit_list *list, const struct entry *entry)
{
    if (list->count == list->room) {
        size_t room = 2 * list->room + 8;
        struct visited *grown = realloc(list->visited, room * sizeof *grown);
        if (!grown)
            return false;
        list->visited = grown;
        list->room = room;
    }
    struct visited *visited = &list->visited[list->count++];
    visited->key = entry->key;
    visited->record = record_of(entry);
    visited->text_len = entry->text_len;
    if (entry->text_len)
        memcpy(visited->text, entry->text, entry->text_len);
    return true;
}

/* A line of the index at a time: an entry never changes its line, and `visit` is called without the lock. */
static bool copy_line(struct table_shard *shard, uint32_t line, struct visit_list *list)
{
    bool good = true;
    list->count = 0;
    lock_patiently(shard);
    const uint32_t *marks = shard->index.lines[line].marks;
    for (int i = 0; i < INDEX_MARKS && marks[i] && good; i++)
        good = add_visited(list, entry_at(shard, marks[i] & INDEX_ENTRY_MAX));
    unlock(shard);
    return good;
}

bool table_walk(struct table *table,
                bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                              struct span text),
                void *context)
{
    struct visit_list list = {0};
    bool good = true, more = true;
    for (uint32_t i = 0; i < table->shards_count; i++)
        for (uint32_t line = 0; line < table->shards[i].index.count && good && more; line++) {
            good = copy_line(&table->shards[i], line, &list);
            for (size_t at = 0; at < list.count && good && more; at++)
                more = visit(context, &list.visited[at].key, &list.visited[at].record,
                             (struct span){list.visited[at].text, list.visited[at].text_len});
        }
    free(list.visited);
    return good;
}
