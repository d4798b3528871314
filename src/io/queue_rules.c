#include "io/queue_rules.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/queue_rules_legacy.h"

enum { RULES_MAX = 1 << 20, JUMPS_DEEP_MAX = 16 /* as the kernel has it */, ANSWER_BYTES = 32768 };

/* A chain of nftables; its name is a hash of family, table and chain. */
struct chain {
    uint64_t name;
    bool hooked;    /* packets come from the kernel itself */
    uint32_t use;   /* its rules, and what refers to it */
    uint32_t rules; /* its rules */
};

struct jump {
    uint64_t from, to;
};

/* A rule that sends packets to queues. */
struct sender {
    uint64_t chain;
    uint8_t family; /* NFPROTO_ */
    struct queue_rules_range range;
};

/* All that matters of the rules of nftables. */
struct ruleset {
    struct chain *chains;
    struct jump *jumps;
    struct sender *senders;
    size_t chain_count, jump_count, sender_count;
    size_t last; /* the chain that was found last: rules of one follow each other */
    bool failed;
};

struct queue_rules {
    struct mnl_socket *socket; /* NULL: the kernel has no nftables, or does not let us ask */
    uint32_t sequence;
    bool known; /* `nft` is what there was at `generation` */
    uint32_t generation;
    struct queue_rules_found nft;
    int names[QUEUE_RULES_FAMILIES];
};

/* ---- what was found ---- */

static bool is_whole(const struct queue_rules_found *found, enum queue_rules_family family)
{
    for (unsigned i = 0; i < found->count; i++)
        if (!found->named[family][i])
            return false;
    return true;
}

/* ---- messages of nftables ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (uint8_t)*text) * UINT64_C(1099511628211); /* FNV-1a, the NUL included */
    while (*text++);
    return hash;
}

static uint64_t name_of(uint8_t family, const char *table, const char *chain)
{
    return hash_text(hash_text(UINT64_C(14695981039346656037) ^ family, table), chain);
}

/* Room for one more, where `count` are there; rooms are powers of two. */
static void *grown(struct ruleset *set, void *array, size_t count, size_t each)
{
    if (count & (count - 1))
        return array;
    void *larger = count < RULES_MAX ? realloc(array, (count ? 2 * count : 1) * each) : NULL;
    set->failed = set->failed || !larger;
    return larger ? larger : array;
}

static struct chain *chain_of(struct ruleset *set, uint64_t name)
{
    if (set->last < set->chain_count && set->chains[set->last].name == name)
        return &set->chains[set->last];
    for (set->last = 0; set->last < set->chain_count; set->last++)
        if (set->chains[set->last].name == name)
            return &set->chains[set->last];
    return NULL;
}

/* The attributes of a message, or of one of them, by their number. */
struct attributes {
    const struct nlattr *of[32];
};

static int sort_attribute(const struct nlattr *attribute, void *context)
{
    struct attributes *attributes = context;
    uint16_t type = mnl_attr_get_type(attribute);
    if (type < sizeof attributes->of / sizeof attributes->of[0])
        attributes->of[type] = attribute;
    return MNL_CB_OK;
}

static const char *text_of(const struct nlattr *attribute)
{
    return attribute && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0 ? mnl_attr_get_str(attribute) : "";
}

static uint32_t number_of(const struct nlattr *attribute)
{
    if (attribute && mnl_attr_get_payload_len(attribute) == sizeof(uint16_t))
        return ntohs(mnl_attr_get_u16(attribute));
    return attribute && mnl_attr_get_payload_len(attribute) == sizeof(uint32_t) ? ntohl(mnl_attr_get_u32(attribute))
                                                                                : 0;
}

static struct attributes nested_in(const struct nlattr *attribute)
{
    struct attributes attributes = {{0}};
    if (attribute)
        (void)mnl_attr_parse_nested(attribute, sort_attribute, &attributes);
    return attributes;
}

static uint8_t family_of(const struct nlmsghdr *message)
{
    const struct nfgenmsg *head = mnl_nlmsg_get_payload(message);
    return head->nfgen_family;
}

static int take_chain(const struct nlmsghdr *message, void *context)
{
    struct ruleset *set = context;
    struct attributes chain = {{0}};
    (void)mnl_attr_parse(message, sizeof(struct nfgenmsg), sort_attribute, &chain);
    set->chains = grown(set, set->chains, set->chain_count, sizeof *set->chains);
    if (set->failed)
        return MNL_CB_STOP;
    set->chains[set->chain_count++] = (struct chain){
        .name = name_of(family_of(message), text_of(chain.of[NFTA_CHAIN_TABLE]), text_of(chain.of[NFTA_CHAIN_NAME])),
        .hooked = chain.of[NFTA_CHAIN_HOOK] != NULL,
        .use = number_of(chain.of[NFTA_CHAIN_USE]),
    };
    return MNL_CB_OK;
}

