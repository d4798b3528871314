#include "store/lmdb_home.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/lmdb_check.h"

enum { CHECK_WAIT_MS = 60000, POLL_MS = 20, STAMP_BYTES = 96, LOCK_BYTES = 8192 };

/* By the file description, so that threads and children of this process count as others. Changing one is atomic. */
static bool lock(int fd, short type)
{
    struct flock region = {.l_type = type, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &region) == 0;
}

/* What tells a file that nobody has touched since: a copy, or one that was put back, differs. */
static bool stamp_of(const char *path, char stamp[STAMP_BYTES])
{
    struct stat about;
    if (stat(path, &about) != 0)
        return false;
    memset(stamp, 0, STAMP_BYTES);
    snprintf(stamp, STAMP_BYTES, "closed %ju %ju %jd.%09ld\n", (uintmax_t)about.st_ino, (uintmax_t)about.st_size,
             (intmax_t)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
    return true;
}

/* Whether the last one who left said so; from now on it is not so any more. */
static bool take_stamp(const struct lmdb_home *home)
{
    char now[STAMP_BYTES], then[STAMP_BYTES] = {0};
    bool same =
        pread(home->in_use, then, sizeof then - 1, 0) > 0 && stamp_of(home->data, now) && strcmp(now, then) == 0;
    return ftruncate(home->in_use, 0) == 0 && fsync(home->in_use) == 0 && same;
}

static bool check_data(const struct lmdb_home *home, const char *records, char *message, size_t size)
{
    char why[160] = "";
    switch (lmdb_check(home->data, records, why, sizeof why)) {
    case LMDB_CHECK_GOOD:
    case LMDB_CHECK_EMPTY:
        return true;
    case LMDB_CHECK_EARLIER:
        snprintf(message, size, "%.300s: the last write was damaged (%s) and was taken back; all before it is there",
                 home->data, why);
        return true;
    case LMDB_CHECK_FOREIGN:
        snprintf(message, size, "%.300s: not postern's (%s); name another folder, or move this file away", home->data,
                 why);
        return false;
    case LMDB_CHECK_DAMAGED:
        snprintf(message, size, "%.300s: damaged (%s); move it away to begin anew, or put a backup in its place",
                 home->data, why);
        return false;
    case LMDB_CHECK_FAILED:
        snprintf(message, size, "%.300s: cannot be read and written: %s", home->data, strerror(errno));
        return false;
    }
    return false;
}

/* Another process may be checking the file now. */
static bool join_others(const struct lmdb_home *home, const char *folder, char *message, size_t size)
{
    for (int waited_ms = 0; waited_ms < CHECK_WAIT_MS; waited_ms += POLL_MS) {
        if (lock(home->in_use, F_RDLCK))
            return true;
        poll(NULL, 0, POLL_MS);
    }
    snprintf(message, size, "%.300s: another process has locked it for %d s; is it stopped?", folder,
             CHECK_WAIT_MS / 1000);
    return false;
}

static bool make_folder(const char *folder, char *message, size_t size)
{
    struct stat about;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        snprintf(message, size, "%.300s: cannot make this folder: %s; make it, for the user that postern runs as",
                 folder, strerror(errno));
        return false;
    }
    if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode)) {
        snprintf(message, size, "%.300s: not a folder; a store is a folder with files of its own", folder);
        return false;
    }
    return true;
}

/* LMDB maps this file and writes to it: where a full disk has no room for that, the process would end. Nobody has it
   open, as who closes it here takes back the locks of all in this process. */
static bool make_lock_file(const struct lmdb_home *home, const char *folder, char *message, size_t size)
{
    char path[sizeof home->data];
    snprintf(path, sizeof path, "%s/lock.mdb", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool made = fd >= 0 && (fallocate(fd, 0, 0, LOCK_BYTES) == 0 || errno == EOPNOTSUPP);
    if (!made)
        snprintf(message, size, "%.300s: cannot be written: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return made;
}

bool lmdb_home_open(struct lmdb_home *home, const char *folder, const char *records, char *message, size_t size)
{
    char in_use[sizeof home->data];
    home->in_use = -1;
    if (!make_folder(folder, message, size))
        return false;
    if (snprintf(home->data, sizeof home->data, "%s/data.mdb", folder) >= (int)sizeof home->data ||
        snprintf(in_use, sizeof in_use, "%s/in-use", folder) >= (int)sizeof in_use) {
        snprintf(message, size, "%.300s...: this name is too long", folder);
        return false;
    }
    home->in_use = open(in_use, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (home->in_use < 0) {
        snprintf(message, size, "%.300s: cannot be written: %s; the user that postern runs as must own it", in_use,
                 strerror(errno));
        return false;
    }
    if (!lock(home->in_use, F_WRLCK))
        return join_others(home, folder, message, size);
    return make_lock_file(home, folder, message, size) &&
           (take_stamp(home) || check_data(home, records, message, size)) && lock(home->in_use, F_RDLCK);
}

bool lmdb_home_alone(struct lmdb_home *home)
{
    return lock(home->in_use, F_WRLCK);
}

void lmdb_home_share(struct lmdb_home *home)
{
    lock(home->in_use, F_RDLCK);
}

bool lmdb_home_has(const struct lmdb_home *home, int data)
{
    struct stat opened, there;
    return fstat(data, &opened) == 0 && stat(home->data, &there) == 0 && opened.st_dev == there.st_dev &&
           opened.st_ino == there.st_ino;
}

void lmdb_home_close(struct lmdb_home *home, bool clean)
{
    char stamp[STAMP_BYTES];
    if (home->in_use < 0)
        return;
    if (clean && lock(home->in_use, F_WRLCK) && stamp_of(home->data, stamp) &&
        pwrite(home->in_use, stamp, strlen(stamp), 0) > 0)
        fsync(home->in_use);
    close(home->in_use);
    home->in_use = -1;
}
