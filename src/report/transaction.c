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

/* Whether something can be kept until the transaction is cleared. */
static bool take(struct transaction *transaction, struct account *account, json_t *value)
{
    size_t bytes = json_memory(value);
    if (!account_take(account, bytes))
        return false;
    transaction->bytes += bytes;
    return true;
}

void transaction_begin(struct transaction *transaction, struct account *account, json_t *mail_from, int64_t began_us)
{
    *transaction =
        (struct transaction){.open = true, .began_us = began_us, .rcpt_to = json_array(), .recipients = json_array()};
    if (mail_from && take(transaction, account, mail_from))
        transaction->mail_from = json_incref(mail_from);
}

void transaction_recipient(struct transaction *transaction, struct account *account, json_t *address,
                           const struct answer *answer)
{
    transaction->recipient_count++;
    if (!address || transaction->listed == TRANSACTION_RECIPIENTS_MAX)
        return;
    json_t *recipient = json_object();
    json_object_set(recipient, "address", address);
    set_answer(recipient, answer);
    if (take(transaction, account, recipient)) {
        transaction->listed++;
        json_array_append(transaction->rcpt_to, address);
        json_array_append(transaction->recipients, recipient);
    }
    json_decref(recipient);
}

void transaction_answer(struct transaction *transaction, const struct answer *answer)
{
    json_decref(transaction->last);
    transaction->last = json_object();
    set_answer(transaction->last, answer);
}

static bool is_success(json_int_t code)
{
    return code / 100 == 2;
}

void transaction_delivered(struct transaction *transaction, const struct answer *answer)
{
    transaction->any_delivered = transaction->any_delivered || is_success(answer->code);
    while (transaction->next_delivered < transaction->listed) {
        json_t *recipient = json_array_get(transaction->recipients, transaction->next_delivered++);
        if (!is_success(json_integer_value(json_object_get(recipient, "code"))))
            continue;
        json_object_set_new(recipient, "message_code", json_integer(answer->code));
        return;
    }
}

void transaction_write(const struct transaction *transaction, json_t *smtp, json_t *postern)
{
    if (transaction->mail_from)
        json_object_set(smtp, "mail_from", transaction->mail_from);
    json_object_set(smtp, "rcpt_to", transaction->rcpt_to);
    json_object_set(postern, "recipients", transaction->recipients);
    json_object_set_new(postern, "recipient_count", json_integer(transaction->recipient_count));
    if (transaction->recipient_count > transaction->listed)
        json_object_set_new(postern, "recipients_omitted",
                            json_integer(transaction->recipient_count - transaction->listed));
    if (transaction->method)
        json_object_set_new(postern, "method", json_string(transaction->method));
    json_object_set_new(postern, "octets", json_integer((json_int_t)transaction->octets));
    if (transaction->last)
        json_object_update(postern, transaction->last);
    changes_write(&transaction->changes, postern);
}

void transaction_clear(struct transaction *transaction, struct account *account)
{
    account_give(account, transaction->bytes);
    json_decref(transaction->mail_from);
    json_decref(transaction->rcpt_to);
    json_decref(transaction->recipients);
    json_decref(transaction->last);
    changes_clear(&transaction->changes, account);
    *transaction = (struct transaction){0};
}
