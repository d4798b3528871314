#include "tcp/checksum.h"

#include <string.h>

uint64_t checksum_add(uint64_t sum, const uint8_t *octets, size_t len)
{
    /* 32-bit words into a 64-bit sum: no carry is lost below 2^32 words, and the compiler makes vectors of it. */
    while (len >= 32) {
        uint32_t words[8];
        memcpy(words, octets, sizeof words);
        for (size_t i = 0; i < 8; i++)
            sum += words[i];
        octets += 32;
        len -= 32;
    }
    while (len >= 2) {
        uint16_t word;
        memcpy(&word, octets, sizeof word);
        sum += word;
        octets += 2;
        len -= 2;
    }
    if (len) {
        uint16_t word = 0;
        memcpy(&word, octets, 1);
        sum += word;
    }
    return sum;
}

uint16_t checksum_finish(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint16_t checksum_adjust16(uint16_t checksum, uint16_t from, uint16_t to)
{
    uint32_t sum = (uint32_t)(uint16_t)~checksum + (uint16_t)~from + to;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}
