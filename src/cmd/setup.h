/*
 * cmd/setup - the iptables rules that send SMTP to the queues.
 *
 * setup.c has the options and carries rules out, setup_rules.c makes them, setup_check.c looks whether they are there.
 */
#ifndef POSTERN_CMD_SETUP_H
#define POSTERN_CMD_SETUP_H

#include "cmd/mark.h"
#include "cmd/queues.h"

enum { SETUP_LIST_MAX = 32, SETUP_PORTS_MAX = 15 /* of one multiport match */, SETUP_ADDRESS_BYTES = 64 };

enum setup_family { SETUP_IPV4, SETUP_IPV6, SETUP_FAMILIES };

struct setup {
    enum { SETUP_PRINT, SETUP_APPLY, SETUP_REMOVE, SETUP_CHECK, SETUP_WATCH } work;
    const char *variant; /* "", "-legacy" or "-nft" */
    const char *ports;   /* as iptables takes them */
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

/* Whether rules of this family can be wanted here. */
bool setup_has_family(enum setup_family family);

/* Put the rules of all families in force, or change nothing. Returns an exit code; says what it did, or what is
   wrong. */
int setup_apply(const struct setup *setup);

/* Say what of the rules is not as it should be, a line each; CMD_GOOD where all of them are in force. */
int setup_check(const struct setup *setup);

/* Check again and again, and put the rules back where they are not in force. Returns at SIGTERM or SIGINT. */
int setup_watch(const struct setup *setup);

#endif
