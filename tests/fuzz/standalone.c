/*
 * Run a target without libFuzzer: seeds as they are, then changed at random for some seconds, the same way each time.
 *
 *   TARGET SECONDS SEED_FILE...      prints TAP
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/random.h"
#include "fuzz.h"

enum { INPUT_BYTES_MAX = 60000, SEEDS_MAX = 200 };

struct seed {
    uint8_t *octets;
    size_t len;
};

static struct seed read_seed(const char *path)
{
    struct seed seed = {malloc(INPUT_BYTES_MAX), 0};
    FILE *file = fopen(path, "rb");
    if (file) {
        seed.len = fread(seed.octets, 1, INPUT_BYTES_MAX, file);
        fclose(file);
    }
    return seed;
}

static size_t mutate(struct random_source *random, uint8_t *octets, size_t len)
{
    uint32_t changes = 1 + random_below(random, 8);
    for (uint32_t i = 0; i < changes && len > 0; i++) {
        size_t at = random_below(random, (uint32_t)len);
        size_t count = 1 + random_below(random, 16);
        switch (random_below(random, 4)) {
        case 0:
            octets[at] = (uint8_t)random_next(random);
            break;
        case 1:
            octets[at] ^= (uint8_t)(1u << random_below(random, 8));
            break;
        case 2: /* take some out */
            count = count < len - at ? count : len - at;
            memmove(octets + at, octets + at + count, len - at - count);
            len -= count;
            break;
        default: /* repeat some */
            count = count < INPUT_BYTES_MAX - len ? count : 0;
            memmove(octets + at + count, octets + at, len - at);
            len += count;
            break;
        }
    }
    return len;
}

int main(int argc, char **argv)
{
    static struct seed seeds[SEEDS_MAX];
    static uint8_t input[INPUT_BYTES_MAX];
    struct random_source random = {1};
    int seed_count = 0;
    if (argc < 3)
        return 2;
    for (int i = 2; i < argc && seed_count < SEEDS_MAX; i++)
        seeds[seed_count++] = read_seed(argv[i]);
    for (int i = 0; i < seed_count; i++)
        LLVMFuzzerTestOneInput(seeds[i].octets, seeds[i].len);
    time_t end = time(NULL) + atoi(argv[1]);
    unsigned long runs = 0;
    for (; time(NULL) < end; runs++) {
        const struct seed *seed = &seeds[random_below(&random, (uint32_t)seed_count)];
        memcpy(input, seed->octets, seed->len);
        size_t len = mutate(&random, input, seed->len);
        uint8_t *exact = malloc(len ? len : 1);
        memcpy(exact, input, len);
        LLVMFuzzerTestOneInput(exact, len);
        free(exact);
    }
    printf("1..1\nok 1 - %s: %d seeds and %lu inputs made of them\n", argv[0], seed_count, runs);
    for (int i = 0; i < seed_count; i++)
        free(seeds[i].octets);
    return 0;
}
