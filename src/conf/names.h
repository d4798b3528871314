/*
 * conf/names - names of rules, kept for as long as the program runs.
 *
 * Reports point to the name of the rule behind a change, and may be written when the rules have long been replaced. The
 * names that a gateway's rules ever have are few, so they are kept once each and never given back.
 *
 * Thread: any.
 */
#ifndef POSTERN_CONF_NAMES_H
#define POSTERN_CONF_NAMES_H

/* The one copy of this name; NULL where there is no memory. */
const char *names_keep(const char *name);

#endif
