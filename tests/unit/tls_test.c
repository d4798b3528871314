/* smtp/tls: what is seen of a handshake, whatever the cuts; JA4 by the vectors that its authors publish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "../lib/tls_octets.h"
#include "base/sha256.h"
#include "smtp/tls.h"
#include "smtp/tls_ja4.h"

/* ---- hashes ---- */

static void test_sha256_of_the_vectors_of_its_standard(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
        size_t times;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 1},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 1},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", 1},
        {"a", "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", 1000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sha256 hash;
        uint8_t value[SHA256_BYTES];
        char shown[2 * SHA256_BYTES + 1];
        sha256_begin(&hash);
        for (size_t time = 0; time < rows[i].times; time++)
            sha256_add(&hash, span_of(rows[i].text));
        sha256_end(&hash, value);
        for (size_t octet = 0; octet < SHA256_BYTES; octet++)
            snprintf(shown + 2 * octet, 3, "%02x", value[octet]);
        assert_string_equal(shown, rows[i].value);
    }
}

/* ---- one side, cut at random or into octets ---- */

static void feed(struct tls *tls, bool from_server, const struct tls_octets *octets, struct random_source *random)
{
    struct span left = {octets->at, octets->len};
    while (left.len) {
        size_t len = random ? 1 + random_below(random, 300) : 1;
        struct span part = span_head(left, len);
        uint8_t *copy = malloc(part.len); /* so that a sanitizer sees what is read beside it */
        memcpy(copy, part.ptr, part.len);
        tls_take(tls, from_server, (struct span){copy, part.len});
        free(copy);
        left = span_tail(left, part.len);
    }
}

/* Both sides, one behind the other: whole, octet by octet, and at random cuts; the same is seen. */
static void see(const struct tls_octets *client, const struct tls_octets *server, const struct tls_octets *rest,
                struct tls *tls)
{
    enum { SEEDS = 40 };
    static struct tls other;
    tls_begin(tls);
    tls_take(tls, false, (struct span){client->at, client->len});
    tls_take(tls, true, (struct span){server->at, server->len});
    tls_take(tls, false, (struct span){rest->at, rest->len});
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct random_source random = {seed};
        tls_begin(&other);
        feed(&other, false, client, seed ? &random : NULL);
        feed(&other, true, server, seed ? &random : NULL);
        feed(&other, false, rest, seed ? &random : NULL);
        assert_memory_equal(&other.seen, &tls->seen, sizeof tls->seen);
        assert_int_equal(tls_is_over(&other), tls_is_over(tls));
    }
}

static const struct tls_octets nothing;

/* The hello of a browser that FoxIO's page takes apart: GREASE in each list. */
static const struct tls_client published = {
    .ciphers = {0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
                0x009d, 0x002f, 0x0035, 0},
    .extensions = {0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012,
                   0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x3a3a, TLS_END},
    .versions = {0x4a4a, 0x0304, 0x0303, 0},
    .signatures = {0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0},
    .name = "mail.example.com",
    .protocols = {"h2", "http/1.1"},
    .key_share_bytes = 1216, /* as ML-KEM's */
};

static void hello(const struct tls_client *client, size_t each, struct tls_octets *to)
{
    static struct tls_octets message;
    message.len = to->len = 0;
    tls_put_client_hello(&message, client);
    tls_put_records(to, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, each);
}

static void answer(const struct tls_server *server, struct tls_octets *to)
{
    static struct tls_octets message;
    message.len = to->len = 0;
    tls_put_server_hello(&message, server);
    tls_put_records(to, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, 16384);
}

static void test_ja4_as_it_was_published(void **state)
{
    (void)state;
    static struct tls_octets client;
    static struct tls tls;
    static const size_t each[] = {16384, 512, 100, 7, 1};
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        hello(&published, each[i], &client);
        see(&client, &nothing, &nothing, &tls);
        assert_true(tls.seen.client_hello);
        assert_string_equal(tls.seen.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_memory_equal(tls.seen.name, "mail.example.com", 16);
        assert_int_equal(tls.seen.name_len, 16);
        assert_memory_equal(tls.seen.client_alpns, "\2h2\10http/1.1", 12);
        assert_int_equal(tls.seen.offered, TLS_1_3);
        assert_false(tls_is_over(&tls));
    }
}

