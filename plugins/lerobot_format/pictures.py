"""The cameras of a set: which file and frame each row needs, and the pictures themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from rl.api import Feature, InputError
from rl.plugins.lerobot_format import pairing, tables
from rl.plugins.lerobot_format.metadata import Column
from rl.plugins.lerobot_format.paths import inside
from rl.plugins.lerobot_format.video import Decoders, read_picture, to_rgb

if TYPE_CHECKING:
    from rl.plugins.lerobot_format.reader import LeRobotReader

Size = tuple[int, int]
_NAMED = 4  # missing files listed in a message


class Pictures:
    """Frames of all cameras of one reader. Decoders belong to the process that opened them."""

    def __init__(self, reader: LeRobotReader) -> None:
        self.reader = reader
        self._decoders = Decoders(reader.root, reader.declared.fps, reader.config.decoders)
        self._plans: dict[tuple[str, str], pairing.Plan] = {}
        self._in_file: dict[str, dict[str, list[int]]] = {}
        self._reformatter = VideoReformatter()

    # --- plans

    def files(self, camera: str) -> dict[str, list[int]]:
        """Video files of a camera -> places in `episode_rows` of the episodes in each."""
        if camera not in self._in_file:
            found: dict[str, list[int]] = defaultdict(list)
            for position, row in enumerate(self.reader.episode_rows):
                if self.reader.table.lengths[position]:
                    found[row.videos[camera].file].append(position)
            self._in_file[camera] = dict(found)
        return self._in_file[camera]

    def _parts(self, camera: str, relative: str) -> list[pairing.Part]:
        return [self.reader.part(position, camera) for position in self.files(camera)[relative]]

    def _plan(self, camera: str, relative: str) -> pairing.Plan:
        key = (camera, relative)
        if key not in self._plans:
            stream = self._decoders.get(relative)
            self._plans[key] = pairing.plan(relative, stream, self._parts(camera, relative), self.reader.declared.fps)
        return self._plans[key]

    def suspicions(self, notes: list[str]) -> dict[int, str]:
        """Episodes to refuse, looked for only where rows or metadata give cause; absent files refuse nothing here."""
        refused: dict[int, str] = {}
        absent = []
        for camera in self.reader.declared.videos:
            for relative in self.files(camera):
                if not self._present(relative):
                    absent.append(relative)
                    continue
                parts = self._parts(camera, relative)
                if any(p.pairing == "order" for p in parts) or pairing.misplaced(parts, self.reader.declared.fps):
                    refused |= self._suspect(camera, relative, parts, notes)
        if absent:
            notes.append(f"{len(absent)} video files are missing (first: {absent[0]}); rows can be read, frames cannot")
        return refused

    def _present(self, relative: str) -> bool:
        return inside(self.reader.root, relative).is_file()

    def _suspect(self, camera: str, relative: str, parts: Sequence[pairing.Part], notes: list[str]) -> dict[int, str]:
        with self._decoders.lock:
            try:
                found = self._plan(camera, relative)
            except InputError as error:
                return {p.episode: str(error) for p in parts}
        notes += found.notes
        return found.refused

    def measured(self, notes: list[str]) -> dict[str, Feature]:
        """Camera features at the size that the first present video really has, where it differs."""
        changed = {}
        for camera in self.reader.declared.videos:
            feature = self.reader.declared.columns[camera].feature
            relative = next((f for f in self.files(camera) if self._present(f)), None)
            if relative is None:
                continue
            with self._decoders.lock:
                try:
                    size = self._decoders.get(relative).size
                except InputError as error:
                    notes.append(str(error))
                    continue
            if size != feature.shape[:2]:
                notes.append(f"feature '{camera}' is declared {feature.shape[:2]}, its video is {size}; that counts")
                changed[camera] = replace(feature, shape=(*size, feature.shape[2]))
        return changed

    def check(self, cameras: Sequence[str], episodes: Sequence[int]) -> Sequence[str]:
        """See `LeRobotReader.check_frames`."""
        wanted = set(episodes)
        notes: list[str] = []
        self._decoders.check_process()
        for camera in cameras:
            if self._column(camera).stored != "video":
                continue
            needed = [
                relative
                for relative, positions in self.files(camera).items()
                if wanted & {self.reader.episode_rows[p].index for p in positions}
            ]
            self._refuse_missing(camera, needed)
            for relative in needed:
                notes += self._check_file(camera, relative, wanted)
        return tuple(dict.fromkeys(notes))

    def _refuse_missing(self, camera: str, needed: Sequence[str]) -> None:
        missing = [relative for relative in needed if not self._present(relative)]
        if missing:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise InputError(
                f"video files are missing: {', '.join(missing[:_NAMED])}{more}",
                where=f"{self.reader.root}: {camera}",
                todo="copy them there, or leave the camera out",
            )

    def _check_file(self, camera: str, relative: str, wanted: set[int]) -> list[str]:
        with self._decoders.lock:
            try:
                found = self._plan(camera, relative)
                size = self._decoders.get(relative).size
            except InputError as error:
                touched = [p.episode for p in self._parts(camera, relative) if p.episode in wanted]
                raise InputError(
                    error.what, where=error.where, todo=f"leave out {_episodes(touched)} or copy the file again"
                ) from None
        for episode, why in found.refused.items():
            if episode in wanted:
                raise InputError(f"episode {episode}: {why}", where=camera, todo=f"leave out episode {episode}")
        feature = self.reader.info.features[camera]
        if size != feature.shape[:2]:
            raise InputError(f"has pictures of {size}, other files have {feature.shape[:2]}", where=relative)
        return found.notes

    # --- pictures

    def _column(self, camera: str) -> Column:
        column = self.reader.declared.columns.get(camera)
        if column is None or column.feature.kind != "image":
            raise InputError("is no camera of the set", where=f"feature {camera}")
        return column

    def frames(self, camera: str, rows: NDArray[np.int64], size: Size | None) -> NDArray[Any]:
        """See `LeRobotReader.frames`; `rows` are checked."""
        column = self._column(camera)
        if column.depth is not None:
            raise InputError("is a depth map, which this version does not decode", where=f"feature {camera}")
        native = self.reader.info.features[camera].shape[:2]
        unique, back = np.unique(rows, return_inverse=True)
        out = np.empty((len(unique), *(size or native), 3), np.uint8)

        def place(at: int, image: NDArray[np.uint8]) -> None:
            if image.shape != out.shape[1:]:
                raise InputError(
                    f"has {image.shape[:2]}, the camera has {native}", where=f"{camera}, row {int(unique[at])}"
                )
            out[at] = image

        self._decoders.check_process()
        with self._decoders.lock:
            if column.stored == "video":
                self._from_videos(camera, unique, size, place)
            else:
                self._from_parquet(camera, column, unique, size, place)
        return out if len(unique) == len(rows) and (np.diff(back) == 1).all() else out[back]

    def _from_videos(
        self, camera: str, rows: NDArray[np.int64], size: Size | None, place: Callable[[int, NDArray[np.uint8]], None]
    ) -> None:
        table = self.reader.table
        positions = np.searchsorted(table.starts + table.lengths, rows, side="right")
        by_file: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
        at = np.arange(len(rows))
        for position in np.unique(positions).tolist():
            by_file[self.reader.episode_rows[position].videos[camera].file].append(at[positions == position])
        self._refuse_missing(camera, [f for f in by_file if f not in self._decoders])
        for relative, groups in by_file.items():
            mine = np.concatenate(groups)
            numbers = self._numbers(camera, relative, rows[mine], positions[mine])
            order = np.argsort(numbers, kind="stable")
            wanted, first = np.unique(numbers[order], return_index=True)
            takers = {int(n): mine[order[a:b]] for n, a, b in zip(wanted, first, [*first[1:], len(order)], strict=True)}

            def sink(number: int, image: NDArray[np.uint8], takers: dict[int, Any] = takers) -> None:
                for taker in takers[number]:
                    place(int(taker), image)

            try:
                self._decoders.get(relative).decode(wanted, size, sink)
            except InputError:
                self._decoders.drop(relative)
                raise

    def _numbers(
        self, camera: str, relative: str, rows: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Frame numbers in the file for rows of the episodes at `positions`."""
        found = self._plan(camera, relative)
        numbers = np.empty(len(rows), np.int64)
        for position in np.unique(positions).tolist():
            episode = self.reader.episode_rows[position].index
            if episode not in found.frames:
                raise InputError(f"episode {episode}: {found.refused.get(episode, 'is refused')}", where=camera)
            here = positions == position
            numbers[here] = found.frames[episode][rows[here] - self.reader.table.starts[position]]
        return numbers

    def _from_parquet(
        self,
        camera: str,
        column: Column,
        rows: NDArray[np.int64],
        size: Size | None,
        place: Callable[[int, NDArray[np.uint8]], None],
    ) -> None:
        files, within = self.reader.table.places(rows)
        for at, (file, row) in enumerate(zip(files.tolist(), within.tolist(), strict=True)):
            relative = self.reader.table.files[file]
            group, first = self.reader.group(relative, camera, row)
            where = f"{relative}, column {camera}, row {row}"
            if column.stored == "array":
                frame = self._array_frame(group.slice(row - first, 1), column, where)
            else:
                frame = read_picture(self._picture_bytes(group[row - first].as_py(), where), where)
            place(at, to_rgb(self._reformatter, frame, size))

    def _array_frame(self, value: Any, column: Column, where: str) -> Any:
        pixels = tables.numbers(value, column.size, where).reshape(column.declared)
        if column.declared[2] not in (1, 3, 4) or column.declared[:2] != column.feature.shape[:2]:
            pixels = pixels.transpose(1, 2, 0)
        if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 255:
            raise InputError("holds numbers that are no levels 0..255", where=where)
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels.astype(np.uint8)), format="rgb24")

    def _picture_bytes(self, value: Any, where: str) -> bytes:
        if isinstance(value, bytes):
            return value
        if not isinstance(value, dict):
            raise InputError("holds no picture", where=where)
        if isinstance(value.get("bytes"), bytes):
            return bytes(value["bytes"])
        path = value.get("path")
        if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError("holds neither bytes nor a path inside the set", where=where)
        file = inside(self.reader.root, path)
        if not file.is_file() or file.stat().st_size > 1 << 28:
            raise InputError(f"names {path}, which is no picture file", where=where)
        return file.read_bytes()


def _episodes(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(n) for n in numbers[:_NAMED])
    return f"episodes {shown}{' ...' if len(numbers) > _NAMED else ''}" if len(numbers) > 1 else f"episode {shown}"
