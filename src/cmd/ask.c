#include "cmd/ask.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "sys/control.h"

json_t *ask(const char *path, const char *request)
{
    char message[CMD_MESSAGE_BYTES];
    char *text = control_ask(path, request, message, sizeof message);
    if (!text) {
        cmd_complain(CMD_FAILED, "%s", message);
        return NULL;
    }
    json_t *answer = json_loads(text, 0, NULL);
    free(text);
    if (!json_is_integer(json_object_get(answer, "code")) || !json_is_string(json_object_get(answer, "message"))) {
        cmd_complain(CMD_FAILED, "%s: the answer is not understood; is it a postern of another version?", path);
        json_decref(answer);
        return NULL;
    }
    return answer;
}

char *ask_rules(const char *path)
{
    char message[CMD_MESSAGE_BYTES];
    char *text = control_ask(path, "status", message, sizeof message);
    json_t *answer = text ? json_loads(text, 0, NULL) : NULL;
    const char *rules = json_string_value(json_object_get(json_object_get(answer, "status"), "rules"));
    char *found = rules ? strdup(rules) : NULL;
    json_decref(answer);
    free(text);
    return found;
}

uint64_t ask_number(const json_t *status, const char *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(status, object), name));
}
