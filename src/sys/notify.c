#include "sys/notify.h"

#include <stdint.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

void notify(const char *state)
{
    if (getenv("NOTIFY_SOCKET"))
        sd_notify(0, state);
}

int notify_watchdog_ms(void)
{
    uint64_t us;
    if (!getenv("NOTIFY_SOCKET") || sd_watchdog_enabled(0, &us) <= 0)
        return -1;
    return us / 2000 < INT32_MAX ? (int)(us / 2000) : INT32_MAX;
}
