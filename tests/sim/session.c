#include "session.h"

#include <stdlib.h>
#include <string.h>

static void fly(struct session *session, int side, int to, uint8_t *packet, uint32_t len)
{
    bool lost = session->lost_in_a_row < 2 && random_below(&session->random, 1000) < session->plan->loss;
    session->lost_in_a_row = lost ? session->lost_in_a_row + 1 : 0;
    if (lost) {
        free(packet);
        return;
    }
    flights_add(
        &session->flights,
        (struct flight){
            .at_us = session->now_us + session->plan->link_us, .side = side, .to = to, .packet = packet, .len = len});
}

static void endpoint_sends(void *context, struct endpoint *from, uint8_t *packet, uint32_t len)
{
    struct session *session = context;
    fly(session, from == &session->ends[0] ? 0 : 1, FLIGHT_TO_GATEWAY, packet, len);
}

static void gateway_sends(void *context, const struct gateway_packet *arrived, uint8_t *packet, uint32_t len)
{
    fly(context, arrived->side, !arrived->side, packet, len);
}

static void tell_events(struct session *session)
{
    struct event event;
    while (engine_next_event(session->gateway.engine, &event))
        if (session->plan->tell)
            session->plan->tell(&event, session->plan->context);
}

static void land(struct session *session)
{
    struct flight flight;
    while (flights_take(&session->flights, session->now_us, &flight)) {
        if (flight.to == FLIGHT_TO_GATEWAY) {
            session->arrived_us[flight.side] = session->now_us;
            gateway_arrive(&session->gateway, flight.side, flight.packet, flight.len, session->now_us);
            tell_events(session);
            continue;
        }
        endpoint_receive(&session->ends[flight.to], flight.packet, flight.len, session->now_us);
        free(flight.packet);
    }
}

static int64_t next_due(const struct session *session)
{
    int64_t engine_us = engine_next_due(session->gateway.engine), flights_us = flights_due(&session->flights);
    int64_t at = engine_us < flights_us ? engine_us : flights_us;
    for (int side = 0; side < 2; side++)
        at = endpoint_due(&session->ends[side]) < at ? endpoint_due(&session->ends[side]) : at;
    return at;
}

static void start(struct session *session, const struct session_plan *plan)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 16;
    settings.blocks_max = 128;
    settings.held_max = 64;
    settings.events = plan->events;
    session->fault = (struct fault){0};
    gateway_start(&session->gateway, &settings, plan->policy, gateway_sends, session, &session->fault);
    session->plan = plan;
    session->random.state = plan->seed;
    session->lost_in_a_row = 0;
    session->now_us = plan->from_us;
    session->arrived_us[0] = session->arrived_us[1] = 0;
    for (int side = 0; side < 2; side++) {
        struct endpoint_plan end = plan->endpoint;
        end.isn = (uint32_t)random_next(&session->random);
        endpoint_init(&session->ends[side], &end, side == 0, endpoint_sends, session, &session->random);
    }
    endpoint_open(&session->ends[0], session->now_us);
}

static bool is_over(const struct session *session)
{
    return endpoint_finished(&session->ends[0]) && endpoint_finished(&session->ends[1]);
}

static void finish(struct session *session)
{
    if (session->ends[1].state == ENDPOINT_DEAD)
        fault_note(&session->fault, "the server gave up");
    else if (!is_over(session))
        fault_note(&session->fault, "it did not come to its end");
    gateway_stop(&session->gateway, session->now_us);
    tell_events(session);
    gateway_run_out(&session->gateway, session->now_us);
    flights_fini(&session->flights);
    for (int side = 0; side < 2; side++)
        if (session->ends[side].conflict)
            fault_note(&session->fault, "two versions of an octet (law 2)");
}

const char *session_play(struct session *session, const struct session_plan *plan)
{
    for (int side = 0; side < 2; side++)
        endpoint_fini(&session->ends[side]);
    start(session, plan);
    plan->talk(session, plan->context);
    while (!session->fault.text[0] && session->ends[0].state != ENDPOINT_DEAD &&
           session->ends[1].state != ENDPOINT_DEAD && !is_over(session)) {
        int64_t at = next_due(session);
        if (at == INT64_MAX || session->now_us > plan->until_us)
            break;
        session->now_us = at > session->now_us ? at : session->now_us;
        land(session);
        gateway_tick(&session->gateway, session->now_us);
        tell_events(session);
        for (int side = 0; side < 2; side++)
            endpoint_tick(&session->ends[side], session->now_us);
        plan->talk(session, plan->context);
    }
    finish(session);
    return session->fault.text[0] ? session->fault.text : NULL;
}

void session_fini(struct session *session)
{
    for (int side = 0; side < 2; side++)
        endpoint_fini(&session->ends[side]);
    memset(session->ends, 0, sizeof session->ends);
    gateway_fini(&session->gateway);
}
