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
    SMTP_PHASE_COMMAND,  /* command lines */
    SMTP_PHASE_ASKED,    /* DATA has gone to the server, its reply has not come: what is read now, of a record or where
                            nothing can wait, is taken for a message */
    SMTP_PHASE_MESSAGE,  /* a message, to the lone dot */
    SMTP_PHASE_CHUNK,    /* octets that BDAT, or XEXCH50 after its 354, announced */
    SMTP_PHASE_RESPONSE, /* one line that answers a 334 */
};

enum smtp_anomaly {
    SMTP_ANOMALY_NONE,
    SMTP_ANOMALY_NOT_SMTP,           /* the server's first line is no reply */
    SMTP_ANOMALY_REPLY_WITHOUT_CODE, /* later lines that are none (case 17) */
    SMTP_ANOMALY_UNEXPECTED_REPLY,   /* the server owed nothing, or nothing that this could answer */
    SMTP_ANOMALY_LEDGER_FULL,        /* more unanswered commands than SMTP_LEDGER_SLOTS_MAX */
    SMTP_ANOMALY_LINE_TOO_LONG,      /* a command line over SMTP_LINE_BYTES_MAX: servers cut it differently (case 10) */
    SMTP_ANOMALY_NUL_IN_COMMAND,     /* servers forget different parts of it, but each answers it once (case 5) */
    SMTP_ANOMALY_UNREADABLE_COMMAND, /* one that a rule looks at, in a form that servers may read in another way */
    SMTP_ANOMALY_UNREADABLE_ADDRESS, /* the same of an address */
    SMTP_ANOMALY_PROXY_HEADER,       /* the binary one, of a stranger: a server that knows it not reads commands in it
                                       (case 13); a balancer's that is none */
    SMTP_ANOMALY_AMBIGUOUS_CHUNK,    /* BDAT with a size that servers read differently (case 47) */
    SMTP_ANOMALY_CHUNK_NOT_OFFERED,  /* BDAT, and no reply to EHLO has offered CHUNKING: its octets are commands to such
                                        a server, and are read so */
    SMTP_ANOMALY_XEXCH50_OVERFLOW,   /* XEXCH50 with a negative or huge size, or none (MS03-046, case 50) */
    SMTP_ANOMALY_LINK2STATE_OVERFLOW, /* X-LINK2STATE with more than servers without MS05-021 have room for (case 51) */
    SMTP_ANOMALY_AMBIGUOUS_RESPONSE,  /* sent before the 334 that it may answer (case 54) */
    SMTP_ANOMALY_AMBIGUOUS_REPLY, /* one that leaves two readings of what the client sent, or will send (13, 48, 50) */
    SMTP_ANOMALY_AMBIGUOUS_END,   /* a message may end here for a lenient server (case 43) */
    SMTP_ANOMALY_MESSAGE_REFUSED, /* the client had sent its message before DATA was refused (cases 35, 36) */
    SMTP_ANOMALY_COMMAND_BEFORE_354, /* data read before the reply to DATA has a line that the server would execute if
                                        it refuses DATA (cases 35, 36) */
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
    enum smtp_side side;       /* which end of the connection it came from */
    enum smtp_side role;       /* which part that end plays: the other one once TURN was accepted (case 55) */
    struct span octets;        /* the slice of the stream */
    struct span whole;         /* COMMAND, REPLY, FRAGMENT: the line from its first octet on, as far as it came */
    struct span rest;          /* what was fed behind the unit and is not looked at yet */
    enum smtp_anomaly anomaly; /* what is wrong with it */
    bool rewritten;            /* COMMAND: `whole` and `octets` are its canonical form, which leaves (smtp/canonical) */
    struct span came;          /* then: the line as it came, of the same length */
    struct span would_leave;   /* COMMAND, where nothing is changed: the canonical form in which it would leave else;
                                  `command` is that one's. Empty: as it came */
    bool judged;               /* a fragment of this line was judged before: the action is that one's */
    bool ends_payload;         /* PAYLOAD: with this unit the message or chunk is complete */
    struct smtp_command command; /* COMMAND; FRAGMENT of the client (verb is UNKNOWN while not complete) */
    enum smtp_verb verb;         /* REPLY, FRAGMENT of the server: the command it answers; PAYLOAD: what the octets are,
                                    of DATA, BDAT, XEXCH50_DATA, AUTH_RESPONSE, PROXY_HEADER; that also of a COMMAND and
                                    a FRAGMENT that are one, or its beginning */
    uint16_t line_index;         /* REPLY, FRAGMENT of the server: 0 for the first line of a reply */
    bool has_reply;              /* REPLY: `reply` is set (else the line has no code) */
    struct smtp_reply reply;     /* REPLY; FRAGMENT of the server as far as it can be said */
    struct span keyword; /* REPLY, FRAGMENT to EHLO or LHLO behind the first line: the keyword, perhaps its beginning */
};

