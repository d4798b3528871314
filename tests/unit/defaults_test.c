/*
 * What holds without a word about it is written in three places: the C settings, `fallback` in conf/keys, and
 * rules/default.conf. All say the same.
 */
#include "conf/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "conf/conf.h"

#define DEFAULTS "rules/default.conf"

enum { LINE_BYTES = 256 };

/* ---- the C settings and the fallbacks ---- */

/* Values that no default is, so that one which is not set is seen. */
static void spoil(struct conf *conf)
{
    for (const struct key *key = keys; key->name; key++)
        if (key->fallback)
            for (size_t i = 0; i < key->width; i++)
                ((uint8_t *)conf)[key->at + i] ^= 0x55;
    conf->engine.ports_count = 0;
    conf->engine.flow_blocks_max = conf->engine.blocks_max = 0;
    conf->engine.pass_on_overload = !conf->engine.pass_on_overload;
    conf->policy.defers_without_store = !conf->policy.defers_without_store;
    conf->policy.strip.count = 0;
    conf->store[0] = '\0';
    conf->event_types = 0;
}

/* A file without a key that has a fallback. The section guard holds only where it is written, with what it needs. */
static struct conf *read_fallbacks(void)
{
    static const char text[] = "protected = {192.0.2.0/24}\nguard { servers = {192.0.2.1} marks = {greylist} }\n";
    char path[64], message[512];
    struct conf *conf = calloc(1, sizeof *conf);
    int fd = memfd_create("fallbacks", 0);
    assert_true(conf && fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    conf_init(conf);
    spoil(conf);
    if (!conf_read(conf, path, message, sizeof message))
        fail_msg("%s", message);
    close(fd);
    return conf;
}

static bool same_ports(const struct conf *one, const struct conf *other)
{
    return one->engine.ports_count == other->engine.ports_count &&
           memcmp(one->engine.ports, other->engine.ports, one->engine.ports_count * sizeof one->engine.ports[0]) == 0;
}

static bool same_keywords(const struct conf *one, const struct conf *other)
{
    const struct smtp_keyword_set *a = &one->policy.strip, *b = &other->policy.strip;
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!span_equal(a->names[i], b->names[i]))
            return false;
    return a->count == b->count;
}

static bool same_event_types(const struct conf *one, const struct conf *other)
{
    return one->event_types == other->event_types;
}

static bool same_flow_memory(const struct conf *one, const struct conf *other)
{
    return one->engine.flow_blocks_max == other->engine.flow_blocks_max;
}

static bool same_memory(const struct conf *one, const struct conf *other)
{
    return one->engine.blocks_max == other->engine.blocks_max;
}

static bool same_verdicts(const struct conf *one, const struct conf *other)
{
    for (int i = 0; i < SMTP_ANOMALIES; i++)
        if (one->policy.verdicts[i].kind != other->policy.verdicts[i].kind)
            return false;
    return true;
}

static bool same_lost_store(const struct conf *one, const struct conf *other)
{
    return one->policy.defers_without_store == other->policy.defers_without_store;
}

static bool same_overload(const struct conf *one, const struct conf *other)
{
    return one->engine.pass_on_overload == other->engine.pass_on_overload;
}

static bool same_store(const struct conf *one, const struct conf *other)
{
    return strcmp(one->store, other->store) == 0;
}

/* Keys that code of their own takes. */
static const struct {
    const char *name;
    bool (*same)(const struct conf *one, const struct conf *other);
} taken[] = {
    {"ports", same_ports},
    {"strip", same_keywords},
    {"flow-memory", same_flow_memory},
    {"memory", same_memory},
    {"on-lost-pairing", same_verdicts},
    {"on-lost-store", same_lost_store},
    {"on-overload", same_overload},
    {"store", same_store},
    {"event-types", same_event_types},
};

static bool same(const struct key *key, const struct conf *one, const struct conf *other)
{
    if (key->width)
        return memcmp((const uint8_t *)one + key->at, (const uint8_t *)other + key->at, key->width) == 0;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strcmp(key->name, taken[i].name) == 0)
            return taken[i].same(one, other);
    fail_msg("%s has a fallback, and this test does not know where its value is kept", key->name);
    return false;
}

