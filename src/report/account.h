/*
 * report/account - how much memory reports may take, all connections together.
 *
 * Who keeps something takes its octets from the account first, and gives them back when it is gone. What finds the
 * account empty is not kept but counted.
 */
#ifndef POSTERN_REPORT_ACCOUNT_H
#define POSTERN_REPORT_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>

struct account {
    size_t left; /* octets */
};

/* False, and nothing is taken, where so much is not left. */
static inline bool account_take(struct account *account, size_t octets)
{
    if (octets > account->left)
        return false;
    account->left -= octets;
    return true;
}

static inline void account_give(struct account *account, size_t octets)
{
    account->left += octets;
}

#endif
