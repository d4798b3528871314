/*
 * A rule file of any octets: it is taken, or refused with one line that a terminal can show and that names the file;
 * and rules that were taken can be asked about anything.
 */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"

static void check_message(const char *message)
{
    MUST(message[0] != '\0');
    for (const char *at = message; *at; at++)
        MUST(*at >= ' ' && *at <= '~');
}

static void ask(const struct conf *conf, enum smtp_side role, const char *line)
{
    struct policy_facts facts;
    struct policy_decision decision;
    static const uint8_t client[16] = {192, 0, 2, 1}, server[16] = {10, 1, 2, 3};
    struct smtp_unit unit = {.role = role, .side = role, .octets = span_of(line), .whole = span_of(line)};
    policy_facts_begin(&conf->policy, (struct policy_address){4, client}, (struct policy_address){4, server}, &facts);
    MUST(facts.direction < POLICY_DIRECTIONS);
    unit.kind = role == SMTP_CLIENT ? SMTP_UNIT_COMMAND : SMTP_UNIT_REPLY;
    if (role == SMTP_CLIENT)
        unit.command = smtp_command_parse(unit.whole);
    else
        unit.has_reply = smtp_reply_parse(unit.whole, &unit.reply);
    policy_judge(&conf->policy, &unit, &facts, 3, unit.reply.code, &decision);
    MUST(decision.action.refusal < conf->policy.refusals.count || decision.action.refusal == SMTP_REFUSAL_NONE);
    struct rule_case what = {.event = RULE_ON_LINE, .text = unit.whole, .length = unit.whole.len};
    policy_judge_case(&conf->policy, &what, &facts, &decision);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf conf;
    char path[64], message[512];
    int fd = memfd_create("rules", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memset(&conf, 0, offsetof(struct conf, policy.own));
    conf.memory = NULL;
    conf.regexes = NULL;
    conf_init(&conf);
    if (conf_read(&conf, path, message, sizeof message)) {
        ask(&conf, SMTP_CLIENT, "EHLO mail.example.net\r\n");
        ask(&conf, SMTP_CLIENT, "MAIL FROM:<a@example.net> SIZE=3\r\n");
        ask(&conf, SMTP_CLIENT, "RCPT TO:<\"b c\"@sub.example.com>\r\n");
        ask(&conf, SMTP_CLIENT, "X-FOO bar\r\n");
        ask(&conf, SMTP_CLIENT, "STARTTLS\r\n");
        ask(&conf, SMTP_SERVER, "550 5.1.1 No such user\r\n");
    } else {
        check_message(message);
    }
    conf_free(&conf);
    close(fd);
    return 0;
}
