#include "cmd/setup.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "conf/conf.h"
#include "sys/program.h"

const char *const setup_programs[SETUP_FAMILIES] = {"iptables", "ip6tables"};

static int print_all(const struct setup *setup)
{
    if (setup->nftables) {
        char *table = setup_nftables(setup);
        if (table)
            fputs(table, stdout);
        free(table);
        return table ? CMD_GOOD : cmd_complain(CMD_FAILED, "no memory");
    }
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++) {
        char *rules = setup_rules(setup, family);
        if (!rules)
            return cmd_complain(CMD_FAILED, "no memory");
        printf("# %s%s-restore --noflush\n*mangle\n%sCOMMIT\n", setup_programs[family], setup->variant, rules);
        free(rules);
    }
    return CMD_GOOD;
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

bool setup_is_within(const char *network, const char *other)
{
    char texts[2][SETUP_ADDRESS_BYTES], masked[SETUP_ADDRESS_BYTES];
    struct in6_addr address = {0};
    enum setup_family family = strchr(network, ':') ? SETUP_IPV6 : SETUP_IPV4;
    snprintf(texts[0], sizeof texts[0], "%s", network);
    snprintf(texts[1], sizeof texts[1], "%s", other);
    unsigned long bits = strtoul(strchr(texts[0], '/') + 1, NULL, 10);
    unsigned long other_bits = strtoul(strchr(texts[1], '/') + 1, NULL, 10);
    *strchr(texts[0], '/') = '\0';
    inet_pton(family == SETUP_IPV4 ? AF_INET : AF_INET6, texts[0], &address);
    print_network(family, &address, (unsigned)other_bits, masked);
    return bits >= other_bits && strcmp(masked, other) == 0;
}

static bool take_variant(struct setup *setup, const char *text)
{
    static const struct {
        const char *name, *variant;
    } variants[] = {{"nftables", ""},
                    {"iptables-nft", "-nft"},
                    {"nft", "-nft"},
                    {"iptables-legacy", "-legacy"},
                    {"legacy", "-legacy"}};
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (strcmp(text, variants[i].name) == 0) {
            setup->nftables = i == 0;
            setup->variant = variants[i].variant;
            setup->variant_named = true;
            return true;
        }
    return false;
}

/* Where none was named: nftables where there is no iptables. */
static void choose_variant(struct setup *setup)
{
    if (!setup->variant_named)
        setup->nftables = !program_exists("iptables-save") && program_exists("nft");
}

/*
 * The ports of the rules, or where no file is named those that hold without one: what the filter takes for SMTP is what
 * is sent to it.
 */
static int choose_ports(struct setup *setup)
{
    static struct conf conf;
    static char ports[sizeof conf.engine.ports / sizeof conf.engine.ports[0] * sizeof "65535,"];
    char message[CMD_MESSAGE_BYTES];
    if (setup->ports || setup->work == SETUP_REMOVE)
        return CMD_GOOD;
    conf_init(&conf);
    if (setup->rules_path && !conf_read(&conf, setup->rules_path, message, sizeof message))
        return cmd_complain(CMD_FAILED, "%s", message);
    unsigned count = conf.engine.ports_count;
    for (size_t i = 0, used = 0; i < count; i++)
        used += (size_t)snprintf(ports + used, sizeof ports - used, "%s%u", i ? "," : "", conf.engine.ports[i]);
    conf_free(&conf);
    if (count > SETUP_PORTS_MAX && !setup->nftables)
        return cmd_complain(CMD_FAILED, "%s: iptables takes %d ports, and there are %u; name those with --ports",
                            setup->rules_path, SETUP_PORTS_MAX, count);
    setup->ports = ports;
    return CMD_GOOD;
}

static const struct option options[] = {
    {"rules", required_argument, NULL, 'r'},
    {"print", no_argument, NULL, 'P'},
    {"apply", no_argument, NULL, 'A'},
    {"remove", no_argument, NULL, 'R'},
    {"check", no_argument, NULL, 'C'},
    {"watch", no_argument, NULL, 'W'},
    {"ports", required_argument, NULL, 'p'},
    {"queues", required_argument, NULL, 'q'},
    {"interface", required_argument, NULL, 'i'},
    {"protect", required_argument, NULL, 't'},
    {"mark-mask", required_argument, NULL, 'm'},
    {"variant", required_argument, NULL, 'v'},
    {0},
};

static int parse(struct setup *setup, int argc, char **argv)
{
    for (int c; (c = getopt_long(argc, argv, "q:r:", options, NULL)) != -1;)
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
        case 'r':
            setup->rules_path = optarg;
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
            if (!take_variant(setup, optarg))
                return cmd_complain(CMD_USAGE,
                                    "--variant %s: there are nftables, iptables-nft (or nft) and "
                                    "iptables-legacy (or legacy)",
                                    optarg);
            break;
        default:
            return cmd_usage("setup");
        }
    return optind == argc ? CMD_GOOD : cmd_usage("setup");
}

int cmd_setup(int argc, char **argv)
{
    struct setup setup = {.variant = "", .queues = QUEUES_DEFAULT, .mark = MARK_DEFAULT};
    int code = parse(&setup, argc, argv);
    if (code != CMD_GOOD)
        return code;
    choose_variant(&setup);
    code = choose_ports(&setup);
    if (code != CMD_GOOD)
        return code;
    switch (setup.work) {
    case SETUP_PRINT:
        return print_all(&setup);
    case SETUP_APPLY:
        return setup_apply(&setup);
    case SETUP_REMOVE:
        return setup_remove();
    case SETUP_CHECK:
        return setup_check(&setup);
    case SETUP_WATCH:
        return setup_watch(&setup);
    }
    return CMD_FAILED;
}
