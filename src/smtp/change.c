#include "smtp/change.h"

#include "smtp/path.h"

/* Octets of the unit's line that left before it. */
static size_t left_before(const struct smtp_unit *unit)
{
    return unit->whole.len > unit->octets.len ? unit->whole.len - unit->octets.len : 0;
}

/* Begin with the unit as it came. False where it is longer than a change can hold: it then passes. */
static bool start_with(struct smtp_change *change, struct span octets)
{
    if (octets.len > sizeof change->octets)
        return false;
    memcpy(change->octets, octets.ptr, octets.len);
    change->len = octets.len;
    change->changed = true;
    return true;
}

static void append(struct smtp_change *change, struct span text)
{
    assert(text.len <= sizeof change->octets - change->len);
    memcpy(change->octets + change->len, text.ptr, text.len);
    change->len += text.len;
}

/* Octets of the unit that may be written over: all but its line end. */
static size_t text_len_of(const struct smtp_unit *unit, const uint8_t *octets)
{
    size_t len = smtp_line_text(unit->octets).len;
    /* A CR that ends a fragment may be the first half of the line's end. */
    bool at_end = len < unit->octets.len;
    return !at_end && len && octets[len - 1] == '\r' ? len - 1 : len;
}

/* Octets of the unit's line up to the end of `word`, which is in it; 0 where the word is empty. */
static size_t end_of(const struct smtp_unit *unit, struct span word)
{
    return word.len ? (size_t)(word.ptr - unit->whole.ptr) + word.len : 0;
}

static void cover_verb(struct smtp_change *change, const struct smtp_unit *unit, const char *verb, bool continued)
{
    struct span word = span_of(verb);
    size_t left = left_before(unit);
    size_t verb_end = end_of(unit, unit->command.word);
    size_t text_len = text_len_of(unit, change->octets);
    for (size_t i = 0; i < text_len; i++) {
        size_t at = left + i;
        if (left > 0 && !continued)
            change->octets[i] = at < verb_end ? '-' : ' ';
        else
            change->octets[i] = at < word.len ? word.ptr[at] : ' ';
    }
}

/* Addresses of names that RFC 6761 keeps from being used, from long to short; the local part grows. */
static void cover_path(struct smtp_change *change, const struct smtp_unit *unit)
{
    static const char *const domains[] = {"@x.invalid", "@invalid", "@x.test", "@test"};
    struct span inside = smtp_path_parse(unit->command.argument).inside;
    struct span domain = span_of("");
    for (size_t i = 0; i < sizeof domains / sizeof domains[0] && domain.len == 0; i++)
        if (strlen(domains[i]) < inside.len)
            domain = span_of(domains[i]);
    assert(inside.len >= SMTP_COVER_PATH_BYTES_MIN && left_before(unit) == 0);
    uint8_t *to = change->octets + (inside.ptr - unit->whole.ptr);
    size_t local_len = inside.len - domain.len;
    memset(to, 'x', local_len);
    memcpy(to + local_len, domain.ptr, domain.len);
}

/* Blanks behind the number. */
static void cover_last(struct smtp_change *change, const struct smtp_unit *unit)
{
    size_t number_end = end_of(unit, unit->command.argument);
    const uint8_t *argument = unit->command.argument.ptr;
    for (size_t i = 0; i < unit->command.argument.len; i++)
        if (argument[i] == ' ' || argument[i] == '\t') {
            number_end = (size_t)(argument - unit->whole.ptr) + i;
            break;
        }
    size_t left = left_before(unit);
    size_t text_len = text_len_of(unit, change->octets);
    for (size_t i = number_end > left ? number_end - left : 0; number_end && i < text_len; i++)
        change->octets[i] = ' ';
}

void smtp_change_cover(struct smtp_change *change, const struct smtp_unit *unit, enum smtp_cover cover, bool continued)
{
    if (!start_with(change, unit->octets))
        return;
    switch (cover) {
    case SMTP_COVER_NONE:
        break;
    case SMTP_COVER_NOOP:
        cover_verb(change, unit, "NOOP", continued);
        break;
    case SMTP_COVER_RSET:
        cover_verb(change, unit, "RSET", continued);
        break;
    case SMTP_COVER_QUIT:
        cover_verb(change, unit, "QUIT", continued);
        break;
    case SMTP_COVER_PATH:
        cover_path(change, unit);
        break;
    case SMTP_COVER_LAST:
        cover_last(change, unit);
        break;
    }
    change->changed = memcmp(change->octets, unit->octets.ptr, change->len) != 0;
}

static void spoil_keyword(struct smtp_change *change, const struct smtp_unit *unit)
{
    size_t left = left_before(unit);
    size_t from = (size_t)(unit->keyword.ptr - unit->whole.ptr);
    size_t to = from + unit->keyword.len;
    if (!start_with(change, unit->octets))
        return;
    for (size_t at = from > left ? from : left; at < to; at++)
        change->octets[at - left] = at == from ? 'X' : '-'; /* a keyword begins with a letter or digit */
}

