/* lmdb: what LMDB trusts in a file and would end the process over, or never write again, is found before it sees it. */
#include "store/lmdb_check.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/lmdb_files.h"

enum {
    PAGE = 4096,
    META = 16, /* the layout of LMDB 0.9: mdb.c, MDB_page, MDB_meta, MDB_db, MDB_node */
    META_FREE = META + 24,
    META_MAIN = META_FREE + 48,
    META_LAST_PAGE = META_MAIN + 48,
    META_TRANSACTION = META_LAST_PAGE + 8,
    PAGE_FLAGS = 10,
    PAGE_NODES = 16,
    NODE_FLAGS = 4,
    NODE_KEY_LEN = 6,
    NODE_KEY = 8,
    DB_FLAGS = 4,
    DB_ROOT = 40,
};

/* ---- a disk that cannot be read ---- */

static int reads_that_work = -1; /* -1: all */

/* In the place of the C library's. */
ssize_t pread(int fd, void *octets, size_t len, off_t at)
{
    if (reads_that_work == 0) {
        errno = EIO;
        return -1;
    }
    reads_that_work -= reads_that_work > 0;
    return syscall(SYS_pread64, fd, octets, len, at);
}

/* Where there is no memory malloc returns NULL, as everywhere else. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* ---- a file, and places in it ---- */

struct file {
    char path[256];
    uint8_t *octets;
    size_t len;
};

static uint64_t number_at(const struct file *file, size_t at, size_t len)
{
    uint64_t number = 0;
    assert_true(at + len <= file->len);
    memcpy(&number, file->octets + at, len);
    return number;
}

static void read_file(const char *path, struct file *file)
{
    struct stat about;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &about) == 0);
    snprintf(file->path, sizeof file->path, "%s", path);
    file->len = (size_t)about.st_size;
    file->octets = malloc(file->len);
    assert_non_null(file->octets);
    assert_int_equal(read(fd, file->octets, file->len), file->len);
    close(fd);
}

static void write_file(const char *path, const struct file *file)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file->octets, file->len), file->len);
    close(fd);
}

/* Of the last transaction. */
static size_t meta_of(const struct file *file)
{
    return number_at(file, META_TRANSACTION, 8) > number_at(file, PAGE + META_TRANSACTION, 8) ? 0 : PAGE;
}

static size_t page_of(const struct file *file, size_t db)
{
    return number_at(file, db + DB_ROOT, 8) * PAGE;
}

static size_t node_of(const struct file *file, size_t page, size_t i)
{
    return page + number_at(file, page + PAGE_NODES + 2 * i, 2);
}

static size_t child_of(const struct file *file, size_t page, size_t i)
{
    return number_at(file, node_of(file, page, i), 4) * PAGE;
}

static size_t free_root(const struct file *file)
{
    return page_of(file, meta_of(file) + META_FREE);
}

/* The databases are about, records. */
static size_t db_of_records(const struct file *file)
{
    size_t node = node_of(file, page_of(file, meta_of(file) + META_MAIN), 1);
    return node + NODE_KEY + number_at(file, node + NODE_KEY_LEN, 2);
}

static size_t records_root(const struct file *file)
{
    return page_of(file, db_of_records(file));
}

static size_t free_flags(const struct file *file)
{
    return meta_of(file) + META_FREE + DB_FLAGS;
}

static size_t main_flags(const struct file *file)
{
    return meta_of(file) + META_MAIN + DB_FLAGS;
}

static size_t records_flags(const struct file *file)
{
    return db_of_records(file) + DB_FLAGS;
}

static size_t records_flags_high(const struct file *file)
{
    return records_flags(file) + 1;
}

static size_t free_page_flags(const struct file *file)
{
    return free_root(file) + PAGE_FLAGS;
}

static size_t main_page_flags(const struct file *file)
{
    return page_of(file, meta_of(file) + META_MAIN) + PAGE_FLAGS;
}

static size_t branch_flags(const struct file *file)
{
    return records_root(file) + PAGE_FLAGS;
}

static size_t leaf_flags(const struct file *file)
{
    return child_of(file, records_root(file), 0) + PAGE_FLAGS;
}

static size_t free_node_flags(const struct file *file)
{
    return node_of(file, free_root(file), 0) + NODE_FLAGS;
}

static size_t record_node_flags(const struct file *file)
{
    return node_of(file, child_of(file, records_root(file), 0), 0) + NODE_FLAGS;
}

