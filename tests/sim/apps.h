/*
 * tests/sim/apps - the applications at both ends: a client that follows a script, and a server that answers what it
 * reads.
 *
 * In:     a plan; octets that the endpoints have read, the time.
 * Out:    octets, written to the endpoints in pieces; what was written as what, for the reference.
 * Note:   both know SMTP for themselves, without src/smtp. The server knows what the client wrote, and so which lines
 *         came to it in another form; the client knows when the server has nothing more to say behind STARTTLS.
 * Limits: APPS_*_MAX, ENDPOINT_STREAM_BYTES a direction.
 */
#ifndef POSTERN_TESTS_APPS_H
#define POSTERN_TESTS_APPS_H

#include "../lib/random.h"
#include "endpoint.h"
#include "fault.h"

enum { APPS_TRANSACTIONS_MAX = 3, APPS_REPLIES_MAX = 400, APPS_STEPS_MAX = 200, APPS_COVERED_MAX = 16 };

/* How octets are cut into writes. */
enum app_cut { APP_CUT_WHOLE, APP_CUT_LINES, APP_CUT_OCTETS, APP_CUT_RANDOM, APP_CUTS };

struct apps_plan {
    enum app_cut cut[2];   /* by side, as below */
    int64_t pause_us[2];   /* between writes */
    bool asks;             /* recipients may be deferred; the client begins anew after each transaction */
    bool pipelined;        /* MAIL, RCPT and DATA or BDAT in one write */
    bool chunking;         /* BDAT in place of DATA */
    bool impatient;        /* what a 354 or 334 asks for is sent before it has come, where it will come */
    bool authenticate;     /* with AUTH LOGIN */
    bool starttls;         /* at the end, in place of QUIT */
    bool offer;            /* the server offers XEXCH50 and X-LINK2STATE */
    bool force_xexch50;    /* the client sends XEXCH50 all the same */
    bool accepts_xexch50;  /* the server, where it reads it */
    uint32_t transactions; /* 1 to APPS_TRANSACTIONS_MAX */
    uint32_t recipients;   /* of each */
    uint32_t body_len;     /* octets of a message, about */
};

/* A place in a stream. */
struct app_piece {
    uint32_t at, len;
};

/* What an application has to write, piece by piece. */
struct app {
    uint8_t pending[ENDPOINT_STREAM_BYTES];
    uint32_t pending_len, written;
    int64_t next_us;
    bool close_after;
};

struct app_step {
    struct app_piece piece; /* of the script */
    uint32_t replies;       /* to be read before the next step */
    bool xexch50, opaque;
    bool body; /* only behind a 354 */
};

struct app_client {
    struct app app;
    uint8_t script[ENDPOINT_STREAM_BYTES];
    uint32_t script_len;
    struct app_step steps[APPS_STEPS_MAX];
    uint32_t step_count, step;
    uint32_t parsed; /* octets */
    uint32_t replies_read, replies_wanted;
    uint32_t last_code;
    bool xexch50_pending;
    struct app_piece covered[APPS_COVERED_MAX]; /* XEXCH50 lines in what it writes */
    uint32_t covered_count;
};

enum app_reply_kind {
    APP_REPLY_PLAIN,
    APP_REPLY_EHLO,
    APP_REPLY_COVERED, /* to a line in the place of XEXCH50 */
    APP_REPLY_OPAQUE,
    APP_REPLY_RCPT,
    APP_REPLY_DEFERRED, /* to a line in the place of DATA or BDAT, or to its octets */
};

struct app_reply {
    enum app_reply_kind kind;
    struct app_piece piece; /* of what the server writes */
    uint32_t transaction;   /* from 1 on */
};

enum app_server_mode { APP_SERVER_COMMAND, APP_SERVER_DATA, APP_SERVER_OCTETS, APP_SERVER_AUTH, APP_SERVER_OPAQUE };

struct app_server {
    struct app app;
    enum app_server_mode mode;
    uint32_t parsed, octets_left;
    bool octets_deferred; /* of a BDAT that came in another form */
    struct app_reply replies[APPS_REPLIES_MAX];
    uint32_t reply_count;
    bool opaque_seen;
    uint32_t transaction;                             /* MAIL commands that it read */
    struct app_piece deferred[APPS_TRANSACTIONS_MAX]; /* DATA and BDAT lines that it read in another form */
    uint32_t deferred_count;
};

struct apps {
    struct apps_plan plan;
    struct endpoint *ends; /* both */
    struct random_source *random;
    struct fault *fault;
    struct app_client client;
    struct app_server server;
};

/* Write the script, and the greeting. The endpoints are initialised, and live as long as the applications. */
void apps_init(struct apps *apps, const struct apps_plan *plan, struct endpoint *ends, struct random_source *random,
               struct fault *fault);
/* Both read what there is, and write what is due. */
void apps_turn(struct apps *apps, int64_t now_us);
/* When one of them writes next; INT64_MAX: once it has read something. */
int64_t apps_due(const struct apps *apps);

/* Whether a line begins with these octets, in whatever case. */
bool apps_line_begins(const uint8_t *line, uint32_t len, const char *word);

#endif
