#include "smtp/change.h"

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

void smtp_change_to(struct smtp_change *change, struct span octets)
{
    (void)start_with(change, octets);
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
    size_t left = smtp_unit_left_before(unit);
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

/* An address with an empty label or none in its domain (RFC 5321 4.1.2 has neither); the local part grows. */
static void write_bad_domain(uint8_t *to, size_t len)
{
    static const char *const domains[] = {"@x..invalid", "@x..x", "@.x", "@.", "@", ""};
    size_t shortest = 0;
    while (strlen(domains[shortest]) > len)
        shortest++;
    struct span domain = span_of(domains[shortest]);
    memset(to, 'x', len - domain.len);
    if (domain.len)
        memcpy(to + len - domain.len, domain.ptr, domain.len);
}

/* An empty local part and no domain, behind a comment. Who knows no comments reads a bad domain in it. */
static void write_comment(uint8_t *to, size_t len)
{
    enum { AROUND_LEN = 4 };
    if (len < AROUND_LEN) {
        write_bad_domain(to, len);
        return;
    }
    to[0] = '(';
    write_bad_domain(to + 1, len - AROUND_LEN);
    to[len - 3] = ')';
    to[len - 2] = to[len - 1] = '"';
}

/*
 * All behind the colon of `RCPT TO:`. A path in brackets, and where there is no room for them an empty string: sendmail
 * takes a lone `@` outside of brackets. Where there is no colon or nothing behind it, servers refuse it as it is.
 */
static void cover_path(struct smtp_change *change, const struct smtp_unit *unit, enum smtp_cover cover)
{
    assert(smtp_unit_left_before(unit) == 0);
    uint8_t *end = change->octets + text_len_of(unit, change->octets);
    uint8_t *colon = memchr(change->octets, ':', (size_t)(end - change->octets));
    uint8_t *to = colon ? colon + 1 : end;
    size_t len = (size_t)(end - to);
    if (len < 3) {
        memset(to, '"', len);
        return;
    }
    to[0] = '<';
    (cover == SMTP_COVER_COMMENT ? write_comment : write_bad_domain)(to + 1, len - 2);
    end[-1] = '>';
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
    size_t left = smtp_unit_left_before(unit);
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
    case SMTP_COVER_COMMENT:
        cover_path(change, unit, cover);
        break;
    case SMTP_COVER_LAST:
        cover_last(change, unit);
        break;
    }
    change->changed = memcmp(change->octets, unit->octets.ptr, change->len) != 0;
}

static void spoil_keyword(struct smtp_change *change, const struct smtp_unit *unit)
{
    size_t left = smtp_unit_left_before(unit);
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
    bool possible = smtp_unit_left_before(unit) == 0 && room.resize && unit->kind != SMTP_UNIT_FRAGMENT;
    bool bounded = unit->octets.len > room.spare && !cut; /* there was enough for all behind the cut */
    if (!possible || bounded) {
        spoil_keyword(change, unit);
        change->bounded = possible;
        return;
    }
    change->changed = true;
    change->len = 0;
    if (!unit->reply.last || cut)
        return;
    struct span end = line_end(unit);
    append(change, span_head(unit->whole, SMTP_REFUSAL_CODE_LEN));
    if (unit->reply.code / 100 == 2 && SMTP_REFUSAL_CODE_LEN + 3 + end.len <= unit->octets.len + room.saved)
        append(change, span_of(" OK"));
    append(change, end);
}

bool smtp_change_make_last(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room)
{
    size_t left = smtp_unit_left_before(unit);
    if (left > SMTP_REFUSAL_CODE_LEN || !room.resize || unit->rest.len > room.spare ||
        !start_with(change, unit->octets))
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
    if (smtp_unit_left_before(unit) > 0 || unit->kind == SMTP_UNIT_FRAGMENT || !unit->has_reply ||
        unit->reply.text.len == 0)
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
    change->bounded = room.resize && unit->octets.len - len - end.len > room.spare;
    if (!room.resize || change->bounded) {
        memset(change->octets + len, ' ', change->len - end.len - len);
        return;
    }
    change->len = len;
    append(change, end);
}

/*
 * The same length as came: as much of our line as fits behind what has left of it, blanks, their line end. Where lines
 * before it were taken out, what has left of ours is less than what came of theirs.
 */
