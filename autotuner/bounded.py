"""An answer's body within a time and a size, whatever the other side sends.

`requests` bounds each wait alone: a server that goes on for ever, byte by byte or as fast as it
can, would hold its reader, or fill the memory that all targets of a daemon share.
"""

from __future__ import annotations

import time

import requests
from urllib3.exceptions import HTTPError

MAX_BYTES = 64 * 2**20  # chosen: 1,000 exposures are 0.3 MB, a large metrics page is 5 MB
PATIENCE = 4  # chosen: a whole answer may take so many times as long as each part of it
_PART_BYTES = 65_536


def read_body(response: requests.Response, timeout_s: float, max_bytes: int = MAX_BYTES) -> bytes:
    """The body of a response asked for with `stream=True`; its connection is usable again.

    Raises requests.RequestException, with the connection closed, for one that is too long, or not
    complete after `PATIENCE` times `timeout_s`.
    """
    end, parts, size = time.monotonic() + PATIENCE * timeout_s, [], 0
    try:
        while part := response.raw.read1(_PART_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise requests.exceptions.ContentDecodingError(
                    f"the answer is longer than {max_bytes / 2**20:g} MiB"
                )
            if time.monotonic() > end:
                raise requests.exceptions.ReadTimeout(
                    f"the answer was not complete after {PATIENCE * timeout_s:g} s"
                )
    except (HTTPError, OSError) as error:
        response.close()
        if isinstance(error, requests.RequestException):
            raise
        raise requests.exceptions.ConnectionError(str(error)) from error
    return b"".join(parts)
