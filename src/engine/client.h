/*
 * engine/client - who the client of a connection is: the end that opened it, or the one of whom that end told.
 *
 * A load balancer that the rules name (`balancers`) begins a connection with a PROXY header. The client that it tells
 * is the one that rules, the greylist and events are about from there on. What one network can use up is charged to
 * the balancer's all the same (engine/room).
 *
 * Limits: one object for each connection; nothing is touched of those that nobody told of.
 */
#ifndef POSTERN_ENGINE_CLIENT_H
#define POSTERN_ENGINE_CLIENT_H

#include "engine/state.h"

/* Octets of memory that client_init needs, and begin with it; zeroed. */
size_t client_bytes(const struct engine_settings *settings);
void client_init(struct engine *engine, void *storage);

struct event_client client_of(const struct engine *engine, const struct flow *flow);

/* The client of whom a balancer told; `ip_version` 0: nobody told of any. */
struct event_client client_told(const struct engine *engine, const struct flow *flow);

/* Somebody told of this one; `ip_version` 0 changes nothing. */
void client_set_told(struct engine *engine, struct flow *flow, const struct event_client *told);

/* The connection is over. */
void client_forget(struct engine *engine, struct flow *flow);

#endif
