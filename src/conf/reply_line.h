/*
 * conf/reply_line - the code and the text of a rule as one line of a reply.
 */
#ifndef POSTERN_CONF_REPLY_LINE_H
#define POSTERN_CONF_REPLY_LINE_H

#include "policy/policy.h"

#define REPLY_LINE_WHY_BYTES 128

/*
 * `code` and `text` may be NULL; the code is then that of `fallback`. The line is kept in the policy; NULL, with what
 * to write instead in `why`, where they are wrong.
 */
const char *reply_line(struct policy *policy, const char *code, const char *text, const char *fallback,
                       char why[REPLY_LINE_WHY_BYTES]);

#endif
