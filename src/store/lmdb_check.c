#include "store/lmdb_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/record.h"

enum {
    PAGE_HEADER = 16,
    META_BYTES = 136,
    DB_BYTES = 48,
    NODE_HEADER = 8,
    DEPTH_MAX = 32, /* LMDB's own bound */
    PAGE_BYTES_LEAST = 512,
    PAGE_BYTES_MOST = 65536,
    PAGE_BRANCH = 1,
    PAGE_LEAF = 2,
    PAGE_OVERFLOW = 4,
    NODE_BIG = 1,
    NODE_DB = 2,
    DB_INTEGER_KEY = 0x08,
    DB_FLAGS = 0xbffe, /* the others tell how the file was opened when it was made: MDB_FIXEDMAP, MDB_NOSUBDIR */
};

#define NO_PAGE UINT64_MAX

/* What the values of a tree are. */
enum content { CONTENT_FREE, CONTENT_DBS, CONTENT_RECORDS, CONTENT_ANY };

struct db {
    uint16_t flags, depth;
    uint64_t entries, root;
};

struct meta {
    uint32_t magic, version, page_bytes;
    struct db free, main;
    uint64_t last_page, transaction;
};

struct check {
    int fd;
    size_t page_bytes;
    uint64_t pages;
    uint8_t *seen;                /* a bit for each page */
    uint8_t *page[DEPTH_MAX + 1]; /* one for each level, made when needed */
    const char *records;
    int error; /* it could not be read to its end, which says nothing of what is in it */
    char *why;
    size_t why_size;
};

static uint16_t get_16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t get_32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get_64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static bool complain(struct check *check, uint64_t page, const char *what)
{
    snprintf(check->why, check->why_size, "page %" PRIu64 " %s", page, what);
    return false;
}

static bool cannot(struct check *check)
{
    check->error = errno;
    return false;
}

/* ---- single pages ---- */

/* Each page belongs to one thing only. */
static bool claim(struct check *check, uint64_t number)
{
    if (number < 2 || number >= check->pages)
        return complain(check, number, "is outside of the file");
    uint8_t bit = (uint8_t)(1u << (number % 8));
    if (check->seen[number / 8] & bit)
        return complain(check, number, "is used twice");
    check->seen[number / 8] |= bit;
    return true;
}

static bool read_whole(struct check *check, uint64_t number, uint8_t *into, size_t len)
{
    ssize_t got = pread(check->fd, into, len, (off_t)(number * check->page_bytes));
    if (got < 0)
        return cannot(check);
    return got == (ssize_t)len || complain(check, number, "is missing");
}

static uint32_t entries_of(const uint8_t *page)
{
    return (get_16(page + 12) - (uint32_t)PAGE_HEADER) / 2;
}

/* Where nodes lie; LMDB keeps them without gaps at the end of the page. */
static bool check_layout(struct check *check, uint64_t number, const uint8_t *page, bool leaf)
{
    uint16_t lower = get_16(page + 12), upper = get_16(page + 14);
    if (get_64(page) != number || get_16(page + 10) != (leaf ? PAGE_LEAF : PAGE_BRANCH))
        return complain(check, number, "is not the page it should be");
    if (lower < PAGE_HEADER || lower % 2 || upper < lower || upper > check->page_bytes || entries_of(page) == 0)
        return complain(check, number, "has no sound header");
    size_t used = 0;
    for (uint32_t i = 0; i < entries_of(page); i++) {
        size_t at = get_16(page + PAGE_HEADER + 2 * i);
        if (at < upper || at % 2 || check->page_bytes - at < NODE_HEADER)
            return complain(check, number, "has an entry outside of it");
        const uint8_t *node = page + at;
        size_t len = get_16(node) | (size_t)get_16(node + 2) << 16;
        if (!leaf)
            len = 0;
        else if (get_16(node + 4) & NODE_BIG)
            len = sizeof(uint64_t);
        size_t whole = NODE_HEADER + (size_t)get_16(node + 6) + len;
        if (whole > check->page_bytes - at)
            return complain(check, number, "has an entry that leaves it");
        used += (whole + 1) & ~(size_t)1;
    }
    if (used != check->page_bytes - upper)
        return complain(check, number, "has entries over each other");
    return true;
}

