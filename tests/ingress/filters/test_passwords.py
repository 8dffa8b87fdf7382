"""Hashes of password files. Examples are of `openssl passwd`, `htpasswd` and crypt(3)."""

import subprocess

import pytest

from ingress.filters.passwords import BCRYPT_COST_MAX, fits, flaw

SESAME = [
    "$2b$05$MPuR2qLc3oREeEikgDUWieaHmhaOBLCBdZ8Ea4sVgwPsj90YPTQuu",
    "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
    "$2a$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
    "$1$8NGwbcsy$6Dz8zkt5PtCQZY2zBVhv21",
    "$5$VGClSvmPEyrpmA13$0OsSJQPUcHM1kPbypyZLMRY0G9czEuX3we5hjKI.nL0",
    "$6$7w46WokONTG2TrKS$xWlveNFaoDnU4AmpcA/0bIG6ruXZoozIm8Wl/uFHZk.Yk3TQ8kgX4DYnjiEjLLBx0AFykL9gdajiAIcE58QtX.",
    "$6$rounds=2000$saltsalt$jPedHngBXcBEZfTb.sMfNkhJU2jnnd52RWqoTwTF2hQKzOTJNz7NW5Tjt60cGvcuCOn8wpECtbkFrKkf6APCY0",
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A",
    "SU4N9ySXMTlEw",
    "{PLAIN}open sesame",
]


@pytest.mark.parametrize("stored", SESAME, ids=lambda stored: stored[:7])
def test_crypt(stored: str) -> None:
    assert flaw(stored) == ""
    assert fits(b"open sesame", stored)
    assert not fits(b"0pen sesame", stored)
    assert not fits(b"", stored)
    assert not fits(b"open sesame\0", stored), "what is behind a NUL counts"


@pytest.mark.parametrize("salt", ["x", "ab", "abcdefgh"])
@pytest.mark.parametrize("password", ["", "a", "secret", "0123456789abcdef", "0123456789abcdef0123456789", "pässwörd"])
def test_apr1(salt: str, password: str) -> None:
    argv = ["openssl", "passwd", "-apr1", "-salt", salt, password]
    stored = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert flaw(stored) == ""
    assert fits(password.encode(), stored)
    assert not fits(password.encode() + b" ", stored)


@pytest.mark.parametrize(
    ("password", "stored"),
    [
        (b"secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
        (b"secret", "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"),
    ],
)
def test_sha1(password: bytes, stored: str) -> None:
    assert fits(password, stored)
    assert not fits(b"Secret", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "{SHA}",
        "{SHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
        "{SSHA}!!!!",
        "{MD5}5en6G6MezRroT3XKqkdPOmY",
        "*0",
        "*1",
        "$7$secret$salt",
        "$2y$05$short",
        "$apr1$",
        f"$2y${BCRYPT_COST_MAX + 1}$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
        "$6$rounds=999999999$saltsalt$" + "a" * 86,
        "$y$jFT$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A",
    ],
)
def test_no_password_fits(stored: str) -> None:
    for password in (b"", b"secret", stored.encode(), b"*0"):
        assert not fits(password, stored)


def test_flaws_are_told_without_the_hash() -> None:
    assert "rounds of 999999999" in flaw("$6$rounds=999999999$saltsalt$" + "a" * 86)
    assert "cost of 31" in flaw("$2y$31$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW")
    assert flaw("hunter2 in plain") == "the hash is of no kind that is known here"
    assert flaw("") == "there is no hash"
