/*
 * store/thread - the threads of a store. Signals are for the program's own threads; these hear none.
 *
 * In:     a function, and what it is called with.
 * Thread: whoever starts a thread joins it, once.
 */
#ifndef POSTERN_STORE_THREAD_H
#define POSTERN_STORE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* False where there is no thread to be had. */
bool store_start(pthread_t *thread, void *(*run)(void *context), void *context);

/* Wait for a thread to end, for 2 s. */
bool store_join(pthread_t thread);

#endif
