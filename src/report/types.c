#include "report/types.h"

#define BIT(kind) (1u << (kind))

/* The life of a connection is told whatever is written: places and records go by it. */
#define LIFE (BIT(EVENT_FLOW_START) | BIT(EVENT_FLOW_END))

/* These show lines of the client's or the server's; the lines before tell what of them is secret (report/secrets). */
#define SHOW_LINES (BIT(EVENT_ANOMALY) | BIT(EVENT_RULE))

/* All kinds of events. */
#define EVENTS (BIT(EVENT_KINDS) - 1)

static const struct {
    const char *word;
    uint32_t types;
} groups[] = {
    {"smtp", TYPES_RECORD_SMTP},
    {"smtp-session", TYPES_RECORD_SMTP_SESSION},
    {"dialogue", TYPES_ALL & ~TYPES_DEFAULT},
    {"all", TYPES_ALL},
};

bool types_add(const char *word, uint32_t *types)
{
    for (unsigned kind = 0; kind < EVENT_KINDS; kind++)
        if (strcmp(word, event_kind_name((enum event_kind)kind)) == 0) {
            *types |= BIT(kind);
            return true;
        }
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strcmp(word, groups[i].word) == 0) {
            *types |= groups[i].types;
            return true;
        }
    return false;
}

size_t types_words(const char *words[TYPES_WORDS_MAX])
{
    size_t count = 0;
    for (unsigned kind = 0; kind < EVENT_KINDS; kind++)
        words[count++] = event_kind_name((enum event_kind)kind);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        words[count++] = groups[i].word;
    return count;
}

uint32_t types_logged(uint32_t types)
{
    return types_have_records(types) ? EVENTS : (types & EVENTS) | LIFE;
}

uint32_t types_told(uint32_t types)
{
    uint32_t secrets = types & SHOW_LINES ? BIT(EVENT_COMMAND) | BIT(EVENT_REPLY) : 0;
    return types_logged(types) | secrets;
}
