/*
 * engine/state - what the files of the engine share, and nobody else sees.
 *
 *   engine.c     memory, the entry points, verdicts and counters
 *   lifecycle.c  connections: SYN to the end, timeouts, making room
 *   segment.c    positions: acknowledgments, order, what is new in a segment, what must wait
 *   judge.c      new octets to SMTP and the policy, decisions into the edit log
 *   message.c    messages to the policy: their lines, attachments, ends
 *   carrier.c    the packet as it leaves
 *   held.c       packets without verdict
 *   tell.c       events
 *   question.c   questions, answers and lessons
 *   tarpit.c     replies that leave later
 *   offer.c      who may talk before the greeting
 *   handover.c   what the next process must know
 */
#ifndef POSTERN_ENGINE_STATE_H
#define POSTERN_ENGINE_STATE_H

#include "engine/engine.h"
#include "engine/flow.h"
#include "engine/timer.h"
#include "policy/policy.h"
#include "smtp/content.h"

#define HELD_HEADER_BYTES_MAX 256 /* IP and TCP headers of a packet that waits; longer ones are dropped */
#define EVENTS_MAX            1024
#define EVENT_ENDS_MAX        (ENGINE_TICK_FLOWS_MAX + 8) /* connections that one call ends, besides those */
#define EVENT_ARENA_BYTES     (512 * 1024)
#define EVENT_TEXT_BYTES_MAX  1024

/* A packet without verdict. */
struct held {
    uint64_t token;
    int64_t since_us;
    uint32_t next; /* in its half's list, later in the list of those ready */
    uint32_t flow;
    uint32_t seq; /* ingress */
    uint32_t len; /* sequence space it takes */
    uint32_t payload_len;
    struct retain payload; /* where it does not fit in `octets` */
    uint16_t header_len;
    uint8_t side;     /* enum smtp_side that sent it */
    uint8_t checksum; /* enum engine_checksum */
    bool drop;        /* its verdict, once ready */
    bool probe;       /* once ready: it leaves as a probe, its octets are given up */
    bool kept;        /* the copy that the reply will leave with whose tarpit is not over */
    bool cut;         /* once ready: it leaves up to `limit` only */
    uint32_t limit;   /* egress */
    bool told;        /* its sender was told that it is here, or will be by the answer to a probe on its way */
    uint8_t octets[HELD_HEADER_BYTES_MAX]; /* its headers, and its payload where that fits */
};

/* Packets that have their verdict, in the order in which they leave. */
struct ready_list {
    uint32_t head, tail;
};

/* Who may talk to a server before its greeting. */
struct offer {
    uint64_t pair; /* a hash of both addresses */
    int64_t until_us;
};

#define OFFERS_MAX 16384

#define GUARD_TEXT_BYTES_MAX 256 /* RFC 5321 4.5.3.1.3: a path */

/* A MAIL or RCPT of a guarded connection, and what has come of it. */
struct guarded {
    uint32_t next; /* in its bucket, newest first */
    uint32_t flow;
    uint32_t exchange;
    bool recipient; /* RCPT */
    bool accepted;
    uint64_t size;
    uint16_t sender_len, recipient_len;
    uint8_t sender[GUARD_TEXT_BYTES_MAX];
    uint8_t recipient_text[GUARD_TEXT_BYTES_MAX];
};

#define GUARDED_BUCKETS 1024

enum tarpit_state {
    TARPIT_IDLE,
    TARPIT_HOLDS,
    TARPIT_LEFT, /* it is over; that the client has read the reply is not known yet */
};

/* The reply of a connection that leaves later, and those before it. */
struct tarpit {
    uint32_t flow;
    uint32_t older, newer; /* of those that hold */
    uint8_t state;         /* enum tarpit_state */
    uint8_t side;          /* enum smtp_side that sent it */
    uint8_t resends;       /* of its packet since the last progress that its sender saw */
    bool lossy;            /* a piece of it was lost */
    bool whole;            /* it must not leave in pieces */
    bool continued;        /* it has several lines */
    bool shared_told;      /* a recipient of this transaction has waited for what others share */
    uint32_t from, to;     /* egress */
    uint32_t allowed;      /* egress: what stands before may leave */
    uint32_t line;         /* egress: where the line begins in which that is */
    uint32_t exchanges;    /* up to the last reply that was delayed: it is not delayed twice */
    uint32_t group_end;    /* exchanges from this one on were not asked for when the last one was over */
    uint32_t group_ms;     /* waited for those before */
    uint32_t waited_ms;    /* for the last one */
    uint32_t delay_ms;     /* meant for it */
    uint8_t verb;          /* enum smtp_verb that it answers */
    const char *rule;      /* whose delay it is */
    uint64_t about;        /* the question that it refuses; 0: none */
    int64_t began_us, due_us;
    int64_t shown_us; /* when the last piece left */
};

