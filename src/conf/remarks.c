#include "conf/remarks.h"

#include <stdlib.h>
#include <string.h>

static bool is_known(const struct remarks *remarks, const char *text)
{
    for (unsigned i = 0; i < remarks->kept; i++)
        if (strcmp(remarks->list[i].text, text) == 0)
            return true;
    return false;
}

void remarks_add(struct remarks *remarks, const struct remark *remark)
{
    if (is_known(remarks, remark->text))
        return;
    remarks->warnings += remark->warns;
    remarks->mistakes += !remark->warns;
    char *text = remarks->kept < REMARKS_MAX ? strdup(remark->text) : NULL;
    if (!text)
        return; /* counted: the file is no better for it */
    remarks->list[remarks->kept] = *remark;
    remarks->list[remarks->kept++].text = text;
}

void remarks_drop(struct remarks *remarks, unsigned kept)
{
    while (remarks->kept > kept)
        free(remarks->list[--remarks->kept].text);
    remarks->mistakes = remarks->warnings = 0;
    for (unsigned i = 0; i < kept; i++) {
        remarks->warnings += remarks->list[i].warns;
        remarks->mistakes += !remarks->list[i].warns;
    }
}

static bool is_before(const struct remark *a, const struct remark *b)
{
    if (a->warns != b->warns)
        return b->warns;
    return a->file != b->file ? a->file < b->file : a->line < b->line;
}

void remarks_sort(struct remarks *remarks)
{
    for (unsigned i = 1; i < remarks->kept; i++) {
        struct remark moved = remarks->list[i];
        unsigned at = i;
        for (; at > 0 && is_before(&moved, &remarks->list[at - 1]); at--)
            remarks->list[at] = remarks->list[at - 1];
        remarks->list[at] = moved;
    }
}

void remarks_free(struct remarks *remarks)
{
    remarks_drop(remarks, 0);
}
