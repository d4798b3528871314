#include "smtp/canonical.h"

#include "smtp/line.h"

/* What is being read, and what becomes of it. */
struct reading {
    struct span rest;
    uint8_t *out;
    size_t len; /* octets of `out` */
    bool good;
};

static bool is_one_of(uint8_t octet, const char *set)
{
    for (; *set; set++)
        if ((uint8_t)*set == octet)
            return true;
    return false;
}

/* RFC 5322 3.2.3, RFC 6531 3.3 */
static bool is_atext(uint8_t octet)
{
    return ascii_is_alnum(octet) || octet >= 0x80 || is_one_of(octet, "!#$%&'*+-/=?^_`{|}~");
}

static uint8_t next(const struct reading *reading)
{
    return reading->rest.len ? reading->rest.ptr[0] : '\0';
}

static void skip(struct reading *reading, size_t count)
{
    reading->rest = span_tail(reading->rest, count);
}

static void put(struct reading *reading, uint8_t octet)
{
    reading->out[reading->len++] = octet;
}

/* One comment, with those in it (RFC 5322 3.2.2). */
static void skip_comment(struct reading *reading)
{
    size_t depth = 0;
    while (reading->rest.len) {
        uint8_t octet = next(reading);
        skip(reading, octet == '\\' ? 2 : 1);
        depth += octet == '(';
        if (octet == ')' && --depth == 0)
            return;
    }
    reading->good = false;
}

/* Blanks and comments; true where there were any. */
static bool skip_space(struct reading *reading)
{
    size_t before = reading->rest.len;
    while (reading->good && reading->rest.len && (ascii_is_blank(next(reading)) || next(reading) == '('))
        next(reading) == '(' ? skip_comment(reading) : skip(reading, 1);
    return reading->rest.len < before;
}

/* The octets of a quoted string, without its quotes and backslashes, behind those of `out`. */
static void take_quoted(struct reading *reading)
{
    skip(reading, 1);
    while (reading->rest.len) {
        uint8_t octet = next(reading);
        skip(reading, 1);
        if (octet == '"')
            return;
        if (octet == '\\' && reading->rest.len) {
            octet = next(reading);
            skip(reading, 1);
        }
        reading->good = reading->good && octet >= ' ' && octet != 0x7f;
        put(reading, octet);
    }
    reading->good = false;
}

/* The local part, plain, behind those of `out`; up to its `@`, or what cannot belong to it. */
static void take_local(struct reading *reading)
{
    bool word = false, apart = false; /* a word is before this; blanks stand between the two */
    while (reading->good && reading->rest.len) {
        uint8_t octet = next(reading);
        if (ascii_is_blank(octet) || octet == '(') {
            apart = skip_space(reading) && word;
            continue;
        }
        bool dot = octet == '.';
        if (octet == '"') {
            take_quoted(reading);
        } else if (octet == '\\' && reading->rest.len > 1 && is_atext(reading->rest.ptr[1])) {
            put(reading, reading->rest.ptr[1]);
            skip(reading, 2);
        } else if (dot || is_atext(octet)) {
            put(reading, octet);
            skip(reading, 1);
        } else {
            break;
        }
        reading->good = reading->good && !(apart && !dot);
        word = !dot;
        apart = false;
    }
}

/* RFC 5321 4.1.2: Dot-string */
static bool needs_no_quotes(struct span local)
{
    bool dot = true;
    for (size_t i = 0; i < local.len; i++) {
        if (local.ptr[i] == '.' ? dot : !is_atext(local.ptr[i]))
            return false;
        dot = local.ptr[i] == '.';
    }
    return !dot;
}

/* The plain local part from `at` on gets its quotes back. */
static void quote_local(struct reading *reading, size_t at)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    size_t len = reading->len - at;
    memcpy(plain, reading->out + at, len);
    reading->len = at;
    put(reading, '"');
    for (size_t i = 0; i < len; i++) {
        if (plain[i] == '"' || plain[i] == '\\')
            put(reading, '\\');
        put(reading, plain[i]);
    }
    put(reading, '"');
}

static void take_literal(struct reading *reading)
{
    uint8_t octet;
    do {
        octet = next(reading);
        reading->good = reading->good && (ascii_is_alnum(octet) || is_one_of(octet, "[].:-"));
        put(reading, octet);
        skip(reading, 1);
    } while (reading->good && octet != ']' && reading->rest.len);
    reading->good = reading->good && octet == ']';
    skip_space(reading);
}