/* Why a reply that was to leave later need wait no longer. */
enum tarpit_end {
    TARPIT_END_TIME,      /* its time has come */
    TARPIT_END_HUNG_UP,   /* the client has closed or reset the connection */
    TARPIT_END_SHORTENED, /* the server would have given up */
    TARPIT_END_RELIEVED,  /* there is no room for what must wait */
    TARPIT_END_UNREAD,    /* the connection is not followed on */
    TARPIT_END_RESET,     /* the filter resets it */
    TARPIT_END_STOPPED,   /* the filter stops */
    TARPIT_END_FORGOTTEN, /* the connection is forgotten */
    TARPIT_END_RECORDED,  /* it is in a capture: it came when it came */
};

/* What becomes of a packet with octets that are not allowed to leave. */
enum tarpit_turn {
    TARPIT_KEEP,    /* it is kept in place of the older copy */
    TARPIT_STUTTER, /* the same, and the older copy leaves with what is allowed now */
    TARPIT_OVER,    /* nothing can be kept any longer */
};

/* Whether a line waits for an answer. */
enum inquiry_state {
    INQUIRY_IDLE,
    INQUIRY_WAITS,
    INQUIRY_ANSWERED, /* the line is about to be decided */
};

#define QUESTION_TEXT_BYTES_MAX 256 /* RFC 5321 4.5.3.1.3: a path */

/* What a connection asks, and what must be known of it to ask. */
struct inquiry {
    uint32_t next; /* in its bucket */
    uint32_t flow;
    uint32_t number;      /* of the exchange that the question is about */
    uint32_t transaction; /* of the exchange of the last MAIL */
    uint16_t sender_code; /* the last reply to a MAIL */
    uint8_t state;        /* enum inquiry_state */
    uint8_t side;         /* enum smtp_side that sent the line */
    bool release;         /* it must leave though its end has not come */
    bool told;            /* of this connection something was asked */
    bool open;            /* a recipient of the transaction was asked about, and nothing has come of it yet */
    bool sender_known;    /* `sender` is that of the last MAIL */
    uint8_t helo_len;
    uint16_t sender_len;
    struct finding finding;    /* once ANSWERED */
    struct smtp_action action; /* that depends on it */
    uint64_t asked;            /* exchanges that questions were about and that are not over: bits 1 << number % 64 */
    uint8_t helo[128];         /* its beginning */
    uint8_t sender[QUESTION_TEXT_BYTES_MAX];
};

struct question_entry {
    struct question question;
    uint8_t text[3 * QUESTION_TEXT_BYTES_MAX];
};

/* What becomes of the packet that engine_packet was given. */
enum fate {
    FATE_NONE, /* none, or it is held */
    FATE_PASS, /* as it came */
    FATE_DROP,
    FATE_CARRY,  /* translated, and rebuilt where needed */
    FATE_PROBE,  /* as one octet that its receiver has, to be answered */
    FATE_EDITED, /* edited in place already */
    FATE_RESET,  /* as a RST */
    FATE_BARE,   /* without octets and FIN, as an acknowledgment */
};

struct current {
    struct packet packet;
    uint64_t token;
    enum fate fate;
    enum smtp_side side;
    uint32_t flow;
    bool checksum_absent;
    bool plain; /* all its octets are new, and leave as they came */
};

struct engine {
    struct engine_settings settings;
    const struct policy *policies[ENGINE_POLICIES_MAX]; /* NULL: free */
    uint32_t policy_flows[ENGINE_POLICIES_MAX];         /* flows that began under it */
    uint8_t policy;                                     /* of new flows */
    int64_t now_us;
    int64_t next_ms_us; /* when the timer wheel has a new millisecond to look at */
    uint64_t flow_ids;

    struct flow_table table;
    struct timer_wheel wheel;
    struct pool entries; /* of the edit logs */
    struct pool blocks;  /* of lines, ledgers, and what is kept of a message */
    struct pool pieces;  /* of octets that left and are not acknowledged, and of held packets */
    struct pool held;
    uint32_t oldest[3], newest[3]; /* by enum flow_class: flows by age */