static void test_ja4_of_what_is_not_there(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct tls_client client;
        const char *ja4;
    } rows[] = {
        {"neither extensions nor ciphers", {.version = 0x0301}, "t10i000000_000000000000_000000000000"},
        {"GREASE alone",
         {.ciphers = {0xbaba, 0}, .extensions = {0x0a0a, TLS_END}},
         "t12i000000_000000000000_000000000000"},
        {"a name and a protocol alone",
         {.version = 0x0300, .extensions = {0, 16, TLS_END}, .protocols = {"h3-16"}},
         "s"},
        {"a protocol of one letter",
         {.extensions = {16, TLS_END}, .protocols = {"x"}},
         "t12i0001xx_000000000000_000000000000"},
        {"a protocol that is no text",
         {.extensions = {16, TLS_END},
          .protocols = {"\xab"
                        "x\x1c"}},
         "t12i0001ac_000000000000_000000000000"},
        {"a protocol with one such end",
         {.extensions = {16, TLS_END}, .protocols = {"h2\xcd"}},
         "t12i00016d_000000000000_000000000000"},
        /* printf 0a20,1111 | sha256sum; printf 0121,1234,face_6666 | sha256sum: as Suricata's own tests have it */
        {"four extensions",
         {.ciphers = {0x1111, 0x0a20, 0xbada, 0},
          .extensions = {0, 16, 0xface, 0x0121, 0x1234, TLS_END},
          .protocols = {"h3-16"}},
         "t12d0305h6_f500716053f9_"},
    };
    static struct tls_octets client;
    static struct tls tls;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hello(&rows[i].client, 16384, &client);
        see(&client, &nothing, &nothing, &tls);
        assert_true(tls.seen.client_hello);
        if (rows[i].ja4[0] == 's')
            assert_string_equal(tls.seen.ja4, "ts3d0002h6_000000000000_000000000000");
        else
            assert_memory_equal(tls.seen.ja4, rows[i].ja4, strlen(rows[i].ja4));
    }
}

static void test_a_list_that_is_too_long_has_no_ja4(void **state)
{
    (void)state;
    static struct tls_octets client;
    static struct tls tls;
    struct tls_client many = {.name = NULL};
    for (size_t i = 0; i < JA4_LIST_MAX; i++)
        many.ciphers[i] = (uint16_t)(0x2000 - i);
    hello(&many, 16384, &client);
    see(&client, &nothing, &nothing, &tls);
    assert_memory_equal(tls.seen.ja4, "t12i990000_", 11);
    many.ciphers[JA4_LIST_MAX] = 1;
    hello(&many, 16384, &client);
    see(&client, &nothing, &nothing, &tls);
    assert_true(tls.seen.client_hello);
    assert_string_equal(tls.seen.ja4, "");
}

/* ---- what the server says ---- */

static void test_tls_1_3_is_over_once_the_client_goes_on(void **state)
{
    (void)state;
    static struct tls_octets client, server, rest;
    static struct tls tls;
    hello(&published, 16384, &client);
    answer(&(struct tls_server){.version = TLS_1_3, .cipher = 0x1302}, &server);
    tls_put_change_cipher(&server);
    tls_put_records(&server, TLS_RECORD_DATA, span_of("what is encrypted"), 9);
    see(&client, &server, &nothing, &tls);
    assert_int_equal(tls.seen.version, TLS_1_3);
    assert_string_equal(tls_cipher_name(tls.seen.cipher), "TLS_AES_256_GCM_SHA384");
    assert_false(tls_is_over(&tls));
    rest.len = 0;
    tls_put_change_cipher(&rest);
    see(&client, &server, &rest, &tls);
    assert_true(tls_is_over(&tls) && tls.seen.finished[0] && tls.seen.finished[1]);
    rest.len = 0;
    tls_put_records(&rest, TLS_RECORD_DATA, span_of("Finished"), 8);
    see(&client, &server, &rest, &tls);
    assert_true(tls_is_over(&tls) && tls.seen.finished[0]);
    rest.len = 0;
    tls_put_alert(&rest, 2, 47);
    see(&client, &server, &rest, &tls);
    assert_true(tls_is_over(&tls) && tls_failed(&tls.seen) && !tls.seen.finished[0]);
    assert_string_equal(tls_alert_name(tls.seen.alert.description), "illegal_parameter");
    assert_false(tls.seen.alert.from_server);
}

