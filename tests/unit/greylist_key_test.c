/* The keys of the greylist: who counts as the same sender, and what is stored under the same key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/attempts.h"
#include "../lib/one.h"
#include "../lib/random.h"

/* ---- folding ---- */

static void test_fold(void **state)
{
    (void)state;
    static const struct {
        const char *label, *sender, *folded;
    } rows[] = {
        {"nothing to fold", "jane.doe@example.net", "jane.doe@example.net"},
        {"case", "Jane.DOE@Example.NET", "jane.doe@example.net"},
        {"the null sender", "", ""},
        {"no domain", "root", "root"},
        {"BATV", "prvs=0123ABCDEF=jane@example.net", "jane@example.net"},
        {"BATV as SparkPost writes it", "msprvs1=17bcdEfG12=bounces-1@example.net", "bounces-#@example.net"},
        {"BATV as Barracuda writes it", "btv1==123abc==jane@example.net", "jane@example.net"},
        {"BATV without an end", "prvs=0123", "prvs=#"},
        {"BATV with nothing behind it", "prvs=0123=@example.net", "prvs=#=@example.net"},
        {"SRS0", "SRS0=HHH=TT=example.org=jane@example.net", "example.org=jane@example.net"},
        {"SRS0 of another day", "SRS0=abc=xy=example.org=jane@example.net", "example.org=jane@example.net"},
        {"SRS0 with another separator", "srs0+HHH=TT=example.org=jane@example.net", "example.org=jane@example.net"},
        {"SRS1", "SRS1=HHH=relay.example==GGG=TT=example.org=jane@example.net", "example.org=jane@example.net"},
        {"SRS0 of an address with a hyphen", "SRS0=H=T=an-example.org=jane.doe@example.net",
         "an-example.org=jane.doe@example.net"},
        {"SRS0 cut short", "SRS0=HHH=TT@example.net", "srs0=hhh=tt@example.net"},
        {"SRS1 cut short", "SRS1=HHH=relay@example.net", "srs1=hhh=relay@example.net"},
        {"an SRS that is none", "srs0@example.net", "srs0@example.net"},
        {"a plus tag", "jane+shop@example.net", "jane@example.net"},
        {"a plus at the beginning", "+jane@example.net", "+jane@example.net"},
        {"VERP behind a plus", "list-owner+jane=example.com@lists.example", "list-owner@lists.example"},
        {"VERP behind a hyphen", "list-return-123-jane=example.com@lists.example", "list-return-#@lists.example"},
        {"VERP of Mailman", "list-bounces+jane.doe=example.com@lists.example", "list-bounces@lists.example"},
        {"an equals sign that is no VERP", "a=b@example.net", "a=b@example.net"},
        {"numbers", "bounce-20080420-17@example.net", "bounce-#-#@example.net"},
        {"a number in a word stays", "jane99@example.net", "jane99@example.net"},
        {"an identifier of Amazon SES",
         "0100018f3c5e7b2a-1a2b3c4d-5e6f-7890-abcd-ef0123456789-000000@amazonses.example",
         "#-#-#-#-#-#-#@amazonses.example"},
        {"a word that might be hexadecimal", "deadbeef@example.net", "deadbeef@example.net"},
        {"a quoted local part with an @", "a@b 17@example.net", "a@b #@example.net"},
        {"nothing but an @", "@", "@"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        uint8_t room[GREYLIST_ADDRESS_BYTES_MAX];
        struct span folded = greylist_fold(span_of(rows[i].sender), room);
        if (!span_equal(folded, span_of(rows[i].folded)))
            fail_msg("%s: '%.*s'", rows[i].label, (int)folded.len, (const char *)folded.ptr);
    }
}

/* Whatever it is: never longer, and what is folded is not folded further into something else by its case. */
static void test_fold_any(void **state)
{
    (void)state;
    static const char alphabet[] = "aZ09=+-_@.\"\0\xff#";
    struct random_source source = {17};
    for (int run = 0; run < 200000; run++) {
        uint8_t sender[GREYLIST_ADDRESS_BYTES_MAX + 8], upper[sizeof sender];
        uint8_t room[GREYLIST_ADDRESS_BYTES_MAX], other[GREYLIST_ADDRESS_BYTES_MAX];
        size_t len = random_below(&source, run % 100 == 0 ? sizeof sender : 24);
        for (size_t i = 0; i < len; i++) {
            sender[i] = (uint8_t)alphabet[random_below(&source, sizeof alphabet - 1)];
            upper[i] = ascii_upper(sender[i]);
        }
        struct span folded = greylist_fold((struct span){sender, len}, room);
        assert_true(folded.len <= len && (len == 0 || folded.len > 0));
        if (len <= GREYLIST_ADDRESS_BYTES_MAX)
            assert_true(span_equal(folded, greylist_fold((struct span){upper, len}, other)));
    }
}

static void test_helo_domain(void **state)
{
    (void)state;
    static const struct {
        const char *helo, *domain;
    } rows[] = {
        {"mail-wr1-f45.google.com", "google.com"},
        {"google.com", "google.com"},
        {"mx1.mail.example.co.uk.", "example.co.uk"},
        {"a.b.ibm.com", "b.ibm.com"},
        {"localhost", "localhost"},
        {"[192.0.2.1]", "[192.0.2.1]"},
        {"192.0.2.1", "192.0.2.1"},
        {"", ""},
        {".", ""},
        {"..", "."},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span domain = greylist_helo_domain(span_of(rows[i].helo));
        if (!span_equal(domain, span_of(rows[i].domain)))
            fail_msg("%s: '%.*s'", rows[i].helo, (int)domain.len, (const char *)domain.ptr);
    }
}

/* ---- keys ---- */

static void test_keys(void **state)
{
    (void)state;
    struct greylist_attempt attempt = attempt_of(1, "a+1@example.net", "B@example.com");
    struct greylist_attempt same = attempt_of(200, "A+2@example.net", "b@example.com");
    assert_true(same_key(GREYLIST_TRIPLET, &attempt, &same));
    assert_true(same_key(GREYLIST_CLIENT, &attempt, &same));
    struct greylist_attempt moved = same;
    moved.client[2] = 3;
    assert_false(same_key(GREYLIST_TRIPLET, &attempt, &moved));
    assert_false(same_key(GREYLIST_CLIENT, &attempt, &moved));
    assert_false(same_key(GREYLIST_TLS, &attempt, &moved));
    assert_true(same_key(GREYLIST_POOL, &attempt, &moved));
    assert_true(same_key(GREYLIST_ANSWER_ADDRESS, &attempt, &moved));
    struct greylist_attempt other = attempt_of(1, "c@example.net", "B@example.com");
    assert_false(same_key(GREYLIST_ANSWER_ADDRESS, &attempt, &other));
    moved.helo = span_of("MX2.example.NET");
    assert_true(same_key(GREYLIST_POOL, &attempt, &moved));
    moved.helo = span_of("mx2.example.org");
    assert_false(same_key(GREYLIST_POOL, &attempt, &moved));
    struct greylist_attempt shifted = attempt_of(1, "a@example.netb", "@example.com");
    assert_false(same_key(GREYLIST_TRIPLET, &attempt, &shifted));
    struct greylist_settings settings = greylist_settings_default();
    static const uint8_t others[GREYLIST_SECRET_BYTES] = "another gateway.";
    struct greylist_key ours = greylist_key(&settings, secret, GREYLIST_TRIPLET, &attempt);
    struct greylist_key theirs = greylist_key(&settings, others, GREYLIST_TRIPLET, &attempt);
    assert_memory_not_equal(&ours, &theirs, sizeof ours);
    for (int a = 0; a < GREYLIST_KINDS; a++)
        for (int b = 0; b < a; b++) {
            ours = greylist_key(&settings, secret, (enum greylist_kind)a, &attempt);
            theirs = greylist_key(&settings, secret, (enum greylist_kind)b, &attempt);
            assert_memory_not_equal(&ours, &theirs, sizeof ours);
        }
}

/* What is stored under a key must be found by the next version, too. */
static void test_keys_stay(void **state)
{
    (void)state;
    static const char *const hex[GREYLIST_KINDS] = {
        [GREYLIST_TRIPLET] = "edf9677b6854d5c9b1f81dc8623916e6",
        [GREYLIST_POOL] = "c28f8514e227dcbc0179ca5ff9cf12a9",
        [GREYLIST_TLS] = "10bf28bbae02cc1525325de4fa4ee4d1",
        [GREYLIST_CLIENT] = "66c05203faf1d334590889799f90d3cf",
        [GREYLIST_ANSWER_ADDRESS] = "c48620c12e015957d673370c69dab2a8",
        [GREYLIST_ANSWER_NETWORK] = "6564b75f153312cdbf072f3327e1f234",
        [GREYLIST_RULED_HOST] = "bcba932f946d861af8f46c8d9db901d2",
        [GREYLIST_RULED_NETWORK] = "44a1976841ae24fbca25227f472be08b",
        [GREYLIST_RULED_SITE] = "8937024ac56741d605a8d9cb67f59c9c",
        [GREYLIST_RULED_BLOCK] = "80ceb43d79944229014acede2ba36a9e",
        [GREYLIST_RULED_SENDER] = "86565957dce7f8c3ac36cf2d852d8577",
        [GREYLIST_RULED_SENDER_DOMAIN] = "37ec38175ad1de2583285543d9e9961d",
        [GREYLIST_RULED_RECIPIENT] = "09b64f782a491c56ab4149466468eb25",
        [GREYLIST_RULED_RECIPIENT_DOMAIN] = "8387516e92d6f49a3c4e74a1d20c5015",
        [GREYLIST_RULED_MAIL] = "0cd5a591c6e6a43e754d87404ef98e57",
    };
    static const uint8_t numbers[GREYLIST_SECRET_BYTES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct greylist_settings settings = greylist_settings_default();
    struct greylist_attempt attempt = attempt_of(77, "List-42+Tag@Lists.Example.ORG", "Some.Body+x@Example.com");
    attempt.helo = span_of("MX1.Example.NET");
    for (uint32_t kinds = 1; kinds < 1u << GREYLIST_KINDS; kinds += 0x123) {
        struct greylist_key keys[GREYLIST_KINDS];
        struct greylist_parts parts = {0};
        greylist_keys(&settings, numbers, kinds & 0x1555, &attempt, &parts, keys);
        greylist_keys(&settings, numbers, kinds & ~0x1555u, &attempt, &parts, keys);
        for (uint32_t kind = 0; kind < GREYLIST_KINDS; kind++) {
            char text[2 * GREYLIST_KEY_BYTES + 1];
            if (!(kinds >> kind & 1))
                continue;
            for (size_t i = 0; i < GREYLIST_KEY_BYTES; i++)
                snprintf(text + 2 * i, 3, "%02x", keys[kind].octets[i]);
            assert_string_equal(text, hex[kind]);
        }
    }
}

static void test_networks_v6(void **state)
{
    (void)state;
    struct greylist_attempt attempt = {.ip_version = 6, .client = {0x20, 1, 0x0d, 0xb8, [15] = 1}};
    struct greylist_attempt other = attempt;
    other.client[8] = 7;
    assert_true(same_key(GREYLIST_CLIENT, &attempt, &other));
    other.client[7] = 1;
    assert_false(same_key(GREYLIST_CLIENT, &attempt, &other));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"what counts as the same sender", test_fold, NULL, NULL, NULL},
        {"any octets fold, whatever their case", test_fold_any, NULL, NULL, NULL},
        {"domains of EHLO names", test_helo_domain, NULL, NULL, NULL},
        {"keys: what is the same, and what is not", test_keys, NULL, NULL, NULL},
        {"keys stay what they are", test_keys_stay, NULL, NULL, NULL},
        {"networks of IPv6", test_networks_v6, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("greylist keys", tests, NULL, NULL);
}