static struct span key_in(const uint8_t *page, uint32_t i)
{
    const uint8_t *node = page + get_16(page + PAGE_HEADER + 2 * i);
    return (struct span){node + NODE_HEADER, get_16(node + 6)};
}

static bool in_order(struct span a, struct span b, enum content content)
{
    if (content == CONTENT_FREE)
        return a.len == 8 && b.len == 8 && get_64(a.ptr) < get_64(b.ptr);
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.ptr, b.ptr, shorter);
    return order < 0 || (order == 0 && a.len < b.len);
}

/* Keys below a branch: from one of its own to the next. Without octets: there is no bound. */
struct bounds {
    struct span from, until;
};

/* The first key of a branch page is not used. */
static bool check_order(struct check *check, uint64_t number, const uint8_t *page, bool leaf, enum content content,
                        const struct bounds *bounds)
{
    uint32_t first = leaf ? 0 : 1, count = entries_of(page);
    for (uint32_t i = first + 1; i < count; i++)
        if (!in_order(key_in(page, i - 1), key_in(page, i), content))
            return complain(check, number, "is not in order");
    if ((bounds->from.len && first < count && in_order(key_in(page, first), bounds->from, content)) ||
        (bounds->until.len && first < count && !in_order(key_in(page, count - 1), bounds->until, content)))
        return complain(check, number, "has keys that belong elsewhere");
    return true;
}

/* ---- values ---- */

static bool check_tree(struct check *check, const struct db *db, enum content content);

static struct db db_at(const uint8_t *at)
{
    return (struct db){
        .flags = get_16(at + 4), .depth = get_16(at + 6), .entries = get_64(at + 32), .root = get_64(at + 40)};
}

/* A count, and so many pages that are free; there may be room for more. */
static bool check_free_list(struct check *check, uint64_t number, struct span list)
{
    uint64_t count = list.len >= 8 ? get_64(list.ptr) : 0;
    if (list.len < 8 || list.len % 8 || count > list.len / 8 - 1)
        return complain(check, number, "has no sound list of free pages");
    for (uint64_t i = 1; i <= count; i++)
        if (!claim(check, get_64(list.ptr + 8 * i)))
            return false;
    return true;
}

static bool check_flags(struct check *check, const struct db *db, uint16_t flags)
{
    return (db->flags & DB_FLAGS) == flags || complain(check, db->root, "is the root of another kind of database");
}

static bool check_db(struct check *check, uint64_t number, struct span name, struct span value)
{
    if (value.len != DB_BYTES)
        return complain(check, number, "has no sound database");
    struct db db = db_at(value.ptr);
    return check_flags(check, &db, 0) &&
           check_tree(check, &db, span_equal(name, span_of(check->records)) ? CONTENT_RECORDS : CONTENT_ANY);
}

static bool check_record(struct check *check, uint64_t number, struct span key, struct span value)
{
    struct store_key of;
    struct store_record record;
    struct span text;
    if (key.len != sizeof of)
        return complain(check, number, "has a key that is none");
    memcpy(&of, key.ptr, sizeof of);
    if (record_decode(&of, value, &record, &text) == RECORD_DAMAGED)
        return complain(check, number, "has a record that does not pass its check");
    return true;
}

static bool check_value(struct check *check, uint64_t number, struct span key, struct span value, enum content content)
{
    switch (content) {
    case CONTENT_FREE:
        return check_free_list(check, number, value);
    case CONTENT_DBS:
        return check_db(check, number, key, value);
    case CONTENT_RECORDS:
        return check_record(check, number, key, value);
    case CONTENT_ANY:
        return true;
    }
    return false;
}

/* A value too large for its page lies in pages of its own. */
static bool check_big(struct check *check, uint64_t number, struct span key, struct span reference, size_t len,
                      enum content content)
{
    uint64_t first = get_64(reference.ptr);
    if (first < 2 || first >= check->pages || len > check->pages * check->page_bytes)
        return complain(check, number, "points outside of the file");
    size_t pages = (PAGE_HEADER + len + check->page_bytes - 1) / check->page_bytes;
    uint8_t *octets = malloc(pages * check->page_bytes);
    if (!octets)
        return cannot(check);
    bool good = read_whole(check, first, octets, pages * check->page_bytes);
    for (uint64_t i = 0; i < pages && good; i++)
        good = claim(check, first + i);
    if (good && (get_64(octets) != first || !(get_16(octets + 10) & PAGE_OVERFLOW) || get_32(octets + 12) != pages))
        good = complain(check, first, "is not the page it should be");
    good = good && check_value(check, first, key, (struct span){octets + PAGE_HEADER, len}, content);
    free(octets);
    return good;
}

