#include "smtp/mime_field.h"

enum mime_state {
    MIME_TYPE,  /* the type, up to the first semicolon */
    MIME_NAME,  /* a parameter's name, up to the equals sign */
    MIME_VALUE, /* its value, up to the semicolon */
};

/* What stands before the octets of a piece. */
enum {
    HEAD_ENCODED, /* whether it has percent signs */
    HEAD_NUMBER,  /* which piece it is (RFC 2231 3) */
    HEAD_LEN,     /* of its octets, two octets */
    HEAD_BYTES = HEAD_LEN + 2,
    NUMBER_MAX = 255,
};

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n';
}

/* ---- reading ---- */

void mime_field_begin(struct mime_field *field)
{
    field->state = MIME_TYPE;
    field->depth = field->word_len = 0;
    field->quoted = field->escaped = field->boundary = field->message = field->begun = false;
    field->kept = MIME_FIELD_NAMES;
    for (int i = 0; i < MIME_FIELD_NAMES; i++) {
        field->names[i].len = field->names[i].piece = 0;
        field->names[i].dropped = 0;
    }
}

/* A parameter's name: which of a file's names it has a piece of, and which. */
struct piece {
    unsigned name; /* as in mime_field_name; MIME_FIELD_NAMES: none */
    unsigned number;
    bool encoded;
};

/* `filename`, and as RFC 2231 writes it in pieces or in a character set: `filename*`, `filename*0`, `filename*0*`. */
static struct piece piece_of(struct span word)
{
    static const struct piece none = {.name = MIME_FIELD_NAMES};
    static const char *const names[] = {"filename", "name"};
    for (unsigned i = 0; i < 2; i++) {
        struct span rest = span_tail(word, strlen(names[i]));
        if (!span_equal_nocase(span_head(word, strlen(names[i])), span_of(names[i])))
            continue;
        if (rest.len == 0)
            return (struct piece){.name = 2 * i};
        struct piece piece = {.name = 2 * i + 1, .encoded = rest.len == 1 || rest.ptr[rest.len - 1] == '*'};
        if (rest.ptr[0] != '*')
            return none;
        for (rest = span_tail(rest, 1); rest.len && rest.ptr[0] != '*'; rest = span_tail(rest, 1)) {
            if (rest.ptr[0] < '0' || rest.ptr[0] > '9')
                return none;
            piece.number = 10 * piece.number + rest.ptr[0] - (unsigned)'0';
            piece.number = piece.number < NUMBER_MAX ? piece.number : NUMBER_MAX;
        }
        return piece;
    }
    return none;
}

static struct span word_of(const struct mime_field *field)
{
    return (struct span){field->word, field->word_len};
}

/* The piece that goes on begins to be kept: behind the one before, or with a head of its own where it must. */
static void begin_piece(struct mime_name *name, const struct piece *piece)
{
    uint8_t *last = name->piece ? name->octets + name->piece - HEAD_BYTES : NULL;
    bool follows = last && last[HEAD_NUMBER] + 1u == piece->number && last[HEAD_ENCODED] == piece->encoded;
    if (follows) {
        last[HEAD_NUMBER]++;
        return;
    }
    if (name->len + 2 * HEAD_BYTES > MIME_NAME_BYTES)
        return; /* it is read as more of the last one */
    uint8_t *head = name->octets + name->len;
    head[HEAD_ENCODED] = piece->encoded;
    head[HEAD_NUMBER] = (uint8_t)piece->number;
    name->piece = name->len = (uint16_t)(name->len + HEAD_BYTES);
}

static void begin_value(struct mime_field *field)
{
    struct piece piece = piece_of(word_of(field));
    field->boundary = field->boundary || span_equal_nocase(word_of(field), span_of("boundary"));
    field->state = MIME_VALUE;
    field->begun = false;
    bool again = piece.name % 2 == 0 && piece.name < MIME_FIELD_NAMES && field->names[piece.name].piece;
    field->kept = (uint8_t)(again ? MIME_FIELD_NAMES : piece.name);
    if (field->kept < MIME_FIELD_NAMES)
        begin_piece(&field->names[field->kept], &piece);
}

