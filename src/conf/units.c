#include "conf/units.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Digits, and what is behind them. False where there are none, or too many. */
static bool digits(const char *text, uint64_t *number, const char **behind)
{
    *number = 0;
    *behind = text;
    for (; **behind >= '0' && **behind <= '9'; ++*behind) {
        uint64_t digit = (uint64_t)(**behind - '0');
        if (*number > (UINT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return *behind > text;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static bool scaled(const char *text, const struct unit *units, size_t count, uint64_t *value)
{
    const char *name;
    if (!digits(text, value, &name))
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, units[i].name) == 0 && *value <= UINT64_MAX / units[i].factor) {
            *value *= units[i].factor;
            return true;
        }
    return false;
}

bool units_duration(const char *text, uint64_t *ms, const char **wrong)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
    };
    *wrong = "write a number and a unit: ms, s, m, h, d or w, for example 30s";
    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return true;
    }
    return scaled(text, units, sizeof units / sizeof units[0], ms);
}

bool units_size(const char *text, uint64_t *octets, const char **wrong)
{
    static const struct unit units[] = {{"", 1}, {"k", 1u << 10}, {"K", 1u << 10}, {"M", 1u << 20}, {"G", 1u << 30}};
    *wrong = "write a number of octets, or one with k, M or G, for example 64k";
    return scaled(text, units, sizeof units / sizeof units[0], octets);
}

bool units_number(const char *text, uint64_t *number, const char **wrong)
{
    const char *behind;
    *wrong = "write a number without sign and unit";
    return digits(text, number, &behind) && *behind == '\0';
}

bool units_choice(const char *text, bool *yes, const char **wrong)
{
    static const char *const words[] = {"yes", "on", "true", "no", "off", "false"};
    *wrong = "write yes or no";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *yes = i < 3;
            return true;
        }
    return false;
}
