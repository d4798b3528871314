#include "cmd/figures.h"

/* Where a field is, and how wide. */
#define FIELD(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)

#define ENGINE(field)   #field, FIELD(worker_status, engine.field)
#define DIRECTION(name) FIELD(worker_status, engine.flows_by_direction[POLICY_##name])
#define QUEUE(field)    FIELD(worker_status, queue.field)
#define NOW(field)      #field "_now", FIELD(worker_status, gauges.field)
#define GREY(field)     "greylist_" #field, FIELD(worker_status, greylist.field)
#define LOG(field)      "events_" #field, FIELD(common_status, log.field)
#define STORE(field)    "store_" #field, FIELD(common_status, store.field)
#define WATCH(field)    "guarded_" #field, FIELD(common_status, watch.field)
#define COMMON(field)   #field, FIELD(common_status, field)

const struct figure worker_figures[] = {
    {ENGINE(packets), "packets given to the filter", false},
    {ENGINE(accepted), "packets accepted, as they came or otherwise", false},
    {ENGINE(dropped), "packets dropped, for whatever reason", false},
    {ENGINE(edited), "packets accepted with other octets than came; translation of numbers only, too", false},
    {ENGINE(held), "packets that waited for their verdict", false},
    {ENGINE(not_tcp), "packets passed unread: not TCP, a fragment, or not on a selected port", false},
    {ENGINE(malformed), "packets dropped for header length or truncation errors, or octets behind a FIN", false},
    {ENGINE(fragments_in), "packets dropped because they were IP fragments of TCP segments", false},
    {ENGINE(bad_checksum), "packets dropped for a wrong TCP checksum", false},
    {ENGINE(bad_acknowledgment), "packets dropped because they acknowledged what was never sent", false},
    {ENGINE(bad_reset), "packets dropped because they were resets outside the window", false},
    {ENGINE(bad_syn), "packets dropped because they were SYNs that cannot belong to the connection", false},
    {ENGINE(out_of_bounds), "packets for which there was no room: dropped, or behind a gap sent on as a probe", false},
    {ENGINE(probes), "packets sent on as one octet that the receiver has, to be answered, because of a gap", false},
    {ENGINE(promises_unknown),
     "packets that became resets: something was promised to their connection, and nobody knows what", false},
    {ENGINE(promises_broken), "connections reset: what was promised could not be kept", false},
    {ENGINE(promises_unmarked),
     "packets without the mark that their connection was given, for something was promised to it: see 'postern setup'",
     false},
    {ENGINE(connection_unknown),
     "packets dropped that were of no connection known here, after one had to be forgotten, or of another gateway's",
     false},
    {ENGINE(stale), "packets dropped out of order, because the gap before them was not filled in time", false},
    {ENGINE(flows_created), "connections followed from their SYN on", false},
    {"flows_inbound", DIRECTION(INBOUND), "connections to a protected server; all, where none is said to be protected",
     false},
    {"flows_outbound", DIRECTION(OUTBOUND), "connections from a protected server to one that is not", false},
    {"flows_internal", DIRECTION(INTERNAL), "connections from one protected server to another", false},
    {"flows_neither", DIRECTION(TRANSIT), "connections of which neither end is protected", false},
    {ENGINE(flows_ended), "connections followed from their SYN on that were closed, reset or timed out", false},
    {ENGINE(flows_evicted), "connections forgotten to make room for others", false},
    {ENGINE(unplaced), "packets of new connections dropped (on-overload = pass: passed unread): the table was full",
     false},
    {ENGINE(flows_midstream), "connections older than the filter, which pass unedited", false},
    {ENGINE(flows_taken_over), "connections of an older process, gone on with because something was promised", false},
    {ENGINE(flows_resumed), "connections of an older process that are read on and edited", false},
    {ENGINE(flows_released), "connections let go: nothing more was to be read of them, or to be translated", false},
    {ENGINE(flows_unedited), "connections where editing was switched off", false},
    {ENGINE(retransmissions), "segments with octets that had been decided before", false},
    {ENGINE(resend_differs), "segments sent again with other octets than the first time, which left again", false},
    {ENGINE(rewritten), "segments that left with other octets than they came with, for whatever reason", false},
    {ENGINE(fragments_out), "beginnings of lines that left because the rest did not come in time", false},
    {ENGINE(keywords_stripped), "lines taken out of EHLO replies", false},
    {ENGINE(offset_bounded), "lines changed at their length, for the offset must not become larger", false},
    {ENGINE(expression_limits), "texts on which an expression of a rule ran into its limits: see docs/keys.md", false},
    {ENGINE(commands_refused), "commands answered in the server's place", false},
    {ENGINE(connections_closed), "connections closed politely", false},
    {ENGINE(connections_reset), "connections reset", false},
    {ENGINE(messages_cut), "connections reset in a message, which a rule refuses for what it contains", false},
    {ENGINE(recipients_refused_again), "recipients refused because their mail was cut for what it contains before",
     false},
    {ENGINE(connections_relieved), "connections reset to make room: the oldest of the client network that had most",
     false},
    {ENGINE(held_relieved), "packets that waited, dropped to make room: of the client network that had most", false},
    {ENGINE(shares_used_up), "times that a client network was given no more room, because it had its share", false},
    {ENGINE(replies_replaced), "replies that the client saw in another form", false},
    {ENGINE(questions), "questions asked of what is remembered", false},
    {ENGINE(questions_unanswered),
     "questions of what is remembered, or of a client's name, that nobody answered in time, or that could not be asked",
     false},
    {ENGINE(questions_lost), "questions and lessons that found no room", false},
    {ENGINE(tarpits), "replies that were to leave later", false},
    {ENGINE(tarpit_ms), "milliseconds by which replies were to leave later, in all", false},
    {ENGINE(tarpit_hangups), "replies that were to leave later whose client hung up meanwhile", false},
    {ENGINE(tarpit_hangup_ms), "milliseconds that replies had waited when their clients hung up, in all", false},
    {ENGINE(tarpits_shortened), "delays of replies over before their time, for the server would have given up", false},
    {ENGINE(tarpits_relieved), "delays of replies over before their time, for want of room", false},
    {ENGINE(guarded), "mails of guarded servers, by recipients, that a server outside put off", false},
    {ENGINE(guarded_unknown), "recipients of mails of guarded servers of whom nothing could be kept, for want of room",
     false},
    {ENGINE(handshakes_failed), "handshakes, of TLS, that one end gave up, as far as an alert in clear says so", false},
    {ENGINE(handshakes_unseen), "handshakes, of TLS, that were not read, for want of room", false},
    {ENGINE(events_lost), "events that nobody fetched in time", false},
    {"queue_received", QUEUE(received), "packets that came from the kernel", false},
    {"queue_verdicts", QUEUE(verdicts), "verdicts given to the kernel", false},
    {"queue_late", QUEUE(late), "verdicts that the kernel did not take: it no longer knew the packet", false},
    {"queue_too_long", QUEUE(too_long), "packets dropped because no verdict could carry them", false},
    {"queue_overruns", QUEUE(overruns), "packets lost because the filter read too slowly", false},
    {"queue_full", QUEUE(queue_full), "packets the kernel dropped because too many waited for a verdict", false},
    {GREY(asked), "recipients, and STARTTLS, that the greylist was asked about", false},
    {GREY(passed), "answers of the greylist that let pass", false},
    {GREY(deferred), "answers of the greylist that put off", false},
    {GREY(failed), "questions to the greylist to which its store gave no answer", false},
    {GREY(clients), "connections whose client was looked up in the greylist", false},
    {GREY(clients_known), "connections whose client the greylist knows", false},
    {GREY(lessons), "lessons that changed what the greylist remembers", false},
    {GREY(lessons_lost), "lessons that did not change what the greylist remembers, for want of room or of the store",
     false},
    {GREY(forgotten), "connections, and recipients of one, that made room for others in the greylist", false},
    {NOW(flows), "connections in the table", true},
    {NOW(held), "packets that wait for their verdict", true},
    {NOW(tarpitted), "connections in which a reply waits for its time", true},
    {NOW(blocks), "blocks of 2 KiB in use for octets that are kept", true},
};
const size_t worker_figure_count = sizeof worker_figures / sizeof worker_figures[0];