/* The last piece fills what room there is: the older half of it goes. */
static void add_to_piece(struct mime_name *name, uint8_t octet)
{
    if (name->len == MIME_NAME_BYTES) {
        uint16_t half = (uint16_t)((name->len - name->piece + 1) / 2);
        memmove(name->octets + name->piece, name->octets + name->piece + half,
                (size_t)(name->len - name->piece - half));
        name->len = (uint16_t)(name->len - half);
        name->dropped = name->dropped < UINT32_MAX / 2 ? name->dropped + half : name->dropped;
    }
    name->octets[name->len++] = octet;
}

static void add_octet(struct mime_field *field, uint8_t octet)
{
    if (field->state != MIME_VALUE) {
        if (!is_blank(octet) && field->word_len < sizeof field->word)
            field->word[field->word_len++] = octet;
        return;
    }
    if (field->kept == MIME_FIELD_NAMES || (!field->begun && !field->quoted && is_blank(octet)))
        return;
    field->begun = true;
    add_to_piece(&field->names[field->kept], octet);
}

/* A parameter, or the type, is over. */
static void end_word(struct mime_field *field)
{
    if (field->state == MIME_TYPE)
        field->message = span_equal_nocase(word_of(field), span_of("message/rfc822")) ||
                         span_equal_nocase(word_of(field), span_of("message/global"));
    if (field->state == MIME_VALUE && field->kept < MIME_FIELD_NAMES) {
        struct mime_name *name = &field->names[field->kept];
        while (field->begun && name->len > name->piece && is_blank(name->octets[name->len - 1]))
            name->len--;
        name->octets[name->piece - 2] = (uint8_t)((name->len - name->piece) >> 8);
        name->octets[name->piece - 1] = (uint8_t)(name->len - name->piece);
    }
    field->state = MIME_NAME;
    field->word_len = 0;
    field->kept = MIME_FIELD_NAMES;
}

static void take(struct mime_field *field, uint8_t octet)
{
    bool escaped = field->escaped;
    field->escaped = false;
    if (!escaped && octet == '\\' && (field->quoted || field->depth > 0)) {
        field->escaped = true;
    } else if (field->depth > 0) {
        if (!escaped && octet == '(' && field->depth < UINT8_MAX)
            field->depth++;
        field->depth = (uint8_t)(field->depth - (!escaped && octet == ')'));
    } else if (!escaped && octet == '"') {
        field->quoted = !field->quoted;
    } else if (field->quoted) {
        if (octet != '\r' && octet != '\n')
            add_octet(field, octet);
    } else if (octet == '(') {
        field->depth = 1;
    } else if (octet == ';') {
        end_word(field);
    } else if (octet == '=' && field->state == MIME_NAME) {
        begin_value(field);
    } else {
        add_octet(field, octet);
    }
}

void mime_field_feed(struct mime_field *field, struct span octets)
{
    for (size_t i = 0; i < octets.len; i++)
        take(field, octets.ptr[i]);
}

void mime_field_end(struct mime_field *field)
{
    end_word(field);
}

/* ---- names ---- */

static int hex_value(uint8_t octet)
{
    uint8_t upper = ascii_upper(octet);
    return octet >= '0' && octet <= '9' ? octet - '0' : upper >= 'A' && upper <= 'F' ? upper - 'A' + 10 : -1;
}

/* Octets written as `sign` and two digits, resolved; where they are none they stay. Returns how many there are. */
static size_t decode_hex(struct span text, uint8_t sign, uint8_t *out)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool marked = text.ptr[i] == sign && text.len - i > 2;
        int high = marked ? hex_value(text.ptr[i + 1]) : -1, low = marked ? hex_value(text.ptr[i + 2]) : -1;
        uint8_t octet = text.ptr[i] == '_' && sign == '=' ? ' ' : text.ptr[i];
        if (high >= 0 && low >= 0) {
            octet = (uint8_t)(high << 4 | low);
            i += 2;
        }
        out[len++] = octet;
    }
    return len;
}

static size_t decode_base64(struct span text, uint8_t *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;
    uint32_t bits = 0, count = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = memchr(digits, text.ptr[i], sizeof digits - 1);
        if (!digit)
            continue;
        bits = bits << 6 | (uint32_t)(digit - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[len++] = (uint8_t)(bits >> count);
        }
    }
    return len;
}