/* Octets of a unit's line that left before it. */
static inline size_t smtp_unit_left_before(const struct smtp_unit *unit)
{
    return unit->whole.len > unit->octets.len ? unit->whole.len - unit->octets.len : 0;
}

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
    SMTP_ACTION_WAIT,      /* STARTTLS: passes, and the server's consent leaves later, by the delay of `refusal`; its
                              refusal at once. Until it has left nothing is encrypted, and nothing is to come */
    SMTP_ACTION_REFUSE_ALL, /* STARTTLS: as REFUSE, and nothing of what the client then says in clear passes: the caller
                              closes (see clear_refused) */
    SMTP_ACTION_CLOSE,      /* the client gets `refusal` (a 421), and both ends close */
    SMTP_ACTION_RESET,      /* the connection is to be reset */
};

struct smtp_action { /* two words: it is handed on by value */
    enum smtp_action_kind kind : 8;
    uint8_t refusal;    /* see smtp/refusal */
    bool ask;           /* COMMAND: so only if the answer to a question (engine/question) is DEFER; else PASS */
    bool guard;         /* REPLY, first line: it puts off mail of a server that must not lose it (policy/guard) */
    uint32_t delay_ms;  /* REPLY, first line: this reply leaves so much later */
    const char *reason; /* for reports: the rule or verdict behind it, static; may be NULL */
};
static_assert(sizeof(struct smtp_action) == 16, "two words");

/* What leaves in place of a unit. */
struct smtp_change {
    bool changed;
    bool bounded; /* it kept its length, for it might not become so much shorter (struct smtp_room, `spare`) */
    bool reset;   /* nothing polite is possible any more: reset the connection */
    size_t len;   /* octets below; 0 takes the unit out */
    uint8_t octets[SMTP_LINE_BYTES_MAX + 128];
};

/* How much longer or shorter a unit may become (law 3). */
struct smtp_room {
    uint32_t saved; /* octets saved in this direction so far, which may be spent now */
    uint32_t spare; /* octets that may be saved now, from this unit and those that must go with it */
    bool resize;    /* false: the length must stay (no memory to remember an edit; towards a live server) */
};

#define SMTP_REPLACED_IN_PLACE UINT8_MAX

/* What a session needs to know of its surroundings. */
struct smtp_context {
    struct pool *blocks;                     /* of at least SMTP_LINE_BYTES_MAX octets */
    const struct smtp_keyword_set *keywords; /* EHLO lines with these wait until they are whole */
    const struct smtp_refusals *refusals;    /* what actions and slots number */
    uint64_t verbs;                          /* commands with these wait until whole: bits 1 << enum smtp_verb */
    bool whole_replies;                      /* all reply lines wait until they are whole */
    bool judges_early;  /* what comes before the greeting waits likewise, if its line is the first */
    uint64_t addresses; /* commands whose address something looks at, likewise: MAIL, RCPT */
    uint8_t *canonical; /* room for a line of SMTP_LINE_BYTES_MAX octets in canonical form; NULL: none is rewritten */
    bool strict;        /* something in force may act on what comes */
    bool would_act;     /* the same, or would act if it were in force */
    bool observes;      /* nothing waits, since nothing will be changed */
    bool holds;         /* octets of the client that a reply gives their meaning wait for it, see smtp_session_awaits */
    bool awaits_helo;   /* likewise those behind EHLO, HELO, LHLO: something depends on the name that the server took */
    bool by_keyword; /* what becomes of a line of an EHLO reply depends on whether its keyword is in `keywords` alone,
                           and nobody is told of lines: see smtp_session_take_lines */
};