    struct ready_list before; /* verdicts that leave before the current packet */
    struct current current;
    struct ready_list after;

    struct engine_counters counters;
    struct event *events;
    uint8_t *event_arena;
    uint32_t event_count, event_next;
    uint32_t event_arena_used;

    struct question_entry *questions; /* a ring of EVENTS_MAX */
    uint32_t question_first, question_count;
    struct pool inquiries;
    uint32_t *inquiry_buckets; /* by flow id */
    uint32_t inquiry_mask;     /* 0 where nothing is asked */
    struct offer *offers;
    struct pool guarded;
    uint32_t *guarded_buckets; /* by flow */
    struct pool tarpits;
    uint32_t oldest_tarpit, newest_tarpit; /* of those that hold */
    uint32_t tarpitted;
    bool stopping; /* nothing new waits */

    uint8_t *handover; /* the caller's, see handover.h; NULL: nothing is kept */

    uint32_t waiting_count; /* directions in which octets wait for the rest of their line */

    struct smtp_change change;              /* large, so not on the stack */
    uint8_t line_left[SMTP_LINE_BYTES_MAX]; /* for events */
    uint8_t *scratch;                       /* packets that leave with other octets */
    uint8_t *original;                      /* held packets as they came */
    uint8_t port_bits[65536 / 8];
};

/* Flows in order of what is lost when one is forgotten. */
enum flow_class {
    FLOW_CLASS_CHEAP,  /* nothing: opening, closed, or not followed */
    FLOW_CLASS_PLAIN,  /* inspection: followed, offset zero */
    FLOW_CLASS_OFFSET, /* the connection: never forgotten to make room */
};

/* ---- engine.c ---- */

/* The time of a call; what the last one left unfetched of its events is lost. */
void engine_begin_call(struct engine *engine, int64_t now_us);

/* ---- lifecycle.c ---- */

/* A packet that belongs to no known flow: creates one where it should. False where it passes without. */
bool lifecycle_begin(struct engine *engine, const struct packet *packet, uint32_t *index, enum smtp_side *side);
/* Whether a packet shows that the flow known by its addresses is no more: a new SYN where nothing was open. */
bool lifecycle_begins_anew(const struct flow *flow, enum smtp_side side, const struct packet *packet);
/* A segment with SYN in a known flow. */
enum fate lifecycle_syn(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet);
/* Put the flow into the class it now belongs to. */
void lifecycle_classify(struct engine *engine, uint32_t index);
/* Set the flow's timer to its earliest deadline, where that is earlier than what is set. */
void lifecycle_arm(struct engine *engine, uint32_t index);
/* The marks of a verdict about a packet of this flow; where the flow may pass without the engine, it is let go. */
void lifecycle_mark(struct engine *engine, uint32_t index, struct engine_verdict *verdict);
/* The flow's timer has come: release, drop and expire what is due. */
void lifecycle_due(struct engine *engine, uint32_t index);
/* A flow that an older engine followed, to be filled in; it is not read or edited. POOL_NONE where there is no room. */
uint32_t lifecycle_take_over(struct engine *engine, const struct packet *ends, bool closed, int64_t last_us);
/* Forget a flow; packets it holds are dropped. */
void lifecycle_end(struct engine *engine, uint32_t index, const char *reason);

/* ---- segment.c ---- */

/* A segment without SYN in a flow that is followed. */
enum fate segment_take(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet);
/* Let go of held packets whose octets are decided by now, and take in those whose turn has come. */
void segment_settle(struct engine *engine, uint32_t index, enum smtp_side side);
/* Drop what waits on both sides: the connection is being reset. */
void segment_drop_held(struct engine *engine, uint32_t index);
/* Give what waits on both sides its last form, at the end of editing or of the filter. */
void segment_release_all(struct engine *engine, uint32_t index);

/* ---- judge.c ---- */

/* The rules that a flow began under. */
static inline const struct policy *policy_of(const struct engine *engine, const struct flow *flow)
{
    return engine->policies[flow->policy];
}

/* What the session needs to know of its surroundings. */
struct smtp_context judge_context(struct engine *engine, const struct flow *flow);
/* The connection has begun: what rules say of its ends. */
void judge_connect(struct engine *engine, struct flow *flow);
#define JUDGE_PIECES_A_BLOCK (ENGINE_BLOCK_BYTES / RETAIN_BLOCK_BYTES)

