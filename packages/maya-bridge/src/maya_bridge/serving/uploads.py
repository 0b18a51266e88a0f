"""A request's body to samples, within limits and without a file of ours."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from maya_bridge.serving.errors import ApiError

MOST_FIELDS = 200
MOST_FIELD_BYTES = 64 * 1024


class LimitedRequest(Request):
    """A request whose body ends in an error where it is too long, whatever its header claimed."""

    most_bytes: int = 0

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the body."""
        received = 0
        async for chunk in super().stream():
            received += len(chunk)
            if received > self.most_bytes:
                raise too_large(self.most_bytes, close=True)
            yield chunk


def too_large(most_bytes: int, close: bool = False) -> ApiError:
    """Return the error for a body of too many bytes."""
    message = f"a request may have {most_bytes / 2**20:g} MB, and this one is larger"
    return ApiError(413, message, code="request_too_large", param="file", close=close)


@dataclass(frozen=True)
class Form:
    """The fields of a multipart form."""

    data: FormData

    def text(self, name: str, default: str = "") -> str:
        """Return a field's text, surrounding space removed; `default` where it is not sent or empty."""
        value = self.data.get(name)
        if isinstance(value, UploadFile):
            raise ApiError(400, f"`{name}` must be text, got a file", code="invalid_value", param=name)
        return (value or "").strip() or default

    def texts(self, name: str) -> list[str]:
        """Return a list's items, sent as `name[]` or `name`."""
        values = [*self.data.getlist(f"{name}[]"), *self.data.getlist(name)]
        return [value for value in values if isinstance(value, str)]

    def file(self) -> BinaryIO:
        """Return the upload, at its beginning.

        Raises:
            ApiError: 400 where none was sent, or an empty one.
        """
        upload = self.data.get("file")
        if not isinstance(upload, UploadFile):
            raise ApiError(400, "`file` must be an audio file", code="missing_field", param="file")
        if not upload.size:
            raise ApiError(
                400, "`file` is empty, it must be an audio file", code="invalid_audio", param="file"
            )
        return upload.file


async def receive_form(request: Request, most_bytes: int, timeout: float) -> Form:
    """Read a multipart form.

    Starlette keeps an upload in memory, and beyond a megabyte in a temporary file without a name.

    Args:
        request: of which nothing is read yet.
        most_bytes: of the body.
        timeout: seconds for all of it.

    Raises:
        ApiError: 400 for a damaged form, 408 for a slow one, 413 for a large one, 415 for something else.
    """
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "multipart/form-data":
        message = f"the content type must be multipart/form-data, got {kind[:80] or 'none'}"
        raise ApiError(415, message, code="unsupported_media_type")
    claimed = request.headers.get("content-length", "0")
    if claimed.isdecimal() and int(claimed) > most_bytes:
        raise too_large(most_bytes)
    limited = LimitedRequest(request.scope, request.receive)
    limited.most_bytes = most_bytes
    try:
        async with asyncio.timeout(timeout):
            data = await limited.form(max_files=4, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES)
    except TimeoutError:
        message = f"the request was not received within {timeout:g} s"
        raise ApiError(408, message, code="request_timeout", close=True) from None
    return Form(data)
