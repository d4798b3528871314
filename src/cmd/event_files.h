/*
 * cmd/event_files - the event files that a command looks into: those that are named, or the filter's own with what was
 * moved away of it, compressed or not, the oldest first.
 */
#ifndef POSTERN_CMD_EVENT_FILES_H
#define POSTERN_CMD_EVENT_FILES_H

#include "report/history.h"

#define EVENT_FILES_DEFAULT "/var/log/postern/events.jsonl"

/*
 * Read them. `count` of `paths` are named; 0: EVENT_FILES_DEFAULT and what begins with it. Files that were written last
 * before reader->since_us are left out. Returns an exit code, having said which file cannot be read.
 */
int event_files_read(char **paths, int count, const struct history_reader *reader);

/* `--since 1h`: a duration before now, into *since_us; CMD_USAGE, having said what to write. */
int event_files_since(const char *text, int64_t *since_us);

#endif