struct smtp_session {
    struct smtp_line lines[2]; /* by enum smtp_side */
    struct smtp_ledger ledger;
    uint32_t answered;       /* slots that the ledger has had and has no more; what comes next has this number and the
                                ledger's count */
    uint64_t chunk_left;     /* octets of the announced chunk still to come */
    uint64_t payload_octets; /* of the message, chunk or exchange that goes on or has just ended */
    uint8_t asked_word[15];  /* the first word of the line that goes on, of what came before the reply to DATA */
    uint8_t asked_word_len;  /* its octets; one more than there is room for where it is longer, or over */
    uint16_t asked_lines;    /* lines taken for a message before the reply to DATA came */
    uint16_t extra_replies;  /* replies that the oldest slot draws besides its own: a refused message's lines */
    uint16_t reply_lines;    /* lines of the unfinished reply seen */
    uint8_t reply_sent;      /* octets of our own code that left already, where a replaced reply came in pieces: all or
                                none; SMTP_REPLACED_IN_PLACE where it leaves line by line at the length of theirs */
    uint8_t phase;           /* enum smtp_phase */
    uint8_t body;            /* enum smtp_body_state */
    uint8_t chunk_verb;      /* enum smtp_verb of the slot that the end of this chunk will add; UNKNOWN for none */
    uint8_t fragment_cover;  /* enum smtp_cover under which the unfinished command leaves, while `fragment_judged` */
    uint8_t fragment_refusal;
    uint8_t void_refusal;     /* the transaction cannot be completed, and this is said of it; NONE while it can */
    uint16_t long_octets;     /* of the client's line that has more than are gathered: those behind them; no more is
                                 counted than fits */
    uint16_t void_slots;      /* replies to come, up to the one to the last recipient that voided it */
    uint8_t put_back_anomaly; /* enum smtp_anomaly that it had */
    uint8_t data_pending;     /* DATA commands without a reply */
    uint8_t spoiled;          /* recipients refused alone in this session; no more is counted than fits */
    bool mail_open : 1;       /* a MAIL went to the server, and nothing since that ends what it began */
    bool mail_nested : 1;     /* the newest MAIL was sent while another was open: its reply says whose mail it is */
    bool proxied : 1;         /* the client is a load balancer, whose first octets may be a PROXY header */
    uint16_t recipients;      /* accepted since the last MAIL, as the client has read it */
    bool opaque : 1;          /* encrypted, or pairing lost: units are OPAQUE for ever */
    bool closing : 1;         /* the server was told to quit: nothing else reaches it */
    bool fragment_judged : 1; /* the beginning of the client's unfinished line left in another form */
    bool reply_fragment_judged : 1; /* the same for the server's unfinished line */
    bool reply_cut : 1;             /* a line of the unfinished reply was made its last: what follows vanishes */
    bool discard : 1;               /* the chunk that comes is taken out, and its reply: only a record has one, where
                                       the server once accepted what is refused now */
    bool ambiguous_end : 1;         /* told of this message already */
    bool asked_dot : 1;             /* the message sent before its 354 was complete */
    bool reply_passed : 1;          /* a line of the unfinished reply left as the server's own: the others follow it */
    bool reply_unasked : 1;         /* the server's unfinished reply began when it owed none; it answers nothing */
    bool greeted : 1;               /* a reply has been seen */
    bool addressed : 1;             /* a command line has gone to the server */
    bool lmtp : 1;                  /* LHLO was accepted: a reply for each recipient ends a message (RFC 2033 4.2) */
    bool void_late : 1;             /* recipients of the void transaction get the server's replies */
    bool put_back : 1;              /* the client's line was put back whole */
    bool void_held : 1;             /* the server holds something of the void transaction: it must be reset there */
    bool swapped : 1;               /* TURN or ATRN was accepted: the ends have changed their parts */
    bool pipelining : 1;            /* the last EHLO reply offered PIPELINING, so another command may follow unseen */
    bool early_told : 1;            /* of this session */
    bool greeting_waits : 1;        /* the greeting has come, and the client has not been shown all of it */
    bool server_closes : 1;         /* the server has said so unasked: it says nothing else */
    bool chunking : 1;              /* the last EHLO that was accepted, and no HELO since, offered CHUNKING */
    bool chunking_comes : 1;        /* the EHLO reply that goes on does */
    bool may_begin : 1;             /* the client was told before that it need not wait for the greeting */
    bool tls_asked : 1;             /* STARTTLS is at the server; its reply has not come */
    bool tls_awaited : 1;           /* the server is ready for TLS; the client's first octets have not come */
    bool tls_waits : 1;        /* the same, and the client has not been shown all of that: tls_asked is still set */
    bool clear_refused : 1;    /* a STARTTLS was put off (REFUSE_ALL): nothing else may pass in clear */
    bool data_covered : 1;     /* a DATA was refused; the reply has not come */
    bool spoiled_now : 1;      /* a recipient was refused alone since the last MAIL that went to the server */
    bool deferred_now : 1;     /* the client has read a 4xx to a RCPT since the last MAIL that was answered */
    bool awaits : 1;           /* what follows is not read before the server has answered all that went to it */
    bool link_state_asked : 1; /* X-LINK2STATE FIRST is at the server, and only more of the same came since */
    bool link_state_open : 1;  /* X-LINK2STATE FIRST was accepted, and only more of the same came since */
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

/* Whether smtp_session_next has nothing to give out, nor to give back, before more octets of `side` come. */
static inline bool smtp_session_is_drained(const struct smtp_session *session, enum smtp_side side)
{
    return session->lines[side].block == POOL_NONE && !session->put_back;
}

/* Lines of an EHLO reply about which there is nothing to decide. */
struct smtp_lines {
    struct span octets; /* none where the next octets are something else */
    uint32_t stripped;  /* lines that are taken out, all of them; 0 where they leave as they came */
    bool more;          /* another call may take those behind them, which are of the other kind */
};

/*
 * Take the lines at the front of *bytes that need no units, which most of an EHLO reply does not: whole lines behind
 * its first one, none of them its last, with keywords of which nothing is remembered. They are either none of
 * context->keywords, or all of them are, and have `spare` octets at most. It is what the units would have come to.
 */
struct smtp_lines smtp_session_take_lines(struct smtp_session *session, const struct smtp_context *context,
                                          enum smtp_side side, uint32_t spare, struct span *bytes);

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

/*
 * Of the first line of a reply that agrees to STARTTLS, or its beginning, which is to leave later (SMTP_ACTION_WAIT):
 * the refusal whose delay it has; SMTP_REFUSAL_NONE of any other.
 */
uint8_t smtp_session_reply_consent(const struct smtp_session *session, const struct smtp_context *context,
                                   const struct smtp_unit *unit);

/* The consent that waited (tls_waits) has left, and the client has it: from here on both directions are opaque. */
void smtp_session_encrypt(struct smtp_session *session, struct pool *blocks);

/* The code of a reply line as the client will read it: that of the filter's own reply where one takes its place. */
uint16_t smtp_session_own_code(const struct smtp_session *session, const struct smtp_context *context,
                               const struct smtp_unit *unit);
static inline uint16_t smtp_session_reply_code(const struct smtp_session *session, const struct smtp_context *context,
                                               const struct smtp_unit *unit)
{
    if (session->ledger.promised > 0)
        return smtp_session_own_code(session, context, unit);
    return unit->has_reply ? unit->reply.code : 0;
}

/*
 * Whether the octets of a reply line before the unit, the beginning of its code, were kept back: our own reply may take
 * its place, or it may become a goodbye (RFC 5321 3.8). They leave with the unit that completes the code, if at all.
 */
bool smtp_session_withholds_code(const struct smtp_session *session, const struct smtp_context *context,
                                 const struct smtp_unit *unit);
static inline bool smtp_session_withholds(const struct smtp_session *session, const struct smtp_context *context,
                                          const struct smtp_unit *unit)
{
    return session->ledger.promised > 0 && smtp_session_withholds_code(session, context, unit);
}

/*
 * What has left already of the line that a unit ends, into `out`: the first `left` octets of unit->whole, those that
 * were covered or spoiled as they left. For reports; `out` has room for SMTP_LINE_BYTES_MAX octets.
 */
void smtp_session_left(const struct smtp_session *session, const struct smtp_unit *unit, size_t left, uint8_t *out);

/* What one end of a session has been shown and the other end does not know of, as bits (law 7). */
enum smtp_promise {
    SMTP_PROMISE_REPLY = 1 << 0, /* a reply that the server owes must not leave as it comes: the ledger has its fate */
    SMTP_PROMISE_VOID = 1 << 1,  /* the server holds a transaction that must not be completed */
    SMTP_PROMISE_LINE = 1 << 2,  /* the beginning of a line or reply has left in another form: its rest must fit */
    /* The server was told to quit, or the client not to encrypt: nothing else of the client may reach it. */
    SMTP_PROMISE_CLOSE = 1 << 3,
};

/* The promises outstanding, bits of enum smtp_promise; 0 where both ends know all, and once the session is opaque. */
static inline unsigned smtp_session_promises(const struct smtp_session *session)
{
    static_assert(SMTP_REFUSAL_NONE == 0, "nothing promised is zero");
    bool in_line = session->fragment_judged | session->reply_fragment_judged | session->reply_cut | session->discard |
                   (session->reply_sent > 0);
    bool closes = session->closing | session->clear_refused;
    bool any = session->ledger.promised | session->void_refusal | in_line | closes;
    if (!any || session->opaque)
        return 0; /* as nearly always */
    return (session->ledger.promised > 0 ? SMTP_PROMISE_REPLY : 0u) |
           (session->void_refusal != SMTP_REFUSAL_NONE ? SMTP_PROMISE_VOID : 0u) | (in_line ? SMTP_PROMISE_LINE : 0u) |
           (closes ? SMTP_PROMISE_CLOSE : 0u);
}

/*
 * Whether the next octets of `side` are not read before the other side has replied to all that went to it: they mean
 * one thing or another (SMTP_TRAIT_AWAITS; BDAT, while the server has yet to say whether it takes chunks; MAIL, EHLO
 * and the like in a transaction; EHLO where something depends on the client's name), or it owes as many replies as can
 * be noted. smtp_session_next then gives out none. A client that keeps to its RFCs is silent meanwhile.
 */
bool smtp_session_awaits(const struct smtp_session *session, enum smtp_side side);

/* The reply does not come: the next octets are read as what they are if the command succeeds. */
void smtp_session_await_no_more(struct smtp_session *session);

/* Octets of `side` that were taken and belong to no unit yet: how many, and themselves. */
uint32_t smtp_session_waiting(const struct smtp_session *session, enum smtp_side side);
struct span smtp_session_waiting_octets(const struct smtp_session *session, const struct pool *blocks,
                                        enum smtp_side side);

/*
 * What the payload that goes on is: SMTP_VERB_END_OF_DATA (a message), BDAT (a chunk), AUTH_RESPONSE or XEXCH50_DATA;
 * UNKNOWN where none does.
 */
enum smtp_verb smtp_session_payload(const struct smtp_session *session);

/* From here on both directions are opaque. What waits comes out of smtp_session_next as an OPAQUE unit. */
void smtp_session_give_up(struct smtp_session *session, struct pool *blocks);

#endif
