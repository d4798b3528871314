/*
 * smtp/session - one SMTP session as a ledger of promises: both directions in, units out.
 *
 * In:     the octets of each direction in stream order, cut anywhere; the two directions in the order in which they
 *         crossed the gateway.
 * Out:    units: slices of the stream with a kind, in order, without gaps. The caller decides what becomes of a unit
 *         (struct smtp_action) and gives the decision to smtp_session_commit, which keeps the ledger and says what
 *         leaves in the unit's place.
 * Owner:  gathered lines and long ledgers hold blocks of the context's pool until smtp_session_fini.
 * Thread: one worker, nothing shared.
 * Limits: lines SMTP_LINE_BYTES_MAX, unanswered commands SMTP_LEDGER_SLOTS_MAX.
 * Errors: the peer's mistakes are anomalies of a unit. One that loses the pairing of commands and replies makes the
 *         rest of both directions opaque: nothing is guessed (case 23).
 * Source: RFC 5321, 2920, 3030, 3207, 4954, 2033; KB 812455.
 *
 *     struct span bytes = payload;
 *     while (smtp_session_next(s, context, side, &bytes, release, &unit)) {
 *         action = the policy's decision about unit;
 *         smtp_session_commit(s, context, &unit, action, room, &change);
 *         what leaves is change.octets if change.changed, else unit.octets
 *     }
 *     smtp_session_waiting(s, side) octets of the end wait for the rest of their line
 */
#ifndef POSTERN_SMTP_SESSION_H
#define POSTERN_SMTP_SESSION_H

#include "smtp/body.h"
#include "smtp/command.h"
#include "smtp/ledger.h"
#include "smtp/line.h"
#include "smtp/refusal.h"
#include "smtp/reply.h"

enum smtp_side {
    SMTP_CLIENT,
    SMTP_SERVER,
};

/* What the octets of the client are at the moment. */
enum smtp_phase {
    SMTP_PHASE_COMMAND, /* command lines */
    SMTP_PHASE_ASKED,   /* DATA has gone to the server, its reply has not come: what comes now is taken for a message */
    SMTP_PHASE_MESSAGE, /* a message, to the lone dot */
    SMTP_PHASE_CHUNK,   /* octets that BDAT, or XEXCH50 after its 354, announced */
    SMTP_PHASE_RESPONSE, /* one line that answers a 334 */
};

enum smtp_anomaly {
    SMTP_ANOMALY_NONE,
    SMTP_ANOMALY_NOT_SMTP,           /* the server's first line is no reply */
    SMTP_ANOMALY_REPLY_WITHOUT_CODE, /* later lines that are none (case 17) */
    SMTP_ANOMALY_UNEXPECTED_REPLY,   /* the server owed nothing, or nothing that this could answer */
    SMTP_ANOMALY_LEDGER_FULL,        /* more unanswered commands than SMTP_LEDGER_SLOTS_MAX */
    SMTP_ANOMALY_LINE_TOO_LONG,      /* a command line over SMTP_LINE_BYTES_MAX: servers cut it differently (case 10) */
    SMTP_ANOMALY_NUL_IN_COMMAND,     /* servers forget different parts of it (case 5) */
    SMTP_ANOMALY_AMBIGUOUS_CHUNK,    /* BDAT with a size that servers read differently (case 47) */
    SMTP_ANOMALY_XEXCH50_OVERFLOW,   /* XEXCH50 with a negative or huge size, or none (MS03-046, case 50) */
    SMTP_ANOMALY_LINK2STATE_OVERFLOW, /* X-LINK2STATE with more than servers without MS05-021 have room for (case 51) */
    SMTP_ANOMALY_AMBIGUOUS_RESPONSE,  /* sent before the 334 that it may answer (case 54) */
    SMTP_ANOMALY_AMBIGUOUS_REPLY, /* one that leaves two readings of what the client sent, or will send (13, 48, 50) */
    SMTP_ANOMALY_AMBIGUOUS_END,   /* a message may end here for a lenient server (case 43) */
    SMTP_ANOMALY_MESSAGE_REFUSED, /* the client had sent its message before DATA was refused (cases 35, 36) */
    SMTP_ANOMALY_COMMAND_BEFORE_354, /* what came before the 354, and is a message if there will be one, has a line that
                                        is a command if there will be none (cases 35, 36) */
    SMTP_ANOMALY_OCTETS_BEFORE_TLS,  /* clear text behind STARTTLS, before the handshake: somebody wants it taken for
                                        what was encrypted (CVE-2011-0411, CVE-2021-38371, case 52) */
    SMTP_ANOMALY_EARLY_TALKER,       /* the client did not wait for the greeting (RFC 5321 4.3.1) */
    SMTP_ANOMALIES
};

