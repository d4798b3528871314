#include "cmd/greylist.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/uri.h"
#include "cmd/ask.h"
#include "cmd/clock.h"
#include "cmd/service.h"
#include "conf/idna.h"
#include "conf/units.h"
#include "policy/guard.h"
#include "smtp/path.h"

enum { FETCH_MS = 3000, WRITE_MS = 10000 };

static const struct {
    const char *name;
    int (*run)(struct greylist *greylist, int count, char **words);
    bool changes;
} works[] = {
    {"list", greylist_list, false},    {"show", greylist_show, false},     {"stats", greylist_stats, false},
    {"allow", greylist_allow, true},   {"deny", greylist_deny, true},      {"forget", greylist_forget, true},
    {"import", greylist_import, true}, {"export", greylist_export, false},
};

#define WORK_NAMES "postern greylist list|show|allow|deny|forget|import|export|stats"

enum { WORKS = sizeof works / sizeof works[0] };

/* ---- the command line ---- */

static int usage(const char *work)
{
    char words[32];
    snprintf(words, sizeof words, "greylist %s", work);
    return cmd_usage(words);
}

static bool take_hold(struct greylist *greylist, const char *text)
{
    const char *wrong;
    uint64_t hold_ms;
    bool good = units_duration(text, &hold_ms, &wrong) && hold_ms > 0 && hold_ms < (UINT64_C(1) << 42);
    if (!good)
        cmd_complain(CMD_USAGE, "--for %s: write a duration like 12h or 30d", text);
    greylist->told = !good;
    greylist->hold_ms = good ? (int64_t)hold_ms : 0;
    return good;
}

static bool take_comment(struct greylist *greylist, const char *text)
{
    bool good = *text && strlen(text) <= KEEP_COMMENT_BYTES_MAX;
    for (const char *at = text; *at; at++)
        good = good && *at >= ' ' && *at <= '~';
    if (!good)
        cmd_complain(CMD_USAGE, "--comment: write 1 to %d printable ASCII characters", KEEP_COMMENT_BYTES_MAX);
    greylist->told = !good;
    greylist->comment = text;
    return good;
}

/* A time may be as greylist_time writes it. */
static bool take_now(struct greylist *greylist, const char *text)
{
    const char *wrong;
    char plain[64];
    size_t len = strlen(text);
    bool utc = len > 4 && strcmp(text + len - 4, " UTC") == 0;
    snprintf(plain, sizeof plain, "%.*s", (int)(utc ? len - 4 : len), text);
    greylist->at = units_time(plain, &greylist->now_us, &wrong);
    if (!greylist->at)
        cmd_complain(CMD_USAGE, "--now %s: %s", text, wrong);
    greylist->told = !greylist->at;
    return greylist->at;
}

int greylist_options(struct greylist *greylist, int argc, char **argv, int *first)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"store", required_argument, NULL, 's'},
                                            {"rules", required_argument, NULL, 'r'},
                                            {"helo", required_argument, NULL, 'h'},
                                            {"format", required_argument, NULL, 'f'},
                                            {"for", required_argument, NULL, 'u'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"now", required_argument, NULL, 'n'},
                                            {"control", required_argument, NULL, 'c'},
                                            {"comment", required_argument, NULL, 'C'},
                                            {"from", required_argument, NULL, 'F'},
                                            {"to", required_argument, NULL, 'T'},
                                            {"server", required_argument, NULL, 'S'},
                                            {"direction", required_argument, NULL, 'D'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "r:", options, NULL)) != -1;)
        switch (c) {
        case 'j':
            greylist->as_json = true;
            break;
        case 's':
            greylist->store_uri = optarg;
            break;
        case 'r':
            greylist->rules = optarg;
            break;
        case 'h':
            greylist->helo = optarg;
            break;
        case 'f':
            greylist->format = optarg;
            break;
        case 'u':
            if (!take_hold(greylist, optarg))
                return CMD_USAGE;
            break;
        case 'a':
            greylist->all = true;
            break;
        case 'c':
            greylist->control = optarg;
            break;
        case 'C':
            if (!take_comment(greylist, optarg))
                return CMD_USAGE;
            break;
        case 'F':
            greylist->from = optarg;
            break;
        case 'T':
            greylist->to = optarg;
            break;
        case 'S':
            greylist->server = optarg;
            break;
        case 'D':
            greylist->direction = optarg;
            break;
        case 'n':
            if (!take_now(greylist, optarg))
                return CMD_USAGE;
            break;
        default:
            return CMD_USAGE;
        }
    *first = optind;
    return CMD_GOOD;
}

