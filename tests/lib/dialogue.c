#include "dialogue.h"

#include <stdio.h>
#include <stdlib.h>

#include "smtp/verb.h"

/* Under sanitizers a run takes five times as long, and all have run without. */
#ifdef __SANITIZE_ADDRESS__
enum { CUT_STEP = 3 };
#else
enum { CUT_STEP = 1 };
#endif
enum { RANDOM_CUTS = 200 / CUT_STEP, CUTS_EACH_END = 300, SLOW_STEP_US = 25000 };
enum { LABEL_BYTES_MAX = 160, TOLD_BYTES_MAX = 65536 };

/* ---- one run ----------------------------------------------------------------------------------- */

struct drive *dialogue_play(const char *label, const struct dialogue_turn *turns, size_t count,
                            const struct drive_plan *plan)
{
    struct drive_plan named = *plan;
    named.name = label;
    struct drive *drive = drive_new(&named);
    drive_handshake(drive);
    for (size_t i = 0; i < count && turns[i].octets.len; i++)
        drive_say(drive, turns[i].side, turns[i].octets);
    drive_close(drive, SMTP_SERVER);
    assert_true(drive_read_fin(drive, SMTP_CLIENT) && drive_read_fin(drive, SMTP_SERVER));
    drive_finish(drive);
    return drive;
}

/* ---- comparing --------------------------------------------------------------------------------- */

void dialogue_print_span(const char *what, struct span s)
{
    char line[2048];
    size_t at = 0;
    for (size_t i = 0; i < s.len && at + 5 < sizeof line; i++)
        at +=
            (size_t)snprintf(line + at, sizeof line - at, s.ptr[i] < ' ' || s.ptr[i] > '~' ? "\\%03o" : "%c", s.ptr[i]);
    line[at] = '\0';
    print_error("# %s: %s\n", what, line);
}

static bool same_event(const struct event *a, const struct event *b)
{
    return a->kind == b->kind && a->from_server == b->from_server && a->verb == b->verb && a->code == b->code &&
           a->last == b->last && a->closes == b->closes && a->exchange == b->exchange && a->change == b->change &&
           a->octets == b->octets && span_equal(a->text, b->text) && span_equal(a->shown, b->shown) &&
           strcmp(a->reason, b->reason) == 0;
}

static const struct event *next_event(const struct drive *drive, bool from_server, size_t *index)
{
    while (*index < drive_event_count(drive)) {
        const struct event *event = &drive_event(drive, (*index)++)->event;
        if (event->from_server == from_server)
            return event;
    }
    return NULL;
}

static void print_event(const char *what, const struct event *event)
{
    if (!event) {
        print_error("# %s: none\n", what);
        return;
    }
    print_error("# %s: %s verb %d code %u change %d octets %llu reason %s\n", what, event_kind_name(event->kind),
                (int)event->verb, event->code, (int)event->change, (unsigned long long)event->octets, event->reason);
    dialogue_print_span("  text", event->text);
    dialogue_print_span("  shown", event->shown);
}

bool dialogue_same_events(const struct drive *a, const struct drive *b, bool tell)
{
    for (int from_server = 0; from_server < 2; from_server++) {
        size_t i = 0, j = 0;
        for (;;) {
            const struct event *of_a = next_event(a, from_server, &i);
            const struct event *of_b = next_event(b, from_server, &j);
            if (!of_a && !of_b)
                break;
            if (of_a && of_b && same_event(of_a, of_b))
                continue;
            if (tell) {
                print_event("whole", of_a);
                print_event("cut", of_b);
            }
            return false;
        }
    }
    return true;
}

bool dialogue_same_streams(const struct drive *a, const struct drive *b)
{
    return span_equal(drive_read(a, SMTP_CLIENT), drive_read(b, SMTP_CLIENT)) &&
           span_equal(drive_read(a, SMTP_SERVER), drive_read(b, SMTP_SERVER));
}

/* The stream with the changes made; the caller frees it. */
static struct span apply(const char *label, struct span said, const struct dialogue_change *changes)
{
    uint8_t *out = malloc(said.len + 1024);
    assert_non_null(out);
    size_t len = 0;
    for (size_t i = 0; i < DIALOGUE_CHANGES_MAX && changes[i].from.len; i++) {
        const uint8_t *at = memmem(said.ptr, said.len, changes[i].from.ptr, changes[i].from.len);
        if (!at)
            fail_msg("%s: the row's change %zu is not in the dialogue", label, i);
        size_t before = (size_t)(at - said.ptr);
        memcpy(out + len, said.ptr, before);
        len += before;
        if (changes[i].to.len)
            memcpy(out + len, changes[i].to.ptr, changes[i].to.len);
        len += changes[i].to.len;
        said = span_tail(said, before + changes[i].from.len);
    }
    memcpy(out + len, said.ptr, said.len);
    return (struct span){out, len + said.len};
}

