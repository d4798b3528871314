#include "sys/tables.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/lines.h"
#include "sys/program.h"

char *tables_save(const char *save, char *message, size_t message_size)
{
    const char *argv[] = {save, "-t", "mangle", NULL};
    return program_run(argv, "", message, message_size);
}

bool tables_restore(const char *restore, const char *change, bool test, char *message, size_t message_size)
{
    const char *argv[] = {restore, "--noflush", "--wait=10", test ? "--test" : NULL, NULL};
    char *printed = program_run(argv, change, message, message_size);
    free(printed);
    return printed != NULL;
}

/* ---- lines ---- */

/* ":POSTERN..." or "-A POSTERN...". */
static bool is_chain(struct line line)
{
    return line_begins(line, ":" TABLES_CHAIN " ") || line_begins(line, ":" TABLES_CHAIN "-");
}

static bool is_rule(struct line line)
{
    return line_begins(line, "-A " TABLES_CHAIN " ") || line_begins(line, "-A " TABLES_CHAIN "-");
}

/* A rule of another chain whose last words jump to one of ours. */
static bool is_jump(struct line line)
{
    static const char jump[] = " -j " TABLES_CHAIN;
    if (!line_begins(line, "-A ") || is_rule(line))
        return false;
    const char *at = memmem(line.at, line.len, jump, sizeof jump - 1);
    if (!at)
        return false;
    const char *behind = at + sizeof jump - 1;
    return behind == line.at + line.len || *behind == '-' || *behind == ' ';
}

static bool same_chain(struct line one, struct line other)
{
    size_t len = strcspn(one.at, " ");
    return is_chain(one) && is_chain(other) && strcspn(other.at, " ") == len && memcmp(one.at, other.at, len) == 0;
}

bool tables_has_ours(const char *saved)
{
    for (struct line line; line_next(&saved, &line);)
        if (is_chain(line) || is_jump(line))
            return true;
    return false;
}

char *tables_ours(const char *saved)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    for (struct line line; line_next(&saved, &line);) {
        if (is_chain(line) || is_rule(line))
            fprintf(out, "%.*s\n", (int)line.len, line.at);
        else if (is_jump(line))
            fprintf(out, "-I%.*s\n", (int)line.len - 2, line.at + 2);
    }
    fclose(out);
    return text;
}

char *tables_change(const char *saved, const char *ours)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    fputs("*mangle\n", out);
    const char *at = saved;
    for (struct line line; line_next(&at, &line);)
        if (is_jump(line))
            fprintf(out, "-D%.*s\n", (int)line.len - 2, line.at + 2);
    /* All are emptied before one is removed, for they jump to each other. */
    at = saved;
    for (struct line line; line_next(&at, &line);)
        if (is_chain(line))
            fprintf(out, "-F %.*s\n", (int)strcspn(line.at, " ") - 1, line.at + 1);
    at = saved;
    for (struct line line; line_next(&at, &line);)
        if (is_chain(line) && !line_is_in(ours, line, same_chain))
            fprintf(out, "-X %.*s\n", (int)strcspn(line.at, " ") - 1, line.at + 1);
    fputs(ours, out);
    fputs("COMMIT\n", out);
    fclose(out);
    return text;
}

/* ---- what is not as it ought to be ---- */

/* Whether a rule that shall hold ("-A", "-I") and one that was saved ("-A") are the same. */
static bool same_rule(struct line ours, struct line saved)
{
    return ours.len == saved.len && line_begins(ours, "-") && line_begins(saved, "-A ") &&
           memcmp(ours.at + 2, saved.at + 2, ours.len - 2) == 0;
}

static bool same_saved(struct line saved, struct line ours)
{
    return same_rule(ours, saved);
}

/* The next rule of the chain that `chain` (":NAME ...") declares. */
static bool next_rule(const char **text, struct line chain, struct line *rule)
{
    size_t len = strcspn(chain.at, " ") - 1;
    while (line_next(text, rule))
        if (line_begins(*rule, "-A ") && rule->len > 3 + len && memcmp(rule->at + 3, chain.at + 1, len) == 0 &&
            rule->at[3 + len] == ' ')
            return true;
    return false;
}

static bool in_order(const char *saved, const char *ours, struct line chain)
{
    struct line one, other;
    bool any, all = true;
    do {
        any = next_rule(&ours, chain, &one);
        all = next_rule(&saved, chain, &other) == any && (!any || same_rule(one, other));
    } while (any && all);
    return all;
}

/* Packets of TCP that match this rule of a built-in chain may never come to the next one. */
static bool may_take(struct line rule)
{
    static const char *const targets[] = {"ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE"};
    char text[1024];
    snprintf(text, sizeof text, "%.*s ", (int)rule.len, rule.at);
    const char *protocol = strstr(text, " -p "), *target = strstr(text, " -j ");
    if (protocol && strncmp(protocol, " -p tcp ", 8) != 0 && strncmp(protocol - 2, " !", 2) != 0)
        return false;
    for (size_t i = 0; target && i < sizeof targets / sizeof targets[0]; i++)
        if (strncmp(target + 4, targets[i], strlen(targets[i])) == 0 && target[4 + strlen(targets[i])] == ' ')
            return true;
    return strstr(text, " -g ") != NULL;
}

/* The rules of a built-in chain that stand before a jump of ours, and may take its packets. */
static void tell_before(FILE *out, const char *saved, struct line jump)
{
    size_t len = 3 + strcspn(jump.at + 3, " ") + 1; /* "-I FORWARD " */
    for (struct line line; line_next(&saved, &line) && !same_rule(jump, line);)
        if (line_begins(line, "-A ") && line.len > len && memcmp(line.at + 3, jump.at + 3, len - 3) == 0 &&
            may_take(line))
            fprintf(out, "in the wrong order: this rule stands before ours: %.*s\n", (int)line.len, line.at);
}

static void tell_missing(FILE *out, const char *saved, struct line line)
{
    char chain[64];
    snprintf(chain, sizeof chain, ":%.*s ", (int)strcspn(line.at + 3, " "), line.at + 3);
    struct line declared = {chain, strlen(chain)};
    if (is_chain(line) && !line_is_in(saved, line, same_chain))
        fprintf(out, "missing: the chain %.*s\n", (int)strcspn(line.at + 1, " "), line.at + 1);
    else if (((is_rule(line) && line_is_in(saved, declared, same_chain)) || line_begins(line, "-I ")) &&
             !line_is_in(saved, line, same_rule))
        fprintf(out, "missing: %.*s\n", (int)line.len, line.at);
    else if (line_begins(line, "-I "))
        tell_before(out, saved, line);
}

char *tables_complaints(const char *saved, const char *ours)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    const char *at = ours;
    for (struct line line; line_next(&at, &line);)
        tell_missing(out, saved, line);
    at = saved;
    for (struct line line; line_next(&at, &line);)
        if ((is_rule(line) || is_jump(line)) && !line_is_in(ours, line, same_saved))
            fprintf(out, "not one of these rules: %.*s\n", (int)line.len, line.at);
    at = ours;
    for (struct line line; ftell(out) == 0 && line_next(&at, &line);)
        if (is_chain(line) && !in_order(saved, ours, line))
            fprintf(out, "in the wrong order: the rules of the chain %.*s\n", (int)strcspn(line.at + 1, " "),
                    line.at + 1);
    fclose(out);
    return text;
}

bool tables_legacy_has(const char *names, const char *table)
{
    char line[64];
    bool found = false;
    FILE *file = fopen(names, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        found = strcmp(line, table) == 0;
    }
    if (file)
        fclose(file);
    return found;
}
