"""
talk - sessions with real servers, many at once, for the scripts of this folder that judge what a server makes of odd octets: each
from a port that is known, each bounded in time, none stopped by what another one comes to.
"""
import asyncio
import collections
import glob
import json
import re

REPLY_S, SESSION_S, QUIET_S = 20, 60, 0.3
PORT = 10000


def port_of(address, number, which):
    """Of the session about a way: no two servers have the same ones, for one cannot be bound twice."""
    return PORT + 8 * number + 2 * (int(address.split('.')[-1]) % 4) + which


class Session:
    """One connection; each reply is waited for, but for those that nobody can count."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.closed = reader, writer, False

    async def reply(self, seconds=REPLY_S):
        """The code of the next reply; 0: there is none."""
        while not self.closed:
            try:
                line = await asyncio.wait_for(self.reader.readline(), seconds)
            except (asyncio.TimeoutError, OSError, ValueError):
                return 0
            if not line:
                self.closed = True
            elif line[:3].isdigit() and line[3:4] != b'-':
                self.closed = line[:3] == b'421'
                return int(line[:3])
        return 0

    async def say(self, octets):
        try:
            self.writer.write(octets)
            await self.writer.drain()
        except OSError:
            self.closed = True
        return await self.reply()

    async def quiet(self):
        """The last reply of those that come while there is no pause."""
        code = last = await self.reply()
        while code:
            last, code = code, await self.reply(QUIET_S)
        return last

    async def message(self, text):
        """Whether the server took it."""
        code = await self.say(b'DATA\r\n')
        while code and code < 300:  # of a command before
            code = await self.reply()
        if code != 354:
            return False
        taken = await self.say(b'From: good2@example.net\r\nSubject: %s\r\n\r\nx\r\n.\r\n' % text) == 250
        await self.say(b'QUIT\r\n')
        return taken


async def begin(source, port, address):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, 25, local_addr=(source, port)), REPLY_S)
    session = Session(reader, writer)
    if await session.reply() == 220:
        await session.say(b'EHLO client.example.net\r\n')
        await session.say(b'MAIL FROM:<good2@example.net>\r\n')
    return session


async def hold(source, port, address, what):
    """What `what(session)` returns; None where the connection came to nothing."""
    session = None
    try:
        session = await begin(source, port, address)
        return await asyncio.wait_for(what(session), SESSION_S)
    except (OSError, asyncio.TimeoutError):
        return None
    finally:
        if session:
            session.writer.close()


async def lane(sessions):
    while sessions:
        await sessions.pop()


async def hold_all(groups, at_once=10):
    """Lists of sessions (coroutines): each list from its beginning, so many at once of each."""
    for sessions in groups:
        sessions.reverse()
    await asyncio.gather(*(lane(sessions) for sessions in groups for _ in range(at_once)))


def delivered(folder, server, account):
    """{('through', 7), ...}: of which ways there is a message in that mailbox, whatever its letters' case."""
    found = set()
    for path in glob.glob('%s/mail/%s/*/*/*' % (folder, server)):
        if path.split('/')[-3].lower() == account:
            with open(path, 'rb') as file:
                subject = re.search(rb'^Subject: way (\d+) (\S+)', file.read(), re.M)
            if subject:
                found.add((subject[2].decode(), int(subject[1])))
    return found


def read_events(path):
    """By server and the client's port: the names of what was told of a client, and of why a session was not read on."""
    told, unread = collections.defaultdict(set), collections.defaultdict(set)
    with open(path, encoding='utf-8') as file:
        for record in map(json.loads, file):
            key = record['dest_ip'], record['src_port']
            if record['event_type'] == 'anomaly':
                told[key].add(record['anomaly']['event'])
            elif record['event_type'] == 'command' and record['change'] != 'kept':
                told[key].add(record['reason'])
            elif record['event_type'] == 'unedited':
                unread[key].add(record['reason'])
    return told, unread


def accepted(path):
    """By server and the client's port: how many messages the server has accepted, as the filter sees it."""
    counts = collections.Counter()
    with open(path, encoding='utf-8') as file:
        for record in map(json.loads, file):
            if record['event_type'] == 'smtp' and record['postern']['outcome'] == 'accepted':
                counts[record['dest_ip'], record['src_port']] += 1
    return counts


def say_result(name, wrong, ways):
    """A line of TAP without a number, and what of the ways (name, octets) is wrong."""
    print('%sok - %s' % ('not ' if wrong else '', name))
    for number in wrong[:40]:
        octets = ways[number][1]
        shown = octets if len(octets) < 300 else octets[:100] + b' ... ' + octets[-150:]
        print('#   way %d, %s: %r' % (number, ways[number][0], shown))
