#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/setup.h"
#include "sys/nft.h"
#include "sys/program.h"
#include "sys/tables.h"

bool setup_has_family(enum setup_family family)
{
    return family == SETUP_IPV4 || access("/proc/net/if_inet6", F_OK) == 0;
}

char *setup_saved(enum setup_family family, const char *variant, char *message, size_t message_size)
{
    char save[48];
    snprintf(save, sizeof save, "%s%s-save", setup_programs[family], variant);
    return tables_save(save, message, message_size);
}

static bool restore(const struct setup_place *place, const char *change, bool test, char *message, size_t message_size)
{
    char program[48];
    if (place->nftables)
        return nft_load(change, test, message, message_size);
    snprintf(program, sizeof program, "%s%s-restore", setup_programs[place->family], place->variant);
    return tables_restore(program, change, test, message, message_size);
}

void setup_place_name(const struct setup_place *place, char *name, size_t size)
{
    snprintf(name, size, "%s%s", place->nftables ? "nftables" : setup_programs[place->family],
             place->nftables ? "" : place->variant);
}

/* ---- where rules of ours are ---- */

/* Whether the plain names mean this variant. */
static bool is_plain(const char *variant)
{
    const char *argv[] = {"iptables", "--version", NULL};
    char message[CMD_MESSAGE_BYTES];
    char *version = program_run(argv, "", message, sizeof message);
    bool is_nft = version && strstr(version, "nf_tables");
    free(version);
    return *variant == '\0' || is_nft == (strcmp(variant, "-nft") == 0);
}

static bool is_excepted(const struct setup *except, const char *variant)
{
    if (!except || except->nftables)
        return false;
    return strcmp(except->variant, variant) == 0 || (!*except->variant && is_plain(variant));
}

static void add(struct setup_places *places, struct setup_place place, bool ours)
{
    places->readable = true;
    if (ours)
        places->at[places->count++] = place;
    else
        free(place.saved);
}

struct setup_places setup_find(const struct setup *except, char *message, size_t message_size)
{
    static const char *const listed[SETUP_FAMILIES] = {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"};
    bool named = program_exists("iptables-nft-save") || program_exists("iptables-legacy-save");
    const char *const variants[] = {named ? "-nft" : "", named ? "-legacy" : ""};
    struct setup_places places = {0};
    for (int i = 0; i < (named ? 2 : 1); i++)
        for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES && !is_excepted(except, variants[i]);
             family++) {
            /* Where the older variant was never used, asking would begin it. */
            if (strcmp(variants[i], "-legacy") == 0 && !tables_legacy_has(listed[family], "mangle"))
                continue;
            char *saved = setup_saved(family, variants[i], message, message_size);
            if (saved)
                add(&places, (struct setup_place){.family = family, .variant = variants[i], .saved = saved},
                    tables_has_ours(saved));
        }
    char *saved = !(except && except->nftables) && program_exists("nft") ? nft_list(message, message_size) : NULL;
    if (saved)
        add(&places, (struct setup_place){.nftables = true, .variant = "", .saved = saved}, *saved);
    return places;
}

void setup_forget(struct setup_places *places)
{
    for (unsigned i = 0; i < places->count; i++)
        free(places->at[i].saved);
    *places = (struct setup_places){0};
}

/* ---- what is replaced ---- */

/*
 * Rules that other ones are about to replace drop what they queued. With both in force a packet would be queued twice,
 * with none it would pass by the filter though something may have been promised; what is dropped is sent again.
 */
static bool hold_back(const struct setup_place *place, char *message, size_t message_size)
{
    static const char hold[] = "*mangle\n-F " TABLES_CHAIN "-QUEUE\n-A " TABLES_CHAIN "-QUEUE -j DROP\nCOMMIT\n";
    static const char nft_hold[] = "flush chain inet " NFT_TABLE " mail\nadd rule inet " NFT_TABLE " mail drop\n";
    if (place->nftables)
        return !strstr(place->saved, "chain mail {") || restore(place, nft_hold, false, message, message_size);
    return !strstr(place->saved, "\n:" TABLES_CHAIN "-QUEUE ") || restore(place, hold, false, message, message_size);
}

/* As it was when it was found. */
static bool put_back(const struct setup_place *place, char *message, size_t message_size)
{
    static const char again[] = "table inet " NFT_TABLE "\ndelete table inet " NFT_TABLE "\n";
    char *present = NULL, *ours = NULL, *change = NULL;
    if (place->nftables) {
        if (asprintf(&change, "%s%s", again, place->saved) < 0)
            change = NULL;
    } else {
        present = setup_saved(place->family, place->variant, message, message_size);
        ours = tables_ours(place->saved);
        change = present && ours ? tables_change(present, ours) : NULL;
    }
    bool good = change && restore(place, change, false, message, message_size);
    free(change);
    free(ours);
    free(present);
    return good;
}

