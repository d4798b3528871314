#include "sys/notify.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A path, or a name behind an at sign; the latter is known by its length and a leading NUL. */
static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
    size_t len = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len >= sizeof address->sun_path || (name[0] != '/' && name[0] != '@'))
        return 0;
    memcpy(address->sun_path, name, len);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
}

/* sd_notify opens a socket each time: where file descriptors are out the watchdog would hear nothing, and end us. */
void notify(const char *state)
{
    static int fd = -1;
    struct sockaddr_un address;
    const char *name = getenv("NOTIFY_SOCKET");
    socklen_t len = name ? address_of(name, &address) : 0;
    if (len && fd < 0)
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (len && fd >= 0)
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, len);
}

/* A number in the environment; 0 where there is none. */
static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);
    char *end;
    if (!text || *text < '0' || *text > '9')
        return 0;
    unsigned long long number = strtoull(text, &end, 10);
    return *end ? 0 : number;
}

/* As sd_watchdog_enabled(3) reads it: WATCHDOG_PID, where there is one, says whom it is for. */
int notify_watchdog_ms(void)
{
    uint64_t us = number_of("WATCHDOG_USEC");
    if (!getenv("NOTIFY_SOCKET") || us == 0 || us == UINT64_MAX ||
        (getenv("WATCHDOG_PID") && number_of("WATCHDOG_PID") != (uint64_t)getpid()))
        return -1;
    return us / 2000 < INT32_MAX ? (int)(us / 2000) : INT32_MAX;
}