/* Free pieces that are not reserved for what waits: its release must not fail. */
uint32_t judge_spare_pieces(const struct engine *engine);
/* Whether there is room to take in `len` more octets of this half. */
bool judge_has_room(const struct engine *engine, const struct half *half, uint32_t len);
/* The widest window that may be advertised: what its sender then sends can be retained. */
uint32_t judge_window_max(const struct engine *engine);
/* The next octets in order. True where one of them leaves in another form, or some waited before. */
bool judge_feed(struct engine *engine, uint32_t index, enum smtp_side side, struct span octets, bool release);
/* The flow is not edited from here on; `reason` is told once. */
void judge_give_up(struct engine *engine, uint32_t index, const char *reason);

/*
 * What a decision is besides its action: told, marked; in a dry run nothing is left of the action. `text` was looked
 * at; `whole`: it is all there.
 */
void judge_take_decision(struct engine *engine, struct flow *flow, bool from_server, struct span text, bool whole,
                         struct policy_decision *decision);

/* ---- message.c ---- */

/* What rules say of the octets of a message: *action becomes theirs where it is a reset. */
void message_judge(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, struct smtp_action *action);
/* It came to nothing, or to its end. */
void message_forget(struct engine *engine, struct flow *flow);

/* ---- carrier.c ---- */

/* The verdict of the current packet (held == NULL) or of a held one that is ready. */
void carrier_load_current(struct engine *engine, struct engine_verdict *verdict);
void carrier_load_held(struct engine *engine, const struct held *held, struct engine_verdict *verdict);

/* ---- held.c ---- */

/* Keep the packet without a verdict, in order of sequence numbers. False where there is no room. */
bool held_add(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet);
/* The held packet that has all octets of this segment; NULL where none has. */
struct held *held_covering(const struct engine *engine, const struct half *half, const struct packet *packet);
/*
 * Octets [*left, *right) behind a gap that are held, in the sender's numbers: of several stretches the one with the
 * packet that came last (RFC 2018 4). Its sender will be told of them. False where nothing waits for a gap.
 */
bool held_tell_stretch(struct engine *engine, const struct half *half, uint32_t *left, uint32_t *right);
/*
 * When a packet that waits behind a gap should leave as a probe, INT64_MAX where none should: once the others are still
 * and outnumber those that their sender knows of. So of n packets log2(n) are spent, and reordering alone costs none.
 */
int64_t held_probe_due_us(const struct engine *engine, uint32_t index, enum smtp_side side);
/* It is due: make it ready. */
void held_probe(struct engine *engine, uint32_t index, enum smtp_side side);
/* Take the first held packet of a half off its list and make it ready, to leave or to be dropped. */
void held_ready(struct engine *engine, struct half *half, bool drop);
/* Those that have waited since `since_us` or longer, to be dropped; INT64_MAX: all. Returns their number. */
uint32_t held_drop_before(struct engine *engine, struct half *half, int64_t since_us);
/* The packet that is kept for a tarpit; NULL where none is. */
struct held *held_kept(const struct engine *engine, const struct half *half);
/* It is one like the others now. */
void held_keep_no_more(struct engine *engine, struct half *half);
/* Make one of those of a half ready that need not be its first. */
void held_ready_one(struct engine *engine, struct half *half, const struct held *held, bool drop);
/* Its payload, payload_len octets, into `out`. */
void held_read(const struct engine *engine, const struct held *held, uint8_t *out);
/* It has left. */
void held_return(struct engine *engine, uint32_t index);

/* ---- question.c ---- */

/*
 * An action that depends on an answer: true where the unit must wait for it, its side is paused then. Else *action is
 * what is to be done without one. `release`: it leaves though its end has not come.
 */
bool question_waits(struct engine *engine, uint32_t index, const struct smtp_unit *unit, bool release,
                    struct smtp_action *action);
