#include "sys/mapping.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct mapping map(int fd, size_t len, int protection)
{
    struct mapping mapping = {.len = len, .fd = -1};
    void *memory = len ? mmap(NULL, len, protection, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (memory != MAP_FAILED)
        mapping.memory = memory;
    return mapping;
}

static void name_with(const char *path, const char *suffix, char *name)
{
    snprintf(name, PATH_MAX, "%s%s", path, suffix);
}

struct mapping mapping_read(const char *path)
{
    struct mapping mapping = {.fd = -1};
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        mapping = map(fd, (size_t)status.st_size, PROT_READ);
    if (mapping.memory)
        mapping.fd = fd;
    else if (fd >= 0)
        close(fd);
    return mapping;
}

bool mapping_part(const struct mapping *mapping, size_t *at, size_t *len)
{
    off_t begin = *at < mapping->len ? lseek(mapping->fd, (off_t)*at, SEEK_DATA) : -1;
    off_t end = begin >= 0 ? lseek(mapping->fd, begin, SEEK_HOLE) : -1;
    if (end <= begin || (size_t)end > mapping->len)
        return false;
    *at = (size_t)begin;
    *len = (size_t)(end - begin);
    return true;
}

struct mapping mapping_new(const char *path, size_t len)
{
    char name[PATH_MAX];
    struct mapping mapping = {.fd = -1};
    name_with(path, ".new", name);
    unlink(name);
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && ftruncate(fd, (off_t)len) == 0)
        mapping = map(fd, len, PROT_READ | PROT_WRITE);
    if (fd >= 0)
        close(fd);
    return mapping;
}

bool mapping_install(const char *path, bool set_aside)
{
    char name[PATH_MAX], aside[PATH_MAX];
    name_with(path, ".new", name);
    name_with(path, ".damaged", aside);
    if (set_aside)
        rename(path, aside);
    return rename(name, path) == 0;
}

void mapping_close(struct mapping *mapping)
{
    if (mapping->memory)
        munmap(mapping->memory, mapping->len);
    if (mapping->memory && mapping->fd >= 0)
        close(mapping->fd);
    *mapping = (struct mapping){.fd = -1};
}
