/*
 * sys/mapping - memory that outlives the process: a file, mapped.
 *
 * What the last process left at a path is read while its successor is filled under another name; then that takes the
 * path. So at each moment there is one that is whole.
 *
 * Limits: MAPPINGS_MAX that are written to. Where the disk is full their parts that were never written to before become
 *         memory of this process alone, and are counted; the handler of SIGBUS is ours.
 */
#ifndef POSTERN_SYS_MAPPING_H
#define POSTERN_SYS_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAPPINGS_MAX = 64 };

struct mapping {
    void *memory; /* NULL: none */
    size_t len;
    int fd; /* of what is read */
};

/*
 * Whether the file of a mapping may stand at `path`: what is there, if anything, is a regular file of ours, root's or
 * the folder's owner. False with a message.
 */
bool mapping_may_take(const char *path, char *message, size_t message_size);

/* What is at `path`, to be read only; memory is NULL where there is nothing, or nothing that can be mapped. Waits
   for nobody. */
struct mapping mapping_read(const char *path);

/*
 * The next part that was ever written, from *at on: *at and *len of it, in whole pages. False where there is none. What
 * lies between is zero, and not worth reading.
 */
bool mapping_part(const struct mapping *mapping, size_t *at, size_t *len);

/* A new file of `len` octets, all zero, that is to take `path`. Memory is NULL where it cannot be made (errno). */
struct mapping mapping_new(const char *path, size_t len);

/* It takes the path now; where that fails, it is removed (errno). What was there before stays as `path`.damaged where
   `set_aside`. */
bool mapping_install(const char *path, bool set_aside);

void mapping_close(struct mapping *mapping);

/* Pages, of all mappings so far, that found no room on the disk. */
uint64_t mapping_unkept(void);

#endif