static void add_jump(struct ruleset *set, uint64_t from, uint64_t to)
{
    set->jumps = grown(set, set->jumps, set->jump_count, sizeof *set->jumps);
    if (!set->failed)
        set->jumps[set->jump_count++] = (struct jump){from, to};
}

static void add_sender(struct ruleset *set, struct sender sender)
{
    if (sender.range.total == 0)
        return;
    set->senders = grown(set, set->senders, set->sender_count, sizeof *set->senders);
    if (!set->failed)
        set->senders[set->sender_count++] = sender;
}

/* A rule whose expressions are looked at. */
struct rule {
    struct ruleset *set;
    uint8_t family;
    const char *table;
    uint64_t chain;
};

static struct queue_rules_range target_range(const struct attributes *target)
{
    const struct nlattr *info = target->of[NFTA_TARGET_INFO];
    if (!info || strcmp(text_of(target->of[NFTA_TARGET_NAME]), "NFQUEUE") != 0)
        return (struct queue_rules_range){0, 0};
    return queue_rules_range_of(number_of(target->of[NFTA_TARGET_REV]), mnl_attr_get_payload(info),
                                mnl_attr_get_payload_len(info));
}

/* Where a map says which queue, it may be any. */
static struct queue_rules_range queue_range(const struct attributes *queue)
{
    if (!queue->of[NFTA_QUEUE_NUM])
        return (struct queue_rules_range){0, UINT16_MAX + 1u};
    return (struct queue_rules_range){number_of(queue->of[NFTA_QUEUE_NUM]), number_of(queue->of[NFTA_QUEUE_TOTAL])};
}

/* What a rule does, of that what matters: it jumps, or sends to queues. */
static int take_expression(const struct nlattr *element, void *context)
{
    const struct rule *rule = context;
    struct attributes expression = nested_in(element), data = nested_in(expression.of[NFTA_EXPR_DATA]);
    const char *name = text_of(expression.of[NFTA_EXPR_NAME]);
    if (strcmp(name, "target") == 0) {
        add_sender(rule->set, (struct sender){rule->chain, rule->family, target_range(&data)});
    } else if (strcmp(name, "queue") == 0) {
        add_sender(rule->set, (struct sender){rule->chain, rule->family, queue_range(&data)});
    } else if (strcmp(name, "immediate") == 0) {
        struct attributes value = nested_in(data.of[NFTA_IMMEDIATE_DATA]);
        struct attributes verdict = nested_in(value.of[NFTA_DATA_VERDICT]);
        if (verdict.of[NFTA_VERDICT_CHAIN])
            add_jump(rule->set, rule->chain,
                     name_of(rule->family, rule->table, text_of(verdict.of[NFTA_VERDICT_CHAIN])));
    }
    return MNL_CB_OK;
}

static int take_rule(const struct nlmsghdr *message, void *context)
{
    struct attributes attributes = {{0}};
    (void)mnl_attr_parse(message, sizeof(struct nfgenmsg), sort_attribute, &attributes);
    struct rule rule = {context, family_of(message), text_of(attributes.of[NFTA_RULE_TABLE]), 0};
    rule.chain = name_of(rule.family, rule.table, text_of(attributes.of[NFTA_RULE_CHAIN]));
    struct chain *chain = chain_of(rule.set, rule.chain);
    if (chain)
        chain->rules++;
    if (attributes.of[NFTA_RULE_EXPRESSIONS])
        (void)mnl_attr_parse_nested(attributes.of[NFTA_RULE_EXPRESSIONS], take_expression, &rule);
    return rule.set->failed ? MNL_CB_STOP : MNL_CB_OK;
}

static int take_generation(const struct nlmsghdr *message, void *context)
{
    struct attributes about = {{0}};
    (void)mnl_attr_parse(message, sizeof(struct nfgenmsg), sort_attribute, &about);
    *(uint32_t *)context = number_of(about.of[NFTA_GEN_ID]);
    return MNL_CB_STOP;
}

/* Ask, and give `take` each answer. False where the kernel does not answer, or the rules changed meanwhile. */
static bool ask(struct queue_rules *rules, uint16_t type, uint16_t flags, mnl_cb_t take, void *context)
{
    uint8_t octets[ANSWER_BYTES] __attribute__((aligned(8)));
    struct nlmsghdr *request = mnl_nlmsg_put_header(octets);
    request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    request->nlmsg_flags = NLM_F_REQUEST | flags;
    request->nlmsg_seq = ++rules->sequence;
    struct nfgenmsg *head = mnl_nlmsg_put_extra_header(request, sizeof *head);
    *head = (struct nfgenmsg){.nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0};
    unsigned port = mnl_socket_get_portid(rules->socket);
    int status = mnl_socket_sendto(rules->socket, request, request->nlmsg_len) < 0 ? -1 : 1;
    while (status > 0) {
        ssize_t got = mnl_socket_recvfrom(rules->socket, octets, sizeof octets);
        status = got < 0 ? -1 : mnl_cb_run(octets, (size_t)got, rules->sequence, port, take, context);
        if (!flags)
            return status >= 0;
    }
    return status == 0;
}

