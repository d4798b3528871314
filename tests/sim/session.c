#include "session.h"

#include <stdlib.h>
#include <string.h>

static void fly(struct session *session, int from, int to, uint8_t *packet, uint32_t len)
{
    bool lost = session->lost_in_a_row < 2 && random_below(&session->random, 1000) < session->plan->loss;
    session->lost_in_a_row = lost ? session->lost_in_a_row + 1 : 0;
    if (lost || session->flight_count == SESSION_FLIGHTS_MAX) {
        free(packet);
        return;
    }
    session->flights[session->flight_count++] =
        (struct flight){session->now_us + session->plan->link_us, session->order++, packet, len, from, to};
}

static void endpoint_sends(void *context, struct endpoint *from, uint8_t *packet, uint32_t len)
{
    struct session *session = context;
    fly(session, from == &session->ends[0] ? 0 : 1, 2, packet, len);
}

static void carry_out(struct session *session)
{
    struct engine_verdict verdict;
    struct event event;
    while (engine_next_verdict(session->engine, &verdict)) {
        uint8_t *packet = session->kept[verdict.token];
        uint32_t len = session->kept_len[verdict.token];
        session->kept[verdict.token] = NULL;
        if (verdict.action == ENGINE_ACCEPT && verdict.edited) {
            free(packet);
            len = (uint32_t)verdict.packet.len;
            packet = malloc(len);
            memcpy(packet, verdict.packet.ptr, len);
        }
        if (verdict.action == ENGINE_ACCEPT)
            fly(session, 2, !session->from[verdict.token], packet, len);
        else
            free(packet);
    }
    while (engine_next_event(session->engine, &event))
        if (session->plan->tell)
            session->plan->tell(&event, session->plan->context);
}

static void at_gateway(struct session *session, const struct flight *flight)
{
    if (session->tokens + 1 == SESSION_TOKENS_MAX) {
        session->wrong = "too many packets";
        free(flight->packet);
        return;
    }
    uint64_t token = ++session->tokens;
    session->kept[token] = flight->packet;
    session->kept_len[token] = flight->len;
    session->from[token] = (uint8_t)flight->from;
    session->arrived_us[flight->from] = session->now_us;
    uint8_t *bytes = malloc(flight->len);
    memcpy(bytes, flight->packet, flight->len);
    struct engine_packet packet = {bytes, flight->len, flight->len, token, ENGINE_CHECKSUM_UNSEEN, false};
    engine_packet(session->engine, &packet, session->now_us);
    carry_out(session);
    free(bytes);
}

static bool take_flight(struct session *session)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < session->flight_count; i++)
        if (session->flights[i].at_us < session->flights[best].at_us ||
            (session->flights[i].at_us == session->flights[best].at_us &&
             session->flights[i].order < session->flights[best].order))
            best = i;
    if (session->flight_count == 0 || session->flights[best].at_us > session->now_us)
        return false;
    struct flight flight = session->flights[best];
    session->flights[best] = session->flights[--session->flight_count];
    if (flight.to == 2) {
        at_gateway(session, &flight);
    } else {
        endpoint_receive(&session->ends[flight.to], flight.packet, flight.len, session->now_us);
        free(flight.packet);
    }
    return true;
}

static int64_t next_due(const struct session *session)
{
    int64_t at = engine_next_due(session->engine);
    for (uint32_t i = 0; i < session->flight_count; i++)
        at = session->flights[i].at_us < at ? session->flights[i].at_us : at;
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
    size_t bytes = engine_bytes(&settings);
    void *memory = realloc(session->memory, bytes);
    memset(memory, 0, bytes);
    memset(session, 0, sizeof *session);
    session->memory = memory;
    session->engine = engine_init(memory, &settings, plan->policy);
    session->plan = plan;
    session->random.state = plan->seed;
    session->now_us = plan->from_us;
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
        session->wrong = "the server gave up";
    else if (!is_over(session) && !session->wrong)
        session->wrong = "it did not come to its end";
    engine_stop(session->engine, session->now_us);
    carry_out(session);
    for (uint64_t token = 1; token <= session->tokens; token++)
        if (session->kept[token])
            session->wrong = "a packet got no verdict";
    for (uint32_t i = 0; i < session->flight_count; i++)
        free(session->flights[i].packet);
    session->flight_count = 0;
    for (int side = 0; side < 2; side++)
        if (session->ends[side].conflict)
            session->wrong = "two versions of an octet (law 2)";
}

const char *session_play(struct session *session, const struct session_plan *plan)
{
    for (int side = 0; side < 2; side++)
        endpoint_fini(&session->ends[side]);
    start(session, plan);
    plan->talk(session, plan->context);
    while (!session->wrong && session->ends[0].state != ENDPOINT_DEAD && session->ends[1].state != ENDPOINT_DEAD &&
           !is_over(session)) {
        int64_t at = next_due(session);
        if (at == INT64_MAX || session->now_us > plan->until_us)
            break;
        session->now_us = at > session->now_us ? at : session->now_us;
        while (take_flight(session))
            ;
        if (engine_next_due(session->engine) <= session->now_us) {
            engine_tick(session->engine, session->now_us);
            carry_out(session);
        }
        for (int side = 0; side < 2; side++)
            endpoint_tick(&session->ends[side], session->now_us);
        plan->talk(session, plan->context);
    }
    finish(session);
    return session->wrong;
}

void session_fini(struct session *session)
{
    for (int side = 0; side < 2; side++)
        endpoint_fini(&session->ends[side]);
    free(session->memory);
    memset(session, 0, sizeof *session);
}
