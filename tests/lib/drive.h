/*
 * tests/lib/drive - an engine between two modelled endpoints that follow a script.
 *
 * In:     a plan (how segments are cut, live or recorded peers) and octets for each side to say.
 * Out:    what each side read, every event, and what became of each packet.
 * Checks: all the time, by failing the running cmocka test with the plan's name and seed:
 *         - each packet gets exactly one verdict, after engine_stop at the latest (law 5)
 *         - nothing leaves that did not come: same addresses and ports, right checksums, no new SYN or FIN (law 1)
 *         - an octet that a receiver has not acknowledged never comes to it a second time as another one (law 2):
 *           a receiver that keeps the first copy and one that keeps the last read the same
 *         - no side is shown octets, or an acknowledgment of octets, beyond those that were sent (law 3), and towards
 *           a live server each octet keeps its place
 *         - what is said arrives within a bounded number of resends (law 4), at the latest where the other side has
 *           replied to the command in front of it
 *         - in the end the engine holds no memory
 * Note:   the receivers know nothing of the engine's code: own reassembly, own acknowledgments, one for each segment.
 */
#ifndef POSTERN_TESTS_DRIVE_H
#define POSTERN_TESTS_DRIVE_H

#include "engine/engine.h"
#include "policy/policy.h"
#include "random.h"
#include "segment.h"

enum drive_cut {
    DRIVE_WHOLE,  /* what is said at once goes in segments as large as may be */
    DRIVE_OCTETS, /* one octet a segment */
    DRIVE_LINES,  /* one line a segment */
    DRIVE_TWO,    /* in two parts, cut at `cut_at` */
    DRIVE_RANDOM, /* cut at random places */
};

/* All zero is a plan: whole, live, IPv4, the default policy. */
struct drive_plan {
    const char *name; /* for messages */
    enum drive_cut cut;
    uint32_t cut_at; /* octets before the cut of DRIVE_TWO */
    uint64_t seed;
    enum engine_peers peers;
    uint8_t ip_version;          /* 4 or 6; 0 is 4 */
    uint32_t step_us;            /* from one packet to the next; 0 is 10 */
    bool no_acknowledgments;     /* receivers do not answer by themselves: drive_acknowledge does */
    uint16_t mss;                /* 0 is 1460 */
    uint16_t window;             /* of both sides, until drive_segment says otherwise; 0 is 60000 */
    bool strict;                 /* a strict conntrack must take each packet that comes */
    uint32_t isn[2];             /* by enum smtp_side, unless both are 0: then they come from the seed */
    const struct policy *policy; /* NULL is the default */
    uint32_t flow_held_max;      /* 0 is the engine's default */
    uint32_t blocks_max;         /* likewise */
    bool pass_on_overload;
    bool release;        /* connections may pass without the engine */
    bool no_handshakes;  /* those of TLS are not read */
    bool replies_untold; /* nobody wants events of reply lines, so that most of an EHLO reply needs no units */
    uint32_t questions;  /* that are wanted: bits 1 << enum question_kind */
    /* The answer to a question, and how many microseconds later (0: at once; less: never). NULL: nobody answers. */
    enum answer (*answer)(const struct question *question, int64_t *later_us);
    /* Whether the mail was cut for what it contains before, and by which rule (policy_rule_tag). NULL: it was not. */
    bool (*refused)(const struct question *question, uint32_t *rule);
    const char *client_name; /* the client's name in the DNS; "" for none, NULL where nobody says */
    int64_t client_name_us;  /* so much later */
};

struct drive_question {
    struct question question; /* its spans are copies that live as long as the drive */
};

struct drive_event {
    struct event event; /* its spans are copies that live as long as the drive */
};

/* What became of one packet. */
enum drive_fate {
    DRIVE_WAITS,  /* no verdict yet */
    DRIVE_PASSED, /* left as it came */
    DRIVE_EDITED, /* left with other octets */
    DRIVE_DROPPED,
};

struct drive;

/* A connection that has not begun. The caller frees it with drive_finish. */
struct drive *drive_new(const struct drive_plan *plan);

/* SYN, SYN-ACK, ACK. */
void drive_handshake(struct drive *drive);

/*
 * One side says something, cut as planned and sent again until all of it has arrived. What stands behind a command
 * whose reply says what it means may wait for that: it has arrived once the other side has said enough.
 */
void drive_say(struct drive *drive, enum smtp_side side, struct span octets);

/* A C string. */
void drive_say_text(struct drive *drive, enum smtp_side side, const char *text);

/* Both sides send FIN, `first` before the other. */
void drive_close(struct drive *drive, enum smtp_side first);

/* ---- packet by packet ---- */

/*
 * A segment of `side` whose payload begins at position `at` of what it says (0 is the first octet), with the ports and
 * the acknowledgment that it has now. To be changed, then sent.
 */
struct segment drive_segment(const struct drive *drive, enum smtp_side side, uint32_t at, struct span octets);

/* Send it. Octets of it count as said by `side`. Returns the packet's number. */
uint64_t drive_send(struct drive *drive, enum smtp_side side, const struct segment *segment);

/* drive_segment and drive_send of a C string. */
uint64_t drive_send_text(struct drive *drive, enum smtp_side side, uint32_t at, const char *text);

/* The same of octets behind all that `side` has said, in packets of 1,400 octets, whatever the plan's cuts. */
void drive_send_octets(struct drive *drive, enum smtp_side side, struct span octets);

/* An acknowledgment of all that `side` has read in order. */
uint64_t drive_acknowledge(struct drive *drive, enum smtp_side side);

/* The time goes on by so much; what falls due happens. */
void drive_wait(struct drive *drive, int64_t us);

enum drive_fate drive_fate(const struct drive *drive, uint64_t number);

/* The class of mark of its verdict. */
enum engine_mark_class drive_mark(const struct drive *drive, uint64_t number);

/* The packet as it left; NULL where it has not. Lives as long as the drive. */
const struct packet *drive_left(const struct drive *drive, uint64_t number);

/* ---- what happened ---- */

/* What `side` has read in order so far. */
struct span drive_read(const struct drive *drive, enum smtp_side side);

/* What `side` has said so far. */
struct span drive_said(const struct drive *drive, enum smtp_side side);

/* Octets of what `side` said that it knows to have arrived. */
uint32_t drive_acknowledged(const struct drive *drive, enum smtp_side side);

/* Whether `side` has read the other's FIN. */
bool drive_read_fin(const struct drive *drive, enum smtp_side side);

uint32_t drive_isn(const struct drive *drive, enum smtp_side side);

size_t drive_event_count(const struct drive *drive);
const struct drive_event *drive_event(const struct drive *drive, size_t index);

/* Questions and lessons. */
size_t drive_question_count(const struct drive *drive);
const struct question *drive_question(const struct drive *drive, size_t index);

const struct engine_counters *drive_counters(const struct drive *drive);
const struct engine_sessions *drive_sessions(const struct drive *drive);

/* Stop the engine, check that nothing is left over; what was read stays readable until drive_free. */
void drive_finish(struct drive *drive);
void drive_free(struct drive *drive);

#endif
