"""
spelled - ways to write one recipient: for each part of `RCPT TO:<local@domain>` what the grammar allows in its place, what servers
take there though it does not, and mutations of all that. The same seed gives the same ways.

A way is its kind, in words, and octets that a client says; the last line of them is the command. Most are one line.
Source: RFC 5321 4.1.1, 4.1.2, appendix C; RFC 5322 3.2, 3.4, 4.4; RFC 1123 5.2.16; RFC 6531; what four servers were seen to take.
"""
import random

LOCAL, DOMAIN, HOST, OTHER = b'spoil1', b'example.net', b'mail.example.net', b'good1@example.net'

VERBS = [b'rcpt', b'Rcpt', b' RCPT', b'\tRCPT', b'\vRCPT', b'\fRCPT', b'\rRCPT', b'\0RCPT', b'RC\0PT', b'RCPT\0', b'\x7fRCPT',
         b'\x80RCPT', b'\xef\xbb\xbfRCPT', b'\xff\xfd\x06RCPT', b'RCPT\x08T', b'RCP', b'RCPTX', b'\n RCPT', b'X\rRCPT']
BETWEEN = [b'  ', b'\t', b' \t', b'\v', b'\f', b'\r', b'\0', b' ' * 400, b'', b'\xa0']
TO = [b'to:', b'To:', b'tO:', b'TO :', b'TO\t:', b'TO', b'TO::', b'TO=', b'T\0O:', b'"TO":', b'FROM:', b'(c)TO:']
BEFORE = [b' ', b'  ', b'\t', b'\v', b'\f', b'\r', b'\0', b'\x01', b'\x7f', b'\xa0', b'(c)', b'((c))', b'(a<b)', b'(\\))', b'a b ', b'a.b ',
          b'"a<b" ', b'"a" ', b'"a\\"<b>" ', b'"good1@example.net" ', b'good1 ', b'good1@example.net ', b'postmaster ', b'=?utf-8?q?a?= ',
          b'<', b'<>', b'<good1@example.net>', b'<good1@example.net> ', b'<good1@example.net>,', b'good1@example.net,', b' ' * 2040,
          b'(' + b'c' * 1000 + b')', b':', b';', b',', b'x:', b'SMTP:', b'mailto:', b'PT TO:', b'x@example.net TO:',
          b'x y:', b'x y=', b'x=', b'good1@example.net y=', b'good1@example.net ORCPT=rfc822;']
ROUTES = [b'@a.test:', b'@a.test,@b.test:', b'@a.test:@b.test:', b'@a.test: ', b'@a.test,:', b' @a.test:', b'@[10.1.1.1]:', b'@a.test:(c)',
          b'@example.net:', b'@:', b'@a.test :', b'(' + b'c' * 990 + b')', b'(' + b'c' * 992 + b')']
LOCALS = [b'SPOIL1', b'Spoil1', b'"spoil1"', b'"SPOIL1"', b'spo\\il1', b'\\spoil1', b'\\s\\p\\o\\i\\l\\1', b'"spo\\il1"', b'spo"il"1', b'spoil1""',
          b'""spoil1', b'"spoil"1', b'"s"p"o"i"l"1"', b'spoil1(c)', b'(c)spoil1', b'spo(c)il1', b' spoil1', b'spoil1 ', b'\tspoil1',
          b'spoil1\t', b'\rspoil1', b'spoil1\r', b'\vspoil1', b'spoil1\v', b'\fspoil1', b'spoil1\f', b'\0spoil1', b'spoil1\0', b'spo\0il1',
          b'spoil1\x7f', b'\x01spoil1', b'spo\x08il1', b'spoil1.', b'.spoil1', b'spoil1\\', b'"spoil1" ', b' "spoil1"', b'"spoil1\\"',
          b'"spoil1', b'=?utf-8?q?spoil1?=', b'=?utf-8?b?c3BvaWwx?=', b'=?us-ascii?q?spoil=31?=', b'mailto:spoil1', b'smtp:spoil1',
          b'x:spoil1', b'|spoil1', b'/spoil1', b'\xef\xbd\x93poil1', b'\xc5\xbfpoil1', b'spoil\xc2\xb9', b's\xc2\xadpoil1', b'\xe2\x80\x8bspoil1', b'spoil1\xa0',
          b'\xa0spoil1', b'"spoil1"(c)', b'(' + b'c' * 500 + b')spoil1', b'spoil1,', b'spoil1;', b"'spoil1'", b'spoil%31',
          b'spo"i"l1', b'a spoil1', b'"" spoil1', b'spoil1 (c) ']
