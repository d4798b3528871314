#include "cmd/event_files.h"

#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/clock.h"
#include "cmd/cmd.h"
#include "conf/units.h"
#include "report/lines.h"

int event_files_since(const char *text, int64_t *since_us)
{
    const char *wrong;
    uint64_t before_ms;
    if (!units_duration(text, &before_ms, &wrong) || before_ms > (UINT64_C(1) << 45))
        return cmd_complain(CMD_USAGE, "--since %s: write a duration like 1h or 7d", text);
    clock_begin();
    *since_us = clock_now_us() - (int64_t)before_ms * 1000;
    return CMD_GOOD;
}

static int64_t written_us(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return INT64_MAX; /* that it cannot be read is said when it is */
    return (int64_t)about.st_mtim.tv_sec * 1000000 + about.st_mtim.tv_nsec / 1000;
}

static int older_first(const void *one, const void *other)
{
    int64_t a = written_us(*(char *const *)one), b = written_us(*(char *const *)other);
    return (a > b) - (a < b);
}

static int read_file(struct history *history, const char *path)
{
    char why[160];
    size_t len;
    uint64_t foreign = 0;
    struct lines *lines = lines_open(path, why, sizeof why);
    if (!lines)
        return cmd_complain(CMD_FAILED, "%s: cannot be read: %s", path, why);
    for (const char *line; (line = lines_next(lines, &len, why, sizeof why)) != NULL;)
        foreign += len > 0 && !history_take(history, line, len);
    foreign += lines_left_out(lines);
    lines_close(lines);
    if (foreign)
        cmd_complain(CMD_GOOD, "%s: %" PRIu64 " lines are no events, and are left out", path, foreign);
    return why[0] ? cmd_complain(CMD_FAILED, "%s: cannot be read to its end: %s", path, why) : CMD_GOOD;
}

static int read_all(char **paths, size_t count, const struct history_reader *reader)
{
    int code = CMD_GOOD;
    struct history *history = history_new(reader);
    if (!history)
        return cmd_complain(CMD_FAILED, "no memory");
    for (size_t i = 0; i < count; i++)
        if (written_us(paths[i]) >= reader->since_us && read_file(history, paths[i]) != CMD_GOOD)
            code = CMD_FAILED;
    history_free(history);
    return code;
}

int event_files_read(char **paths, int count, const struct history_reader *reader)
{
    glob_t found = {0};
    if (count > 0)
        return read_all(paths, (size_t)count, reader);
    if (glob(EVENT_FILES_DEFAULT "*", GLOB_NOSORT, NULL, &found) != 0)
        return cmd_complain(CMD_FAILED, EVENT_FILES_DEFAULT ": there are no event files; name those that -e writes");
    qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, older_first);
    int code = read_all(found.gl_pathv, found.gl_pathc, reader);
    globfree(&found);
    return code;
}
