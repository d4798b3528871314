#include "conf/conf.h"

#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "conf/complain.h"
#include "conf/keys.h"
#include "conf/rule_section.h"

/* What a callback of libConfuse adds rules to: it has no context of ours. */
static _Thread_local struct policy *taking;

size_t conf_keys(const cfg_t *cfg, const char *keys[CONF_KEYS_MAX])
{
    size_t count = 0;
    for (const cfg_opt_t *option = cfg ? cfg->opts : NULL; option && option->name && count < CONF_KEYS_MAX; option++)
        keys[count++] = option->name;
    return count;
}

struct range {
    const char *key;
    long least, most;
};

static const struct range ranges[] = {
    {"line-hold-ms", 1, 10000},
    {"order-hold-ms", 1, 60000},
    {"flows", 16, 16777216},
};

static int check_range(cfg_t *cfg, cfg_opt_t *option)
{
    long value = cfg_opt_getnint(option, cfg_opt_size(option) - 1);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (strcmp(ranges[i].key, cfg_opt_name(option)) == 0 && (value < ranges[i].least || value > ranges[i].most))
            return complain(cfg, "%s = %ld is out of range; write a number from %ld to %ld", ranges[i].key, value,
                            ranges[i].least, ranges[i].most);
    return 0;
}

static int check_port(cfg_t *cfg, cfg_opt_t *option)
{
    long value = cfg_opt_getnint(option, cfg_opt_size(option) - 1);
    if (value < 1 || value > 65535)
        return complain(cfg, "%ld is no TCP port; write numbers from 1 to 65535", value);
    if (cfg_opt_size(option) > 16)
        return complain(cfg, "more than 16 ports");
    return 0;
}

static int check_keyword(cfg_t *cfg, cfg_opt_t *option)
{
    static struct policy scratch;
    const char *word = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    policy_init_empty(&scratch);
    if (!policy_strip(&scratch, span_of(word)))
        return complain(cfg, "'%s' is no EHLO keyword; write letters, digits and hyphens, for example \"XEXCH50\"",
                        word);
    if (cfg_opt_size(option) > SMTP_KEYWORDS_MAX)
        return complain(cfg, "more than %d keywords to strip", SMTP_KEYWORDS_MAX);
    return 0;
}

static int check_rule(cfg_t *cfg, cfg_opt_t *option)
{
    (void)cfg;
    return rule_section_take(cfg_opt_getnsec(option, cfg_opt_size(option) - 1), taking) ? 0 : -1;
}

void conf_init(struct conf *conf)
{
    conf->engine = engine_settings_default();
    policy_init_default(&conf->policy);
}

static void take(struct conf *conf, cfg_t *cfg)
{
    conf->engine.line_hold_ms = (uint32_t)cfg_getint(cfg, "line-hold-ms");
    conf->engine.order_hold_ms = (uint32_t)cfg_getint(cfg, "order-hold-ms");
    conf->engine.flows_max = (uint32_t)cfg_getint(cfg, "flows");
    conf->engine.liberal_conntrack = cfg_getbool(cfg, "liberal-conntrack");
    conf->engine.strip_mptcp = cfg_getbool(cfg, "strip-mptcp");
    if (cfg_size(cfg, "ports") > 0) {
        conf->engine.ports_count = cfg_size(cfg, "ports");
        for (unsigned i = 0; i < conf->engine.ports_count; i++)
            conf->engine.ports[i] = (uint16_t)cfg_getnint(cfg, "ports", i);
    }
    for (unsigned i = 0; i < cfg_size(cfg, "strip"); i++)
        policy_strip(&conf->policy, span_of(cfg_getnstr(cfg, "strip", i)));
}

/*
 * Blanks in place of comments, line ends kept: libConfuse 3.3 takes the lines of a comment for more than they are, and
 * would name the wrong line in every message behind one.
 */
