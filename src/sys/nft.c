#include "sys/nft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/lines.h"
#include "sys/program.h"

bool nft_load(const char *commands, bool test, char *message, size_t message_size)
{
    const char *argv[] = {"nft", test ? "-c" : "-f", test ? "-f" : "-", test ? "-" : NULL, NULL};
    char *printed = program_run(argv, commands, message, message_size);
    free(printed);
    return printed != NULL;
}

static char *list_table(const char *name, char *message, size_t message_size)
{
    const char *argv[] = {"nft", "-s", "list", "table", "inet", name, NULL};
    return program_run(argv, "", message, message_size);
}

char *nft_list(char *message, size_t message_size)
{
    static const char line[] = "table inet " NFT_TABLE "\n";
    const char *argv[] = {"nft", "list", "tables", NULL};
    char *tables = program_run(argv, "", message, message_size);
    const char *at = tables ? strstr(tables, line) : NULL;
    bool there = at && (at == tables || at[-1] == '\n');
    char *listed = there ? list_table(NFT_TABLE, message, message_size) : NULL;
    if (tables && !there && !(listed = strdup("")))
        snprintf(message, message_size, "no memory");
    free(tables);
    return listed;
}

/* ---- lines ---- */

/* Without the blanks before it. */
static bool next_line(const char **text, struct line *line)
{
    *text += strspn(*text, " \t\n");
    return line_next(text, line);
}

static bool ends(struct line line, char with)
{
    return line.len > 0 && line.at[line.len - 1] == with;
}

static bool is_hook(struct line line)
{
    return memmem(line.at, line.len, " hook ", 6) != NULL;
}

/* "chain NAME: RULE" or "set NAME: PROPERTY" for each line of a table's blocks, but for comments; elements on one line.
 */
static void flatten(FILE *out, const char *table, bool hooks, bool others)
{
    struct line line, block = {0};
    while (next_line(&table, &line)) {
        if ((line_begins(line, "chain ") || line_begins(line, "set ")) && ends(line, '{')) {
            block = (struct line){line.at, line.len - 2};
        } else if (block.len && line_begins(line, "}")) {
            block.len = 0;
        } else if (block.len && !line_begins(line, "#") && (is_hook(line) ? hooks : others)) {
            fprintf(out, "%.*s: %.*s", (int)block.len, block.at, (int)line.len, line.at);
            bool wraps = line_begins(line, "elements = {");
            while (wraps && !ends(line, '}') && next_line(&table, &line))
                fprintf(out, " %.*s", (int)line.len, line.at);
            fputc('\n', out);
        }
    }
}

/* The same rules in a table of another name that no packet comes to. */
static char *aside(const char *rules, const char *name)
{
    static const char table[] = "table inet " NFT_TABLE;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    for (struct line line; next_line(&rules, &line);) {
        const char *found = memmem(line.at, line.len, table, sizeof table - 1);
        if (found && !line_begins(line, "#"))
            fprintf(out, "%.*stable inet %s%.*s\n", (int)(found - line.at), line.at, name,
                    (int)(line.len - (size_t)(found - line.at) - (sizeof table - 1)), found + sizeof table - 1);
        else if (!is_hook(line))
            fprintf(out, "%.*s\n", (int)line.len, line.at);
    }
    fclose(out);
    return text;
}

/* As nft lists them, hooks left out. */
static char *read_back(const char *rules, char *message, size_t message_size)
{
    char name[48], removal[80], why[64];
    snprintf(name, sizeof name, NFT_TABLE "-wanted-%d", (int)getpid());
    snprintf(removal, sizeof removal, "delete table inet %s\n", name);
    char *text = aside(rules, name), *listed = NULL;
    if (!text)
        snprintf(message, message_size, "no memory");
    else if (nft_load(text, false, message, message_size)) {
        listed = list_table(name, message, message_size);
        (void)nft_load(removal, false, why, sizeof why); /* where it is gone by now, all the better */
    }
    free(text);
    return listed;
}

char *nft_wanted(const char *rules, char *message, size_t message_size)
{
    char *text = NULL, *listed = read_back(rules, message, message_size);
    size_t len;
    FILE *out = listed ? open_memstream(&text, &len) : NULL;
    if (listed && !out)
        snprintf(message, message_size, "no memory");
    if (out) {
        flatten(out, rules, true, false);
        flatten(out, listed, false, true);
        fclose(out);
    }
    free(listed);
    return text;
}

/* ---- what is not as it ought to be ---- */

static bool same(struct line one, struct line other)
{
    return one.len == other.len && memcmp(one.at, other.at, one.len) == 0;
}

/* The next rule of the chain that `line` is of. */
static bool next_rule(const char **text, struct line line, struct line *rule)
{
    size_t len = strcspn(line.at, ":") + 1;
    while (next_line(text, rule))
        if (rule->len > len && memcmp(rule->at, line.at, len) == 0 && !is_hook(*rule))
            return true;
    return false;
}

static bool in_order(const char *present, const char *wanted, struct line chain)
{
    struct line one, other;
    bool any, all = true;
    do {
        any = next_rule(&wanted, chain, &one);
        all = next_rule(&present, chain, &other) == any && (!any || same(one, other));
    } while (any && all);
    return all;
}

static void compare(FILE *out, const char *present, const char *wanted)
{
    struct line line;
    const char *at = wanted;
    while (next_line(&at, &line))
        if (!line_is_in(present, line, same))
            fprintf(out, "missing: %.*s\n", (int)line.len, line.at);
    at = present;
    while (next_line(&at, &line))
        if (!line_is_in(wanted, line, same))
            fprintf(out, "not one of these rules: %.*s\n", (int)line.len, line.at);
    at = wanted;
    while (ftell(out) == 0 && next_line(&at, &line))
        if (line_begins(line, "chain ") && !in_order(present, wanted, line))
            fprintf(out, "in the wrong order: the rules of the %.*s\n", (int)strcspn(line.at, ":"), line.at);
}

char *nft_complaints(const char *listed, const char *wanted)
{
    char *text = NULL, *present = NULL;
    size_t len, present_len;
    FILE *out = open_memstream(&text, &len), *flat = out ? open_memstream(&present, &present_len) : NULL;
    if (flat) {
        flatten(flat, listed, true, true);
        fclose(flat);
        if (*listed)
            compare(out, present, wanted);
        else
            fputs("missing: the table inet " NFT_TABLE "\n", out);
    }
    if (out)
        fclose(out);
    free(present);
    if (flat)
        return text;
    free(text);
    return NULL;
}
