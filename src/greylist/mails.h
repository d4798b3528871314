/*
 * greylist/mails - the mails that open connections are about, until it is known what came of them.
 *
 * Owner:  the structure owns its memory, laid out by mails_init.
 * Thread: one.
 * Limits: `flows_max` connections, `mails_max` mails in all, and of each a share for one client network (base/share).
 *         Where it has that its own oldest connection makes room, else that of the network that has most.
 *         MAIL_FLOW_MAX mails of one connection; its oldest makes room.
 */
#ifndef POSTERN_GREYLIST_MAILS_H
#define POSTERN_GREYLIST_MAILS_H

#include "base/list.h"
#include "base/share.h"
#include "policy/greylist.h"

#define MAIL_TEXT_BYTES_MAX 256 /* of each text; as much as the engine tells */
#define MAIL_FLOW_MAX       128 /* mails of one connection (RFC 5321 4.5.3.1.8: 100 recipients) */

/* An attempt with texts of its own. */
struct mail_attempt {
    struct greylist_attempt attempt;
    uint8_t texts[3][MAIL_TEXT_BYTES_MAX];
};

/* With texts cut at MAIL_TEXT_BYTES_MAX; *to stays where it is, for its spans lie in it. */
void mail_attempt_copy(struct mail_attempt *to, const struct greylist_attempt *attempt);

enum mail_state {
    MAIL_DEFERRED,
    MAIL_PASSED,
    MAIL_ADDRESSED, /* of ours, to somebody outside */
};

struct mail {
    uint32_t next; /* of the same connection */
    enum mail_state state;
    uint64_t about; /* the question's id; of ADDRESSED the lesson's `about` */
    uint32_t kinds; /* what its success teaches: bits 1u << enum greylist_kind */
    uint32_t size;  /* octets, as MAIL announced them; 0: it did not */
    /* Where a rule may refuse it for what it contains: as the question had it; else 0. */
    uint32_t transaction;
    struct mail_attempt what;
};

struct mail_flow {
    uint64_t id;
    uint32_t next;        /* in its bucket */
    struct list_link age; /* among those of its network */
    uint32_t mails;       /* the newest first */
    uint32_t mail_count;
    uint16_t network;
    uint32_t passed; /* the transaction of which a recipient last has, by merit; 0: none */
};

struct mails {
    struct pool flows;
    struct pool mails;
    uint32_t *buckets;
    uint32_t bucket_mask;
    struct share share; /* of connections, then of mails */
    void *counts;
    struct list *lists; /* by network */
    uint64_t forgotten; /* connections, and mails of a connection, that made room */
};

/* What one client network may have, and what makes one. */
struct mails_share {
    uint32_t percent;
    uint8_t prefix_v4, prefix_v6;
    uint64_t seed; /* a secret */
};

/* False where there is no memory. */
bool mails_init(struct mails *mails, uint32_t flows_max, uint32_t mails_max, struct mails_share share);
void mails_fini(struct mails *mails);

/* What is known of a connection; NULL where nothing is. */
struct mail_flow *mails_find(struct mails *mails, uint64_t flow_id);

/* The same, made where nothing is, if need be in place of another connection: never NULL. `client`: its address. */
struct mail_flow *mails_of(struct mails *mails, uint64_t flow_id, uint8_t ip_version, const uint8_t *client);

/* One more mail of the connection, all but `next` to be filled in; NULL where there is no other connection to make
   room. */
struct mail *mails_add(struct mails *mails, struct mail_flow *flow);

/* The first mail of a connection, the next one; NULL behind the last. */
struct mail *mails_first(struct mails *mails, const struct mail_flow *flow);
struct mail *mails_next(struct mails *mails, const struct mail *mail);

/* The mail that this question was about; NULL where it is unknown. */
struct mail *mails_about(struct mails *mails, const struct mail_flow *flow, uint64_t about);

/* Forget one mail of the connection; it is not to be used any more. */
void mails_remove(struct mails *mails, struct mail_flow *flow, const struct mail *mail);

/* Forget those of its mails up to this id that are in another state than `kept`. */
void mails_remove_up_to(struct mails *mails, struct mail_flow *flow, uint64_t about, enum mail_state kept);

/* Forget the connection and its mails. */
void mails_forget(struct mails *mails, struct mail_flow *flow);

#endif
