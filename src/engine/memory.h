/*
 * engine/memory - one block of memory, and where in it each part of the engine lies.
 *
 * In:     settings, and memory for them.
 * Out:    an engine, or how many octets one takes.
 * Owner:  the caller owns the memory; engine_init lays out all of it, and nothing is allocated afterwards.
 */
#ifndef POSTERN_ENGINE_MEMORY_H
#define POSTERN_ENGINE_MEMORY_H

#include <stddef.h>

#include "engine/values.h"

struct engine;
struct policy;

/* Sensible values for a gateway: 65,536 flows, 64 MiB of blocks; no events. */
struct engine_settings engine_settings_default(void);

/* Octets of memory that engine_init needs for these settings. */
size_t engine_bytes(const struct engine_settings *settings);

/*
 * Lay out an engine in `memory`: engine_bytes octets, zeroed, aligned to 64 (a fresh mapping is both; pages that are
 * never needed are never touched). `policy` must live as long as the engine needs it. Returns the engine, which is the
 * memory.
 */
struct engine *engine_init(void *memory, const struct engine_settings *settings, const struct policy *policy);

struct engine_gauges engine_gauges(const struct engine *engine);

#endif
