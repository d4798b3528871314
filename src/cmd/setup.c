#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/mark.h"
#include "cmd/queues.h"
#include "sys/tables.h"

enum { LIST_MAX = 32, PORTS_MAX = 15 /* of one multiport match */ };

enum family { IPV4, IPV6, FAMILIES };

struct setup {
    enum { SETUP_PRINT, SETUP_APPLY, SETUP_REMOVE } work;
    const char *variant; /* "", "-legacy" or "-nft" */
    const char *ports;   /* as iptables takes them */
    struct queues queues;
    struct mark mark;
    const char *interfaces[LIST_MAX];
    unsigned interface_count;
    const char *protect[FAMILIES][LIST_MAX]; /* addresses, or networks */
    unsigned protect_count[FAMILIES];
};

/* What iptables is called for each family. */
static const char *const programs[FAMILIES] = {"iptables", "ip6tables"};

/* ---- the rules ---- */

static void print_queue(FILE *out, const struct setup *setup, bool to_servers)
{
    unsigned first = setup->queues.first + (to_servers ? 0 : setup->queues.workers);
    if (setup->queues.workers == 1)
        fprintf(out, " -j NFQUEUE --queue-num %u", first);
    else
        fprintf(out, " -j NFQUEUE --queue-balance %u:%u", first, first + setup->queues.workers - 1);
}

/* One rule for each way. `mark` is what a connection must have; the others may pass while nobody listens. */
static void print_ways(FILE *out, const struct setup *setup, uint32_t mark)
{
    for (int way = 0; way < 2; way++) {
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -p tcp -m multiport --%cports %s", way == 0 ? 'd' : 's', setup->ports);
        if (mark)
            fprintf(out, " -m connmark --mark 0x%x/0x%x", mark, setup->mark.mask);
        print_queue(out, setup, way == 0);
        fputs(mark ? "\n" : " --queue-bypass\n", out);
    }
}

/*
 * A connection that begins has no mark yet, whatever one of the same addresses had. What was released passes. What has
 * an offset never passes by the filter: nobody would translate it. Its packets say so, for the case that the filter
 * does not know of it any more.
 */
static void print_queue_chain(FILE *out, const struct setup *setup)
{
    if (setup->mark.mask) {
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -p tcp -m tcp --tcp-flags SYN SYN -j CONNMARK --set-xmark 0x0/0x%x\n",
                setup->mark.mask);
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -m connmark --mark 0x%x/0x%x -j RETURN\n", setup->mark.released,
                setup->mark.mask);
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -m connmark --mark 0x%x/0x%x -j MARK --set-xmark 0x%x/0x%x\n",
                setup->mark.offset, setup->mark.mask, setup->mark.offset, setup->mark.mask);
        print_ways(out, setup, setup->mark.offset);
    }
    print_ways(out, setup, 0);
}

/* The mark that a verdict gave a packet becomes its connection's, and the packet loses it. */
static void print_mark_chain(FILE *out, const struct setup *setup)
{
    unsigned mask = setup->mark.mask;
    fprintf(out,
            "-A " TABLES_CHAIN "-MARK -m mark ! --mark 0x0/0x%x -j CONNMARK --save-mark --nfmask 0x%x --ctmask 0x%x\n",
            mask, mask, mask);
    fprintf(out, "-A " TABLES_CHAIN "-MARK -j MARK --set-xmark 0x0/0x%x\n", mask);
}

/* A place on the way to the queue: one interface, one address, either way; "" for all. */
static void print_selected(FILE *out, const char *interface_match, const char *address_match)
{
    fprintf(out, "-A " TABLES_CHAIN "%s%s -j " TABLES_CHAIN "-QUEUE\n", interface_match, address_match);
}

static void print_addresses(FILE *out, const struct setup *setup, enum family family, const char *interface_match)
{
    char match[64];
    for (unsigned i = 0; i < setup->protect_count[family]; i++)
        for (int way = 0; way < 2; way++) {
            snprintf(match, sizeof match, " -%c %s", way == 0 ? 'd' : 's', setup->protect[family][i]);
            print_selected(out, interface_match, match);
        }
    if (setup->protect_count[IPV4] + setup->protect_count[IPV6] == 0)
        print_selected(out, interface_match, "");
}

static void print_selection(FILE *out, const struct setup *setup, enum family family)
{
    char match[64];
    for (unsigned i = 0; i < setup->interface_count; i++)
        for (int way = 0; way < 2; way++) {
            snprintf(match, sizeof match, " -%c %s", way == 0 ? 'i' : 'o', setup->interfaces[i]);
            print_addresses(out, setup, family, match);
        }
    if (setup->interface_count == 0)
        print_addresses(out, setup, family, "");
}

