/*
 * smtp/change - what leaves in place of a unit, in octets.
 *
 * In:     a unit and the decision about it.
 * Out:    struct smtp_change. Never a malformed line, never longer than struct smtp_room allows.
 * Source: RFC 5321 4.2 (replies), 4.1.1.1 (ehlo-keyword), 4.1.1.9 (NOOP may have an argument).
 */
#ifndef POSTERN_SMTP_CHANGE_H
#define POSTERN_SMTP_CHANGE_H

#include "smtp/session.h"

/* What the server sees in place of a command, at the same length (law 3). */
enum smtp_cover {
    SMTP_COVER_NONE,
    SMTP_COVER_NOOP, /* for what ends a group; a server that synchronises hangs up on it inside one (case 32) */
    SMTP_COVER_RSET, /* allowed inside a group (RFC 2920 3.1), and what the server held is gone */
    SMTP_COVER_QUIT,
    SMTP_COVER_PATH, /* RCPT's address becomes one that breaks the syntax: no server takes it, even one that relays */
    SMTP_COVER_COMMENT, /* the same, without a domain and in a form that Exim does not count as an error */
    SMTP_COVER_LAST,    /* BDAT loses its LAST (RFC 3030 2) */
};

/*
 * Cover a command line, or a part of it that must leave. Verbs: the word and blanks; where the line's beginning has
 * left as it came, the rest of the verb becomes hyphens, which makes it one that no server knows. `continued`: an
 * earlier part of this line was covered.
 */
void smtp_change_cover(struct smtp_change *change, const struct smtp_unit *unit, enum smtp_cover cover, bool continued);

/*
 * Take an EHLO line out. The last line cannot go, unless one before it was made the last (`cut`), since those with
 * their hyphens have left: it becomes `250 OK`. Where part of the line has left, the length must stay, or there is not
 * so much to spare, the rest of its keyword becomes hyphens, which makes it one that no client knows.
 */
void smtp_change_strip(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room, bool cut);

/*
 * Make a reply line the last of its reply: the hyphen behind its code becomes a blank. False, and the line stays as it
 * is, where the hyphen has left or what follows, all of it in unit->rest, could not be taken out.
 */
bool smtp_change_make_last(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room);

/*
 * Put `refusal` in place of a reply: all its lines but the last vanish. Where the length must stay, or there is not so
 * much to spare, each line from there on is replaced at its length. `*sent` counts the octets of our code that left
 * with earlier fragments, or is SMTP_REPLACED_IN_PLACE; set to 0 at the end of the reply. Of a fragment that ends
 * within the server's code nothing leaves, as long as lengths may change: it may yet be a 421, which must not become
 * ours.
 * False where there is no room for the refusal so many times.
 */
bool smtp_change_replace(struct smtp_change *change, const struct smtp_unit *unit, const struct smtp_refusals *refusals,
                         uint8_t refusal, uint16_t times, struct smtp_room room, uint8_t *sent);

/* Put a line's beginning, which was kept back, before the unit. */
void smtp_change_restore(struct smtp_change *change, const struct smtp_unit *unit);

/*
 * Take the product and its version out of a greeting line: its first word stays (RFC 5321 4.2: the name of the host),
 * and ESMTP where it was said. Never blanks or asterisks alone: clients take those for a server without ESMTP.
 */
void smtp_change_mask(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room);

/* Leave these octets in place of the unit, which has as many. */
void smtp_change_to(struct smtp_change *change, struct span octets);

/* Take the unit out, where its length may change at all. */
void smtp_change_remove(struct smtp_change *change, struct smtp_room room);

#endif