/* A word in lower case with hyphens, static; "" for NONE. */
const char *smtp_anomaly_name(enum smtp_anomaly anomaly);

/* The anomaly of that name; SMTP_ANOMALY_NONE where there is none. */
enum smtp_anomaly smtp_anomaly_find(struct span name);

/* Whether nobody can say what belongs together behind it: passed, it makes the session opaque (case 23). */
bool smtp_anomaly_loses_pairing(enum smtp_anomaly anomaly);

enum smtp_unit_kind {
    SMTP_UNIT_COMMAND,  /* a whole command line, or its rest */
    SMTP_UNIT_REPLY,    /* a whole reply line, or its rest */
    SMTP_UNIT_FRAGMENT, /* the beginning of a line, or more of it, that leaves before its end has come */
    SMTP_UNIT_PAYLOAD,  /* octets that are no lines to be judged: message, chunk, authentication */
    SMTP_UNIT_OPAQUE,   /* the same, and so is everything that follows: encrypted, or pairing lost */
};

struct smtp_unit {
    enum smtp_unit_kind kind;
    enum smtp_side side;         /* which end of the connection it came from */
    enum smtp_side role;         /* which part that end plays: the other one once TURN was accepted (case 55) */
    struct span octets;          /* the slice of the stream */
    struct span whole;           /* COMMAND, REPLY, FRAGMENT: the line from its first octet on, as far as it came */
    struct span rest;            /* what was fed behind the unit and is not looked at yet */
    enum smtp_anomaly anomaly;   /* what is wrong with it */
    bool judged;                 /* a fragment of this line was judged before: the action is that one's */
    bool ends_payload;           /* PAYLOAD: with this unit the message or chunk is complete */
    struct smtp_command command; /* COMMAND; FRAGMENT of the client (verb is UNKNOWN while not complete) */
    enum smtp_verb verb;         /* REPLY, FRAGMENT of the server: the command it answers; PAYLOAD: what the octets are,
                                    of DATA, BDAT, XEXCH50_DATA, AUTH_RESPONSE */
    uint16_t line_index;         /* REPLY, FRAGMENT of the server: 0 for the first line of a reply */
    bool has_reply;              /* REPLY: `reply` is set (else the line has no code) */
    struct smtp_reply reply;     /* REPLY; FRAGMENT of the server as far as it can be said */
    struct span keyword;         /* REPLY, FRAGMENT to EHLO behind the first line: the keyword, perhaps its beginning */
};

enum smtp_action_kind {
    SMTP_ACTION_PASS,      /* as it came */
    SMTP_ACTION_STRIP,     /* REPLY, FRAGMENT with a keyword: take the line out */
    SMTP_ACTION_MAKE_LAST, /* REPLY: the lines behind it will be taken out, so this becomes the last one */
    SMTP_ACTION_REFUSE,    /* COMMAND, FRAGMENT: the server does not see it, or it comes to nothing there; the client
                              gets `refusal` in its turn. Of RCPT, the other recipients go on */
    SMTP_ACTION_VOID,      /* RCPT: the server judges it first, and where it says yes the client gets `refusal`, and the
                              transaction can no longer be completed */
    SMTP_ACTION_VOID_LATE, /* RCPT: its reply is the server's, but the transaction can no longer be completed: its DATA
                              and BDAT get `refusal` */
    SMTP_ACTION_CLOSE,     /* the client gets `refusal` (a 421), and both ends close */
    SMTP_ACTION_RESET,     /* the connection is to be reset */
};

