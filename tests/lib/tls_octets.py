"""
tls_octets - octets of TLS handshakes, put together by hand; each argument is as it stands in the message.

Shares no code with what it is to test. Names, protocols and certificates are octets, and may be anything.
"""
import struct

HANDSHAKE, ALERT, CHANGE_CIPHER, DATA = 22, 21, 20, 23
RETRY = bytes.fromhex('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c')


def vector(size, octets):
    return len(octets).to_bytes(size, 'big') + octets


def record(kind, octets, each=16384):
    return b''.join(struct.pack('>BH', kind, 0x0301) + vector(2, octets[at:at + each]) for at in range(0, len(octets), each))


def message(kind, octets):
    return bytes([kind]) + vector(3, octets)


def extension(number, octets):
    return struct.pack('>H', number) + vector(2, octets)


def numbers(values):
    return b''.join(struct.pack('>H', value) for value in values)


def client_hello(name=None, protocols=(), versions=(0x0304, 0x0303), ciphers=(0x1301, 0xc030), key_share=32, session=b''):
    extensions = extension(13, vector(2, numbers([0x0403, 0x0804]))) + extension(51, bytes(key_share))
    if name is not None:
        extensions = extension(0, vector(2, b'\0' + vector(2, name))) + extensions
    if protocols:
        extensions += extension(16, vector(2, b''.join(vector(1, one) for one in protocols)))
    if versions:
        extensions += extension(43, vector(1, numbers(versions)))
    return message(1, b'\3\3' + bytes(32) + vector(1, session) + vector(2, numbers(ciphers)) + b'\1\0' + vector(2, extensions))


def server_hello(version=0x0304, cipher=0x1301, protocol=None, session=b'', chosen=bytes(32)):
    extensions = extension(43, struct.pack('>H', version)) if version > 0x0303 else b''
    if protocol is not None:
        extensions += extension(16, vector(2, vector(1, protocol)))
    return message(2, struct.pack('>H', min(version, 0x0303)) + chosen + vector(1, session) + struct.pack('>H', cipher) + b'\0' +
                   vector(2, extensions))


def der(tag, *parts):
    octets = b''.join(parts)
    return bytes([tag, 0x82]) + vector(2, octets)


def der_name(**values):
    oids = {'C': b'\x55\4\6', 'O': b'\x55\4\x0a', 'CN': b'\x55\4\3'}
    return der(0x30, *(der(0x31, der(0x30, der(6, oids[key]), der(12, value))) for key, value in values.items()))


def certificate(subject, names=(), serial=b'\1\2\xab', since=b'260101120000Z', until=b'20521231235959Z'):
    listed = der(0x30, *(der(0x82, name) for name in names))
    body = der(0x30, der(0xa0, der(2, b'\2')), der(2, serial), der(0x30, der(6, b'\x2a')), der_name(O=b'Issuer'),
               der(0x30, der(0x17, since), der(0x18, until)), der_name(C=b'AT', CN=subject), der(0x30),
               der(0xa3, der(0x30, der(0x30, der(6, b'\x55\x1d\x11'), der(4, listed)))))
    return der(0x30, body, der(0x30), der(3))


def certificates(*ders):
    return message(11, vector(3, b''.join(vector(3, one) for one in ders)))


def alert(level, description):
    return record(ALERT, bytes([level, description]))


def change_cipher():
    return record(CHANGE_CIPHER, b'\1')