static bool check_node(struct check *check, uint64_t number, const uint8_t *node, enum content content)
{
    uint16_t flags = get_16(node + 4);
    size_t len = get_16(node) | (size_t)get_16(node + 2) << 16;
    struct span key = {node + NODE_HEADER, get_16(node + 6)};
    if ((flags & ~NODE_BIG) != (content == CONTENT_DBS ? NODE_DB : 0))
        return complain(check, number, "is not postern's");
    if (flags & NODE_BIG)
        return check_big(check, number, key, (struct span){key.ptr + key.len, 8}, len, content);
    return check_value(check, number, key, (struct span){key.ptr + key.len, len}, content);
}

/* ---- trees ---- */

static bool check_page(struct check *check, uint64_t number, unsigned level, enum content content,
                       const struct bounds *bounds, uint64_t *entries);

static bool check_child(struct check *check, const uint8_t *page, uint32_t i, unsigned level, enum content content,
                        const struct bounds *bounds, uint64_t *entries)
{
    const uint8_t *node = page + get_16(page + PAGE_HEADER + 2 * i);
    uint64_t child = get_16(node) | (uint64_t)get_16(node + 2) << 16 | (uint64_t)get_16(node + 4) << 32;
    struct bounds below = *bounds;
    if (i > 0)
        below.from = key_in(page, i);
    if (i + 1 < entries_of(page))
        below.until = key_in(page, i + 1);
    return check_page(check, child, level - 1, content, &below, entries);
}

/* `level` 1 is a leaf. Counts values into *entries. */
static bool check_page(struct check *check, uint64_t number, unsigned level, enum content content,
                       const struct bounds *bounds, uint64_t *entries)
{
    /* Trees within the tree of databases have buffers of their own: that one is a level higher than any. */
    unsigned buffer = content == CONTENT_DBS ? DEPTH_MAX : level - 1;
    bool leaf = level == 1;
    if (!check->page[buffer] && !(check->page[buffer] = malloc(check->page_bytes)))
        return cannot(check);
    uint8_t *page = check->page[buffer];
    if (!claim(check, number) || !read_whole(check, number, page, check->page_bytes) ||
        !check_layout(check, number, page, leaf) || !check_order(check, number, page, leaf, content, bounds))
        return false;
    for (uint32_t i = 0; i < entries_of(page); i++)
        if (leaf ? !check_node(check, number, page + get_16(page + PAGE_HEADER + 2 * i), content)
                 : !check_child(check, page, i, level, content, bounds, entries))
            return false;
    if (leaf)
        *entries += entries_of(page);
    return true;
}

static bool check_tree(struct check *check, const struct db *db, enum content content)
{
    static const struct bounds whole;
    uint64_t entries = 0;
    if (db->root == NO_PAGE)
        return db->entries == 0 || complain(check, db->root, "is the root of something");
    /* The few databases of ours have room in one page. */
    if (db->depth == 0 || db->depth >= (content == CONTENT_DBS ? 2 : DEPTH_MAX))
        return complain(check, db->root, "is the root of no sound tree");
    if (!check_page(check, db->root, db->depth, content, &whole, &entries))
        return false;
    return entries == db->entries || complain(check, db->root, "leads to fewer records than there should be");
}

/* ---- the file ---- */

static bool read_meta(struct check *check, off_t at, struct meta *meta)
{
    uint8_t octets[PAGE_HEADER + META_BYTES];
    ssize_t got = pread(check->fd, octets, sizeof octets, at);
    if (got < 0)
        return cannot(check);
    if (got != sizeof octets)
        return false;
    const uint8_t *m = octets + PAGE_HEADER;
    *meta = (struct meta){.magic = get_32(m),
                          .version = get_32(m + 4),
                          .page_bytes = get_32(m + 24),
                          .free = db_at(m + 24),
                          .main = db_at(m + 24 + DB_BYTES),
                          .last_page = get_64(m + 24 + 2 * DB_BYTES),
                          .transaction = get_64(m + 32 + 2 * DB_BYTES)};
    return true;
}

