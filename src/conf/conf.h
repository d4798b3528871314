/*
 * conf/conf - the rule file: settings and what to do. Read with libConfuse.
 *
 * In:     text files of the form of rules/default.conf.
 * Out:    the engine's settings and a policy.
 * Errors: one line that names file, line, what is wrong, and the nearest key where one is misspelled.
 */
#ifndef POSTERN_CONF_CONF_H
#define POSTERN_CONF_CONF_H

#include "engine/engine.h"
#include "policy/policy.h"

struct conf {
    struct engine_settings engine;
    struct policy policy;
};

/* What holds where no file says otherwise. */
void conf_init(struct conf *conf);

/* Read a file over what *conf holds. False, with a message of at most `size` octets, where anything in it is wrong. */
bool conf_read(struct conf *conf, const char *path, char *message, size_t size);

#endif