static void blank_comments(char *text)
{
    enum { CODE, QUOTED, TO_LINE_END, TO_CLOSE } state = CODE;
    char quote = 0;
    for (char *at = text; *at; at++) {
        if (state == CODE && (*at == '"' || *at == '\'')) {
            state = QUOTED;
            quote = *at;
        } else if (state == CODE && (*at == '#' || (at[0] == '/' && at[1] == '/'))) {
            state = TO_LINE_END;
        } else if (state == CODE && at[0] == '/' && at[1] == '*') {
            state = TO_CLOSE;
        } else if (state == QUOTED && *at == '\\' && at[1]) {
            at++;
        } else if ((state == QUOTED && *at == quote) || (state == TO_LINE_END && *at == '\n')) {
            state = CODE;
        } else if (state == TO_CLOSE && at[0] == '*' && at[1] == '/') {
            at[0] = at[1] = ' ';
            at++;
            state = CODE;
        }
        if ((state == TO_LINE_END || state == TO_CLOSE) && *at != '\n')
            *at = ' ';
    }
}

/* The whole file, ended by NUL, to be freed; its octets in *len. NULL with errno set. */
static char *read_file(const char *path, size_t *len)
{
    enum { FILE_BYTES_MAX = 1 << 20 };
    struct stat about;
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = NULL;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode))
        errno = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
    else if (about.st_size > FILE_BYTES_MAX)
        errno = EFBIG;
    else if ((text = calloc(1, (size_t)about.st_size + 1)) != NULL)
        *len = fread(text, 1, (size_t)about.st_size, file);
    int fault = errno;
    fclose(file);
    errno = fault;
    return text;
}

bool conf_read(struct conf *conf, const char *path, char *message, size_t size)
{
    size_t len = 0;
    char *text = read_file(path, &len);
    if (!text) {
        snprintf(message, size, "%s: cannot read the rules: %s", path, strerror(errno));
        return false;
    }
    if (strlen(text) != len) {
        snprintf(message, size, "%s: this is no text: a NUL at octet %zu", path, strlen(text) + 1);
        free(text);
        return false;
    }
    blank_comments(text);
    static char strip_default[] = "{XEXCH50, X-LINK2STATE}";
    static char ports_default[] = "{25, 587, 2525}";
    struct engine_settings defaults = engine_settings_default();
    cfg_opt_t options[] = {
        CFG_STR_LIST("strip", strip_default, CFGF_NONE),
        CFG_INT_LIST("ports", ports_default, CFGF_NONE),
        CFG_INT("line-hold-ms", defaults.line_hold_ms, CFGF_NONE),
        CFG_INT("order-hold-ms", defaults.order_hold_ms, CFGF_NONE),
        CFG_INT("flows", defaults.flows_max, CFGF_NONE),
        CFG_BOOL("strip-mptcp", cfg_false, CFGF_NONE),
        CFG_BOOL("liberal-conntrack", cfg_false, CFGF_NONE),
        CFG_SEC("rule", rule_section_options(), CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_END(),
    };
    complain_begin(message, size, path);
    policy_init_empty(&conf->policy);
    taking = &conf->policy;
    cfg_t *cfg = cfg_init(options, CFGF_NONE);
    if (!cfg) {
        snprintf(message, size, "%s: no memory to read it", path);
        free(text);
        return false;
    }
    cfg_set_error_function(cfg, complain_confuse);
    cfg_set_validate_func(cfg, "strip", check_keyword);
    cfg_set_validate_func(cfg, "ports", check_port);
    cfg_set_validate_func(cfg, "rule", check_rule);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        cfg_set_validate_func(cfg, ranges[i].key, check_range);
    int status = cfg_parse_buf(cfg, text);
    if (status == CFG_SUCCESS)
        take(conf, cfg);
    else if (!message[0])
        snprintf(message, size, "%s: syntax error", path);
    free(text);
    cfg_free(cfg);
    return status == CFG_SUCCESS;
}