/* By some records: it still stands between its neighbours. */
static size_t branch_key(const struct file *file)
{
    return node_of(file, records_root(file), 1) + NODE_KEY + 1;
}

static const struct {
    const char *label;
    size_t (*place)(const struct file *file);
    uint8_t bits; /* that change */
} damages[] = {
    {"free pages may have duplicates", free_flags, 0x04},
    {"free pages are not in the order of numbers", free_flags, 0x08},
    {"databases may have duplicates", main_flags, 0x04},
    {"records are in the reverse order", records_flags, 0x02},
    {"records have numbers for keys", records_flags, 0x08},
    {"records are none that can be opened", records_flags_high, 0x80},
    {"the page of free pages may be written in place", free_page_flags, 0x10},
    {"the page of databases may be written in place", main_page_flags, 0x10},
    {"a branch may be written in place", branch_flags, 0x10},
    {"a leaf may be written in place", leaf_flags, 0x10},
    {"a list of free pages is a database", free_node_flags, 0x02},
    {"a record is a database", record_node_flags, 0x02},
    {"a branch leads elsewhere than its key says", branch_key, 0x80},
};

/* Enough for a branch above the leaves of records. */
static void fill(struct file *file)
{
    char uri[128], path[256];
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 2000);
    lmdb_path(uri, "data.mdb", path);
    read_file(path, file);
}

static enum lmdb_check check(const char *path, char why[160])
{
    why[0] = '\0';
    return lmdb_check(path, "records", why, 160);
}

static void test_a_bit_that_lmdb_trusts_is_found(void **state)
{
    (void)state;
    struct file file;
    char uri[128], path[256], why[160];
    fill(&file);
    assert_int_equal(check(file.path, why), LMDB_CHECK_GOOD);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        size_t at = damages[i].place(&file);
        lmdb_fresh_uri(uri);
        lmdb_make_folder(uri);
        lmdb_path(uri, "data.mdb", path);
        file.octets[at] ^= damages[i].bits;
        write_file(path, &file);
        file.octets[at] ^= damages[i].bits;
        enum lmdb_check found = check(path, why);
        if (found != LMDB_CHECK_DAMAGED && found != LMDB_CHECK_EARLIER)
            fail_msg("%s: %d", damages[i].label, (int)found);
        assert_true(strlen(why) > 10);
        lmdb_try(uri); /* and no process ends over it */
    }
    free(file.octets);
}

/* ---- what cannot be read is not damaged ---- */

static void test_what_cannot_be_read_is_left_as_it_is(void **state)
{
    (void)state;
    struct file file, after;
    char why[160];
    enum lmdb_check found = LMDB_CHECK_FAILED;
    fill(&file);
    int reads = 0;
    for (; found != LMDB_CHECK_GOOD; reads++) {
        reads_that_work = reads;
        found = check(file.path, why);
        int error = errno;
        reads_that_work = -1;
        if (found == LMDB_CHECK_GOOD)
            break;
        assert_int_equal(found, LMDB_CHECK_FAILED);
        assert_int_equal(error, EIO);
    }
    assert_true(reads > 10);
    read_file(file.path, &after);
    assert_int_equal(after.len, file.len);
    assert_memory_equal(after.octets, file.octets, file.len);
    free(after.octets);
    free(file.octets);
}

/* So many pages that there is no memory for a bit of each. */
static void test_where_there_is_no_memory_it_is_left_as_it_is(void **state)
{
    (void)state;
    const uint64_t last_page = (UINT64_C(1) << 50) - 1;
    struct file file;
    char path[64], why[160], meta[2 * PAGE];
    fill(&file);
    memcpy(file.octets + meta_of(&file) + META_LAST_PAGE, &last_page, sizeof last_page);
    int fd = memfd_create("data.mdb", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert_int_equal(write(fd, file.octets, file.len), file.len);
    assert_int_equal(ftruncate(fd, INT64_MAX), 0);
    assert_int_equal(check(path, why), LMDB_CHECK_FAILED);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(pread(fd, meta, sizeof meta, 0), sizeof meta);
    assert_memory_equal(meta, file.octets, sizeof meta);
    close(fd);
    free(file.octets);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"a bit that LMDB trusts is found", test_a_bit_that_lmdb_trusts_is_found, NULL, NULL, NULL},
        {"what cannot be read is left as it is", test_what_cannot_be_read_is_left_as_it_is, NULL, NULL, NULL},
        {"where there is no memory it is left as it is", test_where_there_is_no_memory_it_is_left_as_it_is, NULL, NULL,
         NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store lmdb check", tests, NULL, NULL);
}