static bool same_work(const char *name, const char *a, const char *b)
{
    return strcmp(name, a) == 0 || (b && strcmp(name, b) == 0);
}

/* An option that the work has no use for was meant for another. */
static bool fits(const struct greylist *greylist, const char *name)
{
    bool of_why = greylist->from || greylist->to || greylist->server || greylist->direction;
    return !of_why && (!greylist->as_json || same_work(name, "list", "show") || same_work(name, "stats", NULL)) &&
           (!greylist->helo || same_work(name, "show", "forget")) &&
           (!greylist->all || same_work(name, "forget", NULL)) &&
           ((!greylist->hold_ms && !greylist->comment) || same_work(name, "allow", "deny")) &&
           (!greylist->at || same_work(name, "list", "show") || same_work(name, "stats", "export")) &&
           (!greylist->format || same_work(name, "import", NULL));
}

int cmd_greylist(int argc, char **argv)
{
    struct greylist greylist = {0};
    int first;
    int code = greylist_options(&greylist, argc, argv, &first);
    if (code != CMD_GOOD || first == argc)
        return greylist.told ? CMD_USAGE : cmd_complain(CMD_USAGE, "usage: " WORK_NAMES " ...; --help has all of each");
    for (size_t i = 0; i < WORKS; i++) {
        if (strcmp(argv[first], works[i].name) != 0)
            continue;
        greylist.changes = works[i].changes;
        code = fits(&greylist, works[i].name) ? works[i].run(&greylist, argc - first - 1, argv + first + 1) : -1;
        greylist_close(&greylist);
        return code < 0 ? usage(works[i].name) : code;
    }
    return cmd_complain(CMD_USAGE, "unknown work '%s'; " WORK_NAMES, argv[first]);
}

int greylist_address(const char *word, uint8_t room[ADDRESS_BYTES_MAX], struct span *address)
{
    struct span text = span_of(word);
    if (text.len > 1 && word[0] == '<' && word[text.len - 1] == '>')
        text = span_head(span_tail(text, 1), text.len - 2);
    if (text.len > GREYLIST_ADDRESS_BYTES_MAX)
        return cmd_complain(CMD_USAGE, "an address of %zu octets; no mail has one", text.len);
    /* As a client may have written it, its quotes included. */
    char argument[GREYLIST_ADDRESS_BYTES_MAX + sizeof "TO:<>"];
    uint8_t plain[GREYLIST_ADDRESS_BYTES_MAX];
    int len = snprintf(argument, sizeof argument, "TO:<%.*s>", (int)text.len, (const char *)text.ptr);
    struct smtp_path path = smtp_path_parse((struct span){(const uint8_t *)argument, (size_t)len});
    *address = address_compared(idna_to_ascii, path.good ? smtp_path_plain(&path, plain, sizeof plain) : text, room);
    if (address->len) /* where nothing had to be folded it lies elsewhere */
        memmove(room, address->ptr, address->len);
    address->ptr = room;
    return CMD_GOOD;
}