/* All rules of a family, in the form of sys/tables; from malloc. */
static char *rules_of(const struct setup *setup, enum family family)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    fputs(":" TABLES_CHAIN " - [0:0]\n:" TABLES_CHAIN "-QUEUE - [0:0]\n", out);
    if (setup->mark.mask)
        fputs(":" TABLES_CHAIN "-MARK - [0:0]\n", out);
    print_selection(out, setup, family);
    print_queue_chain(out, setup);
    fprintf(out, "-I FORWARD -p tcp -m multiport --ports %s -j " TABLES_CHAIN "\n", setup->ports);
    if (setup->mark.mask) {
        print_mark_chain(out, setup);
        fprintf(out, "-I POSTROUTING -p tcp -m multiport --ports %s -j " TABLES_CHAIN "-MARK\n", setup->ports);
    }
    fclose(out);
    return text;
}

static int print_all(const struct setup *setup)
{
    for (enum family family = IPV4; family < FAMILIES; family++) {
        char *rules = rules_of(setup, family);
        if (!rules)
            return cmd_complain(CMD_FAILED, "no memory");
        printf("# %s%s-restore --noflush\n*mangle\n%sCOMMIT\n", programs[family], setup->variant, rules);
        free(rules);
    }
    return CMD_GOOD;
}

/* ---- carrying it out ---- */

/* What becomes of one family. */
struct work {
    char restore[48];
    char *saved; /* what there was; NULL: this family is left out */
    char *ours;  /* what shall hold of ours */
    char *change;
};

static bool has_ipv6(void)
{
    return access("/proc/net/if_inet6", F_OK) == 0;
}

static bool prepare(struct work *work, const struct setup *setup, enum family family, const char *variant,
                    char *message, size_t message_size)
{
    char save[48];
    snprintf(save, sizeof save, "%s%s-save", programs[family], variant);
    snprintf(work->restore, sizeof work->restore, "%s%s-restore", programs[family], variant);
    work->saved = tables_save(save, message, message_size);
    if (!work->saved)
        return false;
    work->ours = setup->work == SETUP_APPLY ? rules_of(setup, family) : strdup("");
    work->change = work->ours ? tables_change(work->saved, work->ours) : NULL;
    if (work->change)
        return true;
    snprintf(message, message_size, "no memory");
    return false;
}

static void clear(struct work *work)
{
    free(work->saved);
    free(work->ours);
    free(work->change);
    *work = (struct work){0};
}

/* As it was before: a family was changed, and then another could not be. */
static void undo(const struct work *work, const char *save)
{
    char message[CMD_MESSAGE_BYTES];
    char *present = tables_save(save, message, sizeof message);
    char *ours = tables_ours(work->saved);
    char *change = present && ours ? tables_change(present, ours) : NULL;
    if (!change || !tables_restore(work->restore, change, false, message, sizeof message))
        cmd_complain(CMD_FAILED, "and what was changed before cannot be undone: %s", message);
    free(change);
    free(ours);
    free(present);
}

/* All families are checked before one is changed. */
static int change_all(struct work works[FAMILIES], const char *variant)
{
    char message[CMD_MESSAGE_BYTES], save[48];
    for (int step = 0; step < 2; step++)
        for (enum family family = IPV4; family < FAMILIES; family++) {
            struct work *work = &works[family];
            if (!work->saved || tables_restore(work->restore, work->change, step == 0, message, sizeof message))
                continue;
            if (step == 1 && family == IPV6) {
                snprintf(save, sizeof save, "%s%s-save", programs[IPV4], variant);
                undo(&works[IPV4], save);
            }
            return cmd_complain(CMD_FAILED, "nothing is changed: %s", message);
        }
    return CMD_GOOD;
}

static int apply(const struct setup *setup)
{
    char message[CMD_MESSAGE_BYTES];
    struct work works[FAMILIES] = {0};
    int code = CMD_GOOD;
    for (enum family family = IPV4; family < FAMILIES && code == CMD_GOOD; family++)
        if ((family == IPV4 || has_ipv6()) &&
            !prepare(&works[family], setup, family, setup->variant, message, sizeof message))
            code = cmd_complain(CMD_FAILED, "nothing is changed: %s", message);
    if (code == CMD_GOOD)
        code = change_all(works, setup->variant);
    for (enum family family = IPV4; family < FAMILIES; family++) {
        if (code == CMD_GOOD && works[family].saved)
            printf("%s%s: applied\n", programs[family], setup->variant);
        clear(&works[family]);
    }
    return code;
}

