/*
 * What rules cost: the same sessions under none, under those that ship, under 500 with lists of 10,000 entries; in
 * turns, in one engine. Prints TAP.
 *
 *   rules_main [--quick]
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"
#include "play.h"

enum { RULES = 500, ENTRIES = 10000, ROUNDS_MAX = 1000 };

struct set {
    const char *name;
    double goal; /* times the cost under none */
    struct conf *conf;
    uint32_t saved;
    uint32_t keywords;
    double times[ROUNDS_MAX]; /* the cost under none, by round */
    double median;            /* of these */
};

static struct conf *read_set(const char *path)
{
    char wrong[512];
    struct conf *conf = calloc(1, sizeof *conf);
    if (!conf)
        abort();
    conf_init(conf);
    if (conf_read(conf, path, wrong, sizeof wrong))
        return conf;
    printf("Bail out! %s\n", wrong);
    exit(1);
}

/* A file that goes with the process. */
static FILE *begin_file(char *path, size_t size)
{
    int fd = memfd_create("rules", 0);
    snprintf(path, size, "/proc/self/fd/%d", fd);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        abort();
    return file;
}

/* None of the rules matches, so all of them stand in the way of each session. */
static struct conf *many(void)
{
    static const char *const forms[] = {
        "rule \"r%d\" { on = recipient match = {\"own%d@example.com\"} action = reset }\n",
        "rule \"r%d\" { on = sender match = {\"own%d.example\"} action = reset }\n",
        "rule \"r%d\" { on = connect client = {\"192.0.2.0/24\"} after = %d action = reset }\n",
        "rule \"r%d\" { on = reply match = {\"599\"} after = %d action = reset }\n",
    };
    char addresses[64], networks[64], rules[64];
    FILE *list = begin_file(addresses, sizeof addresses);
    for (int i = 0; i < ENTRIES; i++)
        fprintf(list, i % 2 ? "user%d@example%d.org\n" : "example%d%d.org\n", i, i % 97);
    fflush(list);
    FILE *nets = begin_file(networks, sizeof networks);
    for (int i = 0; i < ENTRIES; i++)
        fprintf(nets, "172.%d.%d.%d/30\n", 16 + i / 4096, i / 64 % 64, i % 64 * 4);
    fflush(nets);
    FILE *file = begin_file(rules, sizeof rules);
    fprintf(file, "strip = {XEXCH50, X-LINK2STATE}\n");
    fprintf(file, "rule \"addresses\" { on = recipient match = {\"file:%s\"} action = reset }\n", addresses);
    fprintf(file, "rule \"networks\" { on = command match = {\"RCPT\"} client = {\"file:%s\"} action = reset }\n",
            networks);
    for (int i = 2; i < RULES; i++)
        fprintf(file, forms[i % 4], i, 1000 - i); /* a limit must not be above one before it */
    fflush(file);
    return read_set(rules);
}

static struct conf *none(void)
{
    struct conf *conf = calloc(1, sizeof *conf);
    if (!conf)
        abort();
    conf_init(conf);
    policy_init_observer(&conf->policy);
    return conf;
}

static double least_ns; /* a packet under none */

static void use(const struct set *set)
{
    if (!engine_use_policy(engine, &set->conf->policy))
        abort();
    saved = set->saved;
}

static void learn(struct set *sets, int count)
{
    for (int i = 0; i < count; i++) {
        use(&sets[i]);
        play_learn();
        sets[i].saved = saved;
    }
}

static void measure(struct set *sets, int count, uint32_t from, uint32_t rounds)
{
    for (uint32_t round = 0; round < rounds; round++) {
        double none_ns = 0;
        for (int i = 0; i < count; i++) {
            use(&sets[i]);
            double ns = play_ns(from + round, sets[i].keywords);
            none_ns = i == 0 ? ns : none_ns;
            clock_keep_least(&least_ns, none_ns);
            sets[i].times[round] = ns / none_ns;
        }
    }
    for (int i = 0; i < count; i++)
        sets[i].median = clock_median(sets[i].times, rounds);
}

static bool is_met(const struct set *sets, int i)
{
    return sets[i].median <= sets[i].goal;
}

static bool all_met(const struct set *sets, int count)
{
    bool all = true;
    for (int i = 1; i < count; i++)
        all = all && is_met(sets, i);
    return all;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 100 : ROUNDS_MAX;
    if (CLOCK_SANITIZED) {
        printf("1..0 # SKIP built with a sanitizer\n");
        return 0;
    }
    struct set sets[] = {
        {.name = "none", .conf = none()},
        {.name = "default", .goal = 1.1, .conf = read_set("rules/default.conf"), .keywords = PLAY_STRIPPED},
        {.name = "exchange-2003", .goal = 2, .conf = read_set("rules/exchange-2003.conf"), .keywords = PLAY_STRIPPED},
        {.name = "500 rules, 10,000 entries", .goal = 3, .conf = many(), .keywords = PLAY_STRIPPED},
    };
    enum { SETS = sizeof sets / sizeof sets[0] };
    fill_message();
    play_init(&sets[0].conf->policy);
    learn(sets, SETS);
    for (uint32_t turn = 0; clock_again(turn, all_met(sets, SETS)); turn++)
        measure(sets, SETS, 1 + turn * rounds, rounds);
    for (int i = 1; i < SETS; i++)
        printf("%sok %d - under %s a packet costs %.2f times what it does under none (%.0f ns; goal %.1f)\n",
               is_met(sets, i) ? "" : "not ", i, sets[i].name, sets[i].median, least_ns, sets[i].goal);
    printf("1..%d\n", SETS - 1);
    return all_met(sets, SETS) ? 0 : 1;
}
