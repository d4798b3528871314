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

/* Put; drop where `record` is NULL. */
void put_now(struct store_client *client, const struct store_key *key, const struct store_record *record);

/* Ask, and wait for the answer where it comes later, for up to 5 s. */
enum store_status look_up(struct store_client *client, const struct store_key *key, struct store_record *record);

/* Ask until the answer is this one, for up to `wait_ms`. */
bool look_up_until(struct store_client *client, const struct store_key *key, enum store_status wanted, int wait_ms);

/* A folder that is removed, with what is in it, when the program ends. */
const char *temporary_folder(void);

/* Open, or end the test with the message. */
struct store *open_or_fail(const char *uri, const struct store_settings *settings);

/* ---- a redis server of one's own ---- */

struct redis_server {
    int port;
    pid_t process;
    char password[32]; /* empty for none */
    char socket[128];  /* a UNIX socket besides; empty for none */
    int sentinel_of;   /* port of the server that it watches as "gate"; 0: it is no Sentinel */
};

/* Start it on server->port, a free one where that is 0, with nothing in it; wait until it answers. */
void redis_server_start(struct redis_server *server);

/* With this signal, SIGKILL or SIGTERM. */
void redis_server_stop(struct redis_server *server, int signal_number);

/* A command without blanks in its words; the answer's text or number is put into `answer`. */
void redis_server_command(const struct redis_server *server, const char *command, char *answer, size_t size);

#endif
