/* Mails that were cut for what they contain, whose next attempts are refused: among what the greylist remembers. */
#include <inttypes.h>

#include "base/hex.h"
#include "cmd/greylist.h"
#include "greylist/export.h"
#include "report/json.h"
#include "report/text.h"

struct cuts {
    const struct greylist *greylist;
    const struct greylist_attempt *attempt;
    greylist_visit_cut *visit;
    void *context;
};

/* Of a mail without a size it is known from which network it came. */
static bool may_bring(const struct refused *refused, const struct greylist_attempt *attempt)
{
    struct network client = network_of(attempt->ip_version, attempt->client, attempt->ip_version == 4 ? 32 : 128);
    return refused->size || attempt->ip_version == 0 || network_contains(&refused->network, &client);
}

static bool is_about(const struct cuts *cuts, const struct greylist_cut *cut)
{
    struct store_key key;
    const struct greylist_attempt *attempt = cuts->attempt;
    if (!attempt)
        return true;
    if (attempt->recipient.ptr) {
        refused_key(cuts->greylist->keeper.secret, &cut->refused, attempt->sender, attempt->recipient, key.octets);
        return memcmp(&key, &cut->entry.key, sizeof key) == 0 && may_bring(&cut->refused, attempt);
    }
    return cut->entry.text.len && greylist_is_about(cuts->greylist, &cut->entry, attempt);
}

static const struct rule *rule_of_tag(const struct policy *policy, uint32_t tag)
{
    for (uint32_t i = 0; i < policy->rule_count; i++)
        if (rule_refuses_content(&policy->rules[i]) && policy_rule_tag(policy->rules[i].name) == tag)
            return &policy->rules[i];
    return NULL;
}

static bool visit_one(void *context, const struct store_key *key, const struct store_record *kept, struct span text)
{
    const struct cuts *cuts = context;
    const struct greylist *greylist = cuts->greylist;
    struct greylist_cut cut = {
        .entry = {.key = *key, .kind = GREYLIST_TRIPLET, .expires_s = kept->expires_s, .text = text}};
    if (kept->kind != REFUSED_KIND || !refused_decode((struct span){kept->value, kept->len}, &cut.refused) ||
        store_is_expired(kept, greylist->now_us / 1000000))
        return true;
    cut.refused.at_ms += greylist->keeper.lag_s * 1000;
    cut.entry.about = keep_read_text(GREYLIST_TRIPLET, text);
    cut.rule = rule_of_tag(&greylist->conf.policy, cut.refused.rule);
    return !is_about(cuts, &cut) || cuts->visit(cuts->context, &cut);
}

int greylist_walk_cuts(struct greylist *greylist, const struct greylist_attempt *attempt, greylist_visit_cut *visit,
                       void *context)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    uint64_t unread;
    struct cuts cuts = {greylist, attempt, visit, context};
    if (store_walk(greylist->store, visit_one, &cuts, &unread, message, sizeof message))
        return CMD_GOOD;
    return cmd_complain(CMD_FAILED, "%s", message);
}

const char *greylist_cut_text(const struct greylist_cut *cut, char text[GREYLIST_CUT_BYTES])
{
    char at[GREYLIST_TIME_BYTES], until[GREYLIST_TIME_BYTES], network[KEEP_NETWORK_BYTES], rule[TEXT_BYTES(64)];
    char by[TEXT_BYTES(64) + 32] = "a rule that is in the file no more, so that it passes", which[128];
    const struct network *from = &cut->refused.network;
    uint8_t version = from->address[0];
    if (cut->rule)
        snprintf(by, sizeof by, "the rule \"%s\"", text_escape(span_of(cut->rule->name), rule, sizeof rule));
    if (cut->refused.size)
        snprintf(which, sizeof which, "with SIZE=%" PRIu32, cut->refused.size);
    else
        snprintf(which, sizeof which, "without SIZE from %s, once,",
                 keep_network(version, from->address + 1, (uint8_t)(from->prefix - 8), network));
    snprintf(text, GREYLIST_CUT_BYTES, "cut on %s by %s; the next attempt %s is refused until %s",
             greylist_time(cut->refused.at_ms, at), by, which, greylist_time(cut->entry.expires_s * 1000, until));
    return text;
}

json_t *greylist_cut_json(const struct greylist *greylist, const struct greylist_cut *cut)
{
    char store[EXPORT_STORE_BYTES], hex[2 * STORE_KEY_BYTES], network[KEEP_NETWORK_BYTES];
    const struct network *from = &cut->refused.network;
    const struct keep_about *about = &cut->entry.about;
    struct json_members members = {json_object(), false};
    export_store_name(greylist->keeper.secret, store);
    hex_write(cut->entry.key.octets, STORE_KEY_BYTES, hex);
    json_add(&members, "kind", json_string("refused-mail"));
    json_add(&members, "store", json_string(store));
    json_add(&members, "key", json_stringn(hex, sizeof hex));
    if (cut->entry.text.len) {
        json_add(&members, "sender", json_text(about->sender));
        json_add(&members, "recipient", json_text(about->recipient));
    }
    if (cut->refused.size)
        json_add_number(&members, "size", cut->refused.size);
    else
        json_add(&members, "network",
                 json_string(keep_network(from->address[0], from->address + 1, (uint8_t)(from->prefix - 8), network)));
    if (cut->rule)
        json_add(&members, "rule", json_string(cut->rule->name));
    json_add_number(&members, "cut_ms", cut->refused.at_ms);
    json_add_number(&members, "expires_s", cut->entry.expires_s);
    return json_whole(&members);
}

void greylist_print_cut(const struct greylist_cut *cut)
{
    char text[GREYLIST_CUT_BYTES], hex[2 * STORE_KEY_BYTES];
    char sender[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)], recipient[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)];
    hex_write(cut->entry.key.octets, STORE_KEY_BYTES, hex);
    printf("%-22s ", "refused-mail");
    if (cut->entry.text.len)
        printf("<%s>  %s", text_escape(cut->entry.about.sender, sender, sizeof sender),
               text_escape(cut->entry.about.recipient, recipient, sizeof recipient));
    else
        printf("%.*s", (int)sizeof hex, hex);
    printf("  %s\n", greylist_cut_text(cut, text));
}
