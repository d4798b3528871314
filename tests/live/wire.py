"""
wire - what the scripts of this folder share: a socket read and written octet for octet, and its log.

A log has one line for each line of the dialogue, or for each part of one where the other side spoke in between:

    CONNECTION DIRECTION OCTETS

DIRECTION is --> (from the client), <-- (from the server) or --- (a remark of the script itself, no octets).
OCTETS are printable ASCII; all others, and the backslash, are written \\r \\n \\t \\\\ \\xNN. So the parts of one
direction, put together, are exactly what crossed the socket (inside TLS: the clear text).
"""
import os
import socket
import threading
import time

TO_SERVER = '-->'
TO_CLIENT = '<--'
REMARK = '---'

LINE_BYTES_MAX = 65536
PAUSE_S = 0.001

NAMES = {0x0d: '\\r', 0x0a: '\\n', 0x09: '\\t', 0x5c: '\\\\'}


def escape(octets):
    return ''.join(NAMES.get(o) or (chr(o) if 0x20 <= o < 0x7f else '\\x%02x' % o) for o in octets)


def unescape(text):
    return text.encode('ascii').decode('unicode_escape').encode('latin-1')


def to_json(value):
    """The JSON text of a bool, int, string, list or dictionary (python3-minimal has no json)."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return '{' + ', '.join('%s: %s' % (to_json(k), to_json(v)) for k, v in value.items()) + '}'
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(to_json(v) for v in value) + ']'
    quoted = value.replace('\\', '\\\\').replace('"', '\\"')
    return '"' + ''.join(c if 0x20 <= ord(c) < 0x7f else '\\u%04x' % ord(c) for c in quoted) + '"'


class Log:
    """A log file that several connections may write to. With no path it writes nothing."""

    def __init__(self, path):
        self.file = open(path, 'w', encoding='ascii') if path else None
        self.lock = threading.Lock()
        self.connections = 0

    def connection(self):
        with self.lock:
            self.connections += 1
            return ConnectionLog(self, self.connections)

    def line(self, text):
        if self.file:
            with self.lock:
                self.file.write(text + '\n')
                self.file.flush()


class ConnectionLog:
    def __init__(self, log, number):
        self.log = log
        self.number = number
        self.direction = None
        self.pending = b''

    def add(self, direction, octets):
        if direction != self.direction:
            self.flush()
            self.direction = direction
        lines = (self.pending + octets).split(b'\n')
        self.pending = lines.pop()
        for line in lines:
            self.write(line + b'\n')

    def remark(self, text):
        self.flush()
        self.log.line('%d %s %s' % (self.number, REMARK, text))

    def flush(self):
        if self.pending:
            self.write(self.pending)
            self.pending = b''

    def write(self, octets):
        self.log.line('%d %s %s' % (self.number, self.direction, escape(octets)))


class Closed(Exception):
    """The other side closed the connection, or reset it, or said nothing for too long."""


class Stream:
    """
    One end of a connection. `sends` is TO_SERVER in a client, TO_CLIENT in a server. Segments: None (as the kernel
    likes), 'line' or 'octet' (each its own send, with TCP_NODELAY and a pause, so each its own TCP segment).
    """

    def __init__(self, sock, log, sends, segments=None, pause_s=PAUSE_S):
        self.sock = sock
        self.log = log
        self.sends = sends
        self.receives = TO_CLIENT if sends == TO_SERVER else TO_SERVER
        self.segments = segments
        self.pause_s = pause_s
        self.buffer = b''
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, octets):
        self.log.add(self.sends, octets)
        try:
            if self.segments == 'octet':
                parts = [octets[i:i + 1] for i in range(len(octets))]
            elif self.segments == 'line':
                parts = octets.splitlines(keepends=True)
            else:
                parts = [octets]
            for index, part in enumerate(parts):
                if index:
                    time.sleep(self.pause_s)
                self.sock.sendall(part)
        except OSError as error:
            raise Closed(str(error))

    def fill(self):
        try:
            octets = self.sock.recv(65536)
        except OSError as error:
            raise Closed(str(error) or 'timed out')
        if not octets:
            raise Closed('closed by the other side')
        self.log.add(self.receives, octets)
        self.buffer += octets

    def has_line(self):
        return b'\n' in self.buffer

    def line(self):
        """The next line with its line end."""
        while b'\n' not in self.buffer:
            if len(self.buffer) > LINE_BYTES_MAX:
                raise Closed('line too long')
            self.fill()
        line, _, self.buffer = self.buffer.partition(b'\n')
        return line + b'\n'

    def octets(self, count):
        """Exactly so many octets."""
        while len(self.buffer) < count:
            self.fill()
        octets, self.buffer = self.buffer[:count], self.buffer[count:]
        return octets

    def body(self):
        """Message data up to the lone dot, with the dots doubled by the sender taken away."""
        lines = []
        while True:
            line = self.line()
            if line == b'.\r\n':
                return b''.join(lines)
            lines.append(line[1:] if line.startswith(b'.') else line)

    def wrap(self, context, server_side):
        """TLS from here on. Octets that came before the handshake are forgotten (CVE-2011-0411)."""
        self.buffer = b''
        try:
            self.sock = context.wrap_socket(self.sock, server_side=server_side)
        except OSError as error:
            raise Closed('TLS: %s' % error)
        self.segments = None
        self.log.remark('TLS: %s' % self.sock.version())

    def close(self):
        """Say FIN, wait for the other side's, then let go: what it still sends draws no RST."""
        self.log.flush()
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(2)
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        self.sock.close()


def store(folder, number, message, facts):
    """Write message-NUMBER and, when that is complete, message-NUMBER.json beside it."""
    path = os.path.join(folder, 'message-%d' % number)
    with open(path, 'wb') as file:
        file.write(message)
    with open(path + '.part', 'w', encoding='ascii') as file:
        file.write(to_json(facts) + '\n')
    os.rename(path + '.part', path + '.json')
