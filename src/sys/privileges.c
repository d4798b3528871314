#include "sys/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool drop_root(const char *user, char *message, size_t message_size)
{
    const struct passwd *entry = getpwnam(user);
    if (!entry) {
        snprintf(message, message_size,
                 "there is no user '%s' to run as: make it (`systemd-sysusers`, or `useradd -r -s /usr/sbin/nologin "
                 "%s`), choose another with --user, or say --stay-root",
                 user, user);
        return false;
    }
    capng_clear(CAPNG_SELECT_BOTH);
    int code = capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN);
    if (code == 0)
        code = capng_change_id((int)entry->pw_uid, (int)entry->pw_gid, CAPNG_INIT_SUPP_GRP | CAPNG_CLEAR_BOUNDING);
    if (code != 0)
        snprintf(message, message_size, "cannot become user '%s' (step %d of libcap-ng); --stay-root does without",
                 user, -code);
    return code == 0;
}

bool privileges_drop(const char *user, char *message, size_t message_size)
{
    if (geteuid() == 0 && !drop_root(user, message, message_size))
        return false;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        return true;
    snprintf(message, message_size, "cannot give up new privileges: %m");
    return false;
}

/* /dev/null, or the terminal, is everybody's. */
static bool is_own_file(int fd)
{
    struct stat about;
    return fstat(fd, &about) == 0 && (S_ISREG(about.st_mode) || S_ISFIFO(about.st_mode));
}

void privileges_give(const char *path, const char *user)
{
    const struct passwd *entry = getpwnam(user);
    int fd = geteuid() == 0 && entry ? open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd >= 0 && is_own_file(fd) && fchownat(fd, "", entry->pw_uid, entry->pw_gid, AT_EMPTY_PATH) != 0)
        fprintf(stderr, "postern: %s: cannot be given to user '%s': %s\n", path, user, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* Packets and verdicts; the clock and other threads; memory; a line of complaint; an end. */
static const int worker_calls[] = {
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(getsockopt),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_gettime64),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(futex),
    SCMP_SYS(futex_time64),
    SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
};

/* Memory yes, but none that can be run. */
static int allow_memory(scmp_filter_ctx filter)
{
    int code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (code == 0)
        code =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return code;
}

#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

bool privileges_confine_worker(void)
{
    if (SANITIZED) /* sanitizers call what they like */
        return true;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter) {
        errno = ENOSYS;
        return false;
    }
    int code = allow_memory(filter);
    for (size_t i = 0; i < sizeof worker_calls / sizeof worker_calls[0] && code == 0; i++)
        code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, worker_calls[i], 0);
    if (code == 0)
        code = seccomp_load(filter);
    seccomp_release(filter);
    errno = -code;
    return code == 0;
}
