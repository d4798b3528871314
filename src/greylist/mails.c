#include "greylist/mails.h"

#include <stdlib.h>

void mail_attempt_copy(struct mail_attempt *to, const struct greylist_attempt *attempt)
{
    to->attempt = *attempt;
    struct span *const spans[] = {&to->attempt.helo, &to->attempt.sender, &to->attempt.recipient};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        *spans[i] = span_head(*spans[i], MAIL_TEXT_BYTES_MAX);
        if (spans[i]->len)
            memcpy(to->texts[i], spans[i]->ptr, spans[i]->len);
        spans[i]->ptr = to->texts[i];
    }
}

static uint32_t multiple_of_8(size_t octets)
{
    return (uint32_t)((octets + 7) / 8 * 8);
}

/* Of struct share. */
enum { FLOWS, MAILS, RESOURCES };

bool mails_init(struct mails *mails, uint32_t flows_max, uint32_t mails_max, struct mails_share share)
{
    uint32_t flow_bytes = multiple_of_8(sizeof(struct mail_flow)), mail_bytes = multiple_of_8(sizeof(struct mail));
    *mails = (struct mails){0};
    uint32_t buckets = 1;
    while (buckets < flows_max && buckets < 1u << 30)
        buckets *= 2;
    void *flow_memory = calloc(flows_max, flow_bytes), *mail_memory = calloc(mails_max, mail_bytes);
    pool_init(&mails->flows, flow_memory, flow_bytes, flows_max);
    pool_init(&mails->mails, mail_memory, mail_bytes, mails_max);
    mails->buckets = calloc(buckets, sizeof *mails->buckets);
    mails->bucket_mask = buckets - 1;
    mails->counts = calloc(1, share_bytes(RESOURCES));
    mails->lists = calloc(SHARE_NETWORKS, sizeof *mails->lists);
    if (!flow_memory || !mail_memory || !mails->buckets || !mails->counts || !mails->lists) {
        mails_fini(mails);
        return false;
    }
    share_init(&mails->share, mails->counts, share.prefix_v4, share.prefix_v6, share.seed);
    share_bound(&mails->share, FLOWS, flows_max, share.percent, 1);
    share_bound(&mails->share, MAILS, mails_max, share.percent, MAIL_FLOW_MAX);
    return true;
}

void mails_fini(struct mails *mails)
{
    free(mails->flows.storage);
    free(mails->mails.storage);
    free(mails->buckets);
    free(mails->counts);
    free(mails->lists);
    *mails = (struct mails){0};
}

/* ---- connections ---- */

static struct mail_flow *flow_at(const struct mails *mails, uint32_t index)
{
    return index ? pool_at(&mails->flows, index) : NULL;
}

static struct mail *mail_at(const struct mails *mails, uint32_t index)
{
    return index ? pool_at(&mails->mails, index) : NULL;
}

static uint32_t *bucket_of(struct mails *mails, uint64_t flow_id)
{
    return &mails->buckets[flow_id & mails->bucket_mask];
}

static uint32_t index_of(struct mails *mails, uint64_t flow_id)
{
    uint32_t index = *bucket_of(mails, flow_id);
    while (index && flow_at(mails, index)->id != flow_id)
        index = flow_at(mails, index)->next;
    return index;
}

struct mail_flow *mails_find(struct mails *mails, uint64_t flow_id)
{
    return flow_at(mails, index_of(mails, flow_id));
}

/* Forget the oldest connection of a network, but not this one; false where there is no other. */
static bool forget_oldest(struct mails *mails, uint16_t network, const struct mail_flow *but)
{
    struct mail_flow *oldest = flow_at(mails, mails->lists[network].oldest);
    if (oldest && oldest == but)
        oldest = flow_at(mails, oldest->age.newer);
    if (!oldest)
        return false;
    mails->forgotten++;
    mails_forget(mails, oldest);
    return true;
}