/* From whichever variants have something of ours. */
static int remove_all(const struct setup *setup)
{
    static const char *const variants[] = {"-legacy", "-nft", ""};
    char message[CMD_MESSAGE_BYTES];
    int code = CMD_GOOD;
    bool any = false, readable = false;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        for (enum family family = IPV4; family < FAMILIES; family++) {
            struct work work = {0};
            bool prepared = prepare(&work, setup, family, variants[i], message, sizeof message);
            readable = readable || prepared;
            if (prepared && tables_has_ours(work.saved)) {
                any = true;
                if (tables_restore(work.restore, work.change, false, message, sizeof message))
                    printf("%s%s: removed\n", programs[family], variants[i]);
                else
                    code = cmd_complain(CMD_FAILED, "%s", message);
            }
            clear(&work);
        }
    if (!readable)
        return cmd_complain(CMD_FAILED, "%s", message);
    if (!any)
        puts("there is nothing to remove");
    return code;
}

/* ---- options ---- */

static bool good_ports(const char *text)
{
    unsigned count = 0;
    for (const char *at = text;; at++) {
        char *end;
        unsigned long port = strtoul(at, &end, 10);
        if (*at < '0' || *at > '9' || port == 0 || port > 65535 || ++count > PORTS_MAX)
            return false;
        if (!*end)
            return true;
        if (*end != ',')
            return false;
        at = end;
    }
}

/* As the kernel has them: no octet that a rule could be ended with. */
static bool good_interface(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@");
    return len > 0 && len < 16 && (!name[len] || strcmp(name + len, "+") == 0) && name[0] != '-';
}

static bool add_protected(struct setup *setup, char *text)
{
    struct in6_addr address;
    char *slash = strchr(text, '/'), *end = NULL;
    if (slash)
        *slash = '\0';
    enum family family = strchr(text, ':') ? IPV6 : IPV4;
    bool good = inet_pton(family == IPV4 ? AF_INET : AF_INET6, text, &address) == 1;
    if (slash) {
        *slash = '/';
        unsigned long bits = strtoul(slash + 1, &end, 10);
        good = good && slash[1] >= '0' && slash[1] <= '9' && !*end && bits <= (family == IPV4 ? 32 : 128);
    }
    if (!good || setup->protect_count[family] == LIST_MAX)
        return false;
    setup->protect[family][setup->protect_count[family]++] = text;
    return true;
}

static const struct option options[] = {
    {"print", no_argument, NULL, 'P'},         {"apply", no_argument, NULL, 'A'},
    {"remove", no_argument, NULL, 'R'},        {"ports", required_argument, NULL, 'p'},
    {"queues", required_argument, NULL, 'q'},  {"interface", required_argument, NULL, 'i'},
    {"protect", required_argument, NULL, 't'}, {"mark-mask", required_argument, NULL, 'm'},
    {"variant", required_argument, NULL, 'v'}, {0},
};

static int parse(struct setup *setup, int argc, char **argv)
{
    for (int c; (c = getopt_long(argc, argv, "q:", options, NULL)) != -1;)
        switch (c) {
        case 'P':
            setup->work = SETUP_PRINT;
            break;
        case 'A':
            setup->work = SETUP_APPLY;
            break;
        case 'R':
            setup->work = SETUP_REMOVE;
            break;
        case 'p':
            if (!good_ports(optarg))
                return cmd_complain(CMD_USAGE, "--ports %s: give up to %d TCP ports, for example 25,587", optarg,
                                    PORTS_MAX);
            setup->ports = optarg;
            break;
        case 'q':
            if (!queues_parse(optarg, &setup->queues))
                return cmd_complain(CMD_USAGE, "-q %s: %s", optarg, QUEUES_ADVICE);
            break;
        case 'i':
            if (!good_interface(optarg) || setup->interface_count == LIST_MAX)
                return cmd_complain(CMD_USAGE, "--interface %s: give the name of a network interface", optarg);
            setup->interfaces[setup->interface_count++] = optarg;
            break;
        case 't':
            if (!add_protected(setup, optarg))
                return cmd_complain(CMD_USAGE, "--protect %s: give an address or a network", optarg);
            break;
        case 'm':
            if (!mark_parse(optarg, &setup->mark))
                return cmd_complain(CMD_USAGE, "--mark-mask %s: %s", optarg, MARK_ADVICE);
            break;
        case 'v':
            if (strcmp(optarg, "legacy") != 0 && strcmp(optarg, "nft") != 0)
                return cmd_complain(CMD_USAGE, "--variant %s: there are legacy and nft", optarg);
            setup->variant = optarg[0] == 'l' ? "-legacy" : "-nft";
            break;
        default:
            return cmd_usage("setup");
        }
    return optind == argc ? CMD_GOOD : cmd_usage("setup");
}

int cmd_setup(int argc, char **argv)
{
    struct setup setup = {.variant = "", .ports = "25", .queues = QUEUES_DEFAULT, .mark = MARK_DEFAULT};
    int code = parse(&setup, argc, argv);
    if (code != CMD_GOOD)
        return code;
    switch (setup.work) {
    case SETUP_PRINT:
        return print_all(&setup);
    case SETUP_APPLY:
        return apply(&setup);
    case SETUP_REMOVE:
        return remove_all(&setup);
    }
    return CMD_FAILED;
}
