#include "answers.h"

#include <stdlib.h>
#include <string.h>

void answers_init(struct answers *answers, struct random_source *random, struct fault *fault)
{
    memset(answers, 0, sizeof *answers);
    answers->random = random;
    answers->fault = fault;
}

static struct asked decide(struct random_source *random, const struct question *question, int64_t now_us)
{
    struct asked asked = {.id = question->id, .asked_us = now_us, .due_us = now_us};
    asked.answer = random_below(random, 3) ? ANSWER_PASS : ANSWER_DEFER;
    asked.transaction = (uint32_t)strtoul((const char *)question->sender.ptr + 1, NULL, 10);
    if (random_below(random, 2))
        asked.due_us += random_below(random, ANSWERS_OVER_US);
    if (random_below(random, 8) == 0)
        asked.due_us = INT64_MAX;
    return asked;
}

static void take_questions(struct answers *answers, struct engine *engine, int64_t now_us)
{
    struct question question;
    while (engine_next_question(engine, &question)) {
        if (question.kind != QUESTION_RECIPIENT)
            continue;
        if (answers->count == ANSWERS_MAX) {
            fault_note(answers->fault, "too many questions");
            return;
        }
        answers->asked[answers->count++] = decide(answers->random, &question, now_us);
    }
}

bool answers_give(struct answers *answers, struct engine *engine, int64_t now_us)
{
    take_questions(answers, engine, now_us);
    for (uint32_t i = 0; i < answers->count; i++) {
        struct asked *asked = &answers->asked[i];
        if (asked->answered || asked->due_us > now_us)
            continue;
        asked->answered = true;
        engine_answer(engine, asked->id, (struct finding){.answer = asked->answer}, now_us);
        return true;
    }
    return false;
}

int64_t answers_due(const struct answers *answers)
{
    int64_t at_us = INT64_MAX;
    for (uint32_t i = 0; i < answers->count; i++)
        if (!answers->asked[i].answered && answers->asked[i].due_us < at_us)
            at_us = answers->asked[i].due_us;
    return at_us;
}

bool answers_defer(const struct answers *answers, uint32_t transaction, int64_t within_us)
{
    for (uint32_t i = 0; i < answers->count; i++) {
        const struct asked *asked = &answers->asked[i];
        if (asked->transaction == transaction && asked->answer == ANSWER_DEFER &&
            asked->due_us - asked->asked_us < within_us)
            return true;
    }
    return false;
}