ATS = [b'\\@', b' @', b'@ ', b' @ ', b'\t@\t', b'@(c)', b'(c)@', b'@@', b'%', b'!', b'\xef\xbc\xa0', b'"@"', b'@\0', b'@\r', b'@.', b'.@', b'%40']
DOMAINS = [b'EXAMPLE.NET', b'Example.Net', b'example.net.', b'example.net..', b'example..net', b'.example.net', b'example(c).net',
           b'example.(c)net', b'(c)example.net', b'example.net(c)', b'example\\.net', b'exam\\ple.net', b'"example.net"', b'"example".net',
           b' example.net', b'example.net ', b'example .net', b'example. net', b'\texample.net', b'example.net\t', b'example.net\r',
           b'example.net\v', b'example.net\f', b'example.net\0', b'example\0.net', b'example.net\x7f', b'example.net\x01', b'example.net\xa0',
           b'example.net;', b'example.net,', b'example.net:', b'example.net/', b'example.net:25', b'example.net>x', b'example.net@a.test', b'example.net%a.test',
           b'example.net.(c)', b'example.net(c).', b'example.net . ', b'example\xe3\x80\x82net', b'example\xef\xbc\x8enet',
           b'\xef\xbd\x85xample.net', b'ex\xc2\xadample.net', b'xn--example-.net', b'example=2Enet', b'example%2Enet', b'example.net\\',
           b'example.net\xe2\x80\x8b', b'[example.net]', b'"example.net', b'example.net"', b'example.net\\>']
WHOLES = [b'<spoil1%example.net>', b'<spoil1%example.net@>', b'<spoil1%example.net@[ADDRESS]>', b'<spoil1%example.net@mail.example.net>',
          b'<spoil1%example.net@example.net>', b'<spoil1%example.net@localhost>', b'<"spoil1%example.net">', b'<"spoil1@example.net">',
          b'<"spoil1@example.net"@example.net>', b'<"spoil1@example.net"@mail.example.net>', b'<"spoil1@example.net"@[ADDRESS]>',
          b'<spoil1\\@example.net@mail.example.net>', b'<spoil1@example.net@mail.example.net>', b'<spoil1@mail.example.net>',
          b'<mail.example.net!spoil1>', b'<example.net!spoil1>', b'<example.net!spoil1@mail.example.net>', b'<example.net!spoil1@[ADDRESS]>',
          b'<a.test!example.net!spoil1@example.net>', b'<spoil1@[ADDRESS]>', b'<spoil1@[NEXT]>', b'<spoil1@[IPv6:::ffff:ADDRESS]>',
          b'<spoil1@[127.0.0.1]>', b'<spoil1@ADDRESS>', b'<spoil1@#167903785>', b'<spoil1@localhost>', b'<spoil1>', b'spoil1', b'<spoil1@>',
          b'<spoil1+x@example.net>', b'<spoil1+@example.net>', b'<spoil1-x@example.net>', b'<"spoil1+x"@example.net>', b'<sp\\oil1+x@example.net>',
          b'<spoil1+x@mail.example.net>', b'<group: spoil1@example.net;>', b'<x:spoil1@example.net;>', b'x:spoil1@example.net;',
          b'group: <spoil1@example.net>;', b'<<spoil1@example.net>>', b'<spoil1@example.net>>', b'<spoil1@example.net', b'spoil1@example.net>',
          b'spoil1@example.net', b'"spoil1"@example.net', b'spo\\il1@example.net', b'spoil1@example.net.', b'spoil1@(c)example.net', b'spoil1 @ example.net',
          b'<(c)<spoil1@example.net>>', b'<a <spoil1@example.net>>', b'<"a" <spoil1@example.net>>', b'<spoil1@example.net><good1@example.net>',
          b'<good1@example.net><spoil1@example.net>', b'<spoil1@example.net,good1@example.net>', b'<good1@example.net,spoil1@example.net>',
          b'<good1@example.net;spoil1@example.net>', b'<good1@example.net spoil1@example.net>', b'<@mail.example.net:spoil1@mail.example.net>',
          b'[spoil1@example.net]', b'{spoil1@example.net}', b"'spoil1@example.net'", b'"spoil1@example.net"', b'"<spoil1@example.net>"',
          b'<:include:/dev/null,spoil1@example.net>', b'\\<spoil1@example.net>', b'<spoil1@example.net\\>', b'<spoil1@example.net>@example.net',
          b'good1@example.net<spoil1@example.net>', b'<mailto:spoil1@example.net>', b'<SMTP:spoil1@example.net>', b'<=?utf-8?q?spoil1?=@example.net>',
          b'=?utf-8?q?<spoil1@example.net>?=', b'<=?utf-8?q?spoil1=40example.net?=>', b'<IMCEASMTP-spoil1+40example+2Enet@example.net>']
