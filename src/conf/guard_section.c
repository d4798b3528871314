#include "conf/guard_section.h"

#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/keys.h"

static bool wrong(cfg_t *cfg, const char *text)
{
    complain(cfg, "%s", text);
    return false;
}

/* Which replies may put mail off: those to the envelope and to the message. */
static uint64_t verbs(void)
{
    static const enum smtp_verb list[] = {SMTP_VERB_MAIL, SMTP_VERB_RCPT,        SMTP_VERB_DATA,
                                          SMTP_VERB_BDAT, SMTP_VERB_END_OF_DATA, SMTP_VERB_BDAT_LAST};
    uint64_t set = 0;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        set |= UINT64_C(1) << list[i];
    return set;
}

static bool take_marks(struct rule_draft *draft, const char *key, bool except)
{
    for (unsigned i = 0; i < cfg_size(draft->cfg, key); i++)
        if (!entries_take_word(draft, cfg_getnstr(draft->cfg, key, i), except))
            return false;
    return true;
}

bool guard_section_take(cfg_t *cfg, struct conf *conf)
{
    struct rule_draft draft = {.conf = conf, .cfg = cfg, .rule = rule_of("guard", RULE_ON_REPLY)};
    if (!complain_section(cfg))
        return false;
    key_store("guard", cfg, conf);
    if (conf->policy.guard != RULES_MAX)
        return wrong(cfg, "a second section 'guard'; write all servers into one");
    if (cfg_size(cfg, "servers") == 0)
        return wrong(cfg, "guard: 'servers' is missing: which of our servers lose mail, for example "
                          "servers = {\"192.0.2.25/32\"}");
    if (cfg_size(cfg, "marks") == 0)
        return wrong(cfg, "guard: 'marks' is missing; the list that ships is marks = {\"file:greylist-marks\"}");
    draft.rule.directions = 1u << POLICY_OUTBOUND;
    draft.rule.verbs = verbs();
    draft.rule.codes.count = 1;
    draft.rule.codes.ranges[0].first = 400;
    draft.rule.codes.ranges[0].last = 499;
    draft.rule.action.delay_ms = conf->guard.delay_ms;
    if (!entries_take_networks(&draft, "servers", POLICY_CLIENT, false) ||
        !entries_take_networks(&draft, "except-peers", POLICY_PEER, true) || !take_marks(&draft, "marks", false) ||
        !take_marks(&draft, "except-marks", true))
        return false;
    if (draft.rule.match.count == 0)
        return wrong(cfg, "guard: no mark of a greylist is in the lists of 'marks'");
    return policy_set_guard(&conf->policy, &draft.rule) || wrong(cfg, "more than 512 rules");
}
