#!/usr/bin/env python3
"""
authentication - sessions in which a password is said in every way that clients and servers have, for tests that look for it.

    authentication.py capture FILE            the sessions, as a capture
    authentication.py serve ADDRESS           the server of each, one after the other; says "ready"
    authentication.py talk ADDRESS            its client
    authentication.py find FILE...            prints where the password stands in the files; fails where it does
    authentication.py store FILE              a redis server that repeats what it was sent; its port into FILE

The password is SECRET, in clear and as base64, alone and behind a name. A turn of a session is who speaks and the octets.
"""
import base64
import os
import socket
import struct
import sys

SECRET = 'Tr0ub4dor-and-3'
USER = 'battery-staple'


def b64(text):
    return base64.b64encode(text.encode()).decode()


PLAIN = b64('\0' + USER + '\0' + SECRET)
# What nobody may read. Of base64 the end too: what stands before it may shift it.
NEEDLES = [SECRET, PLAIN, PLAIN[-12:], b64(SECRET), b64(USER + ' ' + SECRET), SECRET[:8], b64(SECRET)[:12]]

GREETED = [('S', '220 mail.example.com ESMTP'), ('C', 'EHLO client.example.net'),
           ('S', '250-mail.example.com\r\n250-AUTH PLAIN LOGIN\r\n250 X-EXPS GSSAPI')]
BYE = [('C', 'QUIT'), ('S', '221 2.0.0 bye')]

SESSIONS = [
    # The initial response, taken; and again with odd blanks, refused with an echo.
    [('C', 'AUTH PLAIN ' + PLAIN), ('S', '235 2.7.0 welcome ' + b64(SECRET))],
    [('C', ' auth \t plain   ' + PLAIN), ('S', '535 5.7.8 not with ' + PLAIN), ('C', 'NOOP'), ('S', '250 2.0.0 fine')],
    [('C', 'X-EXPS GSSAPI ' + PLAIN), ('S', '500 5.3.3 Unrecognized command "X-EXPS GSSAPI ' + PLAIN + '"')],
    # Asked for, line by line.
    [('C', 'AUTH LOGIN'), ('S', '334 ' + b64('Username:')), ('C', b64(USER)), ('S', '334 ' + b64('Password:')),
     ('C', b64(SECRET)), ('S', '535 5.7.8 failed: ' + b64(SECRET))],
    [('C', 'X-EXPS LOGIN'), ('S', '334 go'), ('C', b64(USER)), ('S', '334 go'), ('C', SECRET), ('S', '235 2.7.0 ' + SECRET)],
    [('C', 'AUTH CRAM-MD5'), ('S', '334 PDE+'), ('C', b64(USER + ' ' + SECRET)), ('S', '235 2.7.0 in')],
    # Not asked for: the server refuses AUTH, the client goes on.
    [('C', 'AUTH LOGIN'), ('S', '504 5.7.4 no such mechanism'), ('C', b64(USER)), ('S', '500 5.5.2 ' + b64(USER) + '?'),
     ('C', b64(SECRET)), ('S', '500-5.5.2 Command unrecognized:\r\n500 5.5.2 "' + b64(SECRET) + '"'), ('C', SECRET),
     ('S', '500 ' + SECRET)],
    # No mechanism, or what is none.
    [('C', 'AUTH ' + SECRET), ('S', '504 5.5.4 no ' + SECRET)],
    [('C', 'AUTH=PLAIN ' + PLAIN), ('S', '500 5.5.1 unknown: AUTH=PLAIN ' + PLAIN)],
    [('C', 'a1 AUTHENTICATE PLAIN ' + PLAIN), ('S', '500 5.5.1 what is ' + PLAIN)],
    # A line that is longer than is kept.
    [('C', 'AUTH PLAIN ' + PLAIN + 'A' * 1500), ('S', '500 5.5.2 too long')],
    # Mail of a sender who has authenticated is told as ever.
    [('C', 'AUTH PLAIN ' + PLAIN), ('S', '235 2.7.0 in'), ('C', 'MAIL FROM:<a@example.net>'), ('S', '250 2.1.0 ok'),
     ('C', 'RCPT TO:<b@example.com>'), ('S', '250 2.1.5 ok'), ('C', 'DATA'), ('S', '354 go'), ('C', 'Subject: x\r\n\r\nx\r\n.'),
     ('S', '250 2.0.0 taken')],
]
SESSIONS = [GREETED + session + BYE for session in SESSIONS]

