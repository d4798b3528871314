#include "conf/units.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <time.h>

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

/* Behind the seconds: a fraction of one, of which microseconds count. */
static int64_t fraction_us(const char **text)
{
    int64_t us = 0, worth = 100000;
    if (**text != '.' || (*text)[1] < '0' || (*text)[1] > '9')
        return 0;
    for (++*text; **text >= '0' && **text <= '9'; ++*text, worth /= 10)
        us += (**text - '0') * worth;
    return us;
}

static bool two_digits(const char *text, int *number)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *number = 10 * (text[0] - '0') + text[1] - '0';
    return true;
}

/* Z, +01:00, -0330, or nothing, which is as Z. False where it is something else. */
static bool offset_s(const char *text, int64_t *seconds)
{
    int hours, minutes;
    *seconds = 0;
    if (*text == '\0' || strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if ((*text != '+' && *text != '-') || !two_digits(text + 1, &hours))
        return false;
    const char *behind = text + 3 + (text[3] == ':');
    if (!two_digits(behind, &minutes) || behind[2] || hours > 23 || minutes > 59)
        return false;
    *seconds = (*text == '-' ? -60 : 60) * (60 * hours + minutes);
    return true;
}

/* UTC, as far as the seconds. Returns what is behind them, NULL where it is no time. */
static const char *date_s(const char *text, int64_t *seconds)
{
    struct tm parts = {0};
    text = strptime(text, "%Y-%m-%d", &parts);
    if (!text || (*text != 'T' && *text != 't' && *text != ' '))
        return NULL;
    text = strptime(text + 1, "%H:%M:%S", &parts);
    int day = parts.tm_mday;
    *seconds = timegm(&parts);
    return parts.tm_mday == day ? text : NULL; /* 31 June becomes another day */
}

bool units_time(const char *text, int64_t *us, const char **wrong)
{
    const int64_t most_s = INT64_C(253402300799); /* the end of the year 9999 */
    uint64_t number;
    int64_t seconds = -1, ahead_s;
    *wrong = "write a time like 2026-11-21T12:00:00Z, or @ and seconds since 1970";
    *us = 0;
    if (*text == '@') {
        if (digits(text + 1, &number, &text) && !*text && number <= (uint64_t)most_s)
            seconds = (int64_t)number;
    } else {
        text = date_s(text, &seconds);
        *us = text ? fraction_us(&text) : 0;
        seconds = text && offset_s(text, &ahead_s) ? seconds - ahead_s : -1;
    }
    *us += seconds * 1000000;
    return seconds >= 0 && seconds <= most_s;
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
