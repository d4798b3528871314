#include "smtp/tls_certificate.h"

#include "base/octets.h"

enum {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_OCTET_STRING = 0x04,
    DER_OID = 0x06,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_VERSION = 0xa0,    /* [0] of a TBSCertificate */
    DER_EXTENSIONS = 0xa3, /* [3] of it */
    DER_DNS_NAME = 0x82,   /* [2] of a GeneralName */
};

/* The next element of `in`, which shrinks from the front. False where it is not whole. */
static bool next_element(struct span *in, uint8_t *tag, struct span *value)
{
    enum { LENGTH_OCTETS_MAX = 3, LONG_FORM = 0x80, TAG_GOES_ON = 0x1f };
    if (in->len < 2 || (in->ptr[0] & TAG_GOES_ON) == TAG_GOES_ON)
        return false;
    size_t len = in->ptr[1], head = 2;
    if (len & LONG_FORM) {
        size_t octets = len & ~(size_t)LONG_FORM;
        if (octets == 0 || octets > LENGTH_OCTETS_MAX || octets > in->len - head)
            return false;
        len = 0;
        for (; octets > 0; octets--)
            len = len << 8 | in->ptr[head++];
    }
    if (len > in->len - head)
        return false;
    *tag = in->ptr[0];
    *value = (struct span){in->ptr + head, len};
    *in = span_tail(*in, head + len);
    return true;
}

/* The same where it has this tag. */
static bool expect(struct span *in, uint8_t tag, struct span *value)
{
    uint8_t came;
    struct span rest = *in;
    if (!next_element(&rest, &came, value) || came != tag)
        return false;
    *in = rest;
    return true;
}

/* ---- distinguished names ---- */

struct text {
    uint8_t *octets;
    uint8_t *len;
    bool *cut;
};

static void add(struct text *text, struct span octets)
{
    struct span fits = span_head(octets, (size_t)(TLS_DN_BYTES - *text->len));
    if (fits.len)
        memcpy(text->octets + *text->len, fits.ptr, fits.len);
    *text->len = (uint8_t)(*text->len + fits.len);
    *text->cut = *text->cut || fits.len < octets.len;
}