struct smtp_action {
    enum smtp_action_kind kind;
    uint8_t refusal;    /* see smtp/refusal */
    const char *reason; /* for reports: the rule or verdict behind it, static; may be NULL */
    bool ask;           /* COMMAND: so only if the answer to a question (engine/question) is DEFER; else PASS */
    uint32_t delay_ms;  /* REPLY, first line: this reply leaves so much later */
    bool guard;         /* REPLY, first line: it puts off mail of a server that must not lose it (policy/guard) */
};

/* What leaves in place of a unit. */
struct smtp_change {
    bool changed;
    bool reset; /* nothing polite is possible any more: reset the connection */
    size_t len; /* octets below; 0 takes the unit out */
    uint8_t octets[SMTP_LINE_BYTES_MAX + 128];
};

/* How much longer or shorter a unit may become (law 3). */
struct smtp_room {
    uint32_t saved; /* octets saved in this direction so far, which may be spent now */
    bool resize;    /* false: the length must stay (no memory to remember an edit; towards a live server) */
};

/* What a session needs to know of its surroundings. */
struct smtp_context {
    struct pool *blocks;                     /* of at least SMTP_LINE_BYTES_MAX octets */
    const struct smtp_keyword_set *keywords; /* EHLO lines with these wait until they are whole */
    const struct smtp_refusals *refusals;    /* what actions and slots number */
    uint64_t verbs;                          /* commands with these wait until whole: bits 1 << enum smtp_verb */
    bool whole_replies;                      /* all reply lines wait until they are whole */
    bool judges_early; /* what comes before the greeting waits likewise, if its line is the first */
    bool observes;     /* nothing waits, since nothing will be changed */
};

struct smtp_session {
    struct smtp_line lines[2]; /* by enum smtp_side */
    struct smtp_ledger ledger;
    uint64_t chunk_left;     /* octets of the announced chunk still to come */
    uint64_t payload_octets; /* of the message, chunk or exchange that goes on or has just ended */
    uint8_t asked_word[16];  /* the first word of the line that goes on, of what came before the reply to DATA */
    uint8_t asked_word_len;  /* its octets; one more than there is room for where it is longer, or over */
    uint16_t asked_lines;    /* lines taken for a message before the reply to DATA came */
    uint16_t extra_replies;  /* replies that the oldest slot draws besides its own: a refused message's lines */
    uint16_t reply_lines;    /* lines of the unfinished reply seen */
    uint8_t reply_sent;      /* octets of our own code that left already, where a replaced reply came in pieces */
    uint8_t phase;           /* enum smtp_phase */
    uint8_t body;            /* enum smtp_body_state */
    uint8_t chunk_verb;      /* enum smtp_verb of the slot that the end of this chunk will add; UNKNOWN for none */
    uint8_t fragment_cover;  /* enum smtp_cover under which the unfinished command leaves, while `fragment_judged` */
    uint8_t fragment_refusal;
    uint8_t void_refusal;     /* the transaction cannot be completed, and this is said of it; NONE while it can */
    uint16_t void_slots;      /* replies to come, up to the one to the last recipient that voided it */
    uint16_t changed_from[2]; /* by side: where in the unfinished line the octets that left in another form begin */
    bool fragment_judged;
    bool reply_fragment_judged; /* the same for the server's unfinished line */
    bool ambiguous_end;         /* told of this message already */
    bool discard;               /* the chunk that comes is taken out, and its reply: only a record has one, where the
                                   server once accepted what is refused now */
    bool asked_dot;             /* the message sent before its 354 was complete */
    bool reply_cut;             /* a line of the unfinished reply was made its last: what follows vanishes */
    bool reply_unasked;         /* the server's unfinished reply began when it owed none; it answers nothing */
    bool greeted;               /* a reply has been seen */
    bool addressed;             /* a command line has gone to the server */
    bool opaque;                /* encrypted, or pairing lost: units are OPAQUE for ever */
    bool line_over[2];          /* by side: the line was given out whole, its block is free at the next call */
    bool line_long[2];          /* by side: the line has more octets than are gathered; the rest is not kept */
    bool lmtp;                  /* LHLO was accepted: a reply for each recipient ends a message (RFC 2033 4.2) */
    bool void_late;             /* recipients of the void transaction get the server's replies */
    bool put_back;              /* the client's line was put back whole */
    uint8_t put_back_anomaly;   /* enum smtp_anomaly that it had */
    bool void_held;             /* the server holds something of the void transaction: it must be reset there */
    bool closing;               /* the server was told to quit: nothing else reaches it */
    bool swapped;               /* TURN or ATRN was accepted: the ends have changed their parts */
    bool pipelining;            /* the last EHLO reply offered PIPELINING, so another command may follow unseen */
    bool early_told;            /* of this session */
    bool greeting_waits;        /* the greeting has come, and the client has not been shown all of it */
    bool may_begin;             /* the client was told before that it need not wait for the greeting */
    bool tls_asked;             /* STARTTLS is at the server; its reply has not come */
    bool tls_awaited;           /* the server is ready for TLS; the client's first octets have not come */
    bool data_covered;          /* a DATA was refused; the reply has not come */
    bool link_state_asked;      /* X-LINK2STATE FIRST is at the server, and only more of the same came since */
    bool link_state_open;       /* X-LINK2STATE FIRST was accepted, and only more of the same came since */
    uint8_t data_pending;       /* DATA commands without a reply */
    uint16_t recipients;        /* accepted since the last MAIL */
    uint32_t answered;          /* slots that the ledger has had and has no more; what comes next has this number and
                                   the ledger's count */
};