int greylist_attempt_of(const struct greylist *greylist, int count, char **words, struct greylist_attempt *attempt)
{
    static uint8_t rooms[2][ADDRESS_BYTES_MAX];
    uint8_t prefix;
    *attempt = (struct greylist_attempt){0};
    if (strchr(words[0], '/') || !keep_read_network(span_of(words[0]), &attempt->ip_version, attempt->client, &prefix))
        return cmd_complain(CMD_USAGE, "'%s' is no address of a client; write one like 192.0.2.1", words[0]);
    int code = CMD_GOOD;
    if (count > 1)
        code = greylist_address(words[1], rooms[0], &attempt->sender);
    if (count > 2 && code == CMD_GOOD)
        code = greylist_address(words[2], rooms[1], &attempt->recipient);
    attempt->helo = greylist->helo ? span_head(span_of(greylist->helo), GREYLIST_ADDRESS_BYTES_MAX) : (struct span){0};
    return code;
}

/* ---- the store ---- */

/* True, too, where that cannot be told. */
static bool has_store(const char *folder)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/postern.db", folder);
    return access(path, F_OK) == 0 || errno != ENOENT;
}

/* What is made in a folder belongs to whom the folder does: the filter does not run as root. */
static int become_owner(const struct greylist *greylist, const char *folder)
{
    struct stat about;
    if (stat(folder, &about) != 0)
        return cmd_complain(CMD_FAILED, "%s: %s; the filter makes it when it first runs, --store names another", folder,
                            strerror(errno));
    if (!greylist->changes && !has_store(folder))
        return cmd_complain(CMD_FAILED,
                            "%s: there is no store in it yet; the filter makes it when it first runs, --store "
                            "names another",
                            folder);
    if (geteuid() == 0 && about.st_uid != 0 && (setegid(about.st_gid) != 0 || seteuid(about.st_uid) != 0))
        return cmd_complain(CMD_FAILED, "%s: cannot become its owner: %m", folder);
    return CMD_GOOD;
}

static int open_store(struct greylist *greylist, const char *uri)
{
    static const char sqlite[] = "sqlite:";
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = store_settings_default();
    settings.is_guest = true; /* beside the filter */
    uid_t user = geteuid();
    gid_t group = getegid();
    if (strncmp(uri, "memory:", 7) == 0)
        return cmd_complain(CMD_USAGE, "memory: is gone with its process; name a store with --store sqlite:FOLDER or "
                                       "redis://HOST");
    if (!conf_is_store(uri))
        return cmd_complain(CMD_USAGE, "--store %s: " CONF_STORE_ADVICE, uri_shown(uri, message, sizeof message));
    int code =
        strncmp(uri, sqlite, sizeof sqlite - 1) == 0 ? become_owner(greylist, uri + sizeof sqlite - 1) : CMD_GOOD;
    if (code == CMD_GOOD)
        greylist->store = store_open(uri, &settings, greylist->now_us / 1000000, message, sizeof message);
    if (seteuid(user) != 0 || setegid(group) != 0)
        return cmd_complain(CMD_FAILED, "cannot go back to user %u: %m", user);
    if (code == CMD_GOOD && (!greylist->store || message[0]))
        code = cmd_complain(greylist->store ? CMD_GOOD : CMD_FAILED, "%s", message);
    return code;
}

int greylist_open(struct greylist *greylist)
{
    char message[CMD_MESSAGE_BYTES];
    if (greylist->at)
        clock_begin_at(greylist->now_us);
    else
        clock_begin();
    greylist->now_us = clock_now_us();
    conf_init(&greylist->conf);
    if (!greylist->rules)
        greylist->rules = greylist->found_rules =
            ask_rules(greylist->control ? greylist->control : SERVICE_CONTROL_PATH);
    if (greylist->rules && !conf_read(&greylist->conf, greylist->rules, message, sizeof message))
        return cmd_complain(CMD_FAILED, "%s", message);
    int code = open_store(greylist, greylist->store_uri ? greylist->store_uri : greylist->conf.store);
    if (code != CMD_GOOD)
        return code;
    greylist->keeper = (struct keeper){
        .settings = &greylist->conf.greylist,
        .secret = store_secret(greylist->store),
        .lag_s = store_lag_s(greylist->store),
        .client = store_client_new(greylist->store),
        .clear_text = greylist->conf.keep_addresses,
    };
    return greylist->keeper.client ? CMD_GOOD : cmd_complain(CMD_FAILED, "no memory");
}

