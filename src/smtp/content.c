#include "smtp/content.h"

void content_begin(struct content *content)
{
    content->length = content->kept = 0;
    content->header = true;
    content->parts = content->message = content->whole = content->carriage = content->in_field = content->fed = false;
    content->names = MIME_FIELD_NAMES;
}

/* What stands behind `name` and its colon in a line that begins with them; false where it does not. */
static bool begins_field(struct span line, const char *name, struct span *body)
{
    struct span rest = span_tail(line, strlen(name));
    while (rest.len && ascii_is_blank(rest.ptr[0]))
        rest = span_tail(rest, 1);
    *body = span_tail(rest, 1);
    return span_equal_nocase(span_head(line, strlen(name)), span_of(name)) && rest.len && rest.ptr[0] == ':';
}

/* What is kept of the line that goes on is part of a field that has names, or begins one: it is read as such. */
static void feed_field(struct content *content)
{
    struct span line = {content->line, content->kept}, body = line;
    content->fed = true;
    if (!content->header || line.len == 0)
        return;
    bool begins = begins_field(line, "Content-Disposition", &body) || begins_field(line, "Content-Type", &body);
    if (begins)
        mime_field_begin(&content->field);
    content->in_field = begins || (content->in_field && ascii_is_blank(line.ptr[0]));
    if (content->in_field)
        mime_field_feed(&content->field, begins ? body : line);
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
    if (len == octets.len)
        return;
    if (!content->fed)
        feed_field(content);
    if (content->in_field)
        mime_field_feed(&content->field, span_tail(octets, len));
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
    if (!content->fed)
        feed_field(content);
    return true;
}

/* What a line changes in the place where the message is. */
static void follow(struct content *content, struct span text)
{
    if (content->header && text.len == 0) {
        content->header = content->message;
        content->message = false;
    } else if (!content->header && content->parts && text.len > 2) {
        bool signature = text.len == 3 && text.ptr[2] == ' ';
        content->header = span_equal(span_head(text, 2), span_of("--")) && !signature;
    }
}

/* The field is over with the line before, for the next one does not begin with a blank. */
static void end_field(struct content *content)
{
    mime_field_end(&content->field);
    content->in_field = false;
    content->names = 0;
    content->parts = content->parts || content->field.boundary;
    content->message = content->message || content->field.message;
}

bool content_next(struct content *content, struct span *octets, struct content_item *item)
{
    bool at_begin = !content->whole && content->length == 0 && octets->len > 0;
    if (content->in_field && at_begin && !ascii_is_blank(octets->ptr[0]))
        end_field(content);
    while (content->names < MIME_FIELD_NAMES) {
        item->kind = CONTENT_FILE_NAME;
        item->text = mime_field_name(&content->field, content->names++, content->name, &item->length);
        if (item->text.len)
            return true;
    }
    if (!content->whole && !gather(content, octets))
        return false;
    struct span text = {content->line, content->kept};
    *item = (struct content_item){content->header ? CONTENT_HEADER_LINE : CONTENT_BODY_LINE, content->length, text};
    follow(content, text);
    content->whole = content->carriage = content->fed = false;
    content->length = content->kept = 0;
    return true;
}
