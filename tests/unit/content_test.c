/* The inside of messages: which names attachments have, as mail clients read them, and which lines are a header's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "smtp/content.h"

#define HEAD     "Content-Type: multipart/mixed; boundary=XX\r\n\r\n--XX\r\n"
#define X50      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X300     X50 X50 X50 X50 X50 X50
#define ATTACHED "Content-Disposition: attachment; "

/* A message, and the names that are found in it, with | behind each. */
static const struct row {
    const char *label, *message, *names;
} rows[] = {
    {"plain", ATTACHED "filename=\"malware.exe\"\r\n\r\n", "malware.exe|"},
    {"a token", ATTACHED "FileName=malware.exe\r\n\r\n", "malware.exe|"},
    {"a token with blanks", ATTACHED "filename= my malware.exe ; size=1\r\n\r\n", "my malware.exe|"},
    {"folded", "Content-Disposition:\r\n attachment\r\n\t;filename\r\n = \"malware\r\n .exe\"\r\n\r\n",
     "malware .exe|"},
    {"a blank before the colon", "Content-Disposition : attachment; filename=a.exe\r\n\r\n", "a.exe|"},
    {"no line end behind it", ATTACHED "filename=a.exe\r\nX: y", "a.exe|"},
    {"bare LF", ATTACHED "filename=a.exe\n\n", "a.exe|"},
    {"another field", "X-Disposition: a; filename=a.exe\r\n\r\n", ""},
    {"a name that only begins so", ATTACHED "filenames=a.exe; filename1=b.exe; filename*x=c.exe\r\n\r\n", ""},
    {"in a body", "Subject: x\r\n\r\n" ATTACHED "filename=a.exe\r\n\r\n", ""},
    {"quoted pairs", ATTACHED "filename=\"malware.ex\\e\\\"\"\r\n\r\n", "malware.exe\"|"},
    {"comments", "Content-Disposition: attachment (a;b(\\);); filename=x); filename (c) = \"malware.exe\" (d)\r\n\r\n",
     "malware.exe|"},
    {"a semicolon in quotes", "Content-Type: a/b; x=\"; filename=no\"; name=\"a;b.exe\"\r\n\r\n", "a;b.exe|"},
    {"both fields", "Content-Type: a/b; name=a.exe\r\n" ATTACHED "filename=b.txt\r\n\r\n", "a.exe|b.txt|"},
    {"both names in one", ATTACHED "name=a.txt; filename=b.exe\r\n\r\n", "b.exe|a.txt|"},
    {"the first of two", ATTACHED "filename=a.exe; filename=b.txt\r\n\r\n", "a.exe|"},

    /* RFC 2231 */
    {"pieces", ATTACHED "filename*0=\"mal\"; filename*1=\"ware.exe\"\r\n\r\n", "malware.exe|"},
    {"pieces out of order", ATTACHED "filename*2=exe; filename*0=mal; filename*1=\"ware.\"\r\n\r\n", "malware.exe|"},
    {"pieces of one octet",
     ATTACHED "filename*0=m;filename*1=a;filename*2=l;filename*3=w;filename*4=a;filename*5=r;filename*6=e;filename*7=.;"
              "filename*8=e;filename*9=x;filename*10=e\r\n\r\n",
     "malware.exe|"},
    {"a character set", ATTACHED "filename*=utf-8''setup%2Eexe\r\n\r\n", "setup.exe|"},
    {"a language", ATTACHED "filename*=utf-8'en-us'setup%2eexe\r\n\r\n", "setup.exe|"},
    {"none", ATTACHED "filename*=setup%2Eexe\r\n\r\n", "setup.exe|"},
    {"pieces, some encoded", ATTACHED "filename*0*=us-ascii''a%20b; filename*1=%2E; filename*2*=%65xe\r\n\r\n",
     "a b%2Eexe|"},
    {"percent signs that are none", ATTACHED "filename*=''100%.e%x%\r\n\r\n", "100%.e%x%|"},
    {"both forms", ATTACHED "filename=a.txt; filename*=utf-8''b%2Eexe\r\n\r\n", "a.txt|b.exe|"},
    {"both forms, alike", ATTACHED "filename=b.exe; filename*=utf-8''b%2Eexe\r\n\r\n", "b.exe|"},

    /* RFC 2047 */
    {"base64", ATTACHED "filename=\"=?utf-8?B?c2V0dXAuZXhl?=\"\r\n\r\n", "setup.exe|"},
    {"quoted-printable", ATTACHED "filename=\"=?utf-8?q?my_set=75p=2Eexe?=\"\r\n\r\n", "my setup.exe|"},
    {"two words", ATTACHED "filename=\"a =?x?B?c2V0?=\r\n =?x?Q?up?= =?x?Q?.exe?= b\"\r\n\r\n", "a setup.exe b|"},
    {"in pieces", ATTACHED "filename*0=\"=?utf-8?B?c2V0dX\"; filename*1=\"AuZXhl?=\"\r\n\r\n", "setup.exe|"},
    {"no words", ATTACHED "filename=\"=?x?Z?a?= =?x?B?a ?\"\r\n\r\n", "=?x?Z?a?= =?x?B?a ?|"},

    /* Long ones */
    {"behind much", ATTACHED "x=" X300 X300 X300 X300 "; filename=a.exe\r\n\r\n", "a.exe|"},

    /* Where headers are */
    {"in a part", HEAD ATTACHED "filename=a.exe\r\n\r\n", "a.exe|"},
    {"in parts", HEAD "\r\ntext\r\n--XX\r\n" ATTACHED "filename=a.exe\r\n\r\n--XX\r\n" ATTACHED "filename=b\r\n\r\n",
     "a.exe|b|"},
    {"behind a signature", HEAD "\r\n-- \r\n" ATTACHED "filename=a.exe\r\n\r\n", ""},
    {"in a message", "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" ATTACHED "filename=a.exe\r\n\r\n", "a.exe|"},
    {"in a part of it", "Content-Type: Message (x) / RFC822 ; a=b\r\n\r\n" HEAD ATTACHED "filename=a.exe\r\n\r\n",
     "a.exe|"},
    {"in a message in a message in a part",
     HEAD "content-type:message/rfc822\r\n\r\nContent-Type: message/global\r\n\r\n" ATTACHED "filename=a.exe\r\n\r\n",
     "a.exe|"},
    {"behind the header of it", "Content-Type: message/rfc822\r\n\r\nX: y\r\n\r\n" ATTACHED "filename=a.exe\r\n\r\n",
     ""},
};