static void test_a_server_asks_for_another_hello(void **state)
{
    (void)state;
    static struct tls_octets client, server, more;
    static struct tls tls;
    hello(&published, 16384, &client);
    answer(&(struct tls_server){.version = TLS_1_3,
                                .cipher = 0x1301,
                                .random = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"
                                          "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"},
           &server);
    see(&client, &server, &nothing, &tls);
    assert_true(tls.seen.retried && !tls.seen.server_hello && tls.seen.version == TLS_1_3);
    more.len = 0;
    tls_put_change_cipher(&more);
    tls_put(&more, (struct span){client.at, client.len});
    tls_take(&tls, false, (struct span){more.at, more.len});
    assert_false(tls_is_over(&tls));
    answer(&(struct tls_server){.version = TLS_1_3, .cipher = 0x1301}, &server);
    tls_take(&tls, true, (struct span){server.at, server.len});
    assert_true(tls.seen.server_hello);
    assert_false(tls_is_over(&tls));
    more.len = 0;
    tls_put_records(&more, TLS_RECORD_DATA, span_of("Finished"), 8);
    tls_take(&tls, false, (struct span){more.at, more.len});
    assert_true(tls_is_over(&tls));
}

static const struct der_certificate good = {
    .name = "mail.example.com",
    .from = "260101120000Z",
    .to = "20521231235959Z",
    .names = {"mail.example.com", "*.example.org"},
};

/* A ServerHello of TLS 1.2, its certificate, and so many octets of another message, in records of `each`. */
static void flight(const struct tls_server *hello_of, const struct der_certificate *certificate, size_t more,
                   size_t each, struct tls_octets *to)
{
    static struct tls_octets message;
    message.len = to->len = 0;
    tls_put_server_hello(&message, hello_of);
    tls_put_certificate(&message, certificate, more);
    size_t other = tls_begin_message(&message, 12);
    for (size_t i = 0; i < more; i++)
        tls_put_number(&message, 11, 1);
    tls_end(&message, other, 3);
    other = tls_begin_message(&message, 14);
    tls_end(&message, other, 3);
    tls_put_records(to, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, each);
}

