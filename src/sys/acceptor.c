#include "sys/acceptor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/descriptors.h"

static void give_up(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void listen_or_not(struct acceptor *acceptor, bool paused)
{
    struct epoll_event event = {.events = paused ? 0 : EPOLLIN};
    if (epoll_ctl(acceptor->poll, EPOLL_CTL_MOD, acceptor->listener, &event) == 0)
        acceptor->paused = paused;
}

bool acceptor_open(struct acceptor *acceptor, int poll, int listener)
{
    struct epoll_event event = {.events = EPOLLIN};
    *acceptor = (struct acceptor){.poll = poll, .listener = listener};
    acceptor->reserve = eventfd(0, EFD_CLOEXEC);
    return acceptor->reserve >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) == 0;
}

static int take(const struct acceptor *acceptor)
{
    return accept4(acceptor->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* Nobody waits any more, or he has gone; all else may last. */
static bool passes_by_itself(int error)
{
    return error == EAGAIN || error == EINTR || error == ECONNABORTED;
}

int acceptor_take(struct acceptor *acceptor)
{
    int fd = take(acceptor);
    if (fd < 0 && descriptors_out(errno) && acceptor->reserve >= 0) {
        give_up(&acceptor->reserve);
        fd = take(acceptor);
    }
    if (fd < 0 && !passes_by_itself(errno))
        listen_or_not(acceptor, true);
    return fd;
}

void acceptor_refresh(struct acceptor *acceptor)
{
    if (acceptor->reserve < 0)
        acceptor->reserve = eventfd(0, EFD_CLOEXEC);
    if (acceptor->paused)
        listen_or_not(acceptor, false);
}

int acceptor_timeout_ms(const struct acceptor *acceptor)
{
    return acceptor->paused ? ACCEPTOR_PAUSE_MS : -1;
}

void acceptor_close(struct acceptor *acceptor)
{
    give_up(&acceptor->reserve);
    give_up(&acceptor->listener);
}
