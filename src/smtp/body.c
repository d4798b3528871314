#include "smtp/body.h"

#include "smtp/dot.h"

/* One octet on. Sets *ambiguous where a lenient server may see the end of the message here. */
static enum smtp_body_state step(enum smtp_body_state state, uint8_t octet, bool *ambiguous)
{
    if (octet == '\r') {
        if (state == SMTP_BODY_DOT)
            return SMTP_BODY_DOT_CR;
        if (state == SMTP_BODY_LOOSE_DOT || state == SMTP_BODY_DOT_CR)
            *ambiguous = true;
        return SMTP_BODY_CR;
    }
    if (octet == '\n') {
        if (state == SMTP_BODY_DOT_CR)
            return SMTP_BODY_END;
        if (state == SMTP_BODY_DOT || state == SMTP_BODY_LOOSE_DOT)
            *ambiguous = true;
        return state == SMTP_BODY_CR ? SMTP_BODY_LINE : SMTP_BODY_LOOSE;
    }
    bool behind_dot = state == SMTP_BODY_DOT || state == SMTP_BODY_LOOSE_DOT;
    if (state == SMTP_BODY_DOT_CR || (behind_dot && octet == '\0')) /* a C string ends there: the dot is alone */
        *ambiguous = true;
    if (octet == '.') {
        if (state == SMTP_BODY_LINE)
            return SMTP_BODY_DOT;
        if (state == SMTP_BODY_CR || state == SMTP_BODY_LOOSE || state == SMTP_BODY_DOT_CR)
            return SMTP_BODY_LOOSE_DOT;
        return SMTP_BODY_TEXT;
    }
    return octet == '\0' ? SMTP_BODY_LOOSE : SMTP_BODY_TEXT;
}

/* The state behind octet `at` - 1, from it and the one before; both are there and no dot is near. */
static enum smtp_body_state state_before(struct span octets, size_t at)
{
    uint8_t last = octets.ptr[at - 1];
    if (last == '\r')
        return SMTP_BODY_CR;
    if (last == '\n')
        return octets.ptr[at - 2] == '\r' ? SMTP_BODY_LINE : SMTP_BODY_LOOSE;
    return last == '\0' ? SMTP_BODY_LOOSE : SMTP_BODY_TEXT;
}

struct smtp_body_scan smtp_body_scan(enum smtp_body_state *state, struct span octets)
{
    /* Behind a dot at such a place the next one may be near, and a search would take longer to begin than to end. */
    enum { NEAR = 8 };
    struct smtp_body_scan scan = {0};
    enum smtp_body_state now = *state;
    size_t at = 0, slow_to = 2; /* what came before the first octets is known only as a state */
    while (at < octets.len) {
        now = step(now, octets.ptr[at++], &scan.ambiguous);
        if (now == SMTP_BODY_END) {
            scan.ended = true;
            break;
        }
        if (now == SMTP_BODY_DOT || now == SMTP_BODY_DOT_CR || now == SMTP_BODY_LOOSE_DOT)
            slow_to = at + NEAR;
        if (at < slow_to)
            continue;
        at = smtp_dot_find(octets, at);
        now = state_before(octets, at);
    }
    scan.taken = at;
    *state = now;
    return scan;
}
