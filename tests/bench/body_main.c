/*
 * How fast message bodies are scanned, beside memchr over the same octets in the same run. Prints TAP.
 *
 *   body_main [--quick]
 *
 * memchr looks for an octet that is not there, so it reads all of them. The goal is for mail as it is; the other bodies
 * are made to cost as much as may be, and are told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/random.h"
#include "clock.h"
#include "smtp/body.h"

enum { BODY_BYTES = 1 << 20, LINE_TEXT = 76, RATIO_GOAL_PERCENT = 40, ROUNDS_MAX = 301 };

/* A segment, the largest aggregate, and a message that no first-level cache holds. */
static const size_t sizes[] = {1448, 65160, BODY_BYTES};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static uint8_t body[BODY_BYTES];

/* ---- bodies ---- */

/* Lines of words, each word with what stands before it on its line. */
static void fill_words(const char *indent)
{
    struct random_source random = {76};
    size_t column = 0;
    for (size_t at = 0; at < BODY_BYTES;) {
        static const char *const joints[] = {" ", " ", " ", " ", " ", " ", ", ", ". "};
        uint32_t letters = 1 + random_below(&random, 10);
        const char *before = column == 0 ? indent : joints[random_below(&random, 8)];
        if (column + letters > LINE_TEXT - 4) {
            before = "\r\n";
            letters = 0;
        }
        for (size_t i = 0; before[i] && at < BODY_BYTES; i++)
            body[at++] = (uint8_t)before[i];
        for (uint32_t i = 0; i < letters && at < BODY_BYTES; i++)
            body[at++] = (uint8_t)('a' + random_below(&random, 26));
        column = letters ? column + strlen(before) + letters : 0;
    }
}

static void fill_text(void)
{
    fill_words("");
}

static void fill_list(void)
{
    fill_words("- ");
}

static void fill_base64(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct random_source random = {64};
    for (size_t at = 0; at < BODY_BYTES; at++) {
        size_t column = at % (LINE_TEXT + 2);
        body[at] = column == LINE_TEXT       ? '\r'
                   : column == LINE_TEXT + 1 ? '\n'
                                             : (uint8_t)alphabet[random_below(&random, 64)];
    }
}

static void fill_with(const char *pattern, size_t len)
{
    for (size_t at = 0; at < BODY_BYTES; at++)
        body[at] = (uint8_t)pattern[at % len];
}

static void fill_line_ends(void)
{
    fill_with("\r\n", 2);
}

static void fill_dots(void)
{
    fill_with(".", 1);
}

static void fill_cr(void)
{
    fill_with("\r", 1);
}

static void fill_nul(void)
{
    fill_with("", 1);
}

static void fill_stuffed(void)
{
    fill_words("..");
}

static void fill_two_dots(void)
{
    fill_with("..\r\n", 4);
}

static void fill_loose_dots(void)
{
    fill_with("\n.", 2);
}

static const struct {
    const char *label;
    void (*fill)(void);
    bool mail; /* the goal is for these */
} bodies[] = {
    {"text, lines of up to 76", fill_text, true},
    {"base64, lines of 76", fill_base64, true},
    {"each line begins with '-'", fill_list, false},
    {"each line is dot-stuffed", fill_stuffed, false},
    {"CRLF CRLF CRLF", fill_line_ends, false},
    {"dots only", fill_dots, false},
    {"CR only", fill_cr, false},
    {"NUL only", fill_nul, false},
    {"lines of two dots", fill_two_dots, false},
    {"LF . LF . LF .", fill_loose_dots, false},
};

/* ---- measuring ---- */

/* Nanoseconds for all octets of the body's size, by the first `size` of them again and again. */
static double scan_ns(size_t size)
{
    uint64_t began = clock_ns();
    for (size_t done = 0; done < BODY_BYTES; done += size) {
        enum smtp_body_state state = SMTP_BODY_LINE;
        struct smtp_body_scan scan = smtp_body_scan(&state, (struct span){body, size});
        if (scan.ended || scan.taken != size)
            abort();
    }
    return (double)(clock_ns() - began);
}

static double memchr_ns(size_t size)
{
    uint64_t began = clock_ns();
    for (size_t done = 0; done < BODY_BYTES; done += size) {
        __asm__ volatile("" : : "r"(body) : "memory"); /* it is not the same call as before */
        if (memchr(body, 0xff, size))
            abort();
    }
    return (double)(clock_ns() - began);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/*
 * The scan's speed as a share of memchr's: the median of shares taken one right after the other, since the processor's
 * own speed changes. *ns is the scan's least time.
 */
static double measure(size_t size, int rounds, double *ns)
{
    double ratios[ROUNDS_MAX];
    *ns = 0;
    for (int i = 0; i < rounds; i++) {
        double scan = scan_ns(size);
        ratios[i] = memchr_ns(size) / scan;
        clock_keep_least(ns, scan);
    }
    qsort(ratios, (size_t)rounds, sizeof ratios[0], compare);
    return ratios[rounds / 2];
}

/* The least share of the sizes'. */
static double tell_body(const char *label, int rounds)
{
    double least = 1e9;
    printf("# %-26s", label);
    for (int i = 0; i < SIZES; i++) {
        double ns, ratio = measure(sizes[i], rounds, &ns);
        printf("  %6.2f %5.2f", BODY_BYTES / ns, ratio);
        least = ratio < least ? ratio : least;
    }
    printf("\n");
    return least;
}

static bool is_met(double share)
{
    return share * 100 >= RATIO_GOAL_PERCENT;
}

static double tell_mail(const char *label, int rounds)
{
    double share = 0;
    for (uint32_t turn = 0; clock_again(turn, is_met(share)); turn++)
        share = tell_body(label, rounds);
    return share;
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    bool good = true;
    int number = 0;
    if (CLOCK_SANITIZED) {
        printf("1..0 # SKIP built with a sanitizer\n");
        return 0;
    }
    printf("# %-26s", "body scan: GB/s, of memchr");
    for (int i = 0; i < SIZES; i++)
        printf("  %12zu", sizes[i]);
    printf("\n");
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        int rounds = quick ? 51 : ROUNDS_MAX;
        bodies[i].fill();
        if (!bodies[i].mail) {
            tell_body(bodies[i].label, rounds);
            continue;
        }
        double share = tell_mail(bodies[i].label, rounds);
        good = good && is_met(share);
        printf("%sok %d - %s: scanned at %.2f of memchr's speed (goal %.2f)\n", is_met(share) ? "" : "not ", ++number,
               bodies[i].label, share, RATIO_GOAL_PERCENT / 100.0);
    }
    printf("1..%d\n", number);
    return good ? 0 : 1;
}
