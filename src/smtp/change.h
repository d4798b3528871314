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

/*
 * Cover a command, same length: `NOOP` and blanks. Where its beginning has left already, the rest of the verb becomes
 * hyphens, which makes it one that no server knows. `continued`: an earlier part was covered, so only blanks remain.
 */
void smtp_change_cover(struct smtp_change *change, const struct smtp_unit *unit, bool continued);

/*
 * Take an EHLO line out. The last line cannot go, unless one before it was made the last (`cut`), since those with
 * their hyphens have left: it becomes `250 OK`. Where part of the line has left, or the length must stay, the rest of
 * its keyword becomes hyphens, which makes it one that no client knows.
 */
void smtp_change_strip(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room, bool cut);

/*
 * Make a reply line the last of its reply: the hyphen behind its code becomes a blank. False, and the line stays as it
 * is, where the hyphen has left or what follows could not be taken out.
 */
bool smtp_change_make_last(struct smtp_change *change, const struct smtp_unit *unit, struct smtp_room room);

/*
 * Put a refusal in place of a reply: all its lines but the last vanish. `*sent` counts the octets of our code that left
 * with earlier fragments; set to 0 at the end of the reply.
 */
void smtp_change_replace(struct smtp_change *change, const struct smtp_unit *unit, enum smtp_refusal refusal,
                         struct smtp_room room, uint8_t *sent);

#endif
