#include "sys/program.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

bool program_exists(const char *name)
{
    char path[4096];
    const char *folders = getenv("PATH");
    for (const char *at = folders ? folders : "/usr/sbin:/usr/bin:/sbin:/bin"; *at;) {
        size_t len = strcspn(at, ":");
        int wrote = snprintf(path, sizeof path, "%.*s/%s", (int)len, at, name);
        if (wrote > 0 && (size_t)wrote < sizeof path && access(path, X_OK) == 0)
            return true;
        at += len + (at[len] == ':');
    }
    return false;
}

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

static int run_with(const char *const *argv, int input, int output, int errors)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    char *const *words; /* what is run gets copies of them */
    memcpy(&words, &argv, sizeof words);
    int error = posix_spawnp(&child, words[0], &actions, NULL, words, environ);
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

char *program_run(const char *const *argv, const char *input, char *message, size_t message_size)
{
    int fds[3];
    char *printed = NULL;
    for (int i = 0; i < 3; i++)
        fds[i] = memfd_create("program", MFD_CLOEXEC);
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
