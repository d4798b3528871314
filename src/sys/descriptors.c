#include "sys/descriptors.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static _Atomic uint64_t out_count;

bool descriptors_out(int error)
{
    bool out = error == EMFILE || error == ENFILE;
    if (out)
        atomic_fetch_add_explicit(&out_count, 1, memory_order_relaxed);
    return out;
}

bool descriptors_left(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return !descriptors_out(errno);
    close(fd);
    return true;
}

uint64_t descriptors_out_count(void)
{
    return atomic_load_explicit(&out_count, memory_order_relaxed);
}
