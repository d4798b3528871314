#include "sys/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"

/* ---- a disk that is full ---- */

/* What mapping_new made; read by a signal handler. An entry without length is none. */
static struct guarded {
    _Atomic uintptr_t at;
    _Atomic size_t len;
} guarded[MAPPINGS_MAX];

static _Atomic uint64_t unkept_count;
static size_t page_bytes;

static bool is_guarded(uintptr_t at)
{
    for (size_t i = 0; i < MAPPINGS_MAX; i++)
        if (at - guarded[i].at < guarded[i].len)
            return true;
    return false;
}

/*
 * The file has holes, and a disk that is full has no page for one that is written to. Memory takes its place: all goes
 * on, but the next process will find nothing there. Any other fault ends the process, as it would have.
 */
static void take_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    int error = errno;
    uint8_t *at = (uint8_t *)info->si_addr - (uintptr_t)info->si_addr % page_bytes;
    if (info->si_code == BUS_ADRERR && is_guarded((uintptr_t)at) &&
        mmap(at, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
        atomic_fetch_add_explicit(&unkept_count, 1, memory_order_relaxed);
    else
        signal(number, SIG_DFL);
    errno = error;
}

static void install_handler(void)
{
    struct sigaction action = {.sa_sigaction = take_fault, .sa_flags = SA_SIGINFO};
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, &action, NULL);
}

/* False where there are too many. */
static bool guard(const struct mapping *mapping)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_handler);
    for (size_t i = 0; i < MAPPINGS_MAX; i++)
        if (guarded[i].len == 0) {
            guarded[i].at = (uintptr_t)mapping->memory;
            guarded[i].len = mapping->len;
            return true;
        }
    return false;
}

static void unguard(const struct mapping *mapping)
{
    for (size_t i = 0; i < MAPPINGS_MAX; i++)
        if (guarded[i].at == (uintptr_t)mapping->memory)
            guarded[i].len = 0;
}

uint64_t mapping_unkept(void)
{
    return atomic_load_explicit(&unkept_count, memory_order_relaxed);
}

/* ---- files ---- */

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

/* Root can do what it wants with us, and the folder's owner with its files; nobody else's word is taken. */
static bool is_owner_trusted(const char *path, uid_t owner)
{
    char folder[PATH_MAX];
    struct stat about;
    snprintf(folder, sizeof folder, "%s", path);
    return owner == 0 || owner == geteuid() || (stat(dirname(folder), &about) == 0 && owner == about.st_uid);
}

bool mapping_may_take(const char *path, char *message, size_t message_size)
{
    struct stat about;
    if (lstat(path, &about) != 0)
        return true;
    if (!S_ISREG(about.st_mode))
        snprintf(message, message_size, "%s: it is %s; remove it, or name another folder with --state", path,
                 file_kind_name(about.st_mode));
    else if (!is_owner_trusted(path, about.st_uid))
        snprintf(message, message_size,
                 "%s: it belongs to user %u, neither to us nor to the folder's owner; remove it, or name a folder with "
                 "--state that others cannot write to",
                 path, about.st_uid);
    else
        return true;
    return false;
}

struct mapping mapping_read(const char *path)
{
    struct mapping mapping = {.fd = -1};
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && is_owner_trusted(path, status.st_uid))
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
    int error = errno;
    if (mapping.memory && !guard(&mapping)) {
        mapping_close(&mapping);
        error = ENOMEM;
    }
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && !mapping.memory)
        unlink(name);
    errno = error;
    return mapping;
}

bool mapping_install(const char *path, bool set_aside)
{
    char name[PATH_MAX], aside[PATH_MAX];
    name_with(path, ".new", name);
    name_with(path, ".damaged", aside);
    if (set_aside)
        rename(path, aside);
    if (rename(name, path) == 0)
        return true;
    int error = errno;
    unlink(name);
    errno = error;
    return false;
}

void mapping_close(struct mapping *mapping)
{
    if (mapping->memory) {
        unguard(mapping);
        munmap(mapping->memory, mapping->len);
    }
    if (mapping->memory && mapping->fd >= 0)
        close(mapping->fd);
    *mapping = (struct mapping){.fd = -1};
}
