/*
 * store/driver - the two threads behind the table of a store: one looks up what the table does not know and answers who
 * asked, one writes what was put, twice in sync_ms. So only the first waits where a record must come from a disk, and
 * only the second where something must get there.
 *
 * Thread: driver_start, driver_stop and driver_flush by whoever has the store open; driver_wake_* by clients.
 */
#ifndef POSTERN_STORE_DRIVER_H
#define POSTERN_STORE_DRIVER_H

#include "store/backend.h"

/* False where there is no thread to be had; driver_stop all the same. */
bool driver_start(struct store *store);

/* False where a thread does not come back (from a disk) for 2 s: then the store must stay where it is. */
bool driver_stop(struct store *store);

/* Wait until nothing waits to be written, for up to `wait_ms`. */
bool driver_flush(struct store *store, uint32_t wait_ms);

void driver_wake(struct store_waker *waker);

#endif