static void test_fallbacks_are_the_settings_of_c(void **state)
{
    (void)state;
    struct conf *settings = calloc(1, sizeof *settings), *fallbacks = read_fallbacks();
    size_t count = 0;
    assert_non_null(settings);
    conf_init(settings);
    for (const struct key *key = keys; key->name; key++) {
        if (!key->fallback || !one_row(key->name))
            continue;
        count++;
        if (!same(key, settings, fallbacks))
            fail_msg("%s %s: its fallback %s is not what the settings in C are", key->section, key->name,
                     key->fallback);
    }
    assert_true(count > 0);
    conf_free(settings);
    conf_free(fallbacks);
    free(settings);
    free(fallbacks);
}

/* ---- the file that ships ---- */

/* A list is the same with and without quotes and blanks. */
static void plain(const char *text, size_t len, char out[LINE_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < len && used + 1 < LINE_BYTES; i++)
        if (!strchr(" \"\n", text[i]))
            out[used++] = text[i];
    out[used] = '\0';
}

/* The key that a line sets, or shows as it would be set behind a hash; its value as it is written. NULL if none. */
static const struct key *key_of(const char *line, const char *section, char value[LINE_BYTES])
{
    char name[32];
    int at = 0;
    if (sscanf(line, "%31[a-z-] = %n", name, &at) != 1 || at == 0)
        return NULL;
    plain(line + at, strcspn(line + at, "#"), value);
    return key_find(section, name);
}

/* Follow which section a line is in: one that opens and closes in the same line leaves none open. */
static void follow(const char *line, char section[32])
{
    if (strchr(line, '{') && !strchr(line, '}'))
        (void)sscanf(line, "%31[a-z]", section);
    else if (line[0] == '}')
        section[0] = '\0';
}

static void test_the_file_that_ships_has_the_fallbacks(void **state)
{
    (void)state;
    char line[LINE_BYTES], written[LINE_BYTES], fallback[LINE_BYTES], section[32] = "";
    size_t count = 0;
    FILE *file = fopen(DEFAULTS, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        const char *text = line + strspn(line, "# ");
        const struct key *key = key_of(text, section, written);
        follow(text, section);
        if (!key || !key->fallback || !one_row(key->name))
            continue;
        count++;
        plain(key->fallback, strlen(key->fallback), fallback);
        if (strcmp(written, fallback) != 0)
            fail_msg(DEFAULTS ": %s = %s, and without a file it is %s", key->name, written, fallback);
    }
    assert_false(ferror(file));
    assert_true(count > 0);
    assert_int_equal(fclose(file), 0);
}

#define UNEDITED "unedited" /* reported, and the session is edited no more */

static const char *verdict_name(const struct policy *policy, enum smtp_anomaly anomaly)
{
    enum smtp_action_kind kind = policy->verdicts[anomaly].kind;
    if (kind == SMTP_ACTION_PASS)
        return smtp_anomaly_loses_pairing(anomaly) ? UNEDITED : "report";
    return kind == SMTP_ACTION_CLOSE ? "close" : kind == SMTP_ACTION_REFUSE ? "refuse" : "unknown to this test";
}

/* Its table of anomalies: "#   NAME   VERDICT   words", and behind on-lost-pairing names alone. */
static void test_the_file_that_ships_has_the_verdicts_on_anomalies(void **state)
{
    (void)state;
    char line[LINE_BYTES], name[64], verdict[16], found[SMTP_ANOMALIES][16] = {""};
    static struct policy policy;
    bool unedited = false;
    FILE *file = fopen(DEFAULTS, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        bool has_verdict = sscanf(line, "#   %63s %15s", name, verdict) == 2;
        unedited = unedited || strstr(line, "(on-lost-pairing)");
        for (int i = 1; i < SMTP_ANOMALIES; i++) {
            const char *anomaly = smtp_anomaly_name((enum smtp_anomaly)i);
            if (unedited && strstr(line, anomaly))
                strcpy(found[i], UNEDITED);
            else if (!unedited && has_verdict && strcmp(name, anomaly) == 0)
                strcpy(found[i], verdict);
        }
    }
    assert_false(ferror(file));
    assert_int_equal(fclose(file), 0);
    policy_init_default(&policy);
    for (int i = 1; i < SMTP_ANOMALIES; i++) {
        const char *expected = verdict_name(&policy, (enum smtp_anomaly)i);
        if (strcmp(found[i], expected) != 0)
            fail_msg(DEFAULTS ": %s: '%s', and without a file it is '%s'", smtp_anomaly_name((enum smtp_anomaly)i),
                     found[i], expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fallbacks_are_the_settings_of_c),
        cmocka_unit_test(test_the_file_that_ships_has_the_fallbacks),
        cmocka_unit_test(test_the_file_that_ships_has_the_verdicts_on_anomalies),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("defaults", tests, NULL, NULL);
}