/* Make room for one more of a network, of connections or mails. False where all there is belongs to this one. */
static bool make_room(struct mails *mails, uint32_t resource, uint16_t network, const struct mail_flow *but)
{
    const struct pool *pool = resource == FLOWS ? &mails->flows : &mails->mails;
    while (!share_allows(&mails->share, resource, network, 1))
        if (!forget_oldest(mails, network, but))
            return false;
    while (pool_free_count(pool) == 0)
        if (!forget_oldest(mails, share_greediest(&mails->share, resource), but))
            return false;
    return true;
}

struct mail_flow *mails_of(struct mails *mails, uint64_t flow_id, uint8_t ip_version, const uint8_t *client)
{
    struct mail_flow *flow = mails_find(mails, flow_id);
    if (flow)
        return flow;
    uint16_t network = share_network(&mails->share, ip_version, client);
    make_room(mails, FLOWS, network, NULL);
    uint32_t index = pool_borrow(&mails->flows), *bucket = bucket_of(mails, flow_id);
    flow = flow_at(mails, index);
    *flow = (struct mail_flow){.id = flow_id, .next = *bucket, .network = network};
    *bucket = index;
    list_append(&mails->lists[network], &mails->flows, offsetof(struct mail_flow, age), index);
    share_add(&mails->share, FLOWS, network, 1);
    return flow;
}

void mails_forget(struct mails *mails, struct mail_flow *flow)
{
    while (flow->mails)
        mails_remove(mails, flow, mail_at(mails, flow->mails));
    uint32_t *place = bucket_of(mails, flow->id), index = index_of(mails, flow->id);
    while (*place != index)
        place = &flow_at(mails, *place)->next;
    *place = flow->next;
    list_remove(&mails->lists[flow->network], &mails->flows, offsetof(struct mail_flow, age), index);
    share_add(&mails->share, FLOWS, flow->network, -1);
    pool_return(&mails->flows, index);
}

/* ---- mails ---- */

static void forget_oldest_mail(struct mails *mails, struct mail_flow *flow)
{
    const struct mail *mail = mail_at(mails, flow->mails);
    while (mail->next)
        mail = mail_at(mails, mail->next);
    mails->forgotten++;
    mails_remove(mails, flow, mail);
}

struct mail *mails_add(struct mails *mails, struct mail_flow *flow)
{
    if (flow->mail_count == MAIL_FLOW_MAX)
        forget_oldest_mail(mails, flow);
    if (!make_room(mails, MAILS, flow->network, flow))
        return NULL;
    uint32_t index = pool_borrow(&mails->mails);
    share_add(&mails->share, MAILS, flow->network, 1);
    struct mail *mail = mail_at(mails, index);
    mail->next = flow->mails;
    flow->mails = index;
    flow->mail_count++;
    return mail;
}

struct mail *mails_first(struct mails *mails, const struct mail_flow *flow)
{
    return mail_at(mails, flow->mails);
}

struct mail *mails_next(struct mails *mails, const struct mail *mail)
{
    return mail_at(mails, mail->next);
}

struct mail *mails_about(struct mails *mails, const struct mail_flow *flow, uint64_t about)
{
    struct mail *mail = mails_first(mails, flow);
    while (mail && mail->about != about)
        mail = mails_next(mails, mail);
    return mail;
}

void mails_remove(struct mails *mails, struct mail_flow *flow, const struct mail *mail)
{
    uint32_t *place = &flow->mails;
    while (mail_at(mails, *place) != mail)
        place = &mail_at(mails, *place)->next;
    uint32_t index = *place;
    *place = mail->next;
    flow->mail_count--;
    share_add(&mails->share, MAILS, flow->network, -1);
    pool_return(&mails->mails, index);
}

void mails_remove_up_to(struct mails *mails, struct mail_flow *flow, uint64_t about, enum mail_state kept)
{
    for (struct mail *mail = mails_first(mails, flow), *next; mail; mail = next) {
        next = mails_next(mails, mail);
        if (mail->about <= about && mail->state != kept)
            mails_remove(mails, flow, mail);
    }
}