# All at once, which has two readings. Not live: the filter lets the answers wait for the 334, so a server that waits for them waits long.
AT_ONCE = GREETED + [
    ('C', 'AUTH LOGIN\r\n' + b64(USER) + '\r\n' + b64(SECRET)), ('S', '334 go'), ('S', '334 go'), ('S', '235 2.7.0 in'),
] + BYE


def octets(turn):
    return (turn[1] + '\r\n').encode('latin-1')


# ---- a capture -----------------------------------------------------------------------------------

SYN, ACK, FIN = 2, 16, 1


def packets(number, session):
    ends = {'C': (bytes([10, 1, 1, 2]), 40000 + number), 'S': (bytes([10, 2, 2, 25]), 25)}
    at = {'C': 1000, 'S': 5000}

    def packet(side, flags, payload=b''):
        other = 'S' if side == 'C' else 'C'
        tcp = struct.pack('>HHIIBBHHH', ends[side][1], ends[other][1], at[side], at[other] if flags & ACK else 0, 5 << 4,
                          flags, 65535, 0, 0) + payload
        at[side] += len(payload) + (1 if flags & (SYN | FIN) else 0)
        return struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, ends[side][0], ends[other][0]) + tcp

    yield packet('C', SYN)
    yield packet('S', SYN | ACK)
    yield packet('C', ACK)
    for turn in session:
        yield packet(turn[0], ACK, octets(turn))
        yield packet('S' if turn[0] == 'C' else 'C', ACK)
    yield packet('S', FIN | ACK)
    yield packet('C', FIN | ACK)
    yield packet('S', ACK)


def write_capture(path):
    with open(path, 'wb') as out:
        out.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        count = 0
        for number, session in enumerate(SESSIONS + [AT_ONCE]):
            for packet in packets(number, session):
                out.write(struct.pack('<IIII', 1700000000, count, len(packet), len(packet)) + packet)
                count += 1


# ---- both ends -----------------------------------------------------------------------------------

def play(link, side, session):
    """One side of a session: send its own turns, and wait for as many octets as the other one sends."""
    link.settimeout(10)
    for turn in session:
        if turn[0] == side:
            link.sendall(octets(turn))
            continue
        left = len(octets(turn))
        while left:
            got = link.recv(left)
            if not got:
                raise OSError('the connection ended before %r' % (turn,))
            left -= len(got)


def serve(address):
    with socket.create_server((address, 25)) as listener:
        print('ready', flush=True)
        for session in SESSIONS:
            link, _ = listener.accept()
            with link:
                play(link, 'S', session)


def talk(address):
    for session in SESSIONS:
        with socket.create_connection((address, 25), timeout=10) as link:
            play(link, 'C', session)


def find(paths):
    found = False
    for path in paths:
        with open(path, 'rb') as one:
            text = one.read()
        if not text:
            continue
        for needle in NEEDLES:
            at = text.find(needle.encode())
            if at >= 0:
                found = True
                print('%s: ...%r' % (path, text[max(0, at - 60):at + 40]))
    return 1 if found else 0


def store(path):
    """A server that does not know AUTH, and says so in redis' own words."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        with open(path + '.new', 'w', encoding='ascii') as out:
            out.write('%d' % listener.getsockname()[1])
        os.rename(path + '.new', path)
        while True:
            link, _ = listener.accept()
            with link:
                words = link.recv(4096).decode('latin-1').split('\r\n')[2::2]
                told = ' '.join("'%s'" % word for word in words[1:])
                link.sendall(("-ERR unknown command '%s', with args beginning with: %s\r\n" % (words[0] if words else '', told)).encode())


def main(what, *arguments):
    works = {'capture': lambda path: write_capture(path), 'serve': serve, 'talk': talk, 'store': store,
             'find': lambda *paths: find(paths)}
    return works[what](*arguments)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
