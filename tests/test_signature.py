"""Signed pushes: the published vectors, both keys while a secret changes, and what is refused."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import signature
from adapters.signature import HEADERS, BadSecret, NotSigned, keys, sign, stamp, verify

# The example of the Standard Webhooks specification.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
AT = datetime.fromtimestamp(1614265330, UTC)
GIVEN = {
    "webhook-id": ID,
    "webhook-timestamp": "1614265330",
    "webhook-signature": SIGNATURE,
}
# Appendix D.3 of GM/T 0042-2015: key, data, HMAC-SM3.
SM3 = [
    (
        bytes(range(1, 33)),
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq" * 2,
        "ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a",
    ),
    (
        bytes(range(1, 38)),
        b"\xcd" * 50,
        "220bf579ded555393f0159f66c99877822a3ecf610d1552154b41d44b94db3ae",
    ),
]


def checked(
    changes: Mapping[str, str] = {}, body: bytes = BODY, secret: str = SECRET, at: datetime = AT
) -> None:
    verify(stamp({**GIVEN, **changes}), body, keys(secret), at)


def refusal(
    changes: Mapping[str, str] = {}, body: bytes = BODY, secret: str = SECRET, at: datetime = AT
) -> str:
    with pytest.raises(NotSigned) as caught:
        checked(changes, body, secret, at)
    return caught.value.detail


def test_the_example_of_the_specification_is_accepted() -> None:
    checked()
    assert sign("v1", keys(SECRET)[0], ID, "1614265330", BODY) == SIGNATURE[3:]


@pytest.mark.parametrize(
    "signatures",
    [
        f"v1,bm9ldHU= {SIGNATURE}",
        f"{SIGNATURE} v1,bm9ldHU=",
        f"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {SIGNATURE}",
        f"v2,x {SIGNATURE} v1sm3,x nonsense",
    ],
)
def test_one_good_signature_among_others_is_enough(signatures: str) -> None:
    checked({"webhook-signature": signatures})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"webhook-id": ""}, "webhook-id"),
        ({"webhook-timestamp": " "}, "webhook-timestamp"),
        ({"webhook-signature": ""}, "webhook-signature"),
        ({"webhook-id": "msg_other"}, "签名不符"),
        ({"webhook-id": "x" * 201}, "200"),
        ({"webhook-id": "编号"}, "ASCII"),
        ({"webhook-timestamp": "1614265331"}, "签名不符"),
        ({"webhook-timestamp": "1614265330000"}, "秒数"),
        ({"webhook-timestamp": "2021-02-25T15:02:10Z"}, "秒数"),
        ({"webhook-timestamp": "-1"}, "秒数"),
        ({"webhook-timestamp": "１６１４２６５３３０"}, "秒数"),
        ({"webhook-signature": SIGNATURE[3:]}, "v1,"),
        ({"webhook-signature": "v2," + SIGNATURE[3:]}, "v1,"),
        ({"webhook-signature": "v1,"}, "签名不符"),
        ({"webhook-signature": SIGNATURE[:-1]}, "签名不符"),
        ({"webhook-signature": "v1sm3," + SIGNATURE[3:]}, "签名不符"),
        ({"webhook-signature": "v1,签名"}, "签名不符"),
        ({"webhook-signature": "v1,x " * 16 + SIGNATURE}, "签名不符"),
    ],
)
def test_what_is_not_signed_is_refused_with_the_reason(changes: dict[str, str], word: str) -> None:
    assert word in refusal(changes)


def test_a_changed_body_or_another_secret_is_refused() -> None:
    assert "签名不符" in refusal(body=BODY + b" ")
    assert "签名不符" in refusal(secret="whsec_" + base64.b64encode(b"another" * 4).decode())


@pytest.mark.parametrize(("seconds", "word"), [(301, "早 301 秒"), (-301, "晚 301 秒")])
def test_a_push_is_good_for_five_minutes(seconds: int, word: str) -> None:
    edge = timedelta(seconds=seconds - (1 if seconds > 0 else -1))
    checked(at=AT + edge)
    assert word in refusal(at=AT + timedelta(seconds=seconds))


def test_two_secrets_hold_while_one_is_changed() -> None:
    new = keys("whsec_" + base64.b64encode(b"the new secret of the city").decode())
    old = keys(SECRET)
    for key in (*new, *old):
        made = f"v1,{sign('v1', key, ID, '1614265330', BODY)}"
        verify(stamp({**GIVEN, "webhook-signature": made}), BODY, (*new, *old), AT)
    with pytest.raises(NotSigned):
        verify(stamp(GIVEN), BODY, new, AT)


@pytest.mark.parametrize(("key", "text", "expected"), SM3)
def test_hmac_sm3_is_that_of_the_standard(key: bytes, text: bytes, expected: str) -> None:
    if not signature.sm3_available():
        pytest.skip("OpenSSL is built without SM3")
    assert hmac.new(key, text, lambda: hashlib.new("sm3")).hexdigest() == expected
    assert hmac.digest(key, text, "sm3").hex() == expected


def test_a_signature_by_sm3_is_accepted() -> None:
    if not signature.sm3_available():
        pytest.skip("OpenSSL is built without SM3")
    made = sign("v1sm3", keys(SECRET)[0], ID, "1614265330", BODY)
    checked({"webhook-signature": f"v1sm3,{made}"})
    assert "签名不符" in refusal({"webhook-signature": f"v1,{made}"})


def test_without_sm3_a_sender_is_told_to_use_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "algorithms_available", {"sha256"})
    assert "不支持 SM3" in refusal({"webhook-signature": "v1sm3,x"})
    checked({"webhook-signature": f"v1sm3,x {SIGNATURE}"})


def test_a_secret_is_base64_or_its_own_characters() -> None:
    decoded = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert keys(f" {SECRET}\n") == (decoded,)
    # The libraries of Standard Webhooks decode it with or without its prefix.
    assert keys(SECRET.removeprefix("whsec_")) == (b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", decoded)
    assert keys("一串口令!") == ("一串口令!".encode(),)
    for useless in ("", "  ", "whsec_", "whsec_?", "whsec_密"):
        with pytest.raises(BadSecret) as caught:
            keys(useless)
        assert "?" not in str(caught.value)


@given(
    secret=st.binary(min_size=1, max_size=64),
    number=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200),
    body=st.binary(max_size=200),
    version=st.sampled_from(["v1", "v1sm3"] if signature.sm3_available() else ["v1"]),
    changed=st.binary(max_size=200),
)
def test_what_is_signed_is_accepted_and_nothing_else(
    secret: bytes, number: str, body: bytes, version: str, changed: bytes
) -> None:
    whole = "whsec_" + base64.b64encode(secret).decode()
    made = {
        **GIVEN,
        "webhook-id": number,
        "webhook-signature": f"{version},{sign(version, secret, number, '1614265330', body)}",
    }
    checked(made, body, whole)
    if changed != body:
        refusal(made, changed, whole)


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=30)), st.binary(max_size=20))
def test_no_headers_raise_anything_but_a_refusal(given: dict[str, str], body: bytes) -> None:
    with pytest.raises(NotSigned) as caught:
        verify(stamp(given), body, keys(SECRET), AT)
    caught.value.detail.encode()
