/*
 * cmd/setup - the rules that send SMTP to the queues: of either variant of iptables, or of nftables.
 *
 * setup.c has the options; setup_rules.c makes rules for iptables, setup_nftables.c for nft; setup_apply.c carries them
 * out, setup_check.c looks whether they are there.
 */
#ifndef POSTERN_CMD_SETUP_H
#define POSTERN_CMD_SETUP_H

#include <stddef.h>

#include "cmd/mark.h"
#include "cmd/queues.h"

enum { SETUP_LIST_MAX = 32, SETUP_PORTS_MAX = 15 /* of one multiport match */, SETUP_ADDRESS_BYTES = 64 };

enum setup_family { SETUP_IPV4, SETUP_IPV6, SETUP_FAMILIES };

struct setup {
    enum { SETUP_PRINT, SETUP_APPLY, SETUP_REMOVE, SETUP_CHECK, SETUP_WATCH } work;
    bool nftables;          /* a table of nftables' own; else iptables: */
    const char *variant;    /* "", "-legacy" or "-nft" */
    bool variant_named;     /* else nftables where there is no iptables */
    const char *rules_path; /* NULL: none */
    const char *ports;      /* as iptables takes them */
    struct queues queues;
    struct mark mark;
    const char *interfaces[SETUP_LIST_MAX];
    unsigned interface_count;
    char protect[SETUP_FAMILIES][SETUP_LIST_MAX][SETUP_ADDRESS_BYTES]; /* networks as iptables-save prints them */
    unsigned protect_count[SETUP_FAMILIES];
};

/* What iptables is called for each family. */
extern const char *const setup_programs[SETUP_FAMILIES];

/* All rules of a family, in the form of sys/tables, as iptables-save prints them; from malloc, NULL for no memory. */
char *setup_rules(const struct setup *setup, enum setup_family family);

/* The table of nftables for both families, as input for `nft -f`; from malloc, NULL for no memory. */
char *setup_nftables(const struct setup *setup);

/* Whether a network as in `protect` has all addresses of another one of its family. */
bool setup_is_within(const char *network, const char *other);

/* Whether rules of this family can be wanted here. */
bool setup_has_family(enum setup_family family);

/* What iptables-save of a family and variant prints; from malloc, NULL with a message. */
char *setup_saved(enum setup_family family, const char *variant, char *message, size_t message_size);

/* Where rules of ours can be. */
struct setup_place {
    bool nftables; /* else: */
    enum setup_family family;
    const char *variant;
    char *saved; /* what there is: what iptables-save prints, or nft lists */
};

struct setup_places {
    struct setup_place at[5]; /* two families of two variants, and nftables */
    unsigned count;
    bool readable; /* something could be looked at */
};

/* Where there are rules of ours now; but for those of the variant of `except`, where it is not NULL. */
struct setup_places setup_find(const struct setup *except, char *message, size_t message_size);
void setup_forget(struct setup_places *places);

/* As "ip6tables-nft" or "nftables". */
void setup_place_name(const struct setup_place *place, char *name, size_t size);

/* What to do about a failure, where that is known; else empty. */
const char *setup_advice(const struct setup *setup, const char *message);

/* Put the rules of all families in force in place of those of any variant, or change nothing. Returns an exit code;
   says what it did, or what is wrong. */
int setup_apply(const struct setup *setup);

/* Take away what there is of ours, of all variants. */
int setup_remove(void);

/* Say what of the rules is not as it should be, a line each; CMD_GOOD where all of them are in force. */
int setup_check(const struct setup *setup);

/* Check again and again, and put the rules back where they are not in force. Returns at SIGTERM or SIGINT. */
int setup_watch(const struct setup *setup);

#endif