BEHIND = [b' ', b'  ', b'\t', b'(c)', b' (c)', b';', b',', b'.', b'>', b'x', b' x', b'\xa0', b'\x7f', b'\v', b'\f', b'\r', b'\r ', b' \r', b'\0', b'\0x', b'\x01',
          b' ' * 2030, b'\t' * 900, b' NOTIFY=NEVER', b' ORCPT=rfc822;good1@example.net', b' notify=never', b'NOTIFY=NEVER', b' NOTIFY=', b' =x', b' X-Y=1',
          b' <good1@example.net>', b'<good1@example.net>', b' good1@example.net', b',<good1@example.net>', b', <good1@example.net>', b'@a.test',
          b' RSET', b' BODY=8BITMIME', b'"', b'\\', b' (', b' (c', b'<', b' >', b' "x"']
ENDS = [b'\n', b'\r\r\n', b'\0\r\n', b' \r\n', b'\r\0\n', b'\t\r\n', b'\v\r\n', b'\x1a\r\n', b'\x00\n', b'\r \r\n']
# Lines before a plain command; each switched one filter off once, or made two programs differ about whose turn it is.
LINES = [(b'NOOP \0', 1), (b'\0', 1), (b'NOOP ' + b'x' * 2100, 1), (b'HELP ' + b'x' * 2100, 1), (b'XYZZY ' + b'x' * 2100, 1),
         (b'NOOP ' + b'x' * 1030, 1), (b'NOOP ' + b'x' * 9000, 1), (b'NOOP', 1100), (b'', 300), (b'BDAT 10', 1), (b'BDAT 0', 1), (b'BDAT -1', 1),
         (b'BDAT 5 X', 1), (b' BDAT 40', 1), (b'BDAT\t40', 1), (b'\tBDAT 40', 1), (b'\fBDAT 40', 1), (b'BDAT 99999999999', 1), (b'DATA\r\nmail\r\n.', 1),
         (b'DATA \0\r\n.', 1), (b'\xff\xfb\x01', 1), (b'STARTTLS x', 1), (b'AUTH', 1), (b'AUTH PLAIN', 1), (b'AUTH LOGIN =', 1),
         (b'AUTH PLAIN ' + b'A' * 16384, 1), (b'PROXY TCP4 192.0.2.1 10.2.2.41 1 25', 1), (b'XEXCH50 5 2', 1), (b'X-LINK2STATE FIRST CHUNK={1}', 1),
         (b'XCLIENT ADDR=192.0.2.1', 1), (b'LHLO x', 1), (b'HELO x', 1), (b'EHLO \0', 1), (b'EHLO', 1), (b'VRFY spoil1', 1), (b'ETRN x', 1), (b'GET / HTTP/1.0', 1),
         (b'QUIT x', 1), (b'RSET x', 1), (b'MAIL FROM:<\0>', 1), (b'MAIL FROM:<a@example.net> BODY=X', 1), (b'RCPT TO:<>', 1), (b'TURN', 1), (b'\x16\x03\x01\x00\x05', 1)]
