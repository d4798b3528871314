/*
 * store/index - which entry a key has. A look-up reads one line of the processor's cache, and hardly ever an entry of
 * another key.
 *
 * In:     hashes of keys; numbers of entries from 1 to INDEX_ENTRY_MAX.
 * Out:    the entries whose hash is nearly alike, for the caller to compare.
 * Owner:  whoever lays it out: index_lines() lines, zeroed.
 * Thread: one at a time, but for index_expect.
 * Limits: as many entries as index_lines() was told.
 * Note:   an entry is marked in the line of its hash, or where that is full in the next that is not. Each line counts
 *         the marks that passed it, so that a search ends at the first that none has passed, and marks that go leave
 *         nothing behind. The marks of a line stand in a row, in no order.
 */
#ifndef POSTERN_STORE_INDEX_H
#define POSTERN_STORE_INDEX_H

#include <assert.h>
#include <stdint.h>

#define INDEX_MARKS     15
#define INDEX_ENTRY_MAX 0xffffffu

struct index_line {
    _Alignas(64) uint32_t passed;
    uint32_t marks[INDEX_MARKS]; /* eight bits of the hash, and the entry; 0: none */
};

struct index {
    struct index_line *lines;
    uint32_t count;
};

/* Lines for so many entries: two thirds full with all of them. Nearly full, a search for what is not there would read
   hundreds of lines, once entries have come and gone. */
static inline uint32_t index_lines(uint32_t entries)
{
    return entries / (INDEX_MARKS * 2 / 3) + 1;
}

static inline uint32_t index_line_of(const struct index *index, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * index->count >> 32);
}

static inline uint32_t index_behind(const struct index *index, uint32_t line)
{
    return line + 1 < index->count ? line + 1 : 0;
}

static inline uint32_t index_mark(uint64_t hash, uint32_t entry)
{
    return (uint32_t)(hash & 0xff000000) | entry;
}

/* This hash will soon be looked for. Reads nothing. */
static inline void index_expect(const struct index *index, uint64_t hash)
{
    __builtin_prefetch(&index->lines[index_line_of(index, hash)]);
}

/* ---- looking ---- */

struct index_search {
    uint32_t mark; /* without an entry */
    uint32_t line, at;
    uint32_t lines; /* that were not looked at */
};

static inline struct index_search index_search(const struct index *index, uint64_t hash)
{
    return (struct index_search){index_mark(hash, 0), index_line_of(index, hash), 0, index->count};
}

/* The next entry that may be it; 0 where there is none. */
static inline uint32_t index_next(const struct index *index, struct index_search *search)
{
    while (search->lines > 0) {
        const struct index_line *line = &index->lines[search->line];
        while (search->at < INDEX_MARKS && line->marks[search->at]) {
            uint32_t entry = line->marks[search->at++] ^ search->mark;
            if (entry <= INDEX_ENTRY_MAX)
                return entry;
        }
        search->lines = line->passed ? search->lines - 1 : 0;
        search->line = index_behind(index, search->line);
        search->at = 0;
    }
    return 0;
}

/* ---- coming and going ---- */

/* Where in a line this mark is, or the first place without one (0); INDEX_MARKS where there is none. */
static inline uint32_t index_place(const struct index_line *line, uint32_t mark)
{
    uint32_t at = 0;
    while (at < INDEX_MARKS && line->marks[at] != mark)
        at++;
    return at;
}

/* One that is not there, and for which there is room. */
static inline void index_add(struct index *index, uint64_t hash, uint32_t entry)
{
    uint32_t line = index_line_of(index, hash), at;
    assert(entry > 0 && entry <= INDEX_ENTRY_MAX);
    for (; (at = index_place(&index->lines[line], 0)) == INDEX_MARKS; line = index_behind(index, line))
        index->lines[line].passed++;
    index->lines[line].marks[at] = index_mark(hash, entry);
}

/* One that is there. */
static inline void index_remove(struct index *index, uint64_t hash, uint32_t entry)
{
    uint32_t mark = index_mark(hash, entry), line = index_line_of(index, hash), at;
    for (; (at = index_place(&index->lines[line], mark)) == INDEX_MARKS; line = index_behind(index, line))
        index->lines[line].passed--;
    uint32_t *marks = index->lines[line].marks, last = index_place(&index->lines[line], 0) - 1;
    marks[at] = marks[last];
    marks[last] = 0;
}

#endif
