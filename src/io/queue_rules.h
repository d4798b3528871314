/*
 * io/queue_rules - whether rules of the kernel still send packets to our queues.
 *
 * Rules vanish without a word to who listens at a queue: at `nft -f` with flush ruleset, iptables-restore, a firewall
 * that loads anew. Here the kernel is asked for its rules: those of nftables, among them what iptables-nft makes, and
 * those of the older iptables. A queue counts where a rule names it that packets can come to from a hook.
 *
 * Owner:  the caller owns the handle.
 * Thread: the one that opened it.
 * Limits: RULES_MAX rules; beyond, nothing is told.
 * Errors: what cannot be asked is not told (`known`): without CAP_NET_ADMIN, and of the older iptables where its tables
 *         may not be listed, for asking for one that is not there would make it.
 */
#ifndef POSTERN_IO_QUEUE_RULES_H
#define POSTERN_IO_QUEUE_RULES_H

#include "io/queue_rules_part.h"

struct queue_rules;

struct queue_rules_state {
    bool known;
    bool there[QUEUE_RULES_FAMILIES]; /* each of the queues is named by a rule for packets of this family */
};

/* About queues `first` to `last`; before privileges are given up. NULL where there is no memory. */
struct queue_rules *queue_rules_new(uint16_t first, uint16_t last);
void queue_rules_free(struct queue_rules *rules); /* NULL is allowed */

/* What there is now. Costs one message where no rule of nftables has changed since the last time. */
struct queue_rules_state queue_rules_look(struct queue_rules *rules);

#endif
