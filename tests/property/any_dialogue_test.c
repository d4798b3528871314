/*
 * Dialogues that nobody would hold: turns drawn at random from pieces of commands, messages and replies, which fit
 * together or do not. Nothing in them is to be changed, so each side reads what the other said, and what is told of
 * them is the same whatever the cuts. (STARTTLS is not among them: with octets behind it in one segment it is told
 * itself, else they are.)
 */
#include "../lib/dialogue.h"

#include <stdio.h>
#include <stdlib.h>

/* Under sanitizers a seed takes ten times as long, and all have run without. */
#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 25 };
#else
enum { SEEDS = 250 };
#endif

enum { PIECES_A_TURN = 3, TURN_BYTES_MAX = 1024 };

/* What a client says, and what a server might say to it. */
static const struct {
    struct span text, fit;
} of_client[] = {
    {TEXT("EHLO x\r\n"), TEXT("250-host\r\n250-SIZE\r\n250 HELP\r\n")},
    {TEXT("HELO x\r\n"), TEXT("250 host\r\n")},
    {TEXT("LHLO x\r\n"), TEXT("250 host\r\n")},
    {TEXT("MAIL FROM:<a@b>\r\n"), TEXT("250 ok\r\n")},
    {TEXT("RCPT TO:<c@d>\r\n"), TEXT("250 ok\r\n")},
    {TEXT("DATA\r\n"), TEXT("354 go\r\n")},
    {TEXT("BDAT 5\r\n"), TEXT("250 ok\r\n")},
    {TEXT("BDAT 3 LAST\r\n"), TEXT("250 ok\r\n")},
    {TEXT("BDAT 0\r\n"), TEXT("250 ok\r\n")},
    {TEXT("BDAT 5 X\r\n"), TEXT("501 no\r\n")},
    {TEXT("RSET\r\n"), TEXT("250 ok\r\n")},
    {TEXT("AUTH LOGIN\r\n"), TEXT("334 \r\n")},
    {TEXT("X-EXPS NTLM\r\n"), TEXT("334 \r\n")},
    {TEXT("TURN\r\n"), TEXT("502 no\r\n")},
    {TEXT("QUIT\n"), TEXT("221 bye\r\n")},
    {TEXT("PROXY x\r\n"), TEXT("500 no\r\n")},
    {TEXT("*\r\n"), TEXT("501 no\r\n")},
    {TEXT(".\r\n"), TEXT("250 ok\r\n")},
    {TEXT("\r\n.\r\n"), TEXT("250 ok\r\n")},
    {TEXT("\r\n"), TEXT("500 no\r\n")},
    {TEXT("XEX"), {0}},
    {TEXT("x-l"), {0}},
    {TEXT("NOOP"), {0}},
    {TEXT("\r"), {0}},
    {TEXT("\n"), {0}},
    {TEXT(" "), {0}},
    {TEXT("."), {0}},
    {TEXT("\n.\n"), {0}},
    {TEXT("\0"), {0}},
    {TEXT("\xff"), {0}},
    {TEXT("text of a message\r\n"), {0}},
};

static const struct span of_server[] = {
    TEXT("220 hi\r\n"),
    TEXT("250 ok\r\n"),
    TEXT("250-host\r\n250-SIZE\r\n250 HELP\r\n"),
    TEXT("250-"),
    TEXT("250"),
    TEXT("250-XEX\r\n"),
    TEXT("354 go\r\n"),
    TEXT("334 \r\n"),
    TEXT("235 yes\r\n"),
    TEXT("221 bye\r\n"),
    TEXT("421 gone\r\n"),
    TEXT("450 no\r\n"),
    TEXT("500 no\n"),
    TEXT("503-no\r\n503 no\r\n"),
    TEXT("3"),
    TEXT("\r\n"),
    TEXT("no code\r\n"),
};

/* Pieces of the client that were said and not answered, oldest first. */
struct unanswered {
    uint32_t pieces[DIALOGUE_TURNS_MAX * PIECES_A_TURN], count, next;
};

static struct span draw_client(struct random_source *random, struct unanswered *unanswered)
{
    uint32_t piece = random_below(random, sizeof of_client / sizeof of_client[0]);
    if (of_client[piece].fit.len)
        unanswered->pieces[unanswered->count++] = piece;
    return of_client[piece].text;
}

static struct span draw_server(struct random_source *random, struct unanswered *unanswered)
{
    if (unanswered->next < unanswered->count && random_below(random, 8))
        return of_client[unanswered->pieces[unanswered->next++]].fit;
    return of_server[random_below(random, sizeof of_server / sizeof of_server[0])];
}

static void draw(struct dialogue *dialogue, uint8_t *octets, uint64_t seed)
{
    struct random_source random = {seed};
    struct unanswered unanswered = {0};
    uint32_t turns = 2 + random_below(&random, DIALOGUE_TURNS_MAX - 2);
    dialogue->turns[0] = (struct dialogue_turn)S("220 hi\r\n");
    for (uint32_t i = 1; i < turns; i++) {
        bool server = random_below(&random, 2) && unanswered.next < unanswered.count;
        size_t len = 0;
        for (uint32_t pieces = 1 + random_below(&random, PIECES_A_TURN); pieces > 0; pieces--) {
            struct span piece = server ? draw_server(&random, &unanswered) : draw_client(&random, &unanswered);
            memcpy(octets + len, piece.ptr, piece.len);
            len += piece.len;
        }
        dialogue->turns[i] = (struct dialogue_turn){server ? SMTP_SERVER : SMTP_CLIENT, {octets, len}};
        octets += len;
    }
}

static struct policy observer;

static void test_any_dialogue(void **state)
{
    enum engine_peers peers = *(const enum engine_peers *)*state;
    static uint8_t octets[DIALOGUE_TURNS_MAX * TURN_BYTES_MAX];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char label[40];
        struct dialogue dialogue = {.label = label, .policy = &observer};
        (void)snprintf(label, sizeof label, "dialogue %llu", (unsigned long long)seed);
        draw(&dialogue, octets, seed);
        dialogue_check(&dialogue, peers);
    }
}

int main(void)
{
    static enum engine_peers live = ENGINE_PEERS_LIVE, recorded = ENGINE_PEERS_RECORDED;
    const struct CMUnitTest tests[] = {
        {"any dialogue, live peers", test_any_dialogue, NULL, NULL, &live},
        {"any dialogue, recorded peers", test_any_dialogue, NULL, NULL, &recorded},
    };
    policy_init_observer(&observer);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("any dialogue", tests, NULL, NULL);
}
