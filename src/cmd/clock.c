#include "cmd/clock.h"

#include <time.h>

static int64_t ahead_us;

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void clock_begin_at(int64_t now_us)
{
    ahead_us = now_us - read_us(CLOCK_MONOTONIC);
}

void clock_begin(void)
{
    clock_begin_at(read_us(CLOCK_REALTIME));
}

int64_t clock_now_us(void)
{
    return read_us(CLOCK_MONOTONIC) + ahead_us;
}
