#include "policy/words.h"

static uint8_t lower(uint8_t octet)
{
    return octet >= 'A' && octet <= 'Z' ? (uint8_t)(octet - 'A' + 'a') : octet;
}

/*
 * FNV-1a from the last octet to the first, so that one pass over a domain has the hash of each domain above it. Who
 * chooses the entries has no reason to make them collide, and who does not cannot.
 */
enum { HASH_BEGIN = 0x11c9dc5 };

static uint32_t hash_octet(uint32_t hash, uint8_t octet)
{
    return (hash ^ lower(octet)) * 16777619u;
}

static uint32_t hash_end(uint32_t hash, enum word_kind kind)
{
    hash = (hash ^ (uint32_t)kind) * 16777619u;
    return hash ^ hash >> 15;
}

static uint32_t hash_all(struct span text)
{
    uint32_t hash = HASH_BEGIN;
    for (size_t i = text.len; i-- > 0;)
        hash = hash_octet(hash, text.ptr[i]);
    return hash;
}

/* Where the text is, or would be. */
static struct word_entry *place(const struct word_table *table, uint32_t hash, enum word_kind kind, struct span text)
{
    for (uint32_t at = hash;; at++) {
        struct word_entry *entry = &table->entries[at & (table->room - 1)];
        if (!entry->text)
            return entry;
        if (entry->kind == kind && span_equal_nocase((struct span){entry->text, entry->len}, text))
            return entry;
    }
}

static struct word_entry *place_of(const struct word_table *table, enum word_kind kind, struct span text)
{
    return place(table, hash_end(hash_all(text), kind), kind, text);
}

static bool grow_entries(struct word_table *table, struct arena *arena)
{
    struct word_table larger = *table;
    larger.room = table->room ? table->room * 2 : 64;
    larger.entries = arena_take(arena, larger.room * sizeof *larger.entries);
    if (!larger.entries)
        return false;
    for (uint32_t i = 0; i < table->room; i++) {
        const struct word_entry *entry = &table->entries[i];
        if (entry->text)
            *place_of(&larger, (enum word_kind)entry->kind, (struct span){entry->text, entry->len}) = *entry;
    }
    *table = larger;
    return true;
}

static bool grow_marks(struct word_table *table, struct arena *arena)
{
    uint32_t room = table->marks_room ? table->marks_room * 2 : 16;
    struct rule_marks *marks = arena_take(arena, room * sizeof *marks);
    if (!marks)
        return false;
    if (table->marks_count)
        memcpy(marks, table->marks, table->marks_count * sizeof *marks);
    else
        table->marks_count = 1; /* number 0: none */
    table->marks = marks;
    table->marks_room = room;
    return true;
}

/* Entries with the same marks share them: most lists belong to one rule. */
static bool set_marks(struct word_table *table, struct arena *arena, struct word_entry *entry,
                      const struct rule_marks *marks)
{
    for (uint32_t i = table->marks_count; i-- > 0;)
        if (rule_set_equal(&table->marks[i], marks)) {
            entry->marks = i;
            return true;
        }
    if (table->marks_count == table->marks_room && !grow_marks(table, arena))
        return false;
    entry->marks = table->marks_count;
    table->marks[table->marks_count++] = *marks;
    return true;
}

static bool fill(struct word_entry *entry, struct arena *arena, enum word_kind kind, struct span text)
{
    uint8_t *kept = arena_take(arena, text.len);
    if (!kept)
        return false;
    for (size_t i = 0; i < text.len; i++)
        kept[i] = lower(text.ptr[i]);
    *entry = (struct word_entry){.text = kept, .len = (uint16_t)text.len, .kind = (uint8_t)kind};
    return true;
}

bool words_add(struct word_table *table, struct arena *arena, enum word_kind kind, struct span text, uint32_t rule,
               bool except)
{
    if (text.len == 0 || text.len > WORD_BYTES_MAX)
        return false;
    if (table->count * 2 >= table->room && !grow_entries(table, arena))
        return false;
    if (table->marks_room == 0 && !grow_marks(table, arena))
        return false;
    struct word_entry *entry = place_of(table, kind, text);
    bool is_new = entry->text == NULL;
    if (is_new && !fill(entry, arena, kind, text))
        return false;
    table->count += is_new;
    struct rule_marks marks = table->marks[entry->marks];
    rule_set_add(except ? &marks.except : &marks.match, rule);
    return set_marks(table, arena, entry, &marks);
}

static void find(const struct word_table *table, uint32_t hash, enum word_kind kind, struct span text,
                 struct rule_marks *marks)
{
    const struct word_entry *entry = place(table, hash_end(hash, kind), kind, text);
    if (!entry->text)
        return;
    const struct rule_marks *found = &table->marks[entry->marks];
    for (int i = 0; i < RULE_SET_WORDS; i++) {
        marks->match.words[i] |= found->match.words[i];
        marks->except.words[i] |= found->except.words[i];
    }
}

void words_find(const struct word_table *table, struct span text, struct rule_marks *marks)
{
    if (table->count > 0 && text.len <= WORD_BYTES_MAX)
        find(table, hash_all(text), WORD_EXACT, text, marks);
}

void words_find_address(const struct word_table *table, struct span address, struct rule_marks *marks)
{
    if (table->count == 0)
        return;
    uint32_t hash = HASH_BEGIN;
    size_t at = address.len;
    for (; at > 0 && address.ptr[at - 1] != '@'; at--) {
        if (address.ptr[at - 1] == '.') {
            struct span above = span_tail(address, at);
            find(table, hash, WORD_DOMAINS, above, marks);
            find(table, hash, WORD_BELOW, above, marks);
        }
        hash = hash_octet(hash, address.ptr[at - 1]);
    }
    find(table, hash_all(address), WORD_EXACT, address, marks);
    if (at == 0)
        return; /* no domain */
    struct span domain = span_tail(address, at);
    struct span local = span_head(address, at - 1);
    find(table, hash, WORD_DOMAIN, domain, marks);
    find(table, hash, WORD_DOMAINS, domain, marks);
    find(table, hash_all(local), WORD_LOCAL, local, marks);
}
