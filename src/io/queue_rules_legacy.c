#include "io/queue_rules_legacy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* They want those before them. */
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

enum { TABLE_BYTES_MAX = 1 << 28 };

/* Where things are in an entry, which differs with the family; the rest is the same for both. */
struct layout {
    int family, level, get_info, get_entries;
    const char *names, *module; /* the list of tables, and what modules that bring one are called */
    size_t entry_bytes, target_at, next_at;
};

static const struct layout layouts[QUEUE_RULES_FAMILIES] = {
    {AF_INET, SOL_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES, "/proc/net/ip_tables_names", "iptable_",
     sizeof(struct ipt_entry), offsetof(struct ipt_entry, target_offset), offsetof(struct ipt_entry, next_offset)},
    {AF_INET6, SOL_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES, "/proc/net/ip6_tables_names", "ip6table_",
     sizeof(struct ip6t_entry), offsetof(struct ip6t_entry, target_offset), offsetof(struct ip6t_entry, next_offset)},
};

static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "one structure serves both");
static_assert(offsetof(struct ipt_get_entries, entrytable) == offsetof(struct ip6t_get_entries, entrytable),
              "and here");

int queue_rules_open_names(enum queue_rules_family family)
{
    return open(layouts[family].names, O_RDONLY | O_CLOEXEC);
}

/* ---- one table ---- */

struct walk {
    const struct layout *layout;
    const uint8_t *entries;
    size_t size;
    uint32_t *chains; /* where those begin that are reached, each once */
    size_t chain_count, chains_max;
    enum queue_rules_family family;
    struct queue_rules_found *found;
};

static uint16_t number_at(const struct walk *walk, size_t at)
{
    uint16_t number;
    memcpy(&number, walk->entries + at, sizeof number);
    return number;
}

static void reach(struct walk *walk, size_t at)
{
    for (size_t i = 0; i < walk->chain_count; i++)
        if (walk->chains[i] == at)
            return;
    if (at < walk->size && walk->chain_count < walk->chains_max)
        walk->chains[walk->chain_count++] = (uint32_t)at;
}

/* A rule. Where the next one of its chain is; 0 where there is none. */
static size_t take_rule(struct walk *walk, size_t at)
{
    struct xt_entry_target target;
    if (walk->size - at < walk->layout->entry_bytes)
        return 0;
    size_t target_at = at + number_at(walk, at + walk->layout->target_at);
    size_t next = at + number_at(walk, at + walk->layout->next_at);
    if (next <= at || next > walk->size || target_at > next || next - target_at < sizeof target)
        return 0;
    memcpy(&target, walk->entries + target_at, sizeof target);
    const uint8_t *data = walk->entries + target_at + sizeof target;
    size_t len = next - target_at - sizeof target;
    int32_t verdict;
    if (strncmp(target.u.user.name, XT_ERROR_TARGET, sizeof target.u.user.name) == 0)
        return 0; /* the head of the next chain */
    if (target.u.user.name[0] == '\0' && len >= sizeof verdict) {
        memcpy(&verdict, data, sizeof verdict);
        if (verdict >= 0)
            reach(walk, (size_t)verdict);
    } else if (strncmp(target.u.user.name, "NFQUEUE", sizeof target.u.user.name) == 0) {
        struct queue_rules_range range = queue_rules_range_of(target.u.user.revision, data, len);
        queue_rules_note(walk->found, walk->family, range);
    }
    return next < walk->size ? next : 0;
}

static void walk_chains(struct walk *walk, const struct ipt_getinfo *info)
{
    for (int hook = 0; hook < NF_INET_NUMHOOKS; hook++)
        if (info->valid_hooks >> hook & 1)
            reach(walk, info->hook_entry[hook]);
    for (size_t i = 0; i < walk->chain_count; i++)
        for (size_t at = walk->chains[i]; (at = take_rule(walk, at)) != 0;)
            ;
}

/* False where the kernel does not say. */
static bool look_at_table(int fd, enum queue_rules_family family, const char *name, struct queue_rules_found *found)
{
    const struct layout *layout = &layouts[family];
    struct ipt_getinfo info = {.name = ""};
    socklen_t len = sizeof info;
    snprintf(info.name, sizeof info.name, "%s", name);
    if (getsockopt(fd, layout->level, layout->get_info, &info, &len) != 0 || info.size > TABLE_BYTES_MAX)
        return false;
    struct ipt_get_entries *entries = calloc(1, sizeof *entries + info.size);
    uint32_t *chains = calloc(info.num_entries + NF_INET_NUMHOOKS, sizeof *chains);
    bool good = entries && chains;
    if (good) {
        snprintf(entries->name, sizeof entries->name, "%s", name);
        entries->size = info.size;
        len = (socklen_t)(sizeof *entries + info.size);
        good = getsockopt(fd, layout->level, layout->get_entries, entries, &len) == 0;
    }
    if (good)
        walk_chains(&(struct walk){layout, (const uint8_t *)entries->entrytable, info.size, chains, 0,
                                   info.num_entries + NF_INET_NUMHOOKS, family, found},
                    &info);
    free(chains);
    free(entries);
    return good;
}

/* ---- which tables there are ---- */

static char *read_file(int fd)
{
    enum { ROOM = 1 << 16 };
    char *text = fd >= 0 ? calloc(1, ROOM) : NULL;
    size_t len = 0;
    for (ssize_t got; text && len < ROOM - 1 && (got = pread(fd, text + len, ROOM - 1 - len, (off_t)len)) > 0;)
        len += (size_t)got;
    return text;
}

/* The list of tables itself; NULL where it cannot be read. */
static char *listed_tables(const struct layout *layout, int names)
{
    int fd = open(layout->names, O_RDONLY | O_CLOEXEC);
    char *text = fd < 0 && errno == ENOENT ? strdup("") : read_file(fd >= 0 ? fd : names);
    if (fd >= 0)
        close(fd);
    return text;
}

/* What modules say of it; NULL where they say nothing, for the queue is not one either. */
static char *loaded_tables(const struct layout *layout)
{
    int fd = open("/proc/modules", O_RDONLY | O_CLOEXEC);
    char *text = read_file(fd), *tables = NULL;
    size_t len = 0, prefix = strlen(layout->module);
    if (fd >= 0)
        close(fd);
    FILE *out = text && strstr(text, "nfnetlink_queue ") ? open_memstream(&tables, &len) : NULL;
    for (char *line = text; out && line && *line; line += strcspn(line, "\n") + 1)
        if (strncmp(line, layout->module, prefix) == 0)
            fprintf(out, "%.*s\n", (int)strcspn(line + prefix, " "), line + prefix);
    if (out)
        fclose(out);
    free(text);
    return tables;
}

bool queue_rules_look_legacy(enum queue_rules_family family, int names, struct queue_rules_found *found)
{
    const struct layout *layout = &layouts[family];
    char *tables = listed_tables(layout, names);
    if (!tables)
        tables = loaded_tables(layout);
    int fd = tables && *tables ? socket(layout->family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    bool good = tables && (!*tables || fd >= 0);
    for (char *rest = tables, *name; good && rest && (name = strtok_r(rest, "\n", &rest));)
        good = look_at_table(fd, family, name, found);
    if (fd >= 0)
        close(fd);
    free(tables);
    return good;
}
