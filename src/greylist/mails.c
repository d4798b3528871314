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

bool mails_init(struct mails *mails, uint32_t flows_max, uint32_t mails_max)
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
    if (flow_memory && mail_memory && mails->buckets)
        return true;
    mails_fini(mails);
    return false;
}

void mails_fini(struct mails *mails)
{
    free(mails->flows.storage);
    free(mails->mails.storage);
    free(mails->buckets);
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

static void forget_oldest(struct mails *mails)
{
    mails->forgotten++;
    mails_forget(mails, flow_at(mails, mails->oldest));
}

struct mail_flow *mails_of(struct mails *mails, uint64_t flow_id)
{
    struct mail_flow *flow = mails_find(mails, flow_id);
    if (flow)
        return flow;
    if (pool_free_count(&mails->flows) == 0)
        forget_oldest(mails);
    uint32_t index = pool_borrow(&mails->flows), *bucket = bucket_of(mails, flow_id);
    flow = flow_at(mails, index);
    *flow = (struct mail_flow){.id = flow_id, .next = *bucket, .older = mails->newest};
    *bucket = index;
    if (mails->newest)
        flow_at(mails, mails->newest)->newer = index;
    else
        mails->oldest = index;
    mails->newest = index;
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
    if (flow->older)
        flow_at(mails, flow->older)->newer = flow->newer;
    else
        mails->oldest = flow->newer;
    if (flow->newer)
        flow_at(mails, flow->newer)->older = flow->older;
    else
        mails->newest = flow->older;
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
    while (pool_free_count(&mails->mails) == 0) {
        if (flow_at(mails, mails->oldest) == flow)
            return NULL;
        forget_oldest(mails);
    }
    uint32_t index = pool_borrow(&mails->mails);
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
