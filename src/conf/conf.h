/*
 * conf/conf - the rule file: settings and what to do. Read with libConfuse.
 *
 * In:     text files of the form of rules/default.conf, with what they include.
 * Out:    the engine's settings and a policy.
 * Owner:  conf_free gives everything back; reports point into the policy's texts.
 * Errors: remarks: for each a line that names file, line, what is wrong, what to write instead, and the nearest key
 *         where one is misspelled.
 */
#ifndef POSTERN_CONF_CONF_H
#define POSTERN_CONF_CONF_H

#include "conf/remarks.h"
#include "engine/engine.h"
#include "policy/greylist.h"
#include "policy/guard.h"
#include "policy/policy.h"

#define CONF_STORE_BYTES   1024
#define CONF_HASH_BYTES    17
#define CONF_STORE_DEFAULT "sqlite:/var/lib/postern"
#define CONF_STORE_ADVICE  "no store is named so; write sqlite:FOLDER, redis://HOST or memory:"

struct regex;

struct conf {
    struct engine_settings engine;
    struct policy policy;
    void *memory;          /* of the policy's texts and tables; NULL: its own */
    struct regex *regexes; /* that its rules use */
    struct greylist_settings greylist;
    struct greylist_exempt exempt;                           /* in the policy's memory */
    struct greylist_variant variants[GREYLIST_VARIANTS_MAX]; /* of the sections that have a name; likewise */
    struct conf_variant {
        const char *name; /* in the policy's memory */
        const char *line; /* likewise: how it puts a recipient off; NULL: as the rule says */
        uint32_t stutter_ms;
    } variants_say[GREYLIST_VARIANTS_MAX];
    uint32_t variant_count;
    struct guard_settings guard;
    bool keep_addresses;           /* the greylist keeps addresses in clear beside their hashes */
    uint32_t queue_length;         /* packets that the kernel keeps without a verdict, of each queue */
    uint32_t queue_buffer;         /* octets of packets on their way to a worker */
    char store[CONF_STORE_BYTES];  /* the URI of what is remembered */
    char events[CONF_STORE_BYTES]; /* where events are written; empty: nowhere */
    uint32_t event_types;          /* of these lines (report/types) */
    unsigned warnings;             /* that `postern check` has about the file */
    char hash[CONF_HASH_BYTES];    /* of the file, what it includes and its lists, in digits; empty without a file */
};

/* What holds where no file says otherwise. On zeroed memory. */
void conf_init(struct conf *conf);

/*
 * Read a file over what *conf holds. False, with a message of at most `size` octets about the first mistake and how
 * many more there are, where anything in it is wrong.
 */
bool conf_read(struct conf *conf, const char *path, char *message, size_t size);

/*
 * The same, with everything that is found in the file: its mistakes, with which it is not read, and its warnings.
 * `root`: the folder below which absolute paths in it are to be found; NULL: /.
 */
bool conf_check(struct conf *conf, const char *path, const char *root, struct remarks *remarks);

/* Whether a URI may name a store, as far as can be told without opening it; else CONF_STORE_ADVICE. */
bool conf_is_store(const char *uri);

/* Give back what it holds. */
void conf_free(struct conf *conf);

#endif
