/*
 * tests/lib/stores - what tests of the stores share: keys and records from numbers, questions that wait for their
 * answer, places for files, and a redis server of one's own.
 */
#ifndef POSTERN_TESTS_STORES_H
#define POSTERN_TESTS_STORES_H

#include <sys/types.h>

#include "store/store.h"

/* Keys look like the keyed hashes they stand for. */
struct store_key key_of(uint64_t number);

/* A record of `len` octets that are made from the number and the version; it expires in an hour. */
struct store_record record_of(uint64_t number, uint32_t version, uint8_t len);

bool records_equal(const struct store_record *a, const struct store_record *b);

int64_t wall_us(void);

/* Ask, and wait for the answer where it comes later, for up to 5 s. */
enum store_status look_up(struct store_client *client, const struct store_key *key, struct store_record *record);

/* Ask until the answer is this one, for up to `wait_ms`. */
bool look_up_until(struct store_client *client, const struct store_key *key, enum store_status wanted, int wait_ms);

/* A folder that is removed, with what is in it, when the program ends. */
const char *temporary_folder(void);

/* Open, or end the test with the message. */
struct store *open_or_fail(const char *uri, const struct store_settings *settings);

#endif