/* The names in a message that comes `step` octets at a time, each time in memory of its own; the caller frees it. */
static char *names_of(const char *message, size_t step)
{
    static struct content content;
    static char names[4096];
    size_t len = 0;
    content_begin(&content);
    for (struct span rest = span_of(message); rest.len;) {
        struct span part = span_head(rest, step);
        uint8_t *copy = malloc(part.len);
        memcpy(copy, part.ptr, part.len);
        struct span octets = {copy, part.len};
        for (struct content_item item; content_next(&content, &octets, &item);)
            if (item.kind == CONTENT_FILE_NAME)
                len += (size_t)snprintf(names + len, sizeof names - len, "%.*s|", (int)item.text.len,
                                        (const char *)item.text.ptr);
        free(copy);
        rest = span_tail(rest, part.len);
    }
    names[len] = '\0';
    return names;
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 1; step <= strlen(rows[i].message); step += step < 8 ? 1 : 61) {
            const char *names = names_of(rows[i].message, step);
            if (strcmp(names, rows[i].names) != 0)
                fail_msg("%s, %zu at a time: %s, not %s", rows[i].label, step, names, rows[i].names);
        }
}

/* Of a name that is too long its end is kept, and how long it was. */
static void test_long_names(void **state)
{
    (void)state;
    static const char message[] = ATTACHED "filename=" X300 X300 ".exe; name*0=" X300 "; name*1=.scr\r\n\r\n";
    struct content content;
    struct content_item item = {0};
    struct span octets = span_of(message);
    content_begin(&content);
    for (int i = 0; i < 2; i++) {
        do
            assert_true(content_next(&content, &octets, &item));
        while (item.kind != CONTENT_FILE_NAME);
        assert_int_equal(item.length, i ? 304 : 604);
        assert_in_range(item.text.len, MIME_NAME_BYTES / 2, MIME_NAME_BYTES);
        assert_memory_equal(item.text.ptr + item.text.len - 5, i ? "x.scr" : "x.exe", 5);
    }
}

/* Lines are given out once, as they came, with the length that they have. */
static void test_lines(void **state)
{
    (void)state;
    static const char message[] = "A: b\r\n\r\n" X300 X300 "\r\nc\n\r\n";
    static const struct {
        enum content_kind kind;
        size_t length, kept;
    } lines[] = {{CONTENT_HEADER_LINE, 4, 4},
                 {CONTENT_HEADER_LINE, 0, 0},
                 {CONTENT_BODY_LINE, 600, CONTENT_LINE_BYTES},
                 {CONTENT_BODY_LINE, 1, 1},
                 {CONTENT_BODY_LINE, 0, 0}};
    struct content content;
    struct content_item item;
    struct span octets = span_of(message);
    content_begin(&content);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_true(content_next(&content, &octets, &item));
        assert_int_equal(item.kind, lines[i].kind);
        assert_int_equal(item.length, lines[i].length);
        assert_int_equal(item.text.len, lines[i].kept);
    }
    assert_false(content_next(&content, &octets, &item));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_lines),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
