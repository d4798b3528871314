#include "sys/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/span.h"
#include "sys/ring.h"

enum {
    TRIES = 2,
    TIMEOUT_MS = 1500,
    ASKED_BYTES = 65536,
    ANSWERS_BYTES = 524288, /* to all that may be asked at once */
    NETWORK_MAX = RESOLVER_PENDING_MAX / 8,
};

struct resolver_client {
    struct resolver *resolver;
    struct ring *asked;   /* queries, to the resolver's thread */
    struct ring *answers; /* from it */
    int ready;            /* eventfd */
};

/* A name under way, in two steps. */
struct lookup {
    struct lookup *next_free;
    bool runs;
    struct resolver_client *client;
    struct resolver_answer answer;
};

struct resolver {
    unsigned clients_count;
    struct resolver_client *clients;
    struct lookup lookups[RESOLVER_PENDING_MAX];
    struct lookup *free;
    ares_channel channel;
    bool has_channel, initialized;
    int wake; /* eventfd */
    atomic_bool stop;
    pthread_t thread;
    bool started;
};

static void signal_fd(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) != sizeof one)
        return; /* it is readable already */
}

static void clear_fd(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof count) < 0)
        return;
}

/* ---- the thread ---- */

static void answer(struct resolver_client *client, const struct resolver_answer *given)
{
    struct resolver_answer *to = ring_reserve(client->answers, sizeof *to);
    if (!to)
        return;
    *to = *given;
    ring_commit(client->answers);
    signal_fd(client->ready);
}

/* It is over, with a name or without. */
static void finish(struct lookup *lookup, bool verified)
{
    struct resolver *resolver = lookup->client->resolver;
    if (!verified)
        lookup->answer.len = 0;
    answer(lookup->client, &lookup->answer);
    lookup->runs = false;
    lookup->next_free = resolver->free;
    resolver->free = lookup;
}

static int address_bytes(const struct resolver_query *query)
{
    return query->ip_version == 4 ? 4 : 16;
}

static int family_of(const struct resolver_query *query)
{
    return query->ip_version == 4 ? AF_INET : AF_INET6;
}

/* The addresses of the name have come. */
static void take_addresses(void *context, int status, int timeouts, struct hostent *host)
{
    struct lookup *lookup = context;
    const struct resolver_query *query = &lookup->answer.query;
    (void)timeouts;
    bool verified = false;
    for (char **at = status == ARES_SUCCESS && host ? host->h_addr_list : NULL; at && *at; at++)
        verified = verified || (host->h_length == address_bytes(query) &&
                                memcmp(*at, query->address, (size_t)address_bytes(query)) == 0);
    finish(lookup, verified);
}

/* A name as hosts have them (RFC 1123 2.1), for strangers choose it; in lower case. */
static bool keep_name(struct resolver_answer *to, const char *name)
{
    size_t len = strlen(name);
    if (len > 1 && name[len - 1] == '.')
        len--;
    if (len == 0 || len > RESOLVER_NAME_BYTES_MAX)
        return false;
    /* c-ares takes an address in the place of a name for its own address, and asks nobody. */
    bool digits = true;
    for (size_t i = len; i-- > 0 && name[i] != '.';)
        digits = digits && name[i] >= '0' && name[i] <= '9';
    if (digits)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t octet = (uint8_t)name[i];
        if (octet >= 'A' && octet <= 'Z')
            octet = (uint8_t)(octet - 'A' + 'a');
        bool good = ascii_is_alnum(octet) || octet == '-' || octet == '.' || octet == '_';
        if (!good)
            return false;
        to->name[i] = octet;
    }
    to->len = len;
    return true;
}

/* The name of the address has come: it counts once it has that address. */
static void take_name(void *context, int status, int timeouts, struct hostent *host)
{
    struct lookup *lookup = context;
    char name[RESOLVER_NAME_BYTES_MAX + 1];
    (void)timeouts;
    if (status != ARES_SUCCESS || !host || !host->h_name || !keep_name(&lookup->answer, host->h_name)) {
        finish(lookup, false);
        return;
    }
    memcpy(name, lookup->answer.name, lookup->answer.len);
    name[lookup->answer.len] = '\0';
    ares_gethostbyname(lookup->client->resolver->channel, name, family_of(&lookup->answer.query), take_addresses,
                       lookup);
}

/* The DNS alone: this machine's file of hosts says nothing of strangers. */
static bool open_channel(struct resolver *resolver)
{
    char lookups[] = "b";
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH, .timeout = TIMEOUT_MS, .tries = TRIES, .lookups = lookups};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS;
    if (!resolver->has_channel)
        resolver->has_channel = ares_init_options(&resolver->channel, &options, mask) == ARES_SUCCESS;
    return resolver->has_channel;
}

/* Whether a client's network, whose name servers may be slow, has its share of the lookups. */
static bool has_its_share(const struct resolver *resolver, const struct resolver_query *query)
{
    enum { V4_BYTES = 3, V6_BYTES = 8 };
    unsigned count = 0;
    for (unsigned i = 0; i < RESOLVER_PENDING_MAX; i++) {
        const struct lookup *lookup = &resolver->lookups[i];
        const struct resolver_query *other = &lookup->answer.query;
        count += lookup->runs && other->ip_version == query->ip_version &&
                 memcmp(other->address, query->address, query->ip_version == 4 ? V4_BYTES : V6_BYTES) == 0;
    }
    return count >= NETWORK_MAX;
}

