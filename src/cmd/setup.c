#include "cmd/setup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "sys/tables.h"

const char *const setup_programs[SETUP_FAMILIES] = {"iptables", "ip6tables"};

static int print_all(const struct setup *setup)
{
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++) {
        char *rules = setup_rules(setup, family);
        if (!rules)
            return cmd_complain(CMD_FAILED, "no memory");
        printf("# %s%s-restore --noflush\n*mangle\n%sCOMMIT\n", setup_programs[family], setup->variant, rules);
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

bool setup_has_family(enum setup_family family)
{
    return family == SETUP_IPV4 || access("/proc/net/if_inet6", F_OK) == 0;
}

static bool prepare(struct work *work, const struct setup *setup, enum setup_family family, const char *variant,
                    char *message, size_t message_size)
{
    char save[48];
    snprintf(save, sizeof save, "%s%s-save", setup_programs[family], variant);
    snprintf(work->restore, sizeof work->restore, "%s%s-restore", setup_programs[family], variant);
    work->saved = tables_save(save, message, message_size);
    if (!work->saved)
        return false;
    work->ours = setup->work == SETUP_REMOVE ? strdup("") : setup_rules(setup, family);
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
static int change_all(struct work works[SETUP_FAMILIES], const char *variant)
{
    char message[CMD_MESSAGE_BYTES], save[48];
    for (int step = 0; step < 2; step++)
        for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++) {
            struct work *work = &works[family];
            if (!work->saved || tables_restore(work->restore, work->change, step == 0, message, sizeof message))
                continue;
            if (step == 1 && family == SETUP_IPV6) {
                snprintf(save, sizeof save, "%s%s-save", setup_programs[SETUP_IPV4], variant);
                undo(&works[SETUP_IPV4], save);
            }
            return cmd_complain(CMD_FAILED, "nothing is changed: %s", message);
        }
    return CMD_GOOD;
}

int setup_apply(const struct setup *setup)
{
    char message[CMD_MESSAGE_BYTES];
    struct work works[SETUP_FAMILIES] = {0};
    int code = CMD_GOOD;
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES && code == CMD_GOOD; family++)
        if (setup_has_family(family) &&
            !prepare(&works[family], setup, family, setup->variant, message, sizeof message))
            code = cmd_complain(CMD_FAILED, "nothing is changed: %s", message);
    if (code == CMD_GOOD)
        code = change_all(works, setup->variant);
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++) {
        if (code == CMD_GOOD && works[family].saved)
            printf("%s%s: applied\n", setup_programs[family], setup->variant);
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
        for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++) {
            struct work work = {0};
            bool prepared = prepare(&work, setup, family, variants[i], message, sizeof message);
            readable = readable || prepared;
            if (prepared && tables_has_ours(work.saved)) {
                any = true;
                if (tables_restore(work.restore, work.change, false, message, sizeof message))
                    printf("%s%s: removed\n", setup_programs[family], variants[i]);
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
        if (*at < '0' || *at > '9' || port == 0 || port > 65535 || ++count > SETUP_PORTS_MAX)
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

/* As iptables-save prints it: with its bits, and without those of a host behind them. */
static void print_network(enum setup_family family, const struct in6_addr *address, unsigned bits, char *out)
{
    struct in6_addr network = *address;
    char text[INET6_ADDRSTRLEN];
    for (unsigned i = 0; i < sizeof network; i++)
        if (i * 8 + 8 > bits)
            network.s6_addr[i] &= (uint8_t)(i * 8 >= bits ? 0 : 0xff << (i * 8 + 8 - bits));
    inet_ntop(family == SETUP_IPV4 ? AF_INET : AF_INET6, &network, text, sizeof text);
    snprintf(out, SETUP_ADDRESS_BYTES, "%s/%u", text, bits);
}

static bool add_protected(struct setup *setup, char *text)
{
    struct in6_addr address = {0};
    char *slash = strchr(text, '/'), *end = NULL;
    enum setup_family family = strchr(text, ':') ? SETUP_IPV6 : SETUP_IPV4;
    unsigned most = family == SETUP_IPV4 ? 32 : 128;
    unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : most;
    bool good = !slash || (slash[1] >= '0' && slash[1] <= '9' && !*end && bits <= most);
    if (slash)
        *slash = '\0';
    good = good && inet_pton(family == SETUP_IPV4 ? AF_INET : AF_INET6, text, &address) == 1;
    if (slash)
        *slash = '/';
    if (!good || setup->protect_count[family] == SETUP_LIST_MAX)
        return false;
    print_network(family, &address, (unsigned)bits, setup->protect[family][setup->protect_count[family]++]);
    return true;
}

static const struct option options[] = {
    {"print", no_argument, NULL, 'P'},         {"apply", no_argument, NULL, 'A'},
    {"remove", no_argument, NULL, 'R'},        {"check", no_argument, NULL, 'C'},
    {"watch", no_argument, NULL, 'W'},         {"ports", required_argument, NULL, 'p'},
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
        case 'C':
            setup->work = SETUP_CHECK;
            break;
        case 'W':
            setup->work = SETUP_WATCH;
            break;
        case 'p':
            if (!good_ports(optarg))
                return cmd_complain(CMD_USAGE, "--ports %s: give up to %d TCP ports, for example 25,587", optarg,
                                    SETUP_PORTS_MAX);
            setup->ports = optarg;
            break;
        case 'q':
            if (!queues_parse(optarg, &setup->queues))
                return cmd_complain(CMD_USAGE, "-q %s: %s", optarg, QUEUES_ADVICE);
            break;
        case 'i':
            if (!good_interface(optarg) || setup->interface_count == SETUP_LIST_MAX)
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
        return setup_apply(&setup);
    case SETUP_REMOVE:
        return remove_all(&setup);
    case SETUP_CHECK:
        return setup_check(&setup);
    case SETUP_WATCH:
        return setup_watch(&setup);
    }
    return CMD_FAILED;
}
