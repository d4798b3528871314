/*
 * Who loses mail to a greylist, who waits how long, and how much spam stays out: ours beside the published policies of
 * spamd and postgrey.
 *
 *   population_main [MAILS [SEED]]    the table, and whether the goals are met, in TAP; MAILS of each side
 *   population_main --grid [MAILS]    what other settings would do
 *   population_main --ideas [MAILS]   what each idea contributes: all of them, then without one
 *
 * Exit code: 0 all goals met, 1 one is not, 2 usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "population.h"

enum { DEFAULT_MAILS = 20000, MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static struct population_policy ours(void)
{
    return (struct population_policy){.name = "postern", .settings = greylist_settings_default()};
}

/* postgrey(8): 300 s, 2 days, 35 days, /24, a client allowed after 5 passes an hour apart; inside the server. */
static struct population_policy postgrey(void)
{
    struct population_policy policy = {
        .name = "postgrey", .settings = greylist_settings_default(), .behind_tls = true, .counts_unread = true};
    policy.settings.delay_s = 300;
    policy.settings.retry_window_s = 2 * DAY;
    policy.settings.lifetime_s = policy.settings.client_lifetime_s = 35 * DAY;
    policy.settings.client_passes = 5;
    policy.settings.pass_spacing_s = HOUR;
    policy.settings.answer_lifetime_s = 0;
    policy.settings.stutter_ms = 0; /* nobody hangs up */
    policy.settings.patience.attempts = 0;
    policy.settings.pools = false;
    return policy;
}

/* spamd(8): 25 min, 4 h, 36 days; an address that has passed passes for all; 10 s of stuttering, of no consequence. */
static struct population_policy spamd(void)
{
    struct population_policy policy = postgrey();
    policy.name = "spamd";
    policy.settings.delay_s = 25 * MINUTE;
    policy.settings.retry_window_s = 4 * HOUR;
    policy.settings.lifetime_s = policy.settings.client_lifetime_s = 36 * DAY;
    policy.settings.client_passes = 1;
    policy.settings.pass_spacing_s = 0;
    policy.settings.prefix_v4 = 32;
    policy.settings.prefix_v6 = 128;
    return policy;
}

/* ---- the table ---- */

static double stopped(const struct kind_result *result)
{
    return 100.0 * (result->mails - result->came) / result->mails;
}

static void print_row(const char *name, bool spam, const struct kind_result *const results[3])
{
    printf("# %-30s %6u", name, results[0]->mails);
    for (int i = 0; i < 3; i++) {
        if (spam)
            printf(" | %8.2f %%             ", stopped(results[i]));
        else
            printf(" | %5u %7.0f %8.0f", results[i]->lost, results[i]->median_s, results[i]->p95_s);
    }
    printf("\n");
}

static void print_table(const struct population_policy policies[3], const struct population_result results[3])
{
    printf("# %-30s %6s", "", "mails");
    for (int i = 0; i < 3; i++)
        printf(" | %-22s", policies[i].name);
    printf("\n# %-30s %6s", "legitimate", "");
    for (int i = 0; i < 3; i++)
        printf(" | %5s %7s %8s", "lost", "median", "95 % (s)");
    printf("\n");
    for (uint32_t kind = 0; kind < sender_kind_count; kind++) {
        const struct kind_result *const row[3] = {&results[0].kinds[kind], &results[1].kinds[kind],
                                                  &results[2].kinds[kind]};
        print_row(sender_kinds[kind].name, sender_kinds[kind].spam, row);
    }
    const struct kind_result *const all[3] = {&results[0].legitimate, &results[1].legitimate, &results[2].legitimate};
    const struct kind_result *const spam[3] = {&results[0].spam, &results[1].spam, &results[2].spam};
    print_row("all legitimate", false, all);
    print_row("spam stopped", true, spam);
}

/* ---- goals ---- */

static int failed;

static void goal(int number, bool met, const char *what)
{
    printf("%sok %d - %s\n", met ? "" : "not ", number, what);
    failed += !met;
}

static int compare(uint32_t mails, uint64_t seed)
{
    const struct population_policy policies[3] = {ours(), postgrey(), spamd()};
    struct population_result results[3];
    for (int i = 0; i < 3; i++)
        results[i] = population_run(&policies[i], mails, seed);
    print_table(policies, results);
    printf("1..4\n");
    goal(1, results[0].legitimate.lost == 0, "no mail of a legitimate sender is lost");
    goal(2, results[0].spam.came <= results[1].spam.came, "at least as much spam is stopped as by postgrey's policy");
    goal(3, results[0].legitimate.median_s <= results[1].legitimate.median_s,
         "the median delay of first contacts is not above postgrey's");
    goal(4, results[1].legitimate.lost > 0 && results[2].legitimate.lost > 0,
         "the simulated senders are such that other policies lose mail");
    for (int i = 0; i < 3; i++)
        population_free(&results[i]);
    return failed ? 1 : 0;
}

/* ---- other settings ---- */