/* Whether a line of this side waits for an answer. */
bool question_pends(const struct engine *engine, const struct flow *flow, enum smtp_side side);
/* The answer to what waits, which goes on with the next judge_feed; or there will be none. */
void question_answer(struct engine *engine, struct flow *flow, struct finding finding);
void question_give_up(struct engine *engine, struct flow *flow);
/* Whether what was answered is the beginning of a line that must leave. */
bool question_releases(const struct engine *engine, const struct flow *flow);
/* What the answer makes of the unit that waited for it, which is told. False where the unit is another one. */
bool question_take(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, struct smtp_action *action);
/* A connection is open. */
void question_client(struct engine *engine, uint32_t index);
/* A command has its decision, and its exchange a number; `refused`: the server does not see it. */
void question_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                           bool refused);
/* The reply to an exchange is complete; `spoiled`: it is about another recipient than the client named. */
void question_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                         bool spoiled);
/* The question that the refusal of this exchange goes back to; 0 where there is none. */
uint64_t question_about(const struct engine *engine, const struct flow *flow, enum smtp_verb verb, uint32_t exchange);
/* That refusal has left, or its client with it. */
void question_waited(struct engine *engine, uint32_t index, uint64_t about, uint32_t waited_ms, bool hung_up);
/* Nothing more can be read of a connection. */
void question_end(struct engine *engine, uint32_t index);

/* ---- tarpit.c ---- */

/* How much later the reply should leave that begins with this unit, which is not committed yet. */
uint32_t tarpit_delay_ms(const struct flow *flow, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action);
/* A unit of the server's was decided, the first of its octets at `from_egress`. It may begin a tarpit, or go on with
   it; behind the reply its side is paused. */
struct tarpit_reply {
    uint32_t delay_ms;
    const char *rule; /* whose delay it is */
    uint32_t from_egress;
    uint32_t exchange;
    bool shared; /* once in a transaction is enough */
};
void tarpit_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                       const struct tarpit_reply *reply);
/* By how much later the reply of this exchange leaves. */
uint32_t tarpit_imposed_ms(const struct engine *engine, const struct flow *flow, uint32_t exchange);
/* Whether octets of this side are held back from tarpit_allowed on (egress). */
bool tarpit_holds(const struct engine *engine, const struct flow *flow, enum smtp_side side);
uint32_t tarpit_allowed(const struct engine *engine, const struct flow *flow);
/* A packet with the next octets that are not allowed has come; `again`: one is kept already; `unread`: its sender does
   not know that what is allowed was read. */
enum tarpit_turn tarpit_resent(struct engine *engine, uint32_t index, bool again, bool unread);
/* When the tarpit is over, INT64_MAX where there is none; then, or sooner, what it keeps is let go. */
int64_t tarpit_due_us(const struct engine *engine, const struct flow *flow);
void tarpit_end(struct engine *engine, uint32_t index, enum tarpit_end why);
/* The end of this side has closed the connection, or reset it. */
void tarpit_hung_up(struct engine *engine, uint32_t index, enum smtp_side side);
/* Octets of this side were acknowledged. */
void tarpit_acknowledged(struct engine *engine, uint32_t index, enum smtp_side side);
/* There is no room for what must wait: the oldest tarpits end. */
void tarpit_relieve(struct engine *engine);
/* The connection is forgotten. */
void tarpit_forget(struct engine *engine, uint32_t index);

/* ---- guard.c ---- */

/* A command went to the server, and draws the reply of this exchange. */
void guard_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange);
/* The first line of the reply of this exchange has come; `put_off`: it has the marks of a greylist. */
void guard_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                      bool put_off);
/* Nothing more can be read of a connection. */
void guard_forget(struct engine *engine, uint32_t index);

/* ---- offer.c ---- */

/* Whether this client was lately told by this server that it need not wait for the greeting. */
bool offer_stands(const struct engine *engine, const struct flow *flow);
/* A line of the server's has left as it came: it may say so. */
void offer_note(struct engine *engine, const struct flow *flow, const struct smtp_unit *unit);

/* ---- tell.c ---- */

/* A new event of this flow to be filled in, or NULL where nobody wants it or there is no room: for two texts, and for
   each flow's end. */
struct event *tell(struct engine *engine, enum event_kind kind, struct flow *flow);
/* The same for an event behind which nothing more is told of a transaction: how far its message had come. */
struct event *tell_break(struct engine *engine, enum event_kind kind, struct flow *flow, const char *reason);
/* Keep a copy of octets for the event, capped. */
struct span tell_keep(struct engine *engine, struct span octets);

/* ---- handover.c ---- */

/* Bring the flow's record up to date: before a packet leaves. */
void handover_keep(struct engine *engine, uint32_t index);
/* It needs none any more. */
void handover_forget(struct engine *engine, uint32_t index);

#endif