void greylist_close(struct greylist *greylist)
{
    if (greylist->keeper.client)
        store_client_free(greylist->keeper.client);
    store_close(greylist->store, WRITE_MS);
    conf_free(&greylist->conf);
    free(greylist->found_rules);
}

void greylist_pause(struct greylist *greylist, uint64_t most)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_counters counters;
    for (int waited_ms = 0; waited_ms < WRITE_MS; waited_ms += 5) {
        store_counters(greylist->store, &counters);
        if (counters.waiting <= most || store_fault(greylist->store, message, sizeof message))
            return;
        poll(NULL, 0, 5);
    }
}

int greylist_finish(struct greylist *greylist)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_counters counters;
    greylist_pause(greylist, 0);
    store_counters(greylist->store, &counters);
    if (counters.waiting == 0 && counters.lost == 0)
        return CMD_GOOD;
    bool fault = store_fault(greylist->store, message, sizeof message);
    return cmd_complain(CMD_FAILED, "%" PRIu64 " records could not be written: %s", counters.waiting + counters.lost,
                        fault ? message : "the store is too slow");
}

enum store_status greylist_fetch(struct greylist *greylist, const struct store_key *key, enum greylist_kind kind,
                                 struct greylist_record *record, int64_t *expires_s)
{
    struct store_client *client = greylist->keeper.client;
    int64_t now_us = clock_now_us(), deadline_us = now_us + (int64_t)FETCH_MS * 1000;
    struct store_answer answer = {.status = STORE_LATER};
    answer.status = store_get(client, key, 0, now_us, deadline_us, &answer.record);
    while (answer.status == STORE_LATER) {
        struct pollfd fd = {.fd = store_client_fd(client), .events = POLLIN};
        if (store_next_answer(client, clock_now_us(), &answer))
            break;
        poll(&fd, 1, FETCH_MS / 10);
    }
    if (answer.status == STORE_GOOD &&
        (answer.record.kind != kind || !keep_read_record(&greylist->keeper, &answer.record, record)))
        return STORE_ABSENT;
    if (answer.status == STORE_GOOD && expires_s)
        *expires_s = answer.record.expires_s;
    return answer.status;
}

/* ---- walks ---- */

struct walk {
    const struct greylist *greylist;
    bool (*visit)(void *context, const struct greylist_entry *entry);
    void *context;
    uint64_t foreign;
};

static bool visit_one(void *context, const struct store_key *key, const struct store_record *kept, struct span text)
{
    struct walk *walk = context;
    struct greylist_entry entry = {
        .key = *key, .kind = (enum greylist_kind)kept->kind, .expires_s = kept->expires_s, .text = text};
    if (!keep_read_record(&walk->greylist->keeper, kept, &entry.record)) {
        walk->foreign += kept->kind != GUARD_KIND && kept->kind != REFUSED_KIND;
        return true;
    }
    if (store_is_expired(kept, walk->greylist->now_us / 1000000))
        return true;
    entry.about = keep_read_text(entry.kind, text);
    return walk->visit(walk->context, &entry);
}

int greylist_walk(struct greylist *greylist, bool (*visit)(void *context, const struct greylist_entry *entry),
                  void *context, uint64_t *foreign)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct walk walk = {.greylist = greylist, .visit = visit, .context = context};
    bool good = store_walk(greylist->store, visit_one, &walk, &greylist->unread, message, sizeof message);
    *foreign = walk.foreign;
    if (good && greylist->unread)
        cmd_complain(CMD_GOOD,
                     "%" PRIu64 " record%s left out: damaged, or of a later version; to keep the "
                     "others, export them, move the store away and import them",
                     greylist->unread, greylist->unread == 1 ? "" : "s");
    return good ? CMD_GOOD : cmd_complain(CMD_FAILED, "%s", message);
}

