/* postgrey's lists of clients and recipients that are never put off, as rules: names have no place in the store. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/greylist.h"
#include "report/text.h"

enum { LINE_BYTES = 1024 };

struct whitelist {
    const char *path;
    uint64_t line, taken, wrong;
    FILE *names, *networks; /* entries of a rule's list, with a comma before each but the first */
    uint64_t name_count, network_count;
};

static void tell_wrong(struct whitelist *list, const char *words)
{
    char path[256];
    list->wrong++;
    cmd_complain(CMD_FAILED, "%s:%" PRIu64 ": %s", text_escape(span_of(list->path), path, sizeof path), list->line,
                 words);
}

/* In single quotes, in which a rule file takes everything else as it is. */
static void add(FILE *to, uint64_t *count, const char *before, const char *entry, const char *behind)
{
    fprintf(to, "%s\n    '%s%s%s'", (*count)++ ? "," : "", before, entry, behind);
}

static bool is_expression(const char *text)
{
    size_t len = strlen(text);
    return len > 2 && text[0] == '/' && text[len - 1] == '/';
}

/* postgrey's own short forms: 192.0.2 is a /24, 192.0 a /16. */
static bool complete_address(const char *text, char address[INET6_ADDRSTRLEN], unsigned long *prefix)
{
    unsigned dots = 0;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len + 5 > INET6_ADDRSTRLEN || strspn(text, "0123456789abcdefABCDEF:./") != strlen(text))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    bool v6 = strchr(address, ':') != NULL;
    for (const char *at = address; *at; at++)
        dots += *at == '.';
    *prefix = v6 ? 128 : 8 * (dots + 1);
    if (!v6 && !slash && (dots == 1 || dots == 2))
        memcpy(address + len, dots == 2 ? ".0" : ".0.0", dots == 2 ? sizeof ".0" : sizeof ".0.0");
    char *end = NULL;
    unsigned long most = v6 ? 128 : 32;
    if (slash)
        *prefix = strtoul(slash + 1, &end, 10);
    return !slash || (slash[1] >= '0' && slash[1] <= '9' && *end == '\0' && *prefix <= most);
}

/* A network, written with its own first address. False where it is none. */
static bool take_network(struct whitelist *list, const char *text)
{
    char address[INET6_ADDRSTRLEN], behind[16];
    uint8_t octets[16];
    unsigned long prefix;
    if (!complete_address(text, address, &prefix))
        return false;
    int family = strchr(address, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(family, address, octets) != 1)
        return false;
    for (unsigned long bit = prefix; bit < (family == AF_INET ? 32u : 128u); bit++)
        octets[bit / 8] = (uint8_t)(octets[bit / 8] & ~(0x80u >> bit % 8));
    inet_ntop(family, octets, address, sizeof address);
    snprintf(behind, sizeof behind, "/%lu", prefix);
    add(list->networks, &list->network_count, "", address, behind);
    return true;
}

static bool take_client(struct whitelist *list, const char *entry)
{
    if (is_expression(entry) || !take_network(list, entry))
        add(list->names, &list->name_count, "", entry, "");
    return true;
}

/* postgrey takes user+extension for the user. */
static bool take_recipient(struct whitelist *list, const char *entry)
{
    const char *at = strrchr(entry, '@');
    char user[LINE_BYTES];
    add(list->names, &list->name_count, "", entry, "");
    if (is_expression(entry) || !at || at == entry)
        return true;
    snprintf(user, sizeof user, "%.*s", (int)(at - entry), entry);
    add(list->names, &list->name_count, user, "+*", at[1] ? at : "@*");
    return true;
}

static void take_line(struct whitelist *list, char *line, bool (*take)(struct whitelist *list, const char *entry))
{
    list->line++;
    line[strcspn(line, "#\r\n")] = '\0';
    char *entry = line + strspn(line, " \t"), *end = entry + strlen(entry);
    while (end > entry && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    if (entry == end)
        return;
    for (const char *at = entry; at < end; at++)
        if (*at <= ' ' || *at > '~' || *at == '\'') {
            tell_wrong(list, "an entry is one word of printable ASCII without quotes");
            return;
        }
    list->taken += take(list, entry);
}

static void print_rule(const char *name, const char *key, uint64_t count, const char *entries)
{
    if (count)
        printf("rule \"%s\" {\n  on = recipient  action = pass\n  %s = {%s\n  }\n}\n", name, key, entries);
}

static int read_file(struct whitelist *list, const char *path, bool (*take)(struct whitelist *list, const char *entry))
{
    char line[LINE_BYTES];
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!in)
        return cmd_complain(CMD_FAILED, "%s: %s", path, strerror(errno));
    list->path = path;
    list->line = 0;
    while (fgets(line, sizeof line, in))
        take_line(list, line, take);
    int code = ferror(in) ? cmd_complain(CMD_FAILED, "%s: %s", path, strerror(errno)) : CMD_GOOD;
    if (in != stdin)
        fclose(in);
    return code;
}

int greylist_whitelist(bool clients, int count, char **words)
{
    char *names = NULL, *networks = NULL;
    size_t names_len = 0, networks_len = 0;
    struct whitelist list = {.names = open_memstream(&names, &names_len),
                             .networks = open_memstream(&networks, &networks_len)};
    int code = list.names && list.networks ? CMD_GOOD : cmd_complain(CMD_FAILED, "no memory");
    for (int i = 0; i < count && code == CMD_GOOD; i++)
        code = read_file(&list, words[i], clients ? take_client : take_recipient);
    bool whole = list.names && fclose(list.names) == 0;
    whole = list.networks && fclose(list.networks) == 0 && whole;
    if (code == CMD_GOOD && whole) {
        printf("# From postgrey's list of %s. Include it before the rule that greylists.\n",
               clients ? "clients" : "recipients");
        print_rule(clients ? "postgrey's clients by name" : "postgrey's recipients", clients ? "client-name" : "match",
                   list.name_count, names);
        print_rule("postgrey's clients", "client", list.network_count, networks);
        fprintf(stderr, "taken: %" PRIu64 ", wrong: %" PRIu64 "\n", list.taken, list.wrong);
    }
    free(names);
    free(networks);
    int printed = greylist_printed(whole);
    return code != CMD_GOOD ? code : list.wrong ? CMD_FAILED : printed;
}
