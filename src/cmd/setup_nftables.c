/* The same rules as setup_rules.c makes for iptables, in the words of nft: a table of its own for both families. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/setup.h"
#include "sys/nft.h"

static void print_ports(FILE *out, const struct setup *setup)
{
    fputs("    set ports {\n        type inet_service\n        elements = { ", out);
    for (const char *at = setup->ports; *at; at++)
        fputs(*at == ',' ? ", " : (char[]){*at, '\0'}, out);
    fputs(" }\n    }\n\n", out);
}

/* Whether a network of the list has all of this one, and is not the same one further behind. */
static bool is_within_another(const struct setup *setup, enum setup_family family, unsigned index)
{
    for (unsigned i = 0; i < setup->protect_count[family]; i++)
        if (i != index && setup_is_within(setup->protect[family][index], setup->protect[family][i]) &&
            (i < index || !setup_is_within(setup->protect[family][i], setup->protect[family][index])))
            return true;
    return false;
}

/* A set of networks has none twice, not in part either. */
static void print_addresses(FILE *out, const struct setup *setup, enum setup_family family)
{
    const char *separator = "";
    if (setup->protect_count[family] == 0)
        return;
    fprintf(out, "    set protected%c {\n        type ipv%c_addr\n        flags interval\n        elements = { ",
            family == SETUP_IPV4 ? '4' : '6', family == SETUP_IPV4 ? '4' : '6');
    for (unsigned i = 0; i < setup->protect_count[family]; i++)
        if (!is_within_another(setup, family, i)) {
            fprintf(out, "%s%s", separator, setup->protect[family][i]);
            separator = ", ";
        }
    fputs(" }\n    }\n\n", out);
}

/* iptables ends a name that others begin with by a plus, nft by an asterisk. */
static void print_interfaces(FILE *out, const struct setup *setup)
{
    bool begins = false;
    if (setup->interface_count == 0)
        return;
    for (unsigned i = 0; i < setup->interface_count; i++)
        begins = begins || strchr(setup->interfaces[i], '+');
    fprintf(out, "    set interfaces {\n        type ifname\n%s        elements = { ",
            begins ? "        flags interval\n" : "");
    for (unsigned i = 0; i < setup->interface_count; i++)
        fprintf(out, "%s\"%.*s%s\"", i ? ", " : "", (int)strcspn(setup->interfaces[i], "+"), setup->interfaces[i],
                strchr(setup->interfaces[i], '+') ? "*" : "");
    fputs(" }\n    }\n\n", out);
}

static bool is_selective(const struct setup *setup)
{
    return setup->interface_count + setup->protect_count[SETUP_IPV4] + setup->protect_count[SETUP_IPV6] > 0;
}

/* `interface_match`: "" or words with a blank behind them. */
static void print_selected(FILE *out, const struct setup *setup, const char *interface_match)
{
    static const char *const protocols[SETUP_FAMILIES] = {"ip", "ip6"};
    bool any = setup->protect_count[SETUP_IPV4] + setup->protect_count[SETUP_IPV6] > 0;
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++)
        for (int way = 0; way < 2 && setup->protect_count[family]; way++)
            fprintf(out, "        %s%s %caddr @protected%c goto mail\n", interface_match, protocols[family],
                    way == 0 ? 'd' : 's', family == SETUP_IPV4 ? '4' : '6');
    if (!any)
        fprintf(out, "        %sgoto mail\n", interface_match);
}

static void print_selection(FILE *out, const struct setup *setup)
{
    if (!is_selective(setup))
        return;
    fputs("    chain selected {\n", out);
    if (setup->interface_count) {
        print_selected(out, setup, "iifname @interfaces ");
        print_selected(out, setup, "oifname @interfaces ");
    } else {
        print_selected(out, setup, "");
    }
    fputs("    }\n\n", out);
}

static void print_hook(FILE *out, const char *chain, const char *target)
{
    fprintf(out,
            "    chain %s {\n        type filter hook %s priority mangle; policy accept;\n"
            "        tcp dport @ports goto %s\n        tcp sport @ports goto %s\n    }\n\n",
            chain, chain, target, target);
}