static void replace_in_place(struct smtp_change *change, const struct smtp_unit *unit,
                             const struct smtp_refusals *refusals, uint8_t refusal, uint8_t *sent)
{
    if (!start_with(change, unit->octets))
        return;
    bool last = unit->kind == SMTP_UNIT_REPLY && unit->reply.last;
    size_t left = *sent == 0 || *sent == SMTP_REPLACED_IN_PLACE ? smtp_unit_left_before(unit) : *sent;
    size_t text_len = text_len_of(unit, change->octets);
    struct span form = smtp_refusal_form(refusals, refusal, left + text_len);
    struct span came = unit->whole;
    for (size_t i = 0; i < text_len; i++) {
        size_t at = left + i;
        if (at == SMTP_REFUSAL_CODE_LEN && came.len > SMTP_REFUSAL_CODE_LEN)
            change->octets[i] = came.ptr[SMTP_REFUSAL_CODE_LEN]; /* whether more lines follow */
        else
            change->octets[i] = at < form.len ? form.ptr[at] : ' ';
    }
    *sent = last ? 0 : SMTP_REPLACED_IN_PLACE;
}

/* Our reply, so many times, where the last line of theirs was; the beginning of the first has left. */
static bool replace_last(struct smtp_change *change, const struct smtp_unit *unit, const struct smtp_refusals *refusals,
                         uint8_t refusal, uint16_t times, struct smtp_room room, size_t sent)
{
    size_t available = unit->octets.len + room.saved + sent;
    size_t each = (available < sizeof change->octets ? available : sizeof change->octets) / times;
    struct span end = each >= SMTP_REFUSAL_CODE_LEN + 2 ? span_of("\r\n") : span_of("\n");
    if (each < SMTP_REFUSAL_CODE_LEN + end.len)
        return false;
    struct span form = smtp_refusal_form(refusals, refusal, each - end.len);
    for (uint16_t i = 0; i < times; i++) {
        append(change, span_tail(form, i == 0 ? sent : 0));
        append(change, end);
    }
    return true;
}

/* One line in place of all, or one for each of so many. False where there is no room for them. */
static bool replace_by_one(struct smtp_change *change, const struct smtp_unit *unit,
                           const struct smtp_refusals *refusals, uint8_t refusal, uint16_t times, struct smtp_room room,
                           uint8_t *sent)
{
    change->changed = true;
    change->len = 0;
    if (unit->kind == SMTP_UNIT_FRAGMENT) {
        /* What must leave before the line is whole: our code, once theirs is known. */
        if (*sent > 0 || unit->whole.len < SMTP_REFUSAL_CODE_LEN)
            return true;
        append(change, span_head(smtp_refusal_form(refusals, refusal, 0), SMTP_REFUSAL_CODE_LEN));
        *sent = SMTP_REFUSAL_CODE_LEN;
        return true;
    }
    if (!unit->reply.last)
        return true;
    bool fits = replace_last(change, unit, refusals, refusal, times, room, *sent);
    *sent = 0;
    return fits;
}

void smtp_change_restore(struct smtp_change *change, const struct smtp_unit *unit)
{
    (void)start_with(change, unit->whole);
}

void smtp_change_remove(struct smtp_change *change, struct smtp_room room)
{
    change->changed = room.resize;
    change->len = 0;
}

bool smtp_change_replace(struct smtp_change *change, const struct smtp_unit *unit, const struct smtp_refusals *refusals,
                         uint8_t refusal, uint16_t times, struct smtp_room room, uint8_t *sent)
{
    uint8_t before = *sent;
    bool last = unit->kind == SMTP_UNIT_REPLY && unit->reply.last;
    if (room.resize && before != SMTP_REPLACED_IN_PLACE) {
        bool fits = replace_by_one(change, unit, refusals, refusal, times, room, sent);
        /* What is kept back of a code comes by and by. Behind a code of ours only their hyphen or blank can say whether
           the line is the last. */
        bool must = unit->whole.len < SMTP_REFUSAL_CODE_LEN || (before > 0 && unit->whole.len <= SMTP_REFUSAL_CODE_LEN);
        if (!fits || must || times > 1 || unit->octets.len <= change->len + (size_t)room.spare)
            return fits;
        *sent = before;
        change->bounded = true;
    }
    replace_in_place(change, unit, refusals, refusal, sent);
    return !last || times == 1;
}
