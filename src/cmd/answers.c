#include "cmd/answers.h"

#include <stdlib.h>

struct answers {
    struct store_client *client;
    struct greylist_service *service;
};

bool answers_wanted(const struct policy *policy)
{
    for (uint32_t i = 0; i < policy->rule_count; i++)
        if (policy->rules[i].action.ask || policy->rules[i].known != RULE_EITHER ||
            rule_refuses_content(&policy->rules[i]))
            return true;
    return false;
}

uint32_t answers_questions(void)
{
    return (1u << QUESTION_KINDS) - 1;
}

struct answers *answers_new(const struct conf *conf, struct store *store)
{
    struct answers *answers = calloc(1, sizeof *answers);
    if (!answers)
        return NULL;
    struct greylist_service_settings settings = greylist_service_settings_default();
    settings.greylist = conf->greylist;
    settings.exempt = &conf->exempt;
    settings.variants = conf->variants;
    settings.variant_count = conf->variant_count;
    settings.clear_text = conf->keep_addresses;
    settings.network_percent = conf->engine.network_percent;
    answers->client = store_client_new(store);
    if (answers->client)
        answers->service = greylist_service_new(&settings, store, answers->client);
    if (answers->service)
        return answers;
    answers_free(answers);
    return NULL;
}

void answers_free(struct answers *answers)
{
    if (!answers)
        return;
    if (answers->service)
        greylist_service_free(answers->service);
    if (answers->client)
        store_client_free(answers->client);
    free(answers);
}

static bool next_answer(struct answers *answers, struct engine *engine, int64_t now_us, struct greylist_answer *answer)
{
    struct question question;
    while (engine_next_question(engine, &question))
        if (greylist_service_take(answers->service, &question, now_us, answer))
            return true;
    return greylist_service_next(answers->service, now_us, answer);
}

bool answers_next(struct answers *answers, struct engine *engine, int64_t now_us, uint64_t *id, struct finding *finding)
{
    struct greylist_answer answer;
    if (!next_answer(answers, engine, now_us, &answer))
        return false;
    *id = answer.id;
    *finding = (struct finding){
        .answer = answer.answer,
        .reason = answer.reasoned ? greylist_reason_name(answer.reason) : NULL,
        .passes_from_us = answer.passes_from_ms * 1000,
        .first_seen_us = answer.first_ms * 1000,
        .attempts = answer.attempts,
        .refused = answer.refused,
        .refused_by = answer.refused_by,
        .line = answer.line,
        .helo = answer.helo,
        .sender = answer.sender,
        .recipient = answer.recipient,
    };
    return true;
}

int answers_fd(const struct answers *answers)
{
    return store_client_fd(answers->client);
}

int64_t answers_due_us(const struct answers *answers)
{
    return store_next_due(answers->client);
}

void answers_go_on(struct answers *answers, struct answers *before)
{
    greylist_service_go_on(answers->service, before->service);
}

void answers_counters(const struct answers *answers, struct greylist_counters *counters)
{
    greylist_service_counters(answers->service, counters);
}