static void print_variant(const struct population_policy *policy, uint32_t mails)
{
    uint32_t lost_alike = 0;
    struct population_result result = population_run(policy, mails, 1);
    for (uint32_t kind = 0; kind < sender_kind_count; kind++)
        lost_alike += sender_kinds[kind].burst ? result.kinds[kind].lost : 0;
    const struct greylist_settings *settings = &policy->settings;
    printf("%5u %8u %7u %6u %7u %7u %6u | %5u %7u %7.0f %8.0f | %7.2f %%\n", settings->delay_s,
           settings->patience.attempts, settings->stutter_ms / 1000, settings->patience.total_ms / 1000,
           settings->patience.uneven_times, settings->patience.at_once, settings->pools, result.legitimate.lost,
           lost_alike, result.legitimate.median_s, result.legitimate.p95_s, stopped(&result.spam));
    population_free(&result);
}

/* Refusals count that took two thirds of what they should: the engine ends some early, where room is short. */
static struct population_policy variant(uint32_t delay_s, uint32_t attempts, uint32_t stutter_s)
{
    struct population_policy policy = ours();
    policy.settings.delay_s = delay_s;
    policy.settings.stutter_ms = stutter_s * 1000;
    policy.settings.patience.attempts = attempts;
    policy.settings.patience.wait_ms = stutter_s * 1000 * 2 / 3;
    policy.settings.patience.total_ms = attempts * stutter_s * 1000 * 5 / 6;
    return policy;
}

static void try_delays(uint32_t mails)
{
    static const uint32_t delays_s[] = {240, 300, 330, 360, 390, 420, 450, 480, 600};
    static const uint32_t stutters_s[] = {10, 15, 20, 25, 30, 45};
    for (size_t s = 0; s < sizeof stutters_s / sizeof stutters_s[0]; s++)
        for (size_t d = 0; d < sizeof delays_s / sizeof delays_s[0]; d++) {
            struct population_policy policy = variant(delays_s[d], ours().settings.patience.attempts, stutters_s[s]);
            print_variant(&policy, mails);
        }
}

static void try_patience(uint32_t mails)
{
    static const uint32_t times[] = {1, 2, 3, 4, 6, 10};
    const struct greylist_settings defaults = greylist_settings_default();
    for (uint32_t attempts = 0; attempts <= 4; attempts++) {
        struct population_policy policy = variant(defaults.delay_s, attempts, defaults.stutter_ms / 1000);
        print_variant(&policy, mails);
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct population_policy policy = ours();
        policy.settings.patience.uneven_times = times[i];
        print_variant(&policy, mails);
    }
    for (uint32_t at_once = 1; at_once <= 6; at_once++) {
        struct population_policy policy = ours();
        policy.settings.patience.at_once = at_once;
        print_variant(&policy, mails);
    }
    struct population_policy without_pools = ours();
    without_pools.settings.pools = false;
    print_variant(&without_pools, mails);
}

static int grid(uint32_t mails)
{
    printf("delay attempts stutter  total  uneven at once  pools |  lost (alike)  median     95 %% | spam stopped\n");
    try_delays(mails);
    try_patience(mails);
    return 0;
}

static void print_idea(const char *name, const struct population_policy *policy, uint32_t mails)
{
    struct population_result result = population_run(policy, mails, 1);
    printf("%-44s | %5u | %7.0f | %8.0f | %7.2f %%\n", name, result.legitimate.lost, result.legitimate.median_s,
           result.legitimate.p95_s, stopped(&result.spam));
    population_free(&result);
}

static int ideas(uint32_t mails)
{
    struct population_policy policy = ours();
    printf("%-44s |  lost |  median |     95 %% | spam stopped\n", "");
    print_idea("all", &policy, mails);
    policy.defers_tls = true;
    print_idea("strangers who encrypt are put off", &policy, mails);
    policy = ours();
    policy.settings.patience.attempts = 0;
    print_idea("patience with refusals is of no use", &policy, mails);
    policy = ours();
    policy.settings.pools = false;
    print_idea("no pools", &policy, mails);
    policy = ours();
    policy.settings.answer_lifetime_s = 0;
    print_idea("answers are not known", &policy, mails);
    policy = ours();
    policy.settings.client_passes = 0;
    print_idea("networks are not known", &policy, mails);
    policy = ours();
    policy.settings.hung_up_delay_s = policy.settings.delay_s;
    print_idea("who hangs up waits no longer", &policy, mails);
    return 0;
}

int main(int argc, char **argv)
{
    bool shows_ideas = argc > 1 && strcmp(argv[1], "--ideas") == 0;
    bool grids = argc > 1 && strcmp(argv[1], "--grid") == 0;
    int at = grids || shows_ideas ? 2 : 1;
    uint32_t mails = argc > at ? (uint32_t)strtoul(argv[at], NULL, 10) : DEFAULT_MAILS;
    uint64_t seed = argc > at + 1 ? strtoull(argv[at + 1], NULL, 10) : 1;
    if (mails == 0 || argc > 3) {
        fprintf(stderr, "usage: population_main [MAILS [SEED]] | --grid [MAILS] | --ideas [MAILS]\n");
        return 2;
    }
    if (shows_ideas)
        return ideas(mails);
    return grids ? grid(mails) : compare(mails, seed);
}