static bool reads(const struct drive *drive, enum smtp_side side, const char *label,
                  const struct dialogue_change *changes, bool tell)
{
    struct span expected = apply(label, drive_said(drive, (enum smtp_side) !side), changes);
    bool same = span_equal(expected, drive_read(drive, side));
    if (!same && tell) {
        dialogue_print_span("expected", expected);
        dialogue_print_span("read", drive_read(drive, side));
    }
    free((void *)(uintptr_t)expected.ptr);
    return same;
}

/* ---- what is told ------------------------------------------------------------------------------ */

static size_t print_event_word(char *out, size_t room, const struct event *event)
{
    const char *mark = event->change == EVENT_KEPT ? "" : "~";
    switch (event->kind) {
    case EVENT_COMMAND:
        return (size_t)snprintf(out, room, " %s%s", smtp_verb_name(event->verb), mark);
    case EVENT_REPLY:
        if (event->code && !event->last)
            return 0;
        if (!event->code)
            return (size_t)snprintf(out, room, " ?");
        return (size_t)snprintf(out, room, " %s=%u%s", smtp_verb_name(event->verb), event->code, mark);
    case EVENT_PAYLOAD:
        return (size_t)snprintf(out, room, " (%llu)%s", (unsigned long long)event->octets, mark);
    case EVENT_ANOMALY:
        return (size_t)snprintf(out, room, " !%s", event->reason);
    case EVENT_RULE:
        return (size_t)snprintf(out, room, " @%s=%s", event->reason, event->action);
    case EVENT_GREYLIST:
        return (size_t)snprintf(out, room, " %.*s>%.*s=%s,%s", (int)event->shown.len, (const char *)event->shown.ptr,
                                (int)event->text.len, (const char *)event->text.ptr, event->action, event->reason);
    case EVENT_GUARD:
        return (size_t)snprintf(out, room, " &%.*s>%.*s=%s", (int)event->sender.len, (const char *)event->sender.ptr,
                                (int)event->recipient.len, (const char *)event->recipient.ptr, event->action);
    case EVENT_UNEDITED:
        return (size_t)snprintf(out, room, " #%s", event->reason);
    case EVENT_TLS:
        return (size_t)snprintf(out, room, " ^%s", tls_version_name(event->tls->version));
    case EVENT_FLOW_START:
    case EVENT_FLOW_END:
    case EVENT_TARPIT:
    case EVENT_RESEND_DIFFERS:
    case EVENT_KINDS:
        break;
    }
    return 0;
}

char *dialogue_told(const struct drive *drive, enum smtp_side side)
{
    char *told = calloc(1, TOLD_BYTES_MAX);
    assert_non_null(told);
    size_t len = 0;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        if (event->from_server == (side == SMTP_SERVER))
            len += print_event_word(told + len, TOLD_BYTES_MAX - len, event);
        assert_true(len < TOLD_BYTES_MAX);
    }
    memmove(told, told + (len > 0), len + (len == 0)); /* without the first blank */
    return told;
}

static struct span recipient_of(const struct drive *drive, uint64_t id)
{
    for (size_t i = 0; i < drive_question_count(drive); i++)
        if (drive_question(drive, i)->id == id)
            return drive_question(drive, i)->recipient;
    fail_msg("a lesson about a question that was not asked");
    return (struct span){0};
}