/* A session whose connection is about to begin; no memory is needed until octets come. */
void smtp_session_init(struct smtp_session *session);

/* Give back what it holds. */
void smtp_session_fini(struct smtp_session *session, struct pool *blocks);

/*
 * The next unit of `side`, taken from *bytes, which shrinks from the front. False: all octets are taken, and some of
 * them may wait. With `release` nothing waits: the beginning of a line becomes a FRAGMENT. The unit must be committed,
 * or put back, before the next call; it lives until then. The pool must have two free blocks.
 */
bool smtp_session_next(struct smtp_session *session, const struct smtp_context *context, enum smtp_side side,
                       struct span *bytes, bool release, struct smtp_unit *unit);

/*
 * In place of a decision about a unit: a command line, or a beginning of one, that waits for something else than its
 * end. The next unit of its side is the same again, whatever is fed then stands behind it.
 */
void smtp_session_put_back(struct smtp_session *session, const struct smtp_context *context,
                           const struct smtp_unit *unit);

/* The decision about a unit: keeps the ledger, and says in *change what leaves. */
void smtp_session_commit(struct smtp_session *session, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action, struct smtp_room room, struct smtp_change *change);

/* What leaves in place of a reply of which the unit is a line; SMTP_REFUSAL_NONE where the server's own does. */
uint8_t smtp_session_reply_refusal(const struct smtp_session *session, const struct smtp_context *context,
                                   const struct smtp_unit *unit);

/* The code of a reply line as the client will read it: that of the filter's own reply where one takes its place. */
uint16_t smtp_session_reply_code(const struct smtp_session *session, const struct smtp_context *context,
                                 const struct smtp_unit *unit);

/*
 * What has left already of the line that a unit ends, into `out`: the first `left` octets of unit->whole, those that
 * were covered or spoiled as they left. For reports; `out` has room for SMTP_LINE_BYTES_MAX octets.
 */
void smtp_session_left(const struct smtp_session *session, const struct smtp_unit *unit, size_t left, uint8_t *out);

/* Octets of `side` that were taken and belong to no unit yet. */
uint32_t smtp_session_waiting(const struct smtp_session *session, enum smtp_side side);

/*
 * What the payload that goes on is: SMTP_VERB_END_OF_DATA (a message), BDAT (a chunk), AUTH_RESPONSE or XEXCH50_DATA;
 * UNKNOWN where none does.
 */
enum smtp_verb smtp_session_payload(const struct smtp_session *session);

/* From here on both directions are opaque. What waits comes out of smtp_session_next as an OPAQUE unit. */
void smtp_session_give_up(struct smtp_session *session, struct pool *blocks);

#endif