static bool is_ours(const struct meta *meta)
{
    return meta->magic == 0xBEEFC0DE && meta->version == 1 && meta->page_bytes >= PAGE_BYTES_LEAST &&
           meta->page_bytes <= PAGE_BYTES_MOST && (meta->page_bytes & (meta->page_bytes - 1)) == 0;
}

static bool check_snapshot(struct check *check, const struct meta *meta, off_t file_bytes)
{
    /* Pages at the end that were never used need not be there, so the file may be shorter; not by half. */
    if (meta->last_page / 2 > (uint64_t)file_bytes / check->page_bytes + 1024)
        return complain(check, meta->last_page, "is missing");
    check->pages = meta->last_page + 1;
    check->seen = calloc(check->pages / 8 + 1, 1);
    if (!check->seen)
        return cannot(check);
    bool good = check_flags(check, &meta->main, 0) && check_flags(check, &meta->free, DB_INTEGER_KEY) &&
                check_tree(check, &meta->main, CONTENT_DBS) && check_tree(check, &meta->free, CONTENT_FREE);
    free(check->seen);
    return good;
}

/* The transaction before the last one is still there, as long as no other was begun: it becomes the last one. */
static bool take_back(const struct check *check, unsigned good)
{
    uint8_t page[PAGE_HEADER + META_BYTES];
    off_t page_bytes = (off_t)check->page_bytes;
    return pread(check->fd, page, sizeof page, good * page_bytes) == sizeof page &&
           pwrite(check->fd, page + PAGE_HEADER, META_BYTES, !good * page_bytes + PAGE_HEADER) == META_BYTES &&
           fsync(check->fd) == 0;
}

static enum lmdb_check check_file(struct check *check, off_t file_bytes)
{
    struct meta metas[2];
    if (file_bytes == 0)
        return LMDB_CHECK_EMPTY;
    if (!read_meta(check, 0, &metas[0]) || !is_ours(&metas[0])) {
        snprintf(check->why, check->why_size, "it does not begin like a file of LMDB 0.9");
        return LMDB_CHECK_FOREIGN;
    }
    check->page_bytes = metas[0].page_bytes;
    if (!read_meta(check, (off_t)check->page_bytes, &metas[1]) || !is_ours(&metas[1]) ||
        metas[1].page_bytes != metas[0].page_bytes) {
        complain(check, 1, "is missing");
        return LMDB_CHECK_DAMAGED;
    }
    unsigned last = metas[1].transaction > metas[0].transaction;
    if (check_snapshot(check, &metas[last], file_bytes))
        return LMDB_CHECK_GOOD;
    char why[128];
    snprintf(why, sizeof why, "%s", check->why);
    bool earlier = !check->error && metas[!last].transaction > 0 && check_snapshot(check, &metas[!last], file_bytes);
    snprintf(check->why, check->why_size, "%s", why);
    if (!earlier)
        return LMDB_CHECK_DAMAGED;
    return take_back(check, !last) ? LMDB_CHECK_EARLIER : LMDB_CHECK_FAILED;
}

enum lmdb_check lmdb_check(const char *path, const char *records, char *why, size_t size)
{
    struct check check = {.fd = open(path, O_RDWR | O_CLOEXEC), .records = records, .why = why, .why_size = size};
    struct stat about;
    if (check.fd < 0)
        return errno == ENOENT ? LMDB_CHECK_EMPTY : LMDB_CHECK_FAILED;
    enum lmdb_check status = LMDB_CHECK_FAILED;
    if (fstat(check.fd, &about) == 0)
        status = check_file(&check, about.st_size);
    int error = check.error ? check.error : errno;
    if (check.error)
        status = LMDB_CHECK_FAILED;
    for (size_t i = 0; i <= DEPTH_MAX; i++)
        free(check.page[i]);
    close(check.fd);
    errno = error;
    return status;
}
