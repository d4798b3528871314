#include "report/transaction.h"

#include "report/json.h"

static void set_answer(json_t *object, const struct answer *answer)
{
    enum { CODE_LEN = 3 };
    struct span text = span_tail(answer->text, answer->text.len > CODE_LEN ? CODE_LEN + 1 : answer->text.len);
    json_object_set_new(object, "code", json_integer(answer->code));
    json_object_set_new(object, "text", json_text(text));
    if (answer->code >= 400)
        json_object_set_new(object, "refused_by", json_string(answer->by_filter ? "filter" : "server"));
    if (!answer->by_filter)
        return;
    json_object_set_new(object, "rule", json_text(span_of(answer->rule)));
    json_object_set_new(object, "server_code", json_integer(answer->server_code));
}

void transaction_begin(struct transaction *transaction, struct account *account, json_t *mail_from, int64_t began_us)
{
    *transaction = (struct transaction){.open = true, .began_us = began_us};
    size_t bytes = json_memory(mail_from);
    if (mail_from && account_take(account, bytes)) {
        transaction->bytes = bytes;
        transaction->mail_from = json_incref(mail_from);
    }
}

void transaction_recipient(struct transaction *transaction, struct account *account, json_t *address,
                           const struct answer *answer)
{
    if (!address) {
        transaction->recipients.omitted++;
        return;
    }
    json_t *recipient = json_object();
    json_object_set(recipient, "address", address);
    set_answer(recipient, answer);
    list_add(&transaction->recipients, account, TRANSACTION_RECIPIENTS_MAX, recipient);
}

void transaction_answer(struct transaction *transaction, const struct answer *answer)
{
    json_decref(transaction->last);
    transaction->last = json_object();
    transaction->filter_refused = answer->by_filter && answer->code >= 400;
    set_answer(transaction->last, answer);
}

static bool is_success(json_int_t code)
{
    return code / 100 == 2;
}

void transaction_delivered(struct transaction *transaction, const struct answer *answer)
{
    transaction->any_delivered = transaction->any_delivered || is_success(answer->code);
    json_t *recipient;
    while ((recipient = json_array_get(transaction->recipients.entries, transaction->next_delivered))) {
        transaction->next_delivered++;
        if (!is_success(json_integer_value(json_object_get(recipient, "code"))))
            continue;
        json_object_set_new(recipient, "message_code", json_integer(answer->code));
        return;
    }
}

void transaction_write(const struct transaction *transaction, json_t *smtp, json_t *postern)
{
    size_t i;
    json_t *recipient, *rcpt_to = json_array();
    json_array_foreach(transaction->recipients.entries, i, recipient)
        json_array_append(rcpt_to, json_object_get(recipient, "address"));
    if (transaction->mail_from)
        json_object_set(smtp, "mail_from", transaction->mail_from);
    json_object_set_new(smtp, "rcpt_to", rcpt_to);
    list_write(&transaction->recipients, postern, "recipients", "recipients_omitted");
    json_object_set_new(postern, "method", transaction->method ? json_string(transaction->method) : json_null());
    json_object_set_new(postern, "octets", json_integer((json_int_t)transaction->octets));
    if (transaction->last)
        json_object_update(postern, transaction->last);
    list_write(&transaction->changes, postern, "changes", "changes_omitted");
}

void transaction_clear(struct transaction *transaction, struct account *account)
{
    account_give(account, transaction->bytes);
    json_decref(transaction->mail_from);
    json_decref(transaction->last);
    list_clear(&transaction->recipients, account);
    list_clear(&transaction->changes, account);
    *transaction = (struct transaction){0};
}
