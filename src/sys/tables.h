/*
 * sys/tables - our chains among the iptables rules of this machine.
 *
 * All of ours is in chains of the mangle table whose names begin with TABLES_CHAIN, and in rules of other chains that
 * jump there. What is to hold is told as lines in the form of iptables-save: ":POSTERN - [0:0]", "-A POSTERN ...", and
 * jumps, "-I FORWARD ... -j POSTERN". One transaction of iptables-restore replaces what is there of ours by that, and
 * leaves everything else alone.
 *
 * Errors: a message of one line with what the program said first.
 */
#ifndef POSTERN_SYS_TABLES_H
#define POSTERN_SYS_TABLES_H

#include <stdbool.h>
#include <stddef.h>

#define TABLES_CHAIN "POSTERN"

/* What `save` (as "iptables-save") prints of the mangle table, from malloc; NULL where it cannot be run, or fails. */
char *tables_save(const char *save, char *message, size_t message_size);

/* Whether that has anything of ours. */
bool tables_has_ours(const char *saved);

/* Only what is ours of it, as lines that may be told to hold; from malloc. */
char *tables_ours(const char *saved);

/*
 * What of the rules that shall hold (`ours`) is otherwise in what was `saved`, as lines for people: a chain or a rule
 * that is missing, a rule of our chains that is none of ours, rules in the wrong order, a rule before a jump of ours
 * that may take its packets. Empty where nothing is; from malloc.
 */
char *tables_complaints(const char *saved, const char *ours);

/* Whether the file /proc/net/ip_tables_names, or ip6_, lists this table of the older variant. */
bool tables_legacy_has(const char *names, const char *table);

/* Input for iptables-restore --noflush that turns what was `saved` into what shall hold (`ours`, maybe empty). */
char *tables_change(const char *saved, const char *ours);

/* Give `change` to `restore` (as "iptables-restore"); only have it checked where `test`. */
bool tables_restore(const char *restore, const char *change, bool test, char *message, size_t message_size);

#endif
