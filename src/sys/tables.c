#include "sys/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- running a program ---- */

static char *read_all(int fd)
{
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = len >= 0 ? malloc((size_t)len + 1) : NULL;
    if (!text || pread(fd, text, (size_t)len, 0) != len) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

static int run_with(char *const *argv, int input, int output, int errors)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    int error = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        errno = error;
        return -1;
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The first line that a program said on standard error, warnings left out. */
static void first_complaint(const char *program, int errors, char *message, size_t message_size)
{
    char *text = read_all(errors);
    const char *line = text ? text : "";
    while (*line == '#' || *line == '\n')
        line += strcspn(line, "\n") + (line[strcspn(line, "\n")] != '\0');
    snprintf(message, message_size, "%s: %.*s", program, (int)strcspn(line, "\n"), *line ? line : "failed");
    free(text);
}

/* Run it with `input` and return what it printed, from malloc; NULL with a message where it did not succeed. */
static char *run(char *const *argv, const char *input, char *message, size_t message_size)
{
    int fds[3];
    char *printed = NULL;
    for (int i = 0; i < 3; i++)
        fds[i] = memfd_create("tables", MFD_CLOEXEC);
    size_t len = strlen(input);
    if (fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 && write(fds[0], input, len) == (ssize_t)len &&
        lseek(fds[0], 0, SEEK_SET) == 0) {
        int code = run_with(argv, fds[0], fds[1], fds[2]);
        if (code == 0)
            printed = read_all(fds[1]);
        else if (code < 0)
            snprintf(message, message_size, "%s: %m", argv[0]);
        else
            first_complaint(argv[0], fds[2], message, message_size);
    } else {
        snprintf(message, message_size, "%s: %m", argv[0]);
    }
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return printed;
}

char *tables_save(const char *save, char *message, size_t message_size)
{
    char table[] = "-t", mangle[] = "mangle";
    char *program = strdup(save);
    char *argv[] = {program, table, mangle, NULL};
    char *saved = program ? run(argv, "", message, message_size) : NULL;
    free(program);
    return saved;
}

bool tables_restore(const char *restore, const char *change, bool test, char *message, size_t message_size)
{
    char noflush[] = "--noflush", wait[] = "--wait=10", dry[] = "--test";
    char *program = strdup(restore);
    char *argv[] = {program, noflush, wait, test ? dry : NULL, NULL};
    char *printed = program ? run(argv, change, message, message_size) : NULL;
    free(program);
    free(printed);
    return printed != NULL;
}

/* ---- lines ---- */

struct line {
    const char *at;
    size_t len;
};

static bool next_line(const char **text, struct line *line)
{
    if (!**text)
        return false;
    line->at = *text;
    line->len = strcspn(*text, "\n");
    *text += line->len + ((*text)[line->len] == '\n');
    return true;
}

static bool begins(struct line line, const char *with)
{
    return line.len >= strlen(with) && memcmp(line.at, with, strlen(with)) == 0;
}

/* ":POSTERN..." or "-A POSTERN...". */
static bool is_chain(struct line line)
{
    return begins(line, ":" TABLES_CHAIN " ") || begins(line, ":" TABLES_CHAIN "-");
}

static bool is_rule(struct line line)
{
    return begins(line, "-A " TABLES_CHAIN " ") || begins(line, "-A " TABLES_CHAIN "-");
}

/* A rule of another chain whose last words jump to one of ours. */
static bool is_jump(struct line line)
{
    static const char jump[] = " -j " TABLES_CHAIN;
    if (!begins(line, "-A ") || is_rule(line))
        return false;
    const char *at = memmem(line.at, line.len, jump, sizeof jump - 1);
    if (!at)
        return false;
    const char *behind = at + sizeof jump - 1;
    return behind == line.at + line.len || *behind == '-' || *behind == ' ';
}

bool tables_has_ours(const char *saved)
{
    for (struct line line; next_line(&saved, &line);)
        if (is_chain(line) || is_jump(line))
            return true;
    return false;
}

char *tables_ours(const char *saved)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    for (struct line line; next_line(&saved, &line);) {
        if (is_chain(line) || is_rule(line))
            fprintf(out, "%.*s\n", (int)line.len, line.at);
        else if (is_jump(line))
            fprintf(out, "-I%.*s\n", (int)line.len - 2, line.at + 2);
    }
    fclose(out);
    return text;
}

/* Whether a chain line's chain is among the chains of `ours`. */
static bool stays(struct line chain, const char *ours)
{
    size_t name_len = strcspn(chain.at, " ");
    for (struct line line; next_line(&ours, &line);)
        if (is_chain(line) && strcspn(line.at, " ") == name_len && memcmp(line.at, chain.at, name_len) == 0)
            return true;
    return false;
}

char *tables_change(const char *saved, const char *ours)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    fputs("*mangle\n", out);
    const char *at = saved;
    for (struct line line; next_line(&at, &line);)
        if (is_jump(line))
            fprintf(out, "-D%.*s\n", (int)line.len - 2, line.at + 2);
    /* All are emptied before one is removed, for they jump to each other. */
    at = saved;
    for (struct line line; next_line(&at, &line);)
        if (is_chain(line))
            fprintf(out, "-F %.*s\n", (int)strcspn(line.at, " ") - 1, line.at + 1);
    at = saved;
    for (struct line line; next_line(&at, &line);)
        if (is_chain(line) && !stays(line, ours))
            fprintf(out, "-X %.*s\n", (int)strcspn(line.at, " ") - 1, line.at + 1);
    fputs(ours, out);
    fputs("COMMIT\n", out);
    fclose(out);
    return text;
}
