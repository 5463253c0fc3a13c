"""Sealing (AEAD) with keys by id: what a text becomes at rest, and the file that holds the keys.

A sealed text names its form, its algorithm and its key, `s1.A256GCM.k20261122-9f3c.…`; the rest is a
random nonce of 96 bits and the ciphertext with its tag, base64url. `where` is what it belongs to, such
as a ticket and a part of it: bound in as associated data, so that it opens nowhere else (ADR 0030).
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_FORM = "s1"
_NONCE = 12
_TAG = 16


class Algorithm(StrEnum):
    """How a key seals."""

    AES = "A256GCM"  # AES-256-GCM
    SM4 = "SM4GCM"  # SM4-GCM (GB/T 32907, RFC 8998)

    @property
    def size(self) -> int:
        """Return how many bytes a key has."""
        return 32 if self is Algorithm.AES else 16


class KeyFault(Exception):
    """Keys that nobody can work with: a file that is missing or wrong, or keys that do not fit the
    database. The message says in Chinese what to do."""


class KeyMissing(KeyFault):
    """What was sealed by a key that is not here."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"缺少密钥 {key}：请把含有它的密钥文件放到每台服务器上，并用 BANJIE_KEYS 指明"
        )
        self.key = key


class Tampered(Exception):
    """A sealed text that was changed, or stands where it does not belong; nothing of it is told."""

    def __init__(self, where: str) -> None:
        super().__init__(f"封存的内容被改动过，或不属于此处：{where}")


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, where: bytes) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, where: bytes) -> bytes: ...


class _Sm4:
    """SM4-GCM; the library has no one-shot form of it."""

    def __init__(self, secret: bytes) -> None:
        self._algorithm = algorithms.SM4(secret)

    def encrypt(self, nonce: bytes, data: bytes, where: bytes) -> bytes:
        doing = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        doing.authenticate_additional_data(where)
        return doing.update(data) + doing.finalize() + doing.tag

    def decrypt(self, nonce: bytes, data: bytes, where: bytes) -> bytes:
        doing = Cipher(self._algorithm, modes.GCM(nonce, data[-_TAG:])).decryptor()
        doing.authenticate_additional_data(where)
        return doing.update(data[:-_TAG]) + doing.finalize()


def offers(algorithm: Algorithm) -> bool:
    """Whether the library here can do it; an OpenSSL may be built without SM4."""
    try:
        _cipher(algorithm, bytes(algorithm.size)).encrypt(bytes(_NONCE), b"", b"")
    except (UnsupportedAlgorithm, AttributeError):
        return False
    return True


def _cipher(algorithm: Algorithm, secret: bytes) -> _Cipher:
    return AESGCM(secret) if algorithm is Algorithm.AES else _Sm4(secret)


@dataclass(frozen=True, slots=True)
class Key:
    """A key by its id."""

    id: str
    algorithm: Algorithm
    secret: bytes = field(repr=False)

    @property
    def check(self) -> str:
        """Return what tells this key from another of the same id, and nothing else about it."""
        said = f"banjie check {self.id} {self.algorithm}".encode()
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()[:32]

    @property
    def line(self) -> str:
        """Return the key as a line of a key file."""
        return f"{self.id} {self.algorithm} {base64.b64encode(self.secret).decode()}"


def new_key(algorithm: Algorithm, on: date, taken: Iterable[str] = ()) -> Key:
    """Return a new random key, its id made of the day. Raises KeyFault where the library cannot do it."""
    if not offers(algorithm):
        msg = f"本机的密码库不支持 {algorithm}，请改用 {Algorithm.AES}"
        raise KeyFault(msg)
    known = set(taken)
    while (name := f"k{on:%Y%m%d}-{secrets.token_hex(2)}") in known:
        pass
    return Key(name, algorithm, secrets.token_bytes(algorithm.size))


class Keyring:
    """Keys, of which the first seals and each opens what it sealed."""

    def __init__(self, keys: Sequence[Key]) -> None:
        """Take the keys. Raises KeyFault for none, for two of one id, and for one that the library cannot use."""
        self.keys = tuple(keys)
        if not keys:
            msg = "没有密钥"
            raise KeyFault(msg)
        self._ciphers: dict[str, _Cipher] = {}
        for key in keys:
            if key.id in self._ciphers:
                msg = f"密钥 {key.id} 出现了两次"
                raise KeyFault(msg)
            if not offers(key.algorithm):
                msg = f"本机的密码库不支持密钥 {key.id} 的算法 {key.algorithm}"
                raise KeyFault(msg)
            self._ciphers[key.id] = _cipher(key.algorithm, key.secret)
        self._seals = self._ciphers[self.current.id]
        self._head = f"{_FORM}.{self.current.algorithm}.{self.current.id}."

    @property
    def current(self) -> Key:
        """Return the key that seals."""
        return self.keys[0]

    def __contains__(self, key: str) -> bool:
        return key in self._ciphers

    def seal(self, text: bytes, where: str) -> str:
        """Return a text sealed by the current key for one place."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._seals.encrypt(nonce, text, where.encode())
        return self._head + base64.urlsafe_b64encode(sealed).decode()

    def open(self, sealed: str, where: str) -> bytes:
        """Return what was sealed for this place. Raises KeyMissing, or Tampered."""
        form, _, rest = sealed.partition(".")
        algorithm, _, rest = rest.partition(".")
        name, _, body = rest.partition(".")
        if form != _FORM or not body:
            raise Tampered(where)
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise KeyMissing(name)
        key = next(each for each in self.keys if each.id == name)
        try:
            data = base64.urlsafe_b64decode(body)
            # What decodes to the same may be written otherwise; there is one way alone.
            if key.algorithm != algorithm or base64.urlsafe_b64encode(data).decode() != body:
                raise Tampered(where)
            return cipher.decrypt(data[:_NONCE], data[_NONCE:], where.encode())
        except (InvalidTag, ValueError, binascii.Error):
            raise Tampered(where) from None


def key_of(sealed: str) -> str:
    """Return the id of the key by which a text was sealed."""
    return sealed.split(".", 3)[2]


# The file


def read_keys(path: Path) -> list[Key]:
    """Return the keys of a file, the one that seals first. Raises KeyFault; no line is repeated."""
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"密钥文件 {path} 无法读取（{type(error).__name__}）；新建用 banjie keys add"
        raise KeyFault(msg) from None
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            name, algorithm, encoded = words
            key = Key(name, Algorithm(algorithm), base64.b64decode(encoded, validate=True))
        except ValueError:
            key = None
        if key is None or len(key.secret) != key.algorithm.size or not _is_name(key.id):
            msg = f"密钥文件 {path} 第 {number} 行应为“编号 算法 base64”"
            raise KeyFault(msg)
        keys.append(key)
    Keyring(keys)
    return keys


def _is_name(name: str) -> bool:
    return len(name) <= 32 and name.replace("-", "").replace("_", "").isalnum()


def is_open_to_others(path: Path) -> bool:
    """Whether others than its owner may read the file."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


_HEAD = """\
# Keys of Banjie: what people told is sealed with the first one, and opened with each.
# Keep a copy apart from the database and its backups: without it the data is lost, with it anybody
# who has a backup can read it. Change it with `banjie keys`, not by hand.
"""


def write_keys(path: Path, keys: Sequence[Key], *, new: bool = False) -> None:
    """Write a key file, whole or not at all, for its owner alone; a `new` one never over another
    (FileExistsError)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    made = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(_HEAD)
            file.writelines(f"{key.line}\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(made, path)  # fails where there is one
        else:
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)
