#include "conf/variant_section.h"

#include <string.h>

#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/reply_line.h"
#include "conf/units.h"

enum { NAME_BYTES_MAX = 64 };

static bool wrong(cfg_t *cfg, const char *text)
{
    complain(cfg, "greylist \"%.64s\": %s", cfg_title(cfg), text);
    return false;
}

/* In milliseconds; 0 where it is not set. */
static uint32_t duration_of(cfg_t *cfg, const char *key)
{
    uint64_t ms = 0;
    const char *text = cfg_getstr(cfg, key), *instead;
    return text && units_duration(text, &ms, &instead) ? (uint32_t)ms : 0;
}

bool variant_section_take(cfg_t *cfg, struct conf *conf)
{
    if (conf->variant_count == GREYLIST_VARIANTS_MAX)
        return wrong(cfg, "more than 32 sections of the greylist");
    struct conf_variant *says = &conf->variants_say[conf->variant_count];
    struct greylist_variant *variant = &conf->variants[conf->variant_count];
    char why[REPLY_LINE_WHY_BYTES];
    *says = (struct conf_variant){.name = policy_keep(&conf->policy, span_of(cfg_title(cfg)))};
    *variant = (struct greylist_variant){0};
    if (!says->name)
        return wrong(cfg, "the rules have more text than there is room for");
    conf->variant_count++; /* rules find it, whatever else is wrong with it */
    if (!complain_section(cfg))
        return false;
    if (strlen(cfg_title(cfg)) > NAME_BYTES_MAX || strpbrk(cfg_title(cfg), "\r\n") || !*cfg_title(cfg))
        return wrong(cfg, "a name has 1 to 64 characters, on one line");
    *variant = (struct greylist_variant){
        .delay_s = duration_of(cfg, "delay") / 1000,
        .hung_up_delay_s = duration_of(cfg, "hung-up-delay") / 1000,
    };
    says->stutter_ms = duration_of(cfg, "stutter");
    if (cfg_getstr(cfg, "text") || cfg_getstr(cfg, "code")) {
        const char *line = reply_line(&conf->policy, cfg_getstr(cfg, "code"), cfg_getstr(cfg, "text"), "450", why);
        if (!line)
            return wrong(cfg, why);
        if (line[0] != '4')
            return wrong(cfg, "the greylist puts off, it does not refuse: write a code from 400 to 499");
        says->line = line;
    }
    for (unsigned i = 0; i < cfg_size(cfg, "opt-out"); i++)
        if (!entries_take_opt_out(conf, variant, cfg, cfg_getnstr(cfg, "opt-out", i)))
            return false;
    return greylist_exempt_seal(&variant->opt_out, &conf->policy.arena) ||
           wrong(cfg, "the rules have more text than there is room for");
}

uint8_t variant_section_find(const struct conf *conf, const char *name)
{
    for (uint32_t i = 0; i < conf->variant_count; i++)
        if (strcmp(conf->variants_say[i].name, name) == 0)
            return (uint8_t)(i + 1);
    return 0;
}

void variant_sections_settle(struct conf *conf)
{
    for (uint32_t i = 0; i < conf->variant_count; i++) {
        struct greylist_variant *variant = &conf->variants[i];
        if (variant->delay_s == 0)
            variant->delay_s = conf->greylist.delay_s;
        if (variant->hung_up_delay_s == 0)
            variant->hung_up_delay_s = conf->greylist.hung_up_delay_s;
    }
}
