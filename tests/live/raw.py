"""
raw - TCP by hand for the scripts of this folder: IPv4 packets from an address to port 25 of a server, and what comes back.

The address is no one's on this machine, whose kernel would end connections that it knows nothing of; but the way there leads
here.
"""
import socket
import struct

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ETH_P_IP = 0x0800
WINDOW = 29200


def checksum(octets):
    if len(octets) % 2:
        octets += b'\0'
    total = sum(struct.unpack('!%dH' % (len(octets) // 2), octets))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Wire:
    """Packets from one address to port 25 of another."""

    def __init__(self, source, server):
        self.source, self.server = socket.inet_aton(source), socket.inet_aton(server)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.into = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        self.to = (server, 0)
        self.port = 20000

    def datagram(self, payload, identifier=0, offset=0):
        head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), identifier, offset, 64, socket.IPPROTO_TCP, 0,
                           self.source, self.server)
        self.out.sendto(head + payload, self.to)

    def segment(self, seq, ack, flags, data=b'', words=5, sum_off=0, urgent=0):
        head = struct.pack('!HHIIBBHHH', self.port, 25, seq & 0xffffffff, ack & 0xffffffff, words << 4, flags, WINDOW, 0, urgent)
        pseudo = self.source + self.server + struct.pack('!BBH', 0, socket.IPPROTO_TCP, len(head) + len(data))
        right = checksum(pseudo + head + data)
        return head[:16] + struct.pack('!H', (right + sum_off) & 0xffff) + head[18:] + data

    def take(self):
        """The next TCP packet of the server's: its port here, numbers, flags and octets; None: another packet."""
        packet = self.into.recv(65536)
        if packet[9] != socket.IPPROTO_TCP or packet[12:20] != self.server + self.source:
            return None
        segment = packet[(packet[0] & 15) * 4:struct.unpack('!H', packet[2:4])[0]]
        _, port, seq, ack, words, flags = struct.unpack('!HHIIBB', segment[:14])
        return port, seq, ack, flags, segment[(words >> 4) * 4:]