/* What an attribute is called in RFC 4514 3, and by most programs; "" where it has no such name. */
static const char *attribute_name(struct span oid)
{
    static const struct {
        const char *oid, *name;
    } names[] = {
        {"\x55\x04\x03", "CN"},
        {"\x55\x04\x06", "C"},
        {"\x55\x04\x07", "L"},
        {"\x55\x04\x08", "ST"},
        {"\x55\x04\x0a", "O"},
        {"\x55\x04\x0b", "OU"},
        {"\x55\x04\x05", "serialNumber"},
        {"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"},
        {"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"},
        {"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_equal(oid, span_of(names[i].oid)))
            return names[i].name;
    return "";
}

/* An attribute that has no name here: its OID in hexadecimal digits, as RFC 4514 2.4 writes such values. */
static void add_oid(struct text *text, struct span oid)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t pair[2];
    add(text, span_of("#"));
    for (size_t i = 0; i < oid.len; i++) {
        pair[0] = (uint8_t)digits[oid.ptr[i] >> 4];
        pair[1] = (uint8_t)digits[oid.ptr[i] & 15];
        add(text, (struct span){pair, sizeof pair});
    }
}

/* In the order of the certificate, as Suricata and OpenSSL write it. */
static void read_name(struct span name, struct text text)
{
    struct span set, attribute, oid, value;
    while (expect(&name, DER_SET, &set))
        while (expect(&set, DER_SEQUENCE, &attribute)) {
            uint8_t tag;
            if (!expect(&attribute, DER_OID, &oid) || !next_element(&attribute, &tag, &value))
                return;
            if (*text.len)
                add(&text, span_of(", "));
            const char *known = attribute_name(oid);
            if (known[0])
                add(&text, span_of(known));
            else
                add_oid(&text, oid);
            add(&text, span_of("="));
            add(&text, value);
        }
}

/* ---- times ---- */

/* Days from 1970-01-01; the calendar repeats every 400 years, which begin in March here. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "[YY]YYMMDDHHMMSSZ" (RFC 5280 4.1.2.5); INT64_MIN where it is anything else. */
static int64_t time_of(uint8_t tag, struct span text)
{
    int64_t parts[7] = {0}; /* century, year, month, day, hour, minute, second */
    size_t first = tag == DER_UTC_TIME ? 1 : 0;
    if ((tag != DER_UTC_TIME && tag != DER_GENERALIZED_TIME) || text.len != 2 * (7 - first) + 1 ||
        text.ptr[text.len - 1] != 'Z')
        return INT64_MIN;
    for (size_t i = first; i < 7; i++, text = span_tail(text, 2)) {
        if (!ascii_is_digit(text.ptr[0]) || !ascii_is_digit(text.ptr[1]))
            return INT64_MIN;
        parts[i] = (text.ptr[0] - '0') * 10 + text.ptr[1] - '0';
    }
    if (first)
        parts[0] = parts[1] >= 50 ? 19 : 20;
    if (parts[2] < 1 || parts[2] > 12 || parts[3] < 1 || parts[3] > 31 || parts[4] > 23 || parts[5] > 59 ||
        parts[6] > 60)
        return INT64_MIN;
    int64_t days = days_of(parts[0] * 100 + parts[1], parts[2], parts[3]);
    return ((days * 24 + parts[4]) * 60 + parts[5]) * 60 + parts[6];
}

static int64_t read_time(struct span *in)
{
    uint8_t tag;
    struct span text;
    return next_element(in, &tag, &text) ? time_of(tag, text) : INT64_MIN;
}

/* ---- extensions ---- */

static void read_alternative_names(struct span octets, struct tls_certificate *out)
{
    struct span names, name;
    uint8_t tag;
    if (!expect(&octets, DER_SEQUENCE, &names))
        return;
    while (next_element(&names, &tag, &name)) {
        if (tag != DER_DNS_NAME || name.len == 0)
            continue;
        if (name.len > UINT8_MAX || name.len + 1 > (size_t)(TLS_CERT_NAME_BYTES - out->names_len)) {
            out->cut = true;
            continue;
        }
        out->names[out->names_len] = (uint8_t)name.len;
        memcpy(out->names + out->names_len + 1, name.ptr, name.len);
        out->names_len = (uint16_t)(out->names_len + 1 + name.len);
    }
}

static bool read_extensions(struct span explicit, struct tls_certificate *out)
{
    struct span list, extension, oid, critical, value;
    if (!expect(&explicit, DER_SEQUENCE, &list))
        return false;
    while (list.len) {
        if (!expect(&list, DER_SEQUENCE, &extension) || !expect(&extension, DER_OID, &oid))
            return false;
        (void)expect(&extension, DER_BOOLEAN, &critical);
        if (!expect(&extension, DER_OCTET_STRING, &value))
            return false;
        if (span_equal(oid, span_of("\x55\x1d\x11")))
            read_alternative_names(value, out);
    }
    return true;
}

/* What stands behind the subject: its key, and, of version 3, extensions. */
static bool read_rest(struct span rest, struct tls_certificate *out)
{
    uint8_t tag;
    struct span value;
    if (!expect(&rest, DER_SEQUENCE, &value))
        return false;
    while (rest.len) {
        if (!next_element(&rest, &tag, &value))
            return false;
        if (tag == DER_EXTENSIONS && !read_extensions(value, out))
            return false;
    }
    return true;
}

bool tls_certificate_read(struct span der, struct tls_certificate *out)
{
    struct span certificate, body, version, serial, algorithm, issuer, validity, subject;
    *out = (struct tls_certificate){.not_before_s = INT64_MIN, .not_after_s = INT64_MIN};
    if (!expect(&der, DER_SEQUENCE, &certificate) || !expect(&certificate, DER_SEQUENCE, &body))
        return false;
    (void)expect(&body, DER_VERSION, &version);
    if (!expect(&body, DER_INTEGER, &serial) || !expect(&body, DER_SEQUENCE, &algorithm) ||
        !expect(&body, DER_SEQUENCE, &issuer) || !expect(&body, DER_SEQUENCE, &validity) ||
        !expect(&body, DER_SEQUENCE, &subject))
        return false;
    out->present = true;
    struct span kept = span_head(serial, TLS_SERIAL_BYTES);
    out->cut = kept.len < serial.len;
    out->serial_len = (uint8_t)kept.len;
    if (kept.len)
        memcpy(out->serial, kept.ptr, kept.len);
    read_name(issuer, (struct text){out->issuer, &out->issuer_len, &out->cut});
    read_name(subject, (struct text){out->subject, &out->subject_len, &out->cut});
    out->not_before_s = read_time(&validity);
    out->not_after_s = read_time(&validity);
    return read_rest(body, out);
}
