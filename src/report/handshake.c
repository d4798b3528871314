#include "report/handshake.h"

#include <stdio.h>
#include <time.h>

#include "report/text.h"

enum { NUMBER_BYTES = 24 };

/* A name of a registry, or the number where it has none. Returns `room` of NUMBER_BYTES, or the name. */
static const char *named(const char *name, unsigned number, char *room)
{
    snprintf(room, NUMBER_BYTES, "0x%04x", number);
    return name[0] ? name : room;
}

static json_t *text_of(struct span octets)
{
    char text[TEXT_BYTES(UINT8_MAX)];
    return json_string(text_escape(octets, text, sizeof text));
}

/* Texts each with its length before it. */
static json_t *list_of(const uint8_t *list, size_t len)
{
    json_t *array = json_array();
    for (size_t at = 0; at < len; at += list[at] + 1u)
        json_array_append_new(array, text_of((struct span){list + at + 1, list[at]}));
    return array;
}

/* 2017-01-04T10:48:43, as EVE has times of certificates. */
static void set_time(json_t *object, const char *name, int64_t time_s)
{
    char text[TEXT_TIME_BYTES];
    struct tm parts;
    time_t seconds = (time_t)time_s;
    if (time_s == INT64_MIN || !gmtime_r(&seconds, &parts))
        return;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    json_object_set_new(object, name, json_string(text));
}

/* 0C:00:99, as EVE has them. */
static json_t *serial_of(const struct tls_certificate *certificate)
{
    char text[3 * TLS_SERIAL_BYTES + 1] = "";
    for (size_t i = 0; i < certificate->serial_len; i++)
        snprintf(text + 3 * i - (i > 0), 4, i ? ":%02X" : "%02X", certificate->serial[i]);
    return json_string(text);
}

static void set_certificate(json_t *object, const struct tls_certificate *certificate)
{
    json_object_set_new(object, "subject", text_of((struct span){certificate->subject, certificate->subject_len}));
    json_object_set_new(object, "issuerdn", text_of((struct span){certificate->issuer, certificate->issuer_len}));
    json_object_set_new(object, "serial", serial_of(certificate));
    if (certificate->names_len)
        json_object_set_new(object, "subjectaltname", list_of(certificate->names, certificate->names_len));
    set_time(object, "notbefore", certificate->not_before_s);
    set_time(object, "notafter", certificate->not_after_s);
}

static bool is_established(const struct tls_seen *seen)
{
    return seen->finished[0] && seen->finished[1] && !tls_failed(seen);
}

json_t *handshake_json(const struct tls_seen *seen)
{
    char room[NUMBER_BYTES];
    json_t *object = json_object();
    if (seen->version) {
        const char *version = named(tls_version_name(seen->version), seen->version, room);
        json_object_set_new(object, "version", json_string(version));
        json_object_set_new(object, "cipher", json_string(named(tls_cipher_name(seen->cipher), seen->cipher, room)));
    }
    if (seen->name_len)
        json_object_set_new(object, "sni", text_of((struct span){seen->name, seen->name_len}));
    if (seen->client_alpns_len)
        json_object_set_new(object, "client_alpns", list_of(seen->client_alpns, seen->client_alpns_len));
    if (seen->server_alpns_len)
        json_object_set_new(object, "server_alpns", list_of(seen->server_alpns, seen->server_alpns_len));
    if (seen->ja4[0])
        json_object_set_new(object, "ja4", json_string(seen->ja4));
    if (seen->resumed)
        json_object_set_new(object, "session_resumed", json_true());
    if (seen->certificate.present)
        set_certificate(object, &seen->certificate);
    if (seen->alert.level) {
        const char *alert = named(tls_alert_name(seen->alert.description), seen->alert.description, room);
        json_object_set_new(object, "last_alert", json_string(alert));
        json_object_set_new(object, "alert_from", json_string(seen->alert.from_server ? "server" : "client"));
    }
    json_object_set_new(object, "established", json_boolean(is_established(seen)));
    return object;
}

const char *handshake_words(const struct tls_seen *seen, char *text, size_t size)
{
    char version[NUMBER_BYTES], cipher[NUMBER_BYTES], alert[NUMBER_BYTES], name[TEXT_BYTES(TLS_NAME_BYTES)];
    text_escape((struct span){seen->name, seen->name_len}, name, sizeof name);
    snprintf(text, size, "TLS: %s%s%s%s%s%s%s%s%s",
             seen->version ? named(tls_version_name(seen->version), seen->version, version)
                           : "the server did not answer",
             seen->version ? ", " : "", seen->version ? named(tls_cipher_name(seen->cipher), seen->cipher, cipher) : "",
             seen->name_len ? ", " : "", name, seen->ja4[0] ? ", " : "", seen->ja4,
             seen->alert.level ? (seen->alert.from_server ? ", the server: " : ", the client: ") : "",
             seen->alert.level ? named(tls_alert_name(seen->alert.description), seen->alert.description, alert) : "");
    return text;
}
