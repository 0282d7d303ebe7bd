"""Headers that end at a proxy, and those that pass."""

from __future__ import annotations

from autotuner.proxy.headers import to_client, to_server


def test_a_requests_headers() -> None:
    given = [
        (b"host", b"proxy"), (b"content-length", b"5"), (b"connection", b"keep-alive, x-hop"),
        (b"x-hop", b"1"), (b"te", b"trailers"), (b"accept-encoding", b"gzip"),
        (b"x-request-id", b"a"), (b"accept", b"a"), (b"accept", b"b"),
    ]  # fmt: skip
    passed = to_server(given, "10.0.0.9", observed=True, token=None)
    assert passed == [
        ("x-request-id", "a"), ("accept", "a"), ("accept", "b"), ("X-Forwarded-For", "10.0.0.9"),
    ]  # fmt: skip
    assert ("accept-encoding", "gzip") in to_server(given, None, observed=False, token=None)


def test_the_servers_token_stands_in_for_none() -> None:
    assert to_server([], None, observed=True, token="t") == [("Authorization", "Bearer t")]
    own = [(b"authorization", b"Bearer mine")]
    assert to_server(own, None, observed=True, token="t") == [("authorization", "Bearer mine")]


def test_an_answers_headers() -> None:
    given = [
        (b"Content-Type", b"text/plain"), (b"Content-Length", b"5"), (b"Keep-Alive", b"timeout=5"),
        (b"Transfer-Encoding", b"chunked"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"),
    ]  # fmt: skip
    cookies = [(b"set-cookie", b"a"), (b"set-cookie", b"b")]
    sized = [(b"content-type", b"text/plain"), (b"content-length", b"5"), *cookies]
    assert to_client(given, resized=False) == sized
    assert to_client(given, resized=True) == [sized[0], *cookies]