/* No counter of the engine without a name, none of them twice. */
enum { OTHERS = 19 };
static_assert(sizeof worker_figures / sizeof worker_figures[0] == sizeof(struct engine_counters) / 8 + OTHERS,
              "each counter has its figure");

const struct figure common_figures[] = {
    {WATCH(retries), "mails of guarded servers put off at their second attempt or a later one", false},
    {WATCH(last), "mails of guarded servers put off at their last attempt, so that they may be lost", false},
    {WATCH(taken), "mails of guarded servers taken that had been put off", false},
    {LOG(written), "events written", false},
    {LOG(failed), "events that could not be written", false},
    {LOG(dropped), "events that found no room on their way to the log", false},
    {STORE(gets), "look-ups in the store", false},
    {STORE(answered_at_once), "look-ups in the store answered at once", false},
    {STORE(failed), "look-ups in the store answered by nobody in time", false},
    {STORE(puts), "records given to the store, to be kept or dropped", false},
    {STORE(written), "records of the store written to the disk or the server; several of one key are one", false},
    {STORE(waiting), "records of the store that wait to be written", true},
    {STORE(lost), "records of the store forgotten before they could be written", false},
    {STORE(reconnects), "times that the store's server was found again", false},
    {STORE(records), "records in the store, about", true},
    {COMMON(descriptors_out), "times that no file descriptor was to be had", false},
    {COMMON(offsets_unkept), "places for records of connections that found no room in the state folder", false},
    {COMMON(queue_rules_missing), "families, of IPv4 and IPv6, whose packets no rule of the kernel sends to the queues",
     true},
};
const size_t common_figure_count = sizeof common_figures / sizeof common_figures[0];