static void print_queues(FILE *out, const struct setup *setup, bool marked)
{
    for (int way = 0; way < 2; way++) {
        unsigned first = setup->queues.first + (way == 0 ? 0 : setup->queues.workers);
        fputs("        ", out);
        if (marked)
            fprintf(out, "meta mark & 0x%08x != 0 ", setup->mark.mask);
        fprintf(out, "tcp %cport @ports queue num %u", way == 0 ? 'd' : 's', first);
        if (setup->queues.workers > 1)
            fprintf(out, "-%u", first + setup->queues.workers - 1);
        fputs(marked ? "\n" : " bypass\n", out);
    }
}

static void print_unmark(FILE *out, const struct mark *mark)
{
    fprintf(out, "        tcp flags & syn == syn ct mark & 0x%08x == 0x%08x ct mark set ct mark & 0x%08x\n", mark->mask,
            mark->released, ~mark->mask);
}

static void print_mail(FILE *out, const struct setup *setup)
{
    const struct mark *mark = &setup->mark;
    fputs("    chain mail {\n", out);
    if (mark->mask) {
        fputs(
            "        # It has no connection's mark, and would pass by a filter that is not there though something was "
            "promised.\n        ct state invalid drop\n",
            out);
        fputs("        # What was released is looked at again where a SYN may begin the next connection of the same "
              "addresses. No SYN, which\n        # anybody can forge, takes the other mark away.\n",
              out);
        print_unmark(out, mark);
        fprintf(out,
                "        # Nothing more is to be seen or done here.\n        ct mark & 0x%08x == 0x%08x accept\n"
                "        # Conntrack sees it for the first time, in its middle: it comes from another gateway, and is "
                "reset.\n        tcp flags & (syn | rst) == 0 ct state new ct status & confirmed != confirmed "
                "meta mark set meta mark | 0x%08x\n",
                mark->mask, mark->released, mark->mask);
        fprintf(out,
                "        # Something was promised (a line was taken out, a reply will be replaced): its packets say "
                "so.\n        ct mark & 0x%08x == 0x%08x meta mark set meta mark & 0x%08x | 0x%08x\n",
                mark->mask, mark->promised, ~mark->mask, mark->promised);
        fputs("        # Neither passes while postern does not run.\n", out);
        print_queues(out, setup, true);
        fputs("        # All others do.\n", out);
    }
    print_queues(out, setup, false);
    fputs("    }\n", out);
}

/* The mark of a packet becomes its connection's. nft copies no bits of one mark into another: a rule for each value. */
static void print_marks(FILE *out, const struct mark *mark)
{
    const uint32_t values[] = {mark->released, mark->promised, mark->mask};
    if (!mark->mask)
        return;
    fputs("\n    # The mark that a verdict gave a packet becomes its connection's, and the packet loses it.\n"
          "    # A packet that waited for its verdict while a SYN came may have marked what the SYN begins.\n"
          "    # The SYN leaves behind it.\n",
          out);
    print_hook(out, "postrouting", "marks");
    fputs("    chain marks {\n", out);
    print_unmark(out, mark);
    for (int i = 0; i < 3; i++) {
        fprintf(out, "        meta mark & 0x%08x == 0x%08x ct mark set ct mark & 0x%08x", mark->mask, values[i],
                ~mark->mask);
        fprintf(out, " | 0x%08x\n", values[i]);
    }
    fprintf(out, "        meta mark & 0x%08x != 0 meta mark set meta mark & 0x%08x\n    }\n", mark->mask, ~mark->mask);
}

char *setup_nftables(const struct setup *setup)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    fputs(
        "#!/usr/sbin/nft -f\n# Rules of nftables that send SMTP to postern, made by `postern setup --variant nftables "
        "--print`. The kernel needs\n# CONFIG_NFT_QUEUE; where it is missing, iptables' NFQUEUE works all the same. "
        "Other tables see packets as they would\n# without this one: an accept here ends nothing there.\n\n",
        out);
    fputs("table inet " NFT_TABLE "\ndelete table inet " NFT_TABLE "\n\ntable inet " NFT_TABLE " {\n", out);
    print_ports(out, setup);
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES; family++)
        print_addresses(out, setup, family);
    print_interfaces(out, setup);
    print_hook(out, "forward", is_selective(setup) ? "selected" : "mail");
    print_selection(out, setup);
    print_mail(out, setup);
    print_marks(out, &setup->mark);
    fputs("}\n", out);
    fclose(out);
    return text;
}
