#include "smtp/change.h"

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

void smtp_change_cover(struct smtp_change *change, const struct smtp_unit *unit, bool continued)
{
    static const uint8_t noop[4] = {'N', 'O', 'O', 'P'};
    if (!start_with(change, unit->octets))
        return;
    size_t left = left_before(unit);
    size_t verb_end =
        unit->command.word.len ? (size_t)(unit->command.word.ptr - unit->whole.ptr) + unit->command.word.len : 0;
    size_t text_len = smtp_line_text(unit->octets).len;
    bool at_end = text_len < unit->octets.len;
    /* A CR that ends a fragment may be the first half of the line's end. */
    if (!at_end && text_len && change->octets[text_len - 1] == '\r')
        text_len--;
    for (size_t i = 0; i < text_len; i++) {
        if (continued)
            change->octets[i] = ' ';
        else if (left == 0)
            change->octets[i] = i < sizeof noop ? noop[i] : ' ';
        else
            change->octets[i] = left + i < verb_end ? '-' : ' ';
    }
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

/* The same length as came: our code, their separator and line end, as much of our text as fits, blanks. */
static void replace_same_length(struct smtp_change *change, const struct smtp_unit *unit, enum smtp_refusal refusal)
{
    if (!start_with(change, unit->octets))
        return;
    size_t left = left_before(unit);
    size_t text_len = smtp_line_text(unit->octets).len;
    struct span form = smtp_refusal_form(refusal, left + text_len);
    for (size_t i = 0; i < text_len; i++) {
        size_t at = left + i;
        if (at == SMTP_REFUSAL_CODE_LEN)
            continue;
        change->octets[i] = at < form.len ? form.ptr[at] : ' ';
    }
}

void smtp_change_replace(struct smtp_change *change, const struct smtp_unit *unit, enum smtp_refusal refusal,
                         struct smtp_room room, uint8_t *sent)
{
    bool last = unit->kind == SMTP_UNIT_REPLY && unit->reply.last;
    if (!room.resize) {
        replace_same_length(change, unit, refusal);
        *sent = last ? 0 : SMTP_REFUSAL_CODE_LEN;
        return;
    }
    change->changed = true;
    change->len = 0;
    if (refusal == SMTP_REFUSAL_VANISH)
        return;
    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        /* What must leave before the line is whole: as much of our code as came of theirs. */
        struct span code = span_tail(span_head(smtp_refusal_form(refusal, 0), SMTP_REFUSAL_CODE_LEN), *sent);
        append(change, span_head(code, unit->octets.len));
        *sent = (uint8_t)(*sent + change->len);
        return;
    }
    if (!last)
        return;
    size_t available = unit->octets.len + room.saved;
    struct span end = available + *sent >= SMTP_REFUSAL_CODE_LEN + 2 ? span_of("\r\n") : span_of("\n");
    struct span form = smtp_refusal_form(refusal, available + *sent - end.len);
    append(change, span_tail(form, *sent));
    append(change, end);
    *sent = 0;
}