static bool same_sender(struct span a, struct span b)
{
    uint8_t a_room[GREYLIST_ADDRESS_BYTES_MAX], b_room[GREYLIST_ADDRESS_BYTES_MAX];
    return span_equal_nocase(greylist_fold(a, a_room), greylist_fold(b, b_room));
}

bool greylist_is_about(const struct greylist *greylist, const struct greylist_entry *entry,
                       const struct greylist_attempt *attempt)
{
    const struct keep_about *about = &entry->about;
    char network[KEEP_NETWORK_BYTES];
    uint8_t prefix = greylist_prefix(&greylist->conf.greylist, entry->kind, attempt->ip_version);
    if (about->network.len == 0 && (attempt->helo.len == 0 || about->helo.len == 0))
        return false;
    if (about->network.len &&
        !span_equal(about->network, span_of(keep_network(attempt->ip_version, attempt->client, prefix, network))))
        return false;
    if (attempt->helo.len && about->helo.len &&
        !span_equal_nocase(greylist_helo_domain(about->helo), greylist_helo_domain(attempt->helo)))
        return false;
    bool of_mail = entry->kind == GREYLIST_TRIPLET || entry->kind == GREYLIST_POOL;
    return (!attempt->sender.ptr || !of_mail || same_sender(about->sender, attempt->sender)) &&
           (!attempt->recipient.ptr || !of_mail || span_equal_nocase(about->recipient, attempt->recipient));
}

/* ---- words ---- */

int greylist_printed(bool whole)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return cmd_complain(CMD_FAILED, "cannot write: %m");
    return whole ? CMD_GOOD : cmd_complain(CMD_FAILED, "no memory");
}

const char *greylist_time(int64_t time_ms, char text[GREYLIST_TIME_BYTES])
{
    struct tm local;
    time_t seconds = (time_t)(time_ms / 1000);
    localtime_r(&seconds, &local);
    size_t len = strftime(text, GREYLIST_TIME_BYTES, "%Y-%m-%d %H:%M:%S", &local);
    long ahead_min = local.tm_gmtoff / 60;
    if (ahead_min == 0)
        snprintf(text + len, GREYLIST_TIME_BYTES - len, " UTC");
    else
        snprintf(text + len, GREYLIST_TIME_BYTES - len, "%c%02ld:%02ld", ahead_min < 0 ? '-' : '+',
                 labs(ahead_min) / 60 % 24, labs(ahead_min) % 60);
    return text;
}

const char *greylist_duration(uint64_t duration_ms, char text[GREYLIST_DURATION_BYTES])
{
    static const struct {
        uint64_t ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (duration_ms >= units[i].ms && duration_ms % units[i].ms == 0) {
            snprintf(text, GREYLIST_DURATION_BYTES, "%llu%s", (unsigned long long)(duration_ms / units[i].ms),
                     units[i].name);
            return text;
        }
    snprintf(text, GREYLIST_DURATION_BYTES, "0");
    return text;
}

struct greylist_decision greylist_standing(const struct greylist *greylist, enum greylist_kind kind,
                                           const struct greylist_record *record)
{
    static const struct greylist_exempt nobody;
    struct greylist_memory memory = {0};
    /* Of a pool and of a triplet the same is decided by the same numbers. */
    enum greylist_kind as = kind == GREYLIST_POOL ? GREYLIST_TRIPLET : kind;
    struct greylist_attempt attempt = {
        .ip_version = 4, .sender = span_of("a@b"), .recipient = span_of("c@d"), .tls = kind == GREYLIST_TLS};
    memory.known = 1u << as;
    memory.records[as] = *record;
    return greylist_decide(&greylist->conf.greylist, &nobody,
                           greylist_needs(&greylist->conf.greylist, &nobody, &attempt), &memory, &attempt,
                           greylist->now_us / 1000);
}