/* Up to the next `?`, which is taken, too; false where there is none. */
static bool next_question(struct span *rest, struct span *part)
{
    const uint8_t *mark = rest->len ? memchr(rest->ptr, '?', rest->len) : NULL;
    if (!mark)
        return false;
    *part = span_head(*rest, (size_t)(mark - rest->ptr));
    *rest = span_tail(*rest, part->len + 1);
    return true;
}

/* An encoded word at the front of *text (RFC 2047 2), decoded to `out`, which may be the same place. */
static bool decode_word(struct span *text, uint8_t *out, size_t *len)
{
    struct span rest = span_tail(*text, 2), charset, coding, coded;
    if (!span_equal(span_head(*text, 2), span_of("=?")) || !next_question(&rest, &charset) ||
        !next_question(&rest, &coding) || !next_question(&rest, &coded) || coding.len != 1 || rest.len == 0 ||
        rest.ptr[0] != '=')
        return false;
    uint8_t how = ascii_upper(coding.ptr[0]);
    if (how != 'B' && how != 'Q')
        return false;
    *len = how == 'B' ? decode_base64(coded, out) : decode_hex(coded, '=', out);
    *text = span_tail(rest, 1);
    return true;
}

/* Encoded words in place; blanks between two of them are none (RFC 2047 6.2). Returns what remains. */
static size_t decode_words(uint8_t *octets, size_t count)
{
    struct span text = {octets, count};
    size_t at = 0, behind_word = 0; /* where blanks begin that stand behind a word; 0: none do */
    while (text.len) {
        size_t len;
        struct span rest = text;
        size_t to = behind_word ? behind_word : at;
        if (decode_word(&rest, octets + to, &len)) {
            at = behind_word = to + len;
            text = rest;
            continue;
        }
        if (!is_blank(text.ptr[0]))
            behind_word = 0;
        octets[at++] = text.ptr[0];
        text = span_tail(text, 1);
    }
    return at;
}

static struct span octets_of(const uint8_t *head)
{
    return (struct span){head + HEAD_BYTES, (size_t)(head[HEAD_LEN] << 8 | head[HEAD_LEN + 1])};
}

/* The piece with the least number not below `number`: its head; NULL where there is none. */
static const uint8_t *find_piece(const struct mime_name *name, unsigned number)
{
    const uint8_t *found = NULL;
    for (size_t at = 0; at < name->len;) {
        const uint8_t *head = name->octets + at;
        if (head[HEAD_NUMBER] >= number && (!found || head[HEAD_NUMBER] < found[HEAD_NUMBER]))
            found = head;
        at += HEAD_BYTES + octets_of(head).len;
    }
    return found;
}

/* Behind the character set and the language of an encoded value (RFC 2231 4). */
static struct span skip_charset(struct span text)
{
    struct span rest = text;
    for (int i = 0; i < 2; i++) {
        const uint8_t *quote = rest.len ? memchr(rest.ptr, '\'', rest.len) : NULL;
        if (!quote)
            return text;
        rest = span_tail(rest, (size_t)(quote - rest.ptr) + 1);
    }
    return rest;
}

static size_t join(const struct mime_name *name, uint8_t *out)
{
    size_t len = 0;
    const uint8_t *head;
    for (unsigned number = 0; (head = find_piece(name, number)) != NULL; number = head[HEAD_NUMBER] + 1u) {
        struct span text = octets_of(head);
        if (head[HEAD_ENCODED])
            len += decode_hex(len ? text : skip_charset(text), '%', out + len);
        else if (text.len)
            memcpy(out + len, text.ptr, text.len);
        len += head[HEAD_ENCODED] ? 0 : text.len;
    }
    return decode_words(out, len);
}

struct span mime_field_name(const struct mime_field *field, unsigned index, uint8_t *out, size_t *length)
{
    struct span name = {out, join(&field->names[index], out)};
    *length = name.len + field->names[index].dropped;
    if (index == 0)
        return name;
    uint8_t before[MIME_NAME_BYTES];
    struct span same = {before, join(&field->names[index - 1], before)};
    return span_equal(name, same) ? (struct span){0} : name;
}
