/*
 * cmd/cmd - the subcommands, one a file.
 *
 * In:     arguments as main has them: the program's name, and what stands behind the subcommand's.
 * Out:    an exit code: 0 good, 1 the work failed, 2 usage.
 */
#ifndef POSTERN_CMD_CMD_H
#define POSTERN_CMD_CMD_H

#include "conf/conf.h"

enum cmd_exit {
    CMD_GOOD = 0,
    CMD_FAILED = 1,
    CMD_USAGE = 2,
};

enum { CMD_MESSAGE_BYTES = 1024 };

int cmd_run(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_setup(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_reopen(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_greylist(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_track(int argc, char **argv);
int cmd_report(int argc, char **argv);

/* "postern: " and the message on standard error, one line; returns `code`. */
int cmd_complain(enum cmd_exit code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How the command is called whose form begins with these words, as a complaint; returns CMD_USAGE. */
int cmd_usage(const char *words);

/* Memory for an engine, laid out; NULL where there is none. Unmap with cmd_engine_free. */
struct engine *cmd_engine_new(const struct engine_settings *settings, const struct policy *policy);
void cmd_engine_free(struct engine *engine, const struct engine_settings *settings);

#endif