BATCH = b'RSET\r\nMAIL FROM:<good2@example.net>\r\n'
# Octets that a mutation puts in, or in the place of another.
OCTETS = [b'\0', b'\r', b'\t', b'\v', b'\f', b' ', b'"', b'\\', b'(', b')', b'<', b'>', b'@', b'%', b'!', b':', b';', b',', b'.', b'+', b'[', b']', b'(c)', b'""',
          b'\x7f', b'\x80', b'\xa0', b'\xff', b'\x01', b'\x1b']


def line(verb=b'RCPT', between=b' ', to=b'TO:', before=b'', path=None, route=b'', local=LOCAL, at=b'@', domain=DOMAIN, behind=b'',
         end=b'\r\n'):
    path = path if path is not None else b'<' + route + local + at + domain + b'>'
    return verb + between + to + before + path + behind + end


PARTS = {'verb': VERBS, 'between': BETWEEN, 'to': TO, 'before': BEFORE, 'route': ROUTES, 'local': LOCALS, 'at': ATS, 'domain': DOMAINS,
         'path': WHOLES, 'behind': BEHIND, 'end': ENDS}


def singles(address):
    """Each of these alone, and each of what stands on lines before a plain command."""
    following = address[:-1] + str(int(address[-1:]) + 1)
    for part, values in PARTS.items():
        for value in values:
            value = value.replace(b'ADDRESS', address.encode()).replace(b'NEXT', following.encode())
            yield part, line(**{part: value})
    for octets, times in LINES:
        yield 'line before', (octets + b'\r\n') * times + BATCH + line()


def combined(chosen, address):
    parts = chosen.sample([part for part in PARTS if part != 'path'], chosen.choice((2, 2, 2, 3)))
    if chosen.random() < 0.2:
        parts = [part for part in parts if part not in ('route', 'local', 'at', 'domain')] + ['path']
    values = {part: chosen.choice(PARTS[part]) for part in parts}
    if 'path' in values:
        values['path'] = values['path'].replace(b'ADDRESS', address.encode()).replace(b'NEXT', address.encode())
    return '+'.join(sorted(values)), line(**values)


def mutated(chosen, octets):
    text, end = octets[:-2], octets[-2:]
    for _ in range(chosen.choice((1, 1, 2))):
        at = chosen.randrange(len(text) + 1)
        how = chosen.randrange(4)
        if how == 0:  # at the beginnings and ends of words, mostly
            places = [i for i in range(len(text)) if not text[i:i + 1].isalnum()]
            at = chosen.choice(places) + chosen.randrange(2)
        if how == 3 and not text[at:at + 1].isalnum():
            text = text[:at] + text[at + 1:]
        else:
            text = text[:at] + chosen.choice(OCTETS) + text[at:]
    return text + end


def ways(count, seed, address):
    """`count` of (kind, octets), all different: all singles where there is room for them, or a sample; the rest combined and mutated."""
    chosen = random.Random(seed)
    alone = list(singles(address))
    if count < 2 * len(alone):
        chosen.shuffle(alone)
        alone = alone[:count // 2]
    found = dict.fromkeys(octets for _, octets in alone)
    made = []
    for kind, octets in alone:
        if octets in found:
            del found[octets]
            made.append((kind, octets))
    known = {octets for _, octets in made}
    plain = [octets for kind, octets in made if kind != 'line before' and len(octets) < 200] + [line()]
    while len(made) < count:
        if chosen.random() < 0.6:
            kind, octets = combined(chosen, address)
        else:
            kind, octets = 'mutated', mutated(chosen, chosen.choice(plain))
        # A line more, or none, would be another dialogue.
        if octets not in known and octets.count(b'\n') == 1 and octets.endswith(b'\n'):
            known.add(octets)
            made.append((kind, octets))
    return made
