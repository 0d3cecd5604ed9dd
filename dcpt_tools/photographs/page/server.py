"""What keeps the page on this machine: no analytics, no other host's name, nothing loaded from elsewhere; for app."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # as Gradio's page needs them
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
LOCAL = ("127.0.0.1", "localhost")
Message = MutableMapping[str, Any]


def silence() -> None:
    """Switch off what Gradio and its hub tell their makers; to be called before Gradio is imported."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1")


class OnlyHere:
    """Middleware (ASGI): answers requests that name this machine, and forbids browsers to load from others.

    A page of another site could give its own name this machine's address; its requests come with that name and are
    refused.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        if host.rpartition(":")[0] not in LOCAL and host not in LOCAL:
            await send({"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"text/plain")]})
            return await send({"type": "http.response.body", "body": b"This page answers to 127.0.0.1 and localhost."})

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        return await self.app(scope, receive, guarded)