static bool take_away(const struct setup_place *place, char *message, size_t message_size)
{
    char *change = place->nftables ? strdup("delete table inet " NFT_TABLE "\n") : tables_change(place->saved, "");
    bool good = change && restore(place, change, false, message, message_size);
    free(change);
    return good;
}

static void put_all_back(const struct setup_places *places, unsigned count)
{
    char message[CMD_MESSAGE_BYTES] = "no memory";
    for (unsigned i = 0; i < count; i++)
        if (!put_back(&places->at[i], message, sizeof message))
            cmd_complain(CMD_FAILED, "and what was changed before cannot be undone: %s", message);
}

static int take_all_away(const struct setup_places *places)
{
    char message[CMD_MESSAGE_BYTES] = "no memory", name[32];
    int code = CMD_GOOD;
    for (unsigned i = 0; i < places->count; i++) {
        setup_place_name(&places->at[i], name, sizeof name);
        if (take_away(&places->at[i], message, sizeof message))
            printf("%s: removed\n", name);
        else
            code = cmd_complain(CMD_FAILED, "%s", message);
    }
    return code;
}

/* ---- carrying it out ---- */

/* What is to become of the places of the variant that is wanted. */
struct work {
    struct setup_places places;
    char *changes[SETUP_FAMILIES]; /* of each */
};

static bool prepare_tables(struct work *work, const struct setup *setup, enum setup_family family, char *message,
                           size_t message_size)
{
    struct setup_place place = {.family = family, .variant = setup->variant};
    place.saved = setup_saved(family, setup->variant, message, message_size);
    if (!place.saved)
        return false;
    char *ours = setup_rules(setup, family);
    char *change = ours ? tables_change(place.saved, ours) : NULL;
    free(ours);
    work->changes[work->places.count] = change;
    work->places.at[work->places.count++] = place;
    if (!change)
        snprintf(message, message_size, "no memory");
    return change != NULL;
}

static bool prepare(struct work *work, const struct setup *setup, char *message, size_t message_size)
{
    bool good = true;
    if (setup->nftables) {
        char *saved = nft_list(message, message_size);
        work->places.at[0] = (struct setup_place){.nftables = true, .variant = "", .saved = saved};
        work->places.count = saved != NULL;
        work->changes[0] = saved ? setup_nftables(setup) : NULL;
        if (saved && !work->changes[0])
            snprintf(message, message_size, "no memory");
        return work->changes[0] != NULL;
    }
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES && good; family++)
        good = !setup_has_family(family) || prepare_tables(work, setup, family, message, message_size);
    return good;
}

/* All is checked before anything is changed. True where all of it holds. */
static bool change_all(const struct work *work, const struct setup_places *others, char *message, size_t message_size)
{
    unsigned held = 0, done = 0;
    for (unsigned i = 0; i < work->places.count; i++)
        if (!restore(&work->places.at[i], work->changes[i], true, message, message_size))
            return false;
    bool good = true;
    while (good && held < others->count)
        good = hold_back(&others->at[held++], message, message_size);
    while (good && done < work->places.count)
        good = restore(&work->places.at[done], work->changes[done], false, message, message_size) && ++done;
    if (good)
        return true;
    put_all_back(&work->places, done);
    put_all_back(others, held);
    return false;
}

const char *setup_advice(const struct setup *setup, const char *message)
{
    return setup->nftables && strstr(message, "No such file")
               ? " (a kernel without CONFIG_NFT_QUEUE says so: choose --variant iptables-nft)"
               : "";
}

int setup_apply(const struct setup *setup)
{
    char message[CMD_MESSAGE_BYTES] = "no memory", name[32];
    struct work work = {0};
    struct setup_places others = {0};
    bool good = prepare(&work, setup, message, sizeof message);
    if (good)
        others = setup_find(setup, name, sizeof name);
    good = good && change_all(&work, &others, message, sizeof message);
    if (!good)
        cmd_complain(CMD_FAILED, "nothing is changed: %s%s", message, setup_advice(setup, message));
    for (unsigned i = 0; i < work.places.count; i++) {
        setup_place_name(&work.places.at[i], name, sizeof name);
        if (good)
            printf("%s: applied\n", name);
        free(work.changes[i]);
    }
    int code = good ? take_all_away(&others) : CMD_FAILED;
    setup_forget(&others);
    setup_forget(&work.places);
    return code;
}

int setup_remove(void)
{
    char message[CMD_MESSAGE_BYTES] = "neither iptables nor nft is here";
    struct setup_places places = setup_find(NULL, message, sizeof message);
    int code = CMD_GOOD;
    if (!places.readable)
        code = cmd_complain(CMD_FAILED, "%s", message);
    else if (places.count == 0)
        puts("there is nothing to remove");
    else
        code = take_all_away(&places);
    setup_forget(&places);
    return code;
}
