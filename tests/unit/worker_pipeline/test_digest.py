import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.fronts.errors import ApiError
from autotuner.worker.pipeline.digest import check_digest, parse_digests

BODY = b'{"hello": "world"}'
# The examples of RFC 9530, sections 2 and B.1, are of this body.
SHA_256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


def digest(name: str, body: bytes) -> str:
    actual = hashlib.new(name.replace("-", ""), body).digest()
    return f"{name}=:{base64.b64encode(actual).decode()}:"


def refusal(header: str, body: bytes = BODY) -> ApiError:
    with pytest.raises(ApiError) as caught:
        check_digest(header, body)
    assert (caught.value.status, caught.value.param) == (400, "Content-Digest")
    return caught.value


def test_the_example_of_the_rfc() -> None:
    check_digest(SHA_256, BODY)
    assert refusal(SHA_256, BODY + b"\n").code == "digest_mismatch"


@given(st.binary(max_size=50), st.sampled_from(["sha-256", "sha-512"]))
def test_a_body_matches_its_own_digest_and_no_other(body: bytes, name: str) -> None:
    check_digest(digest(name, body), body)
    error = refusal(digest(name, body), body + b"x")
    assert error.message.startswith(f"Content-Digest: {name} of the body is :")


def test_every_known_digest_must_match() -> None:
    both = f"{digest('sha-256', BODY)}, {digest('sha-512', BODY)}"
    check_digest(both, BODY)
    one_wrong = f"{digest('sha-256', BODY)}, {digest('sha-512', b'other')}"
    assert "sha-512" in refusal(one_wrong).message


@pytest.mark.parametrize("header", ["md5=:AAAA:", "crc32c=:AAAA:", "sha-3-next=:AAAA:, a=::", ""])
def test_unknown_algorithms_are_ignored(header: str) -> None:
    check_digest(header, BODY)


@pytest.mark.parametrize(
    "header",
    [
        "sha-256",
        "sha-256=abc",
        "sha-256=:abc",
        "sha-256=:a b:",
        "sha-256=:A:",
        "sha-256=:AAAA:,",
        ", sha-256=:AAAA:",
        "sha-256=:AAAA: sha-512=:AAAA:",
        "SHA-256=:AAAA:",
        "sha-256=:AAAA:;",
        "=:AAAA:",
    ],
)
def test_a_malformed_header_is_named(header: str) -> None:
    error = refusal(header)
    assert error.code == "invalid_value"
    assert error.message.startswith(f"Content-Digest={header!r}: malformed: give")


def test_parameters_and_missing_padding_are_borne_with() -> None:
    header = f'{SHA_256.replace("=:", ":")};q=1;note="a, b";flag\t,  sha-512=::'
    assert parse_digests(header.replace("sha-256:", "sha-256=:")) == {
        "sha-256": hashlib.sha256(BODY).digest(),
        "sha-512": b"",
    }


def test_of_one_algorithm_twice_the_last_counts() -> None:
    check_digest(f"{digest('sha-256', b'old')}, {digest('sha-256', BODY)}", BODY)


@given(st.text(max_size=40))
def test_any_header_is_either_taken_or_refused(header: str) -> None:
    try:
        digests = parse_digests(header)
    except ApiError:
        digests = {}
    assert all(name in header for name in digests)