/* ---- which of them packets come to ---- */

/* A chain that more refers to than rules do is named by a map of verdicts. */
static bool is_reached(struct ruleset *set, uint64_t name, unsigned deep)
{
    const struct chain *chain = chain_of(set, name);
    uint32_t jumps = 0;
    if (!chain || deep > JUMPS_DEEP_MAX)
        return false;
    struct chain copy = *chain;
    for (size_t i = 0; i < set->jump_count && !copy.hooked; i++)
        if (set->jumps[i].to == name) {
            jumps++;
            copy.hooked = is_reached(set, set->jumps[i].from, deep + 1);
        }
    return copy.hooked || copy.use > copy.rules + jumps;
}

static void note_senders(struct ruleset *set, struct queue_rules_found *found)
{
    for (size_t i = 0; i < set->sender_count; i++) {
        const struct sender *sender = &set->senders[i];
        bool both = sender->family == NFPROTO_INET || sender->family == NFPROTO_BRIDGE;
        if (!is_reached(set, sender->chain, 0))
            continue;
        if (both || sender->family == NFPROTO_IPV4)
            queue_rules_note(found, QUEUE_RULES_IPV4, sender->range);
        if (both || sender->family == NFPROTO_IPV6)
            queue_rules_note(found, QUEUE_RULES_IPV6, sender->range);
    }
}

static bool read_rules(struct queue_rules *rules)
{
    struct ruleset set = {0};
    memset(rules->nft.named, 0, sizeof rules->nft.named);
    bool good = ask(rules, NFT_MSG_GETCHAIN, NLM_F_DUMP, take_chain, &set) &&
                ask(rules, NFT_MSG_GETRULE, NLM_F_DUMP, take_rule, &set) && !set.failed;
    if (good)
        note_senders(&set, &rules->nft);
    free(set.chains);
    free(set.jumps);
    free(set.senders);
    return good;
}

/* False where it cannot be told. A kernel without nftables has no rules of it. */
static bool look_at_nft(struct queue_rules *rules)
{
    uint32_t generation = 0;
    if (!rules->socket)
        return false;
    if (!ask(rules, NFT_MSG_GETGEN, 0, take_generation, &generation))
        return errno == EOPNOTSUPP || errno == EINVAL;
    if (!rules->known || rules->generation != generation)
        rules->known = read_rules(rules);
    rules->generation = generation;
    return rules->known;
}

/* ---- what others call ---- */

struct queue_rules *queue_rules_new(uint16_t first, uint16_t last)
{
    assert(last >= first && last - first < QUEUES_MAX);
    struct queue_rules *rules = calloc(1, sizeof *rules);
    if (!rules)
        return NULL;
    rules->nft.first = first;
    rules->nft.count = last - first + 1u;
    for (enum queue_rules_family family = 0; family < QUEUE_RULES_FAMILIES; family++)
        rules->names[family] = queue_rules_open_names(family);
    rules->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (rules->socket && mnl_socket_bind(rules->socket, 0, MNL_SOCKET_AUTOPID) != 0) {
        mnl_socket_close(rules->socket);
        rules->socket = NULL;
    }
    return rules;
}

void queue_rules_free(struct queue_rules *rules)
{
    if (!rules)
        return;
    for (enum queue_rules_family family = 0; family < QUEUE_RULES_FAMILIES; family++)
        if (rules->names[family] >= 0)
            close(rules->names[family]);
    if (rules->socket)
        mnl_socket_close(rules->socket);
    free(rules);
}

struct queue_rules_state queue_rules_look(struct queue_rules *rules)
{
    struct queue_rules_state state = {.known = look_at_nft(rules)};
    struct queue_rules_found found = rules->nft;
    for (enum queue_rules_family family = 0; family < QUEUE_RULES_FAMILIES; family++) {
        state.there[family] = is_whole(&found, family);
        if (state.there[family])
            continue; /* so that the older tables need not be asked for */
        state.known = queue_rules_look_legacy(family, rules->names[family], &found) && state.known;
        state.there[family] = is_whole(&found, family);
    }
    state.known = state.known || (state.there[QUEUE_RULES_IPV4] && state.there[QUEUE_RULES_IPV6]);
    return state;
}
