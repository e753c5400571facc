"""Asking a server: https only, no private hosts, and never slower than the limits allow."""

from __future__ import annotations

import functools
import http.client
import io
import logging
import socket
import ssl
import time
import urllib.request
from email.message import Message
from typing import IO, Any, Protocol

from .addresses import AddressPolicy
from .excerpts import excerpt
from .pace import Pace

logger = logging.getLogger(__name__)

_USER_AGENT = "gpen-portrait"


class Response(Protocol):
    """What is used of an answer."""

    status: int
    headers: http.client.HTTPMessage

    def read1(self, n: int, /) -> bytes: ...

    def close(self) -> None: ...


class Client:
    """Opens addresses that the policy allows.

    The usual proxy variables are obeyed. Through a proxy the names and literals are checked, but
    not the peer: that is the proxy, and the proxy resolves the name.

    Args:
        policy: which addresses may be asked.
        context: how certificates are checked; by default as the system does.
    """

    def __init__(
        self, policy: AddressPolicy | None = None, *, context: ssl.SSLContext | None = None
    ) -> None:
        self._policy = policy or AddressPolicy()
        if context is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
        self._context = context

    def open(self, url: str, start: int, pace: Pace) -> Response:
        """Ask for a file from byte ``start`` on.

        Raises:
            AddressError: the address, or one that it leads to, may not be asked.
            urllib.error.HTTPError: the server refuses.
            OSError, http.client.HTTPException, ValueError: no answer, a late one, or nonsense.
        """
        self._policy.check_url(url)
        headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        logger.info("asking %s from byte %d", url, start)
        request = urllib.request.Request(url, headers=headers)
        pace.begin_request()
        response = self._opener(pace).open(request, timeout=pace.next_timeout())
        pace.begin_body()
        return response

    def _opener(self, pace: Pace) -> urllib.request.OpenerDirector:
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(self._policy),
            urllib.request.HTTPErrorProcessor(),
            _HTTPS(self._policy, pace, self._context),
        ):
            opener.add_handler(handler)
        return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that the policy allows."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,  # type: ignore[override]
        newurl: str,
    ) -> urllib.request.Request | None:
        # The base reads the whole body of a redirect, which need not end: closed, it is empty.
        fp.close()
        try:
            self._policy.check_url(newurl)
        except ValueError as error:
            raise type(error)(f"{error}, redirected to {excerpt(newurl)}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class _HTTPS(urllib.request.AbstractHTTPHandler):
    """Opens https connections that are checked and timed."""

    def __init__(self, policy: AddressPolicy, pace: Pace, context: ssl.SSLContext) -> None:
        super().__init__()
        self._connection = functools.partial(_Connection, policy=policy, pace=pace, context=context)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)  # type: ignore[arg-type]

    https_request = urllib.request.AbstractHTTPHandler.do_request_


class _CheckedConnection(http.client.HTTPConnection):
    """A connection that looks at whom it reached before a byte is sent."""

    policy: AddressPolicy
    _through_proxy = False

    def set_tunnel(self, *args: Any, **kwargs: Any) -> None:
        self._through_proxy = True
        super().set_tunnel(*args, **kwargs)

    def connect(self) -> None:
        super().connect()
        if self._through_proxy:
            return
        peer = self.sock.getpeername()[0]
        try:
            self.policy.check_peer(peer)
        except ValueError as error:
            self.close()
            raise type(error)(f"{error}, {self.host} leads to {peer}") from None


class _Connection(http.client.HTTPSConnection, _CheckedConnection):
    """Https over a checked connection: the base connects, then speaks TLS."""

    def __init__(self, host: str, *, policy: AddressPolicy, pace: Pace, **kwargs: Any) -> None:
        super().__init__(host, **kwargs)
        self.policy = policy
        self.response_class = functools.partial(_Answer, pace=pace)  # type: ignore[assignment]


class _Answer(http.client.HTTPResponse):
    """An answer that is read under the clock, headers included."""

    def __init__(self, sock: socket.socket, *args: Any, pace: Pace, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_PacedReader(sock, pace))


class _PacedReader(io.RawIOBase):
    """A socket's bytes; every read gets the time that the clock has left."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self._sock.settimeout(self._pace.next_timeout())
        started = time.monotonic()
        try:
            count = self._raw.readinto(buffer) or 0
        except TimeoutError:
            self._pace.next_timeout()  # names the limit, unless it was the idle one
            raise
        self._pace.count(count, time.monotonic() - started)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