const char *figures_direction(enum policy_direction direction)
{
    static const char *const names[POLICY_DIRECTIONS] = {"inbound", "outbound", "internal", "neither"};
    return names[direction];
}

const char *figures_outcome(enum engine_outcome outcome)
{
    static const char *const names[ENGINE_OUTCOMES] = {"no-mail", "refused", "put-off", "unread", "reset", "accepted"};
    return names[outcome];
}

const char *figures_tls(enum engine_tls version)
{
    static const char *const names[ENGINE_TLS_VERSIONS] = {"none", "older", "TLS 1.2", "TLS 1.3"};
    return names[version];
}

static void add_sessions(struct engine_sessions *sum, const struct engine_sessions *one)
{
    for (int direction = 0; direction < POLICY_DIRECTIONS; direction++)
        for (int outcome = 0; outcome < ENGINE_OUTCOMES; outcome++)
            for (int encrypted = 0; encrypted < 2; encrypted++)
                sum->ended[direction][outcome][encrypted] += one->ended[direction][outcome][encrypted];
    for (int version = 0; version < ENGINE_TLS_VERSIONS; version++)
        sum->handshakes[version] += one->handshakes[version];
}

uint64_t figure_value(const struct figure *figure, const void *structure)
{
    const uint8_t *at = (const uint8_t *)structure + figure->offset;
    uint64_t value = 0;
    uint32_t short_value;
    if (figure->bytes == sizeof value) {
        memcpy(&value, at, sizeof value);
        return value;
    }
    memcpy(&short_value, at, sizeof short_value);
    return short_value;
}

void figures_add(struct worker_status *sum, const struct worker_status *one)
{
    for (size_t i = 0; i < worker_figure_count; i++) {
        const struct figure *figure = &worker_figures[i];
        uint64_t value = figure_value(figure, sum) + figure_value(figure, one);
        uint32_t short_value = (uint32_t)value;
        uint8_t *at = (uint8_t *)sum + figure->offset;
        if (figure->bytes == sizeof value)
            memcpy(at, &value, sizeof value);
        else
            memcpy(at, &short_value, sizeof short_value);
    }
    for (int reason = 0; reason < GREYLIST_REASONS; reason++)
        sum->greylist.reasons[reason] += one->greylist.reasons[reason];
    for (int rule = 0; rule < RULES_MAX; rule++)
        sum->rule_hits[rule] += one->rule_hits[rule];
    add_sessions(&sum->sessions, &one->sessions);
}
