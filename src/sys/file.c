#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *file_kind_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "a regular file";
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFLNK:
        return "a symbolic link";
    default:
        return "a device";
    }
}

static bool may_be(mode_t mode, enum file_kinds kinds)
{
    return S_ISREG(mode) || (kinds == FILE_REGULAR_OR_STREAM && (S_ISFIFO(mode) || S_ISCHR(mode)));
}

static int refuse(mode_t mode, enum file_kinds kinds, char why[FILE_WHY_BYTES])
{
    snprintf(why, FILE_WHY_BYTES, "it is %s; name a regular file%s", file_kind_name(mode),
             kinds == FILE_REGULAR_OR_STREAM ? ", a FIFO or a terminal" : "");
    errno = EINVAL;
    return -1;
}

static int fail(int error, char why[FILE_WHY_BYTES])
{
    snprintf(why, FILE_WHY_BYTES, "%s", strerror(error));
    errno = error;
    return -1;
}

/* Looked at first, for opening a device may do something; and again, for it may be another by then. */
int file_open(const char *path, int flags, enum file_kinds kinds, char why[FILE_WHY_BYTES])
{
    struct stat about;
    if (stat(path, &about) == 0 && !may_be(about.st_mode, kinds))
        return refuse(about.st_mode, kinds, why);
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return fail(errno, why);
    bool known = fstat(fd, &about) == 0;
    int error = errno;
    if (known && may_be(about.st_mode, kinds))
        return fd;
    close(fd);
    return known ? refuse(about.st_mode, kinds, why) : fail(error, why);
}

/* A pipe or a terminal is opened once more: the flag belongs to an opening, and others share ours. */
void file_never_wait(int fd)
{
    char path[32];
    struct stat about;
    if (fstat(fd, &about) != 0)
        return;
    if (S_ISSOCK(about.st_mode))
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!S_ISFIFO(about.st_mode) && !S_ISCHR(about.st_mode))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (again < 0)
        return;
    dup2(again, fd);
    close(again);
}