/* The domain, without a final dot; a label of it is not empty. */
static void take_domain(struct reading *reading)
{
    bool dot = true, apart = false;
    while (reading->good && reading->rest.len) {
        uint8_t octet = next(reading);
        if (ascii_is_blank(octet) || octet == '(') {
            apart = skip_space(reading) && !dot;
            continue;
        }
        if (!(ascii_is_alnum(octet) || octet == '-' || octet == '_' || octet >= 0x80 || octet == '.'))
            break;
        reading->good = octet == '.' ? !dot : !apart;
        dot = octet == '.';
        apart = false;
        put(reading, octet);
        skip(reading, 1);
    }
    bool final = dot && reading->len > 0 && reading->out[reading->len - 1] == '.';
    reading->len -= final;
    reading->good = reading->good && (!dot || final);
}

/* `@a,@b:` before a mailbox: it is not looked at by anybody (RFC 5321 appendix C). */
static void skip_route(struct reading *reading)
{
    while (reading->rest.len && next(reading) != ':') {
        uint8_t octet = next(reading);
        reading->good = reading->good && (ascii_is_alnum(octet) || octet >= 0x80 || is_one_of(octet, "@.,-_[] \t"));
        skip(reading, 1);
    }
    reading->good = reading->good && reading->rest.len > 0;
    skip(reading, 1);
    skip_space(reading);
}

/* RFC 5321 4.1.1.3: of recipients only postmaster has no domain. Servers add their own to others, or do not. */
static bool may_lack_domain(struct span local, bool recipient)
{
    return !recipient || span_equal_nocase(local, span_of("postmaster"));
}

/*
 * What servers read as another address than it is written: `user%host@relay`, `host!user`, an encoded word; and any
 * address of a server that it is called by its number.
 */
static bool is_rewritten(struct span local, bool literal)
{
    static const char encoded[] = "=?";
    if (literal)
        return !span_equal_nocase(local, span_of("postmaster"));
    for (size_t i = 0; i < local.len; i++)
        if (is_one_of(local.ptr[i], "%!@"))
            return true;
    return span_equal(span_head(local, sizeof encoded - 1), span_of(encoded));
}

/* A mailbox, or nothing, up to what cannot belong to it. */
static void take_mailbox(struct reading *reading, bool recipient)
{
    skip_space(reading);
    if (next(reading) == '@')
        skip_route(reading);
    size_t at = reading->len, before = reading->rest.len;
    bool quoted = next(reading) == '"';
    take_local(reading);
    struct span local = {reading->out + at, reading->len - at};
    bool has_domain = next(reading) == '@';
    if (!reading->good || (local.len == 0 && !has_domain))
        return;
    bool literal = has_domain && reading->rest.len > 1 && reading->rest.ptr[1] == '[';
    reading->good = !(recipient && is_rewritten(local, literal)) && (has_domain || may_lack_domain(local, recipient));
    quoted = quoted && before - reading->rest.len == local.len + 2; /* one string, and nothing in it that may go */
    if (quoted || !needs_no_quotes(local))
        quote_local(reading, at);
    if (!has_domain)
        return;
    put(reading, '@');
    skip(reading, 1);
    literal ? take_literal(reading) : take_domain(reading);
}

/* Words, quoted strings and comments before a `<`, where a mail client writes a name. Not where it is an address. */
static void skip_display_name(struct reading *reading)
{
    if (reading->rest.len && !memchr(reading->rest.ptr, '<', reading->rest.len))
        return;
    struct reading name = *reading;
    while (name.good && name.rest.len && next(&name) != '<') {
        uint8_t octet = next(&name);
        if (octet == '"')
            take_quoted(&name);
        else if (octet == '(')
            skip_comment(&name);
        else if (ascii_is_blank(octet) || octet == '.' || (is_atext(octet) && octet != '='))
            skip(&name, 1);
        else
            return;
    }
    if (name.good)
        reading->rest = name.rest;
}

