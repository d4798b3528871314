#include "smtp/content.h"

void content_begin(struct content *content)
{
    content->length = content->kept = content->field_len = 0;
    content->header = true;
    content->parts = content->whole = content->carriage = false;
}

static void keep(struct content *content, struct span octets)
{
    size_t room = CONTENT_LINE_BYTES - content->kept;
    size_t len = octets.len < room ? octets.len : room;
    if (len)
        memcpy(content->line + content->kept, octets.ptr, len);
    content->kept = (uint16_t)(content->kept + len);
    uint64_t length = (uint64_t)content->length + octets.len;
    content->length = length < UINT32_MAX ? (uint32_t)length : UINT32_MAX;
    if (octets.len)
        content->carriage = octets.ptr[octets.len - 1] == '\r';
}

/* Take octets up to the end of the line; false where it does not come. */
static bool gather(struct content *content, struct span *octets)
{
    const uint8_t *end = octets->len ? memchr(octets->ptr, '\n', octets->len) : NULL;
    struct span part = span_head(*octets, end ? (size_t)(end - octets->ptr) : octets->len);
    keep(content, part);
    *octets = span_tail(*octets, part.len + (end != NULL));
    if (!end)
        return false;
    if (content->carriage && content->length == content->kept)
        content->kept--;
    if (content->carriage)
        content->length--;
    content->whole = true;
    return true;
}

static bool begins(struct span text, const char *word)
{
    return span_equal_nocase(span_head(text, strlen(word)), span_of(word));
}

static void append_field(struct content *content, struct span text)
{
    size_t room = CONTENT_FIELD_BYTES - content->field_len;
    size_t len = text.len < room ? text.len : room;
    memcpy(content->field + content->field_len, text.ptr, len);
    content->field_len = (uint16_t)(content->field_len + len);
}

/* What a line changes in the place where the message is. */
static void follow(struct content *content, struct span text)
{
    bool folded = text.len && (text.ptr[0] == ' ' || text.ptr[0] == '\t');
    if (!content->header) {
        content->header = content->parts && text.len > 2 && begins(text, "--") && text.ptr[2] != ' ';
        return;
    }
    if (text.len == 0) {
        content->header = false;
    } else if (begins(text, "Content-Disposition:") || begins(text, "Content-Type:")) {
        content->field_len = 0;
        append_field(content, text);
    } else if (folded && content->field_len) {
        append_field(content, text);
    }
}

/* ---- parameters of a field ---- */

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

/* The next `; name=value`; false where there is none. */
static bool next_parameter(struct span *field, struct span *name, struct span *value)
{
    const uint8_t *semicolon = field->len ? memchr(field->ptr, ';', field->len) : NULL;
    if (!semicolon)
        return false;
    struct span rest = span_tail(*field, (size_t)(semicolon - field->ptr) + 1);
    while (rest.len && is_blank(rest.ptr[0]))
        rest = span_tail(rest, 1);
    size_t len = 0;
    while (len < rest.len && rest.ptr[len] != '=' && rest.ptr[len] != ';')
        len++;
    *name = span_head(rest, len);
    while (name->len && is_blank(name->ptr[name->len - 1]))
        name->len--;
    *field = span_tail(rest, len);
    *value = (struct span){0};
    if (field->len == 0 || field->ptr[0] != '=')
        return true;
    rest = span_tail(*field, 1);
    while (rest.len && is_blank(rest.ptr[0]))
        rest = span_tail(rest, 1);
    bool quoted = rest.len && rest.ptr[0] == '"';
    rest = span_tail(rest, quoted);
    for (len = 0; len < rest.len && (quoted ? rest.ptr[len] != '"' : rest.ptr[len] != ';' && !is_blank(rest.ptr[len]));
         len++)
        if (quoted && rest.ptr[len] == '\\')
            len++;
    *value = span_head(rest, len);
    *field = span_tail(rest, value->len);
    return true;
}

/* `filename`, and as RFC 2231 writes it in pieces or in a character set: `filename*`, `filename*0`, `filename*0*`. */
static bool is_named(struct span name, const char *word)
{
    size_t len = strlen(word);
    return span_equal_nocase(span_head(name, len), span_of(word)) && (name.len == len || name.ptr[len] == '*');
}

/* The field is over: the name that it has. False where it has none. */
static bool end_field(struct content *content, struct span *file_name)
{
    struct span field = {content->field, content->field_len};
    struct span name, value;
    bool found = false;
    content->field_len = 0;
    while (next_parameter(&field, &name, &value)) {
        content->parts = content->parts || is_named(name, "boundary");
        if (!found && value.len && (is_named(name, "filename") || is_named(name, "name"))) {
            *file_name = value;
            found = true;
        }
    }
    return found;
}

bool content_next(struct content *content, struct span *octets, struct content_item *item)
{
    if (!content->whole && !gather(content, octets))
        return false;
    struct span text = {content->line, content->kept};
    bool folded = text.len && is_blank(text.ptr[0]);
    if (content->field_len && !folded && end_field(content, &item->text)) {
        item->kind = CONTENT_FILE_NAME;
        item->length = item->text.len;
        return true;
    }
    *item = (struct content_item){content->header ? CONTENT_HEADER_LINE : CONTENT_BODY_LINE, content->length, text};
    follow(content, text);
    content->whole = content->carriage = false;
    content->length = content->kept = 0;
    return true;
}