static size_t print_question_word(char *out, size_t room, const struct drive *drive, const struct question *q)
{
    struct span about;
    switch (q->kind) {
    case QUESTION_RECIPIENT:
        return (size_t)snprintf(out, room, " %.*s>%.*s", (int)q->sender.len, (const char *)q->sender.ptr,
                                (int)q->recipient.len, (const char *)q->recipient.ptr);
    case QUESTION_TLS:
        return (size_t)snprintf(out, room, " tls");
    case QUESTION_CLIENT:
        return (size_t)snprintf(out, room, " client");
    case LESSON_RECIPIENT:
        about = recipient_of(drive, q->about);
        return (size_t)snprintf(out, room, " %.*s=%u", (int)about.len, (const char *)about.ptr, q->code);
    case LESSON_MESSAGE:
        return (size_t)snprintf(out, room, " message=%u", q->code);
    case LESSON_RESET:
        return (size_t)snprintf(out, room, " reset");
    case LESSON_END:
        return (size_t)snprintf(out, room, " end");
    case LESSON_ADDRESSED:
        return (size_t)snprintf(out, room, " %.*s->%.*s", (int)q->sender.len, (const char *)q->sender.ptr,
                                (int)q->recipient.len, (const char *)q->recipient.ptr);
    case LESSON_CONTENT:
        return (size_t)snprintf(out, room, " cut");
    case LESSON_WAITED:
    case QUESTION_KINDS:
        break;
    }
    return 0;
}

char *dialogue_asked(const struct drive *drive)
{
    char *asked = calloc(1, TOLD_BYTES_MAX);
    assert_non_null(asked);
    size_t len = 0;
    for (size_t i = 0; i < drive_question_count(drive); i++) {
        len += print_question_word(asked + len, TOLD_BYTES_MAX - len, drive, drive_question(drive, i));
        assert_true(len < TOLD_BYTES_MAX);
    }
    memmove(asked, asked + (len > 0), len + (len == 0)); /* without the first blank */
    return asked;
}

static void check_asked(const struct dialogue *d, const struct drive *drive)
{
    char *asked = dialogue_asked(drive);
    if (d->asked && strcmp(asked, d->asked) != 0)
        fail_msg("%s: asked '%s', expected '%s'", d->label, asked, d->asked);
    free(asked);
}

static void check_told(const struct dialogue *d, const struct drive *drive, enum smtp_side side)
{
    const char *expected = side == SMTP_SERVER ? d->of_server : d->of_client;
    if (!expected)
        return;
    char *told = dialogue_told(drive, side);
    if (strcmp(told, expected) != 0)
        fail_msg("%s: of the %s is told '%s', expected '%s'", d->label, side == SMTP_SERVER ? "server" : "client", told,
                 expected);
    free(told);
}

/* ---- the rows ----------------------------------------------------------------------------- */

/* Played so, it comes to the same as whole or octet by octet, and again where nobody hears of reply lines. */
static void check_run(const struct dialogue *d, const struct drive_plan *plan, const struct drive *whole,
                      const struct drive *octets)
{
    struct drive *cut = dialogue_play(d->label, d->turns, DIALOGUE_TURNS_MAX, plan);
    check_asked(d, cut);
    bool same = dialogue_same_streams(whole, cut) && dialogue_same_events(whole, cut, false);
    if (!same && d->or_reads[0].from.len)
        same = dialogue_same_streams(octets, cut) && dialogue_same_events(octets, cut, false);
    if (!same) {
        dialogue_print_span("whole, client", drive_read(whole, SMTP_CLIENT));
        dialogue_print_span("  cut, client", drive_read(cut, SMTP_CLIENT));
        dialogue_print_span("whole, server", drive_read(whole, SMTP_SERVER));
        dialogue_print_span("  cut, server", drive_read(cut, SMTP_SERVER));
        (void)dialogue_same_events(whole, cut, true);
        fail_msg("%s: cut %d, peers %d, seed %llu differs from whole", d->label, (int)plan->cut, (int)plan->peers,
                 (unsigned long long)plan->seed);
    }
    struct drive_plan silent = *plan;
    silent.replies_untold = true;
    struct drive *untold = dialogue_play(d->label, d->turns, DIALOGUE_TURNS_MAX, &silent);
    check_asked(d, untold);
    if (!dialogue_same_streams(cut, untold)) {
        dialogue_print_span("  told, client", drive_read(cut, SMTP_CLIENT));
        dialogue_print_span("untold, client", drive_read(untold, SMTP_CLIENT));
        fail_msg("%s: cut %d, peers %d, seed %llu differs where reply lines are not told", d->label, (int)plan->cut,
                 (int)plan->peers, (unsigned long long)plan->seed);
    }
    drive_free(untold);
    drive_free(cut);
}