/* Words that begin with a letter or digit, without controls (RFC 5321 4.1.2: esmtp-param). */
static bool are_parameters(struct span text)
{
    bool begins = true;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t octet = text.ptr[i];
        bool blank = ascii_is_blank(octet);
        if (!blank && (octet < ' ' || octet == 0x7f || (begins && !ascii_is_alnum(octet))))
            return false;
        begins = blank;
    }
    return true;
}

/* A mailbox without brackets ends at a blank. */
static void take_bare(struct reading *reading, bool recipient)
{
    struct span all = reading->rest;
    size_t len = 0;
    while (len < all.len && !ascii_is_blank(all.ptr[len]))
        len++;
    reading->rest = span_head(all, len);
    take_mailbox(reading, recipient);
    reading->good = reading->good && reading->rest.len == 0;
    reading->rest = span_tail(all, len);
}

/* `TO:` or `FROM:`, the path and the parameters. */
static void take_path(struct reading *reading, bool recipient, size_t room)
{
    struct span keyword = span_of(recipient ? "TO" : "FROM");
    struct span written = span_head(reading->rest, keyword.len);
    skip(reading, keyword.len);
    while (ascii_is_blank(next(reading)))
        skip(reading, 1);
    if (!span_equal_nocase(written, keyword) || next(reading) != ':') {
        reading->good = false;
        return;
    }
    skip(reading, 1);
    memcpy(reading->out + reading->len, written.ptr, written.len);
    reading->len += written.len;
    put(reading, ':');
    size_t at = reading->len;
    skip_space(reading);
    skip_display_name(reading);
    bool bracketed = next(reading) == '<';
    skip(reading, bracketed);
    put(reading, '<');
    if (bracketed)
        take_mailbox(reading, recipient);
    else
        take_bare(reading, recipient);
    reading->good = reading->good && (bracketed ? next(reading) == '>' : reading->len > at + 1);
    skip(reading, bracketed);
    put(reading, '>');
    bool apart = skip_space(reading) || reading->rest.len == 0;
    reading->good = reading->good && apart && are_parameters(reading->rest);
    size_t parameters = reading->rest.len ? reading->rest.len + 1 : 0;
    if (reading->good && !bracketed && reading->len + parameters > room) { /* as it came, without brackets */
        reading->len -= 2;
        memmove(reading->out + at, reading->out + at + 1, reading->len - at);
    }
}

/* Whether an argument has octets that servers end it at, or lose. */
static bool has_controls(struct span argument)
{
    for (size_t i = 0; i < argument.len; i++)
        if ((argument.ptr[i] < ' ' && argument.ptr[i] != '\t') || argument.ptr[i] == 0x7f)
            return true;
    return false;
}

/* Verbs whose arguments are data, and read so. */
static bool takes_any_octet(enum smtp_verb verb)
{
    return verb == SMTP_VERB_X_LINK2STATE || verb == SMTP_VERB_AUTH || verb == SMTP_VERB_X_EXPS;
}

enum smtp_canonical smtp_canonical(struct span line, const struct smtp_command *command, bool address, uint8_t *out)
{
    enum { LONGER = 2 * SMTP_LINE_BYTES_MAX + 8 }; /* quotes at worst */
    uint8_t form[LONGER];
    size_t room = smtp_line_text(line).len;
    struct reading reading = {.rest = command->argument, .out = form, .good = true};
    memcpy(form, command->word.ptr, command->word.len);
    reading.len = command->word.len;
    if (command->argument.len)
        put(&reading, ' ');
    if (address)
        take_path(&reading, command->verb == SMTP_VERB_RCPT, room);
    else if (has_controls(command->argument) && !takes_any_octet(command->verb))
        return SMTP_CANONICAL_UNREADABLE;
    if (address && reading.good && reading.rest.len)
        put(&reading, ' ');
    if (!reading.good || reading.len + reading.rest.len > room)
        return address ? SMTP_CANONICAL_BAD_ADDRESS : SMTP_CANONICAL_UNREADABLE;
    memcpy(out, form, reading.len);
    if (reading.rest.len)
        memcpy(out + reading.len, reading.rest.ptr, reading.rest.len);
    reading.len += reading.rest.len;
    memset(out + reading.len, ' ', room - reading.len);
    memcpy(out + room, line.ptr + room, line.len - room);
    return memcmp(out, line.ptr, line.len) == 0 ? SMTP_CANONICAL_SAME : SMTP_CANONICAL_REWRITTEN;
}