static void begin_lookup(struct resolver_client *client, const struct resolver_query *query)
{
    struct resolver *resolver = client->resolver;
    struct lookup *lookup = resolver->free;
    if (!lookup || has_its_share(resolver, query) || !open_channel(resolver)) {
        answer(client, &(struct resolver_answer){.query = *query});
        return;
    }
    resolver->free = lookup->next_free;
    lookup->runs = true;
    lookup->client = client;
    lookup->answer = (struct resolver_answer){.query = *query};
    ares_gethostbyaddr(resolver->channel, lookup->answer.query.address, address_bytes(query), family_of(query),
                       take_name, lookup);
}

static void take_asked(struct resolver *resolver)
{
    for (unsigned i = 0; i < resolver->clients_count; i++) {
        struct ring *asked = resolver->clients[i].asked;
        size_t len;
        for (const void *query; (query = ring_front(asked, &len)) != NULL; ring_pop(asked))
            begin_lookup(&resolver->clients[i], query);
    }
}

/* The sockets of the DNS into `fds`, and how long to wait for them at most. Returns how many. */
static unsigned sockets_of(struct resolver *resolver, struct pollfd *fds, int *wait_ms)
{
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    struct timeval room;
    unsigned count = 0;
    *wait_ms = -1;
    if (!resolver->has_channel)
        return 0;
    unsigned bits = (unsigned)ares_getsock(resolver->channel, sockets, ARES_GETSOCK_MAXNUM);
    for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
        bool reads = bits >> i & 1, writes = bits >> (i + ARES_GETSOCK_MAXNUM) & 1;
        short events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
        if (events)
            fds[count++] = (struct pollfd){.fd = sockets[i], .events = events};
    }
    const struct timeval *left = ares_timeout(resolver->channel, NULL, &room);
    if (left)
        *wait_ms = (int)(left->tv_sec * 1000 + left->tv_usec / 1000 + 1);
    return count;
}

static void process(struct resolver *resolver, const struct pollfd *fds, unsigned count)
{
    if (!resolver->has_channel)
        return;
    for (unsigned i = 0; i < count; i++) {
        bool reads = fds[i].revents & ~POLLOUT, writes = fds[i].revents & POLLOUT;
        if (reads || writes)
            ares_process_fd(resolver->channel, reads ? fds[i].fd : ARES_SOCKET_BAD,
                            writes ? fds[i].fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what took too long */
}

static void *run(void *argument)
{
    struct resolver *resolver = argument;
    while (!atomic_load(&resolver->stop)) {
        struct pollfd fds[1 + ARES_GETSOCK_MAXNUM] = {{.fd = resolver->wake, .events = POLLIN}};
        int wait_ms;
        unsigned count = sockets_of(resolver, fds + 1, &wait_ms);
        if (poll(fds, 1 + count, wait_ms) < 0)
            continue;
        if (fds[0].revents)
            clear_fd(resolver->wake);
        process(resolver, fds + 1, count);
        take_asked(resolver);
    }
    return NULL;
}

/* ---- what others call ---- */

static bool init_client(struct resolver *resolver, struct resolver_client *client)
{
    *client = (struct resolver_client){.resolver = resolver,
                                       .asked = ring_new(ASKED_BYTES),
                                       .answers = ring_new(ANSWERS_BYTES),
                                       .ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    return client->asked && client->answers && client->ready >= 0;
}

struct resolver *resolver_new(unsigned clients)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver)
        return NULL;
    resolver->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    resolver->clients = calloc(clients, sizeof *resolver->clients);
    bool good = resolver->clients && resolver->wake >= 0;
    for (unsigned i = 0; resolver->clients && i < clients; i++, resolver->clients_count++)
        good = init_client(resolver, &resolver->clients[i]) && good;
    for (unsigned i = 0; i < RESOLVER_PENDING_MAX; i++) {
        resolver->lookups[i].next_free = resolver->free;
        resolver->free = &resolver->lookups[i];
    }
    resolver->initialized = good && ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
    if (resolver->initialized)
        return resolver;
    resolver_free(resolver);
    return NULL;
}

bool resolver_start(struct resolver *resolver)
{
    resolver->started = pthread_create(&resolver->thread, NULL, run, resolver) == 0;
    return resolver->started;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver)
        return;
    if (resolver->started) {
        atomic_store(&resolver->stop, true);
        signal_fd(resolver->wake);
        pthread_join(resolver->thread, NULL);
    }
    if (resolver->has_channel)
        ares_destroy(resolver->channel);
    for (unsigned i = 0; i < resolver->clients_count; i++) {
        ring_free(resolver->clients[i].asked);
        ring_free(resolver->clients[i].answers);
        if (resolver->clients[i].ready >= 0)
            close(resolver->clients[i].ready);
    }
    if (resolver->initialized)
        ares_library_cleanup();
    if (resolver->wake >= 0)
        close(resolver->wake);
    free(resolver->clients);
    free(resolver);
}

struct resolver_client *resolver_client(struct resolver *resolver, unsigned number)
{
    return &resolver->clients[number];
}

bool resolver_ask(struct resolver_client *client, const struct resolver_query *query)
{
    struct resolver_query *asked = ring_reserve(client->asked, sizeof *asked);
    if (!asked)
        return false;
    *asked = *query;
    ring_commit(client->asked);
    signal_fd(client->resolver->wake);
    return true;
}

bool resolver_next(struct resolver_client *client, struct resolver_answer *to)
{
    size_t len;
    if (!ring_front(client->answers, &len))
        clear_fd(client->ready);
    const void *from = ring_front(client->answers, &len);
    if (!from)
        return false;
    memcpy(to, from, sizeof *to);
    ring_pop(client->answers);
    return true;
}

int resolver_fd(const struct resolver_client *client)
{
    return client->ready;
}