/* Turns of that many octets at most are cut at each place (or every third), longer ones near their ends. */
static void check_cuts_in_two(const struct dialogue *d, struct drive_plan plan, const struct drive *whole,
                              const struct drive *octets)
{
    size_t longest = 0;
    for (size_t i = 0; i < DIALOGUE_TURNS_MAX; i++)
        if (d->turns[i].octets.len > longest)
            longest = d->turns[i].octets.len;
    plan.cut = DRIVE_TWO;
    for (plan.cut_at = 1; plan.cut_at < longest; plan.cut_at += CUT_STEP) {
        if (plan.cut_at >= CUTS_EACH_END && longest > plan.cut_at + CUTS_EACH_END)
            plan.cut_at = (uint32_t)longest - CUTS_EACH_END;
        check_run(d, &plan, whole, octets);
    }
}

/* Every octet comes after what was held before it had to leave. */
static void check_slow(const struct dialogue *d, struct drive_plan plan, const struct drive *whole)
{
    if (d->never_slow || d->client_reads[0].from.len || d->server_reads[0].from.len)
        return; /* what leaves in pieces is changed in another way */
    plan.cut = DRIVE_OCTETS;
    plan.step_us = SLOW_STEP_US;
    check_run(d, &plan, whole, whole);
}

void dialogue_check(const struct dialogue *d, enum engine_peers peers)
{
    struct drive_plan plan = {.peers = peers, .cut = DRIVE_WHOLE, .seed = 1, .policy = d->policy};
    plan.questions = d->questions;
    plan.answer = d->answer;
    plan.flow_held_max = 2048; /* lines longer than the engine's default, octet by octet */
    struct drive *whole = dialogue_play(d->label, d->turns, DIALOGUE_TURNS_MAX, &plan);
    check_asked(d, whole);
    check_told(d, whole, SMTP_CLIENT);
    check_told(d, whole, SMTP_SERVER);
    if (!reads(whole, SMTP_CLIENT, d->label, d->client_reads, true))
        fail_msg("%s, peers %d: whole: the client reads something else", d->label, (int)peers);
    if (!reads(whole, SMTP_SERVER, d->label, d->server_reads, true))
        fail_msg("%s, peers %d: whole: the server reads something else", d->label, (int)peers);
    plan.cut = DRIVE_OCTETS;
    struct drive *octets = dialogue_play(d->label, d->turns, DIALOGUE_TURNS_MAX, &plan);
    const struct dialogue_change *or_reads = d->or_reads[0].from.len ? d->or_reads : d->client_reads;
    if (!reads(octets, SMTP_CLIENT, d->label, or_reads, true))
        fail_msg("%s, peers %d: octet by octet: the client reads something else", d->label, (int)peers);
    check_run(d, &plan, whole, octets);
    plan.cut = DRIVE_LINES;
    check_run(d, &plan, whole, octets);
    check_cuts_in_two(d, plan, whole, octets);
    check_slow(d, plan, whole);
    plan.cut = DRIVE_RANDOM;
    for (plan.seed = 1; plan.seed <= RANDOM_CUTS; plan.seed++) {
        plan.ip_version = plan.seed % 4 ? 4 : 6;
        check_run(d, &plan, whole, octets);
    }
    drive_free(whole);
    drive_free(octets);
}

static void test_live(void **state)
{
    dialogue_check(*state, ENGINE_PEERS_LIVE);
}

static void test_recorded(void **state)
{
    dialogue_check(*state, ENGINE_PEERS_RECORDED);
}

int dialogue_run(const char *group, const struct dialogue *rows, size_t count, const struct CMUnitTest *more,
                 size_t more_count)
{
    struct CMUnitTest *tests = calloc(2 * count + more_count, sizeof *tests);
    char(*labels)[LABEL_BYTES_MAX] = calloc(2 * count, sizeof *labels);
    size_t at = 0;
    assert_true(tests && labels);
    for (size_t i = 0; i < count; i++)
        for (int peers = ENGINE_PEERS_LIVE; peers <= ENGINE_PEERS_RECORDED; peers++) {
            bool live = peers == ENGINE_PEERS_LIVE;
            if (live ? rows[i].recorded_only : rows[i].live_only)
                continue;
            (void)snprintf(labels[at], sizeof labels[0], "%s (%s peers)", rows[i].label, live ? "live" : "recorded");
            tests[at] = (struct CMUnitTest){labels[at], live ? test_live : test_recorded, NULL, NULL,
                                            (void *)(uintptr_t)&rows[i]};
            at++;
        }
    for (size_t i = 0; i < more_count; i++)
        tests[at++] = more[i];
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = _cmocka_run_group_tests(group, tests, at, NULL, NULL);
    free(tests);
    free(labels);
    return failed;
}