static void test_tls_1_2_shows_its_certificate(void **state)
{
    (void)state;
    static struct tls_octets client, server, rest;
    static struct tls tls;
    static const struct tls_server of = {.version = TLS_1_2, .cipher = 0xc030, .protocol = "smtp"};
    static const size_t mores[] = {0, 300, 12000}, each[] = {16384, 1000, 1};
    hello(&published, 16384, &client);
    rest.len = 0;
    tls_put_records(&rest, TLS_RECORD_HANDSHAKE, span_of("\x10\0\0\3key"), 7);
    tls_put_change_cipher(&rest);
    for (size_t i = 0; i < sizeof mores / sizeof mores[0]; i++) {
        flight(&of, &good, mores[i], each[i ? 0 : 2], &server);
        see(&client, &server, &rest, &tls);
        const struct tls_certificate *certificate = &tls.seen.certificate;
        assert_true(certificate->present && !certificate->cut);
        assert_int_equal(certificate->subject_len, strlen("O=Example, CN=mail.example.com"));
        assert_memory_equal(certificate->subject, "O=Example, CN=mail.example.com", certificate->subject_len);
        assert_int_equal(certificate->issuer_len, strlen("O=Issuer Ltd, CN=A root"));
        assert_memory_equal(certificate->issuer, "O=Issuer Ltd, CN=A root", certificate->issuer_len);
        assert_memory_equal(certificate->names, "\20mail.example.com\15*.example.org", 31);
        assert_int_equal(certificate->names_len, 31);
        assert_memory_equal(certificate->serial, "\x01\x02\xab", 3);
        assert_int_equal(certificate->not_before_s, 1767268800);
        assert_int_equal(certificate->not_after_s, 2619302399);
        assert_memory_equal(tls.seen.server_alpns, "\4smtp", 5);
        assert_string_equal(tls_cipher_name(tls.seen.cipher), "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
        assert_false(tls_is_over(&tls));
        static struct tls_octets last;
        last.len = 0;
        tls_put_change_cipher(&last);
        tls_take(&tls, true, (struct span){last.at, last.len});
        assert_true(tls_is_over(&tls) && tls.seen.finished[0] && tls.seen.finished[1]);
    }
}

static void test_a_certificate_that_cannot_be_read(void **state)
{
    (void)state;
    static struct tls_octets der;
    struct tls_certificate certificate;
    static const struct der_certificate odd[] = {
        {.name = "x", .from = "26010112000Z", .to = "261301120000Z", .names = {"a"}},
        {.name = "x", .from = "261a01120000Z", .to = "19700101000000Z", .names = {"a"}},
    };
    for (size_t i = 0; i < 2; i++) {
        der.len = 0;
        der_put_certificate(&der, &odd[i]);
        assert_true(tls_certificate_read((struct span){der.at, der.len}, &certificate));
        assert_true(certificate.not_before_s == INT64_MIN);
        assert_true(certificate.not_after_s == (i ? 0 : INT64_MIN));
    }
    /* Cut anywhere, or with any octet changed: read or not, and nothing beside it. */
    for (size_t len = 0; len < der.len; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        memcpy(copy, der.at, len);
        assert_false(tls_certificate_read((struct span){copy, len}, &certificate));
        free(copy);
    }
    for (size_t at = 0; at < der.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            der.at[at] ^= (uint8_t)(1 << bit);
            (void)tls_certificate_read((struct span){der.at, der.len}, &certificate);
            der.at[at] ^= (uint8_t)(1 << bit);
        }
}

static void test_an_older_session_goes_on(void **state)
{
    (void)state;
    static struct tls_octets client, server, rest;
    static struct tls tls;
    hello(&(struct tls_client){.ciphers = {0x2f, 0}, .session = "a session"}, 16384, &client);
    answer(&(struct tls_server){.version = TLS_1_2, .cipher = 0x2f, .session = "a session"}, &server);
    tls_put_change_cipher(&server);
    rest.len = 0;
    tls_put_change_cipher(&rest);
    see(&client, &server, &rest, &tls);
    assert_true(tls.seen.resumed && tls_is_over(&tls) && !tls.seen.certificate.present);
    answer(&(struct tls_server){.version = TLS_1_2, .cipher = 0x2f, .session = "b session"}, &server);
    see(&client, &server, &nothing, &tls);
    assert_false(tls.seen.resumed);
}

static void test_alerts(void **state)
{
    (void)state;
    static struct tls_octets client, server;
    static struct tls tls;
    hello(&published, 16384, &client);
    server.len = 0;
    tls_put_alert(&server, 1, 112); /* a warning: the server does not know the name, and goes on */
    see(&client, &server, &nothing, &tls);
    assert_false(tls_failed(&tls.seen) || tls_is_over(&tls));
    tls_put_alert(&server, 2, 40);
    see(&client, &server, &nothing, &tls);
    assert_true(tls_failed(&tls.seen) && tls_is_over(&tls) && tls.seen.alert.from_server);
    assert_string_equal(tls_alert_name(tls.seen.alert.description), "handshake_failure");
}

/* ---- what is none ---- */

static void test_what_is_no_tls_ends_the_reading_of_its_side(void **state)
{
    (void)state;
    static struct tls_octets client, server;
    static struct tls tls;
    client.len = 0;
    tls_put_text(&client, "EHLO client.example.net\r\n");
    answer(&(struct tls_server){.version = TLS_1_3, .cipher = 0x1303}, &server);
    see(&client, &server, &nothing, &tls);
    assert_true(!tls.seen.client_hello && tls.seen.server_hello && tls_is_over(&tls));
    hello(&published, 16384, &client);
    server.len = 0;
    tls_put_text(&server, "421 4.7.0 too busy\r\n");
    see(&client, &server, &nothing, &tls);
    assert_true(tls.seen.client_hello && !tls.seen.server_hello && tls_is_over(&tls));
}

static void test_lengths_that_contradict_one_another(void **state)
{
    (void)state;
    static struct tls_octets message, client;
    static struct tls tls;
    message.len = 0;
    tls_put_client_hello(&message, &published);
    size_t hurt = 0;
    for (size_t at = 4; at < message.len; at++) {
        static const uint8_t octets[] = {0xff, 0x80, 0x01};
        for (size_t i = 0; i < sizeof octets; i++) {
            uint8_t was = message.at[at];
            message.at[at] ^= octets[i];
            client.len = 0;
            tls_put_records(&client, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, 16384);
            tls_begin(&tls);
            tls_take(&tls, false, (struct span){client.at, client.len});
            hurt += !tls.seen.client_hello;
            message.at[at] = was;
        }
    }
    assert_true(hurt > 50);
}

static void test_a_hello_beyond_the_limit(void **state)
{
    (void)state;
    static struct tls_octets client, server;
    static struct tls tls;
    struct tls_client large = published;
    large.key_share_bytes = 3400;
    hello(&large, 16384, &client);
    see(&client, &nothing, &nothing, &tls);
    assert_true(tls.seen.client_hello);
    large.key_share_bytes = 4000;
    hello(&large, 16384, &client);
    answer(&(struct tls_server){.version = TLS_1_2, .cipher = 0x2f}, &server);
    see(&client, &server, &nothing, &tls);
    assert_true(!tls.seen.client_hello && tls.seen.version == TLS_1_2);
    /* Records without end. */
    tls_begin(&tls);
    uint8_t octets[5 + 1000] = {TLS_RECORD_HANDSHAKE, 3, 3, 1000 >> 8, 1000 & 255, 16, 0, 3, 228};
    for (int i = 0; i < 100 && !tls.sides[0].over; i++)
        tls_take(&tls, false, (struct span){octets, sizeof octets});
    assert_true(tls.sides[0].octets == TLS_OCTETS_MAX && tls_is_over(&tls));
}

static void test_names_of_ciphers_are_in_order(void **state)
{
    (void)state;
    unsigned named = 0;
    for (uint32_t number = 0; number <= 0xffff; number++)
        named += tls_cipher_name((uint16_t)number)[0] != '\0';
    assert_int_equal(named, 101);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_of_the_vectors_of_its_standard),
        cmocka_unit_test(test_ja4_as_it_was_published),
        cmocka_unit_test(test_ja4_of_what_is_not_there),
        cmocka_unit_test(test_a_list_that_is_too_long_has_no_ja4),
        cmocka_unit_test(test_tls_1_3_is_over_once_the_client_goes_on),
        cmocka_unit_test(test_a_server_asks_for_another_hello),
        cmocka_unit_test(test_tls_1_2_shows_its_certificate),
        cmocka_unit_test(test_a_certificate_that_cannot_be_read),
        cmocka_unit_test(test_an_older_session_goes_on),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_what_is_no_tls_ends_the_reading_of_its_side),
        cmocka_unit_test(test_lengths_that_contradict_one_another),
        cmocka_unit_test(test_a_hello_beyond_the_limit),
        cmocka_unit_test(test_names_of_ciphers_are_in_order),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
