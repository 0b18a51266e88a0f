"""What came from a client and was not worked on yet: bounded, with audio joined."""

import asyncio
from collections import deque

import numpy as np

from maya_bridge.serving.stream_messages import Command
from maya_bridge.streaming.options import SAMPLING_RATE

MOST_COMMANDS = 256


class Inbox:
    """Commands in order; whoever puts one waits while there is too much audio.

    Args:
        max_seconds: of audio at 16 kHz; one command more than that may be in.
    """

    def __init__(self, max_seconds: float) -> None:
        self._most = max_seconds * SAMPLING_RATE
        self._commands: deque[Command] = deque()
        self._samples = 0
        self._changed = asyncio.Condition()

    async def put(self, command: Command) -> None:
        """Add a command, when there is room."""
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            self._commands.append(command)
            self._samples += len(command.samples)
            self._changed.notify_all()

    async def get(self) -> Command:
        """Take the next command; audio comes with all audio that follows it directly."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._commands))
            first = self._commands.popleft()
            parts = [first.samples]
            while first.kind == "append" and self._commands and self._commands[0].kind == "append":
                parts.append(self._commands.popleft().samples)
            samples = np.concatenate(parts)
            self._samples -= len(samples)
            self._changed.notify_all()
            return Command(first.kind, samples, first.changes)

    def _has_room(self) -> bool:
        return self._samples < self._most and len(self._commands) < MOST_COMMANDS
