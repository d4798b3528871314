/*
 * sys/nft - a table of our own among the rules of nftables, through the program nft.
 *
 * What is to hold is told as text for `nft -f` that has one table of the family inet. What holds is read from what
 * `nft list` prints. The two are compared in nft's own words: what is to hold is put for a moment into a table of
 * another name and without hooks, which sees no packets, and is read back.
 *
 * Errors: a message of one line with what the program said first.
 */
#ifndef POSTERN_SYS_NFT_H
#define POSTERN_SYS_NFT_H

#include <stdbool.h>
#include <stddef.h>

#define NFT_TABLE "postern"

/* Have these commands carried out, all or none; only have them checked where `test`. */
bool nft_load(const char *commands, bool test, char *message, size_t message_size);

/* What there is of our table, from malloc, empty where it is not there; NULL where that cannot be told. */
char *nft_list(char *message, size_t message_size);

/* What is to hold, a line for each rule and each property of a set or a chain; from malloc, NULL with a message. */
char *nft_wanted(const char *rules, char *message, size_t message_size);

/*
 * What of those lines is otherwise in what was listed, as lines for people: missing, none of ours, in the wrong order.
 * Empty where nothing is; from malloc, NULL for no memory.
 */
char *nft_complaints(const char *listed, const char *wanted);

#endif