/* The line end of the unit, CRLF or a bare LF. */
static struct span line_end(const struct smtp_unit *unit)
{
    size_t len = unit->octets.len;
    return span_tail(unit->octets, len >= 2 && unit->octets.ptr[len - 2] == '\r' ? len - 2 : len - 1);
}

void smtp_change_strip(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room, bool cut)
{
    if (left_before(unit) > 0 || !room.resize || unit->kind == SMTP_UNIT_FRAGMENT) {
        spoil_keyword(change, unit);
        return;
    }
    change->changed = true;
    change->len = 0;
    if (!unit->reply.last || cut)
        return;
    struct span end = line_end(unit);
    append(change, span_head(unit->whole, SMTP_REFUSAL_CODE_LEN));
    if (SMTP_REFUSAL_CODE_LEN + 3 + end.len <= unit->octets.len + room.saved)
        append(change, span_of(" OK"));
    append(change, end);
}

bool smtp_change_make_last(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room)
{
    size_t left = left_before(unit);
    if (left > SMTP_REFUSAL_CODE_LEN || !room.resize || !start_with(change, unit->octets))
        return false;
    change->octets[SMTP_REFUSAL_CODE_LEN - left] = ' ';
    return true;
}

static bool holds_word(struct span text, struct span word)
{
    for (size_t at = 0; at + word.len <= text.len; at++)
        if (span_equal_nocase(span_head(span_tail(text, at), word.len), word))
            return true;
    return false;
}

void smtp_change_mask(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room)
{
    if (left_before(unit) > 0 || unit->kind == SMTP_UNIT_FRAGMENT || !unit->has_reply || unit->reply.text.len == 0)
        return;
    struct span text = unit->reply.text;
    size_t host_len = 0;
    while (host_len < text.len && text.ptr[host_len] > ' ')
        host_len++;
    static const char esmtp[] = " ESMTP";
    bool extended = holds_word(text, span_of("ESMTP"));
    size_t len = (size_t)(text.ptr - unit->whole.ptr) + host_len + (extended ? sizeof esmtp - 1 : 0);
    struct span end = line_end(unit);
    if (len + end.len >= unit->octets.len || !start_with(change, unit->octets))
        return;
    if (extended)
        memcpy(change->octets + len - (sizeof esmtp - 1), esmtp, sizeof esmtp - 1);
    if (!room.resize) {
        memset(change->octets + len, ' ', change->len - end.len - len);
        return;
    }
    change->len = len;
    append(change, end);
}

/* The same length as came: our code, their separator and line end, as much of our text as fits, blanks. */
static void replace_same_length(struct smtp_change *change, const struct smtp_unit *unit,
                                const struct smtp_refusals *refusals, uint8_t refusal)
{
    if (!start_with(change, unit->octets))
        return;
    size_t left = left_before(unit);
    size_t text_len = smtp_line_text(unit->octets).len;
    struct span form = smtp_refusal_form(refusals, refusal, left + text_len);
    for (size_t i = 0; i < text_len; i++) {
        size_t at = left + i;
        if (at == SMTP_REFUSAL_CODE_LEN)
            continue;
        change->octets[i] = at < form.len ? form.ptr[at] : ' ';
    }
}

void smtp_change_remove(struct smtp_change *change, struct smtp_room room)
{
    change->changed = room.resize;
    change->len = 0;
}

void smtp_change_replace(struct smtp_change *change, const struct smtp_unit *unit, const struct smtp_refusals *refusals,
                         uint8_t refusal, struct smtp_room room, uint8_t *sent)
{
    bool last = unit->kind == SMTP_UNIT_REPLY && unit->reply.last;
    if (!room.resize) {
        replace_same_length(change, unit, refusals, refusal);
        *sent = last ? 0 : SMTP_REFUSAL_CODE_LEN;
        return;
    }
    change->changed = true;
    change->len = 0;
    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        /* What must leave before the line is whole: as much of our code as came of theirs. */
        struct span code = span_tail(span_head(smtp_refusal_form(refusals, refusal, 0), SMTP_REFUSAL_CODE_LEN), *sent);
        append(change, span_head(code, unit->octets.len));
        *sent = (uint8_t)(*sent + change->len);
        return;
    }
    if (!last)
        return;
    size_t available = unit->octets.len + room.saved;
    struct span end = available + *sent >= SMTP_REFUSAL_CODE_LEN + 2 ? span_of("\r\n") : span_of("\n");
    struct span form = smtp_refusal_form(refusals, refusal, available + *sent - end.len);
    append(change, span_tail(form, *sent));
    append(change, end);
    *sent = 0;
}
