"""The published log over HTTP, as C2SP tlog-tiles has it: checkpoint, tiles, entry bundles."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from depin_id.errors import LogError
from verify.http.limits import Budget, Large
from verify.http.problem import Problem, not_found
from verify.leaf import MAX_LEAF
from verify.log.cosigned import CHECKPOINT, WITNESSED
from verify.log.files import read_bounded, read_tile
from verify.log.layout import ENTRIES, TILE_WIDTH, tile_path
from verify.log.note import MAX_NOTE_BYTES

_TILE = re.compile(
    r"tile/(?:(entries)|([0-9]|[1-5][0-9]|6[0-3]))/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?"
)
_MOST = TILE_WIDTH * (2 + MAX_LEAF)
"""Bytes of the largest answer: a bundle of the largest leaves."""
_FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
_FRESH = {"cache-control": "no-cache"}


def parse_tile(path: str) -> tuple[int, int, int] | None:
    """Level (``ENTRIES`` for bundles), index and width that a path names; None for any other."""
    found = _TILE.fullmatch(path)
    if found is None:
        return None
    entries, level, name, width = found.groups()
    index = int(name.replace("x", "").replace("/", ""))
    tile = (ENTRIES if entries else int(level), index, int(width) if width else TILE_WIDTH)
    try:
        # The one spelling: what is opened is named by us, never by the request.
        return tile if tile_path(*tile) == path else None
    except LogError:
        return None


class LogFiles:
    """Answers for what lies in the folder of the log.

    Args:
        folder: of the log. budget: for what is in memory while slow clients read it.
    """

    def __init__(self, folder: Path, budget: Budget) -> None:
        self._folder = folder
        self._budget = budget

    async def checkpoint(self, request: Request) -> Response:
        """The newest signed checkpoint."""
        return await self._note(CHECKPOINT, "there is no checkpoint yet")

    async def witnessed(self, request: Request) -> Response:
        """The newest checkpoint that enough witnesses have cosigned."""
        return await self._note(WITNESSED, "no checkpoint is cosigned by enough witnesses yet")

    async def _note(self, name: str, otherwise: str) -> Response:
        data = await asyncio.to_thread(read_bounded, self._folder / name, MAX_NOTE_BYTES)
        if data is None:
            raise Problem(404, "log.unpublished", otherwise, retry_s=2, headers=_FRESH)
        return Response(data, headers=_FRESH, media_type="text/plain; charset=utf-8")

    async def tile(self, request: Request) -> Response:
        """A tile or an entry bundle, whole or partial."""
        tile = parse_tile("tile/" + request.path_params["path"])
        if tile is None:
            raise not_found()
        self._budget.take(_MOST)
        try:
            data = await asyncio.to_thread(self._read, *tile)
        except BaseException:
            self._budget.give_back(_MOST)
            raise
        if data is None:
            self._budget.give_back(_MOST)
            raise Problem(
                404,
                "log.no_tile",
                "the log has no such tile",
                hint="read the checkpoint: it says how far the log goes",
                headers=_FRESH,
            )
        return Large(data, self._budget, _MOST, headers=_FOREVER)

    def _read(self, level: int, index: int, width: int) -> bytes | None:
        try:
            return read_tile(self._folder, level, index, width)
        except LogError as error:
            if error.code == "log.tile":
                return None
            raise
