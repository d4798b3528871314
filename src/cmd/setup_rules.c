#include "cmd/setup.h"

#include <stdio.h>
#include <string.h>

#include "sys/tables.h"

static void print_queue(FILE *out, const struct setup *setup, bool to_servers)
{
    unsigned first = setup->queues.first + (to_servers ? 0 : setup->queues.workers);
    if (setup->queues.workers == 1)
        fprintf(out, " -j NFQUEUE --queue-num %u", first);
    else
        fprintf(out, " -j NFQUEUE --queue-balance %u:%u", first, first + setup->queues.workers - 1);
}

/* One rule for each way. Packets with one of our marks never pass while nobody listens. */
static void print_ways(FILE *out, const struct setup *setup, bool marked)
{
    for (int way = 0; way < 2; way++) {
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -p tcp -m multiport --%cports %s", way == 0 ? 'd' : 's', setup->ports);
        if (marked)
            fprintf(out, " -m mark ! --mark 0x0/0x%x", setup->mark.mask);
        print_queue(out, setup, way == 0);
        fputs(marked ? "\n" : " --queue-bypass\n", out);
    }
}

/*
 * Where a SYN may begin the next connection of the same addresses, what was released is looked at again. No SYN, which
 * anybody can forge, takes the other mark away: the connection that it was set for may go on.
 */
static void print_unmark(FILE *out, const struct setup *setup, const char *chain)
{
    fprintf(out,
            "-A " TABLES_CHAIN "-%s -p tcp -m tcp --tcp-flags SYN SYN -m connmark --mark 0x%x/0x%x "
            "-j CONNMARK --set-xmark 0x0/0x%x\n",
            chain, setup->mark.released, setup->mark.mask, setup->mark.mask);
}

/*
 * What conntrack calls INVALID has no connection's mark, so it is dropped: it would pass by the filter that is not
 * there though something was promised to its connection. What was released passes. What was promised something (a line
 * was taken out, a reply will be replaced) never passes by the filter: nobody else would keep it. Its packets say so,
 * for the case that the filter does not know of it any more. Nor does the first packet that conntrack sees of a
 * connection in its middle: that comes from another gateway, and both bits say so.
 */
static void print_queue_chain(FILE *out, const struct setup *setup)
{
    const struct mark *mark = &setup->mark;
    if (mark->mask) {
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -m conntrack --ctstate INVALID -j DROP\n");
        print_unmark(out, setup, "QUEUE");
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -m connmark --mark 0x%x/0x%x -j RETURN\n", mark->released, mark->mask);
        fprintf(out,
                "-A " TABLES_CHAIN "-QUEUE -p tcp -m tcp --tcp-flags SYN,RST NONE -m conntrack --ctstate NEW "
                "! --ctstatus CONFIRMED -j MARK --set-xmark 0x%x/0x%x\n",
                mark->mask, mark->mask);
        fprintf(out, "-A " TABLES_CHAIN "-QUEUE -m connmark --mark 0x%x/0x%x -j MARK --set-xmark 0x%x/0x%x\n",
                mark->promised, mark->mask, mark->promised, mark->mask);
        print_ways(out, setup, true);
    }
    print_ways(out, setup, false);
}

/*
 * The mark that a verdict gave a packet becomes its connection's, and the packet loses it. A packet that waited for its
 * verdict while a SYN came may have marked what the SYN begins; the SYN leaves behind it.
 */
static void print_mark_chain(FILE *out, const struct setup *setup)
{
    unsigned mask = setup->mark.mask;
    print_unmark(out, setup, "MARK");
    fprintf(out,
            "-A " TABLES_CHAIN "-MARK -m mark ! --mark 0x0/0x%x -j CONNMARK --save-mark --nfmask 0x%x --ctmask 0x%x\n",
            mask, mask, mask);
    fprintf(out, "-A " TABLES_CHAIN "-MARK -j MARK --set-xmark 0x0/0x%x\n", mask);
}

/* A place on the way to the queue: one address, one interface, either way; "" for all. */
static void print_selected(FILE *out, const char *address_match, const char *interface_match)
{
    fprintf(out, "-A " TABLES_CHAIN "%s%s -j " TABLES_CHAIN "-QUEUE\n", address_match, interface_match);
}

static void print_addresses(FILE *out, const struct setup *setup, enum setup_family family, const char *interface_match)
{
    char match[SETUP_ADDRESS_BYTES + 8];
    for (unsigned i = 0; i < setup->protect_count[family]; i++)
        for (int way = 0; way < 2; way++) {
            const char *network = setup->protect[family][i];
            bool all = strcmp(strchr(network, '/'), "/0") == 0; /* iptables-save prints no such match */
            snprintf(match, sizeof match, " -%c %s", way == 0 ? 'd' : 's', network);
            print_selected(out, all ? "" : match, interface_match);
        }
    if (setup->protect_count[SETUP_IPV4] + setup->protect_count[SETUP_IPV6] == 0)
        print_selected(out, "", interface_match);
}

static void print_selection(FILE *out, const struct setup *setup, enum setup_family family)
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

char *setup_rules(const struct setup *setup, enum setup_family family)
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
