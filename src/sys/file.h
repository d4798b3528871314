/*
 * sys/file - files that an administrator names, opened without waiting for anybody.
 *
 * A FIFO keeps whoever opens it waiting until its other end is opened too, and some devices do the same. Here a file is
 * opened at once or refused, and what it may be is said by who asks.
 *
 * Errors: -1, with a reason of at most FILE_WHY_BYTES and errno: EINVAL where it is of another kind than asked for.
 */
#ifndef POSTERN_SYS_FILE_H
#define POSTERN_SYS_FILE_H

#include <sys/stat.h>

#define FILE_WHY_BYTES 128

/* What a file may be. */
enum file_kinds {
    FILE_REGULAR,           /* a regular file, and nothing else */
    FILE_REGULAR_OR_STREAM, /* or a FIFO or a character device: what lines may be written to */
};

/*
 * Open `path` with the flags of open(2), a new file with the mode that umask allows. The descriptor does not block,
 * which makes no difference to a regular file. A FIFO that is opened for writing and has no reader is ENXIO.
 */
int file_open(const char *path, int flags, enum file_kinds kinds, char why[FILE_WHY_BYTES]);

/* "a FIFO", "a folder" and so on. */
const char *file_kind_name(mode_t mode);

/*
 * From here on nobody who writes to descriptor `fd` waits for a pipe, a socket or a terminal whose reader has stopped:
 * what finds no room is lost. Others who have the same pipe or terminal open still wait.
 */
void file_never_wait(int fd);

#endif
