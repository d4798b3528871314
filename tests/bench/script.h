/*
 * tests/bench/script - the dialogue that the measurements play: a short message to an Exchange 2003.
 *
 * One row is one segment; the row without octets is the message, as long as the one who plays wants it.
 */
#ifndef POSTERN_TESTS_BENCH_SCRIPT_H
#define POSTERN_TESTS_BENCH_SCRIPT_H

#include "smtp/session.h"

static const struct {
    enum smtp_side from;
    const char *text;
} script[] = {
    {SMTP_SERVER, "220 mail.example.com Microsoft ESMTP MAIL Service ready\r\n"},
    {SMTP_CLIENT, "EHLO client.example.net\r\n"},
    {SMTP_SERVER, "250-mail.example.com Hello [10.1.1.2]\r\n250-TURN\r\n250-SIZE\r\n250-ETRN\r\n"
                  "250-PIPELINING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-8bitmime\r\n"
                  "250-BINARYMIME\r\n250-CHUNKING\r\n250-VRFY\r\n250-X-EXPS GSSAPI NTLM LOGIN\r\n"
                  "250-AUTH GSSAPI NTLM LOGIN\r\n250-X-LINK2STATE\r\n250-XEXCH50\r\n250 OK\r\n"},
    {SMTP_CLIENT, "MAIL FROM:<sender@example.net>\r\n"},
    {SMTP_SERVER, "250 2.1.0 sender@example.net....Sender OK\r\n"},
    {SMTP_CLIENT, "RCPT TO:<recip@example.com>\r\n"},
    {SMTP_SERVER, "250 2.1.5 recip@example.com\r\n"},
    {SMTP_CLIENT, "DATA\r\n"},
    {SMTP_SERVER, "354 Start mail input; end with <CRLF>.<CRLF>\r\n"},
    {SMTP_CLIENT, NULL},
    {SMTP_SERVER, "250 2.6.0 Queued mail for delivery\r\n"},
    {SMTP_CLIENT, "QUIT\r\n"},
    {SMTP_SERVER, "221 2.0.0 mail.example.com closing\r\n"},
};

enum { SCRIPT_ROWS = sizeof script / sizeof script[0] };

#endif
