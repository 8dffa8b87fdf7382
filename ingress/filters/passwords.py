"""Does a password fit a line of a password file? As nginx's ngx_crypt: crypt(3), apr1, {SHA}, {SSHA}, {PLAIN}.

crypt(3) is the system's libcrypt, called so that the interpreter's lock is released meanwhile: other threads go on.
(The standard library's module holds the lock, and is gone in Python 3.13.)
"""

import base64
import binascii
import ctypes
import functools
import hashlib
import hmac
import re
from collections.abc import Callable

BCRYPT_COST_MAX = 14
"""About a second of a core."""
SHA_CRYPT_ROUNDS_MAX = 1_000_000

_BCRYPT = re.compile(r"\$2[aby]\$([0-3][0-9])\$[./A-Za-z0-9]{53}")
_SHA_CRYPT = re.compile(r"\$[56]\$(?:rounds=([0-9]{1,9})\$)?[^$]{0,16}\$[./A-Za-z0-9]{43,86}")
_APR1 = re.compile(r"\$apr1\$([^$]{0,8})[^$]*\$[./A-Za-z0-9]{22}")
_OTHERS = (
    re.compile(r"\$1\$[^$]{0,8}\$[./A-Za-z0-9]{22}"),
    re.compile(r"\$y\$j[5-9A][./0-9A-T]\$[^$]+\$[./A-Za-z0-9]{43}"),
    re.compile(r"[./A-Za-z0-9]{13}"),
    re.compile(r"\{(?:SHA|SSHA)\}[A-Za-z0-9+/=]+"),
    re.compile(r"\{PLAIN\}.*"),
)
_CRYPT_DATA_BYTES = 32768
"""struct crypt_data of libxcrypt and of glibc's own libcrypt is not larger."""
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def flaw(stored: str) -> str:
    """Why no password will fit; "" if one may. Never says the hash itself."""
    if found := _BCRYPT.fullmatch(stored):
        return _too_dear(int(found[1]), BCRYPT_COST_MAX, "a bcrypt cost")
    if found := _SHA_CRYPT.fullmatch(stored):
        return _too_dear(int(found[1] or 0), SHA_CRYPT_ROUNDS_MAX, "rounds")
    if _APR1.fullmatch(stored) or any(each.fullmatch(stored) for each in _OTHERS):
        return ""
    return "the hash is of no kind that is known here" if stored else "there is no hash"


def _too_dear(value: int, most: int, what: str) -> str:
    return f"{what} of {value} would keep a core busy for too long: {most} at most" if value > most else ""


def fits(password: bytes, stored: str) -> bool:
    """Takes up to a second: not for a loop. False for what `flaw` finds fault with."""
    if flaw(stored) or b"\0" in password:  # crypt(3) would see no more than what is before it
        return False
    for prefix, check in _KINDS.items():
        if stored.startswith(prefix):
            return check(password, stored)
    return _crypt(password, stored)


def _plain(password: bytes, stored: str) -> bool:
    return hmac.compare_digest(password, stored.removeprefix("{PLAIN}").encode("latin-1"))


def _sha(password: bytes, stored: str) -> bool:
    """{SHA}: base64 of the digest; {SSHA}: of the digest of password and salt, and the salt."""
    try:
        raw = base64.b64decode(stored.partition("}")[2], validate=True)
    except binascii.Error:
        return False
    size = hashlib.sha1().digest_size
    digest, salt = raw[:size], raw[size:]
    if salt and stored.startswith("{SHA}"):
        return False
    return hmac.compare_digest(hashlib.sha1(password + salt).digest(), digest)


def _apr1(password: bytes, stored: str) -> bool:
    found = _APR1.fullmatch(stored)
    assert found is not None
    salt = found[1].encode("latin-1")
    return hmac.compare_digest(_apr1_digest(password, salt), stored.rpartition("$")[2].encode())


def _apr1_digest(password: bytes, salt: bytes) -> bytes:
    """Apache's variant of the MD5 crypt of FreeBSD (apr_md5.c), its 22 characters."""
    inner = hashlib.md5(password + salt + password).digest()
    text = password + b"$apr1$" + salt
    text += b"".join(inner[: min(16, left)] for left in range(len(password), 0, -16))
    length = len(password)
    while length:
        text += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = hashlib.md5(text).digest()
    for turn in range(1000):
        text = password if turn & 1 else digest
        text += salt if turn % 3 else b""
        text += password if turn % 7 else b""
        digest = hashlib.md5(text + (digest if turn & 1 else password)).digest()
    groups = [(digest[at] << 16 | digest[at + 6] << 8 | digest[5 if at == 4 else at + 12], 4) for at in range(5)]
    found = ""
    for value, letters in [*groups, (digest[11], 2)]:
        for _ in range(letters):
            found += _ALPHABET[value & 63]
            value >>= 6
    return found.encode()


def _crypt(password: bytes, stored: str) -> bool:
    data = ctypes.create_string_buffer(_CRYPT_DATA_BYTES)
    setting = stored.encode("latin-1")
    found = _libcrypt()(password, setting, data, _CRYPT_DATA_BYTES)
    return found is not None and hmac.compare_digest(found, setting)


@functools.cache
def _libcrypt() -> Callable[..., bytes | None]:
    """crypt_rn, which tells of errors by NULL. Raises OSError where there is no libcrypt."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            found = ctypes.CDLL(name).crypt_rn
        except (OSError, AttributeError):  # an older one has no such function
            continue
        found.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
        found.restype = ctypes.c_char_p
        checked: Callable[..., bytes | None] = found
        return checked
    raise OSError("there is no libxcrypt on this system: passwords cannot be checked")


_KINDS: dict[str, Callable[[bytes, str], bool]] = {
    "{PLAIN}": _plain,
    "{SHA}": _sha,
    "{SSHA}": _sha,
    "$apr1$": _apr1,
}
