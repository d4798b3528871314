/*
 * base/steady - to wait by the steady clock: for a thread or a semaphore also where the C library (musl) only knows how
 * to by the wall clock, when whoever sets that makes such a wait longer or shorter.
 *
 * For the outer rooms: the core waits for nothing.
 */
#ifndef POSTERN_BASE_STEADY_H
#define POSTERN_BASE_STEADY_H

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <time.h>

/* The time of CLOCK_MONOTONIC in so many milliseconds. */
static inline struct timespec steady_after(int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

#ifndef __GLIBC__
static inline struct timespec steady_on_the_wall(const struct timespec *until)
{
    struct timespec steady, wall;
    clock_gettime(CLOCK_MONOTONIC, &steady);
    clock_gettime(CLOCK_REALTIME, &wall);
    long ns = until->tv_nsec - steady.tv_nsec + wall.tv_nsec;
    long second = ns < 0 ? -1 : ns / 1000000000;
    return (struct timespec){until->tv_sec - steady.tv_sec + wall.tv_sec + second, ns - second * 1000000000};
}
#endif

/* As pthread_join and sem_wait, no longer than `until`, by CLOCK_MONOTONIC. */
static inline int steady_join(pthread_t thread, const struct timespec *until)
{
#ifdef __GLIBC__
    return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, until);
#else
    struct timespec wall = steady_on_the_wall(until);
    return pthread_timedjoin_np(thread, NULL, &wall);
#endif
}

static inline int steady_wait(sem_t *semaphore, const struct timespec *until)
{
#ifdef __GLIBC__
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, until);
#else
    struct timespec wall = steady_on_the_wall(until);
    return sem_timedwait(semaphore, &wall);
#endif
}

#endif
