"""Metadata taken out of AVIF, whose boxes point at each other's bytes. Bytes in, bytes out; pure.

Nothing is moved, so that whatever points somewhere still points at the same: boxes that do not make the
picture become free space, and media data that neither a picture nor a frame points at becomes zeros.
Formats: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items), and AV1 Image File Format 1.1.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

_FILE = b""
# What is kept in what. It makes the picture, or says how it is to be shown; which way up, in irot and imir.
_KEPT: Mapping[bytes, frozenset[bytes]] = {
    kind: frozenset(kept.encode().split())
    for kind, kept in {
        _FILE: "ftyp meta moov mdat",
        b"meta": "hdlr pitm iinf iloc iprp iref idat grpl",
        b"iinf": "infe",
        b"iprp": "ipco ipma",
        b"ipco": "ispe pixi colr pasp clap irot imir av1C auxC clli mdcv cclv amve ndwt reve a1op a1lx lsel",
        b"moov": "mvhd trak",
        b"trak": "tkhd edts tref mdia",
        b"mdia": "mdhd hdlr minf",
        b"minf": "vmhd dinf stbl",
        b"stbl": "stsd stts stsc stsz stco co64 stss ctts cslg sgpd sbgp",
        b"stsd": "av01",
        b"av01": "av1C ccst auxi colr pasp clap clli mdcv",
    }.items()
}
# Bytes of a box before those in it, where there are any; iinf's depend on its version.
_BEFORE_CHILDREN = {b"meta": 4, b"stsd": 8, b"av01": 78}
_MAX_PARTS = (
    50_000  # boxes, and ranges that are pointed at: hundreds in pictures of tiles, thousands in films
)
_PICTURES = {b"av01", b"grid", b"iovl", b"iden", b"tmap"}  # types of items
_TRACKS = {b"pict", b"vide", b"auxv"}
_FREE = b"free"
_IN_FILE, _IN_IDAT = 0, 1  # where an item's data lies

type _Range = tuple[int, int]  # of bytes, the end not included


@dataclass(frozen=True, slots=True)
class _Box:
    """`start` of its header, `body` of what follows that, `end` of all."""

    kind: bytes
    start: int
    body: int
    end: int
    children: list["_Box"] = field(default_factory=list)

    def all(self, *path: bytes) -> list["_Box"]:
        found = [self]
        for kind in path:
            found = [child for each in found for child in each.children if child.kind == kind]
        return found

    def one(self, *path: bytes) -> "_Box":
        found = self.all(*path)
        if len(found) != 1:
            raise ValueError(f"There are {len(found)} of {path}.")
        return found[0]


def strip(data: bytes) -> bytes:
    """The file without metadata. Raises ValueError, IndexError or struct.error if it is broken."""
    return _File(data).stripped()


class _File:
    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)
        self._parts = 0
        boxes = self._boxes(_FILE, 0, len(data))
        self._root = _Box(_FILE, 0, 0, boxes[-1].end if boxes else 0, boxes)

    def stripped(self) -> bytes:
        shown = list[_Range]()
        for meta in self._root.all(b"meta"):
            shown += self._items(meta)
        for movie in self._root.all(b"moov"):
            for track in movie.all(b"trak"):
                if self._is_shown(track):
                    shown += self._chunks(track.one(b"mdia", b"minf", b"stbl"))
                else:
                    self._free(track)
                    movie.children.remove(track)
        only_shown = self._only(shown)
        for box in self._root.all(b"mdat") + self._root.all(b"meta", b"idat"):
            self._data[box.body : box.end] = only_shown[box.body : box.end]
        self._free_others(self._root)
        return bytes(self._data[: self._root.end])

    def _only(self, ranges: list[_Range]) -> bytes:
        """The file with zeros wherever none of the ranges is."""
        only = bytearray(self._root.end)
        if not ranges or max(end for _, end in ranges) > len(only):
            raise ValueError("The pictures are not all there.")
        done = 0
        for start, end in sorted(ranges):
            first = max(start, done)
            if first < end:
                only[first:end] = self._data[first:end]
                done = end
        return bytes(only)

    # --- boxes ---

    def _boxes(self, parent: bytes, start: int, end: int) -> list[_Box]:
        boxes = list[_Box]()
        while start < end:
            try:
                boxes.append(self._box(parent, start, end))
            except (ValueError, struct.error):
                if parent == _FILE and boxes:
                    break  # bytes behind the image
                raise
            start = boxes[-1].end
        return boxes

    def _box(self, parent: bytes, start: int, end: int) -> _Box:
        self._count_part()
        size, kind = struct.unpack_from(">I4s", self._data, start)
        body = start + 8
        if size == 1:
            size, body = self._number(body, 8)
        stop = start + size if size else end
        if not body <= stop <= end:
            raise ValueError("A box is longer than what it is in.")
        children = list[_Box]()
        if kind in _KEPT and kind in _KEPT.get(parent, ()):
            before = _BEFORE_CHILDREN.get(kind, 0)
            if kind == b"iinf":
                before = 8 if self._data[body] else 6
            children = self._boxes(kind, body + before, stop)
        return _Box(kind, start, body, stop, children)

    def _free_others(self, parent: _Box) -> None:
        for box in parent.children:
            if box.kind not in _KEPT[parent.kind]:
                self._free(box)
                continue
            self._clear_notes(box)
            if box.kind in _KEPT:
                self._free_others(box)

    def _free(self, box: _Box) -> None:
        self._data[box.start + 4 : box.start + 8] = _FREE
        self._clear(box.body, box.end)

    def _clear_notes(self, box: _Box) -> None:
        """Names that programs give, and the times when the file was made."""
        if box.kind == b"hdlr":
            self._clear(box.body + 24, box.end)
        elif box.kind in {b"mvhd", b"tkhd", b"mdhd"}:
            self._clear(box.body + 4, box.body + (20 if self._data[box.body] else 12))
        elif box.kind == b"av01":
            self._clear(box.body + 42, box.body + 74)

    def _clear(self, start: int, end: int) -> None:
        end = min(end, len(self._data))
        self._data[start:end] = bytes(max(0, end - start))

    def _number(self, at: int, width: int) -> tuple[int, int]:
        """The number, and where the next one begins."""
        if at + width > len(self._data):
            raise ValueError("The file ends too soon.")
        return int.from_bytes(self._data[at : at + width]), at + width

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise ValueError("There are too many parts.")

    # --- items: still pictures ---

    def _items(self, meta: _Box) -> Iterator[_Range]:
        """Where the data of pictures lies. Other items, and previews, become items of no type."""
        pictures = set(self._pictures(meta))
        holder = next(iter(meta.all(b"idat")), None)
        for item, method, start, size in self._extents(meta.one(b"iloc")):
            if item in pictures and method == _IN_FILE:
                yield start, start + size
            elif item in pictures and method == _IN_IDAT and holder:
                yield holder.body + start, min(holder.body + start + size, holder.end)

    def _pictures(self, meta: _Box) -> Iterator[int]:
        previews = set(self._previews(meta))
        for box in meta.one(b"iinf").all(b"infe"):
            version = self._data[box.body]
            if version not in {2, 3}:
                raise ValueError("There is an item without a type.")
            item, at = self._number(box.body + 4, 2 if version == 2 else 4)
            kind, name = slice(at + 2, at + 6), at + 6
            if bytes(self._data[kind]) in _PICTURES and item not in previews:
                yield item
            else:
                self._data[kind] = _FREE
            self._clear(name, box.end)

    def _previews(self, meta: _Box) -> Iterator[int]:
        for box in meta.all(b"iref"):
            width = 4 if self._data[box.body] else 2
            for reference in self._boxes(b"iref", box.body + 4, box.end):
                if reference.kind == b"thmb":
                    yield self._number(reference.body, width)[0]

    def _extents(self, box: _Box) -> Iterator[tuple[int, int, int, int]]:
        """Of each: its item, in what it lies, the offset there and the size."""
        version = self._data[box.body]
        widths, at = self._number(box.body + 4, 2)
        of_offset, of_size, of_base, of_index = (widths >> shift & 15 for shift in (12, 8, 4, 0))
        of_item = 2 if version < 2 else 4
        count, at = self._number(at, of_item)
        for _ in range(count):
            item, at = self._number(at, of_item)
            method, at = self._number(at, 2) if version else (_IN_FILE, at)
            base, at = self._number(at + 2, of_base)
            extents, at = self._number(at, 2)
            for _ in range(extents):
                self._count_part()
                offset, at = self._number(at + of_index if version else at, of_offset)
                size, at = self._number(at, of_size)
                yield item, method & 15, base + offset, size

    # --- tracks: animations ---

    def _is_shown(self, track: _Box) -> bool:
        handler = track.one(b"mdia", b"hdlr")
        return bytes(self._data[handler.body + 8 : handler.body + 12]) in _TRACKS

    def _chunks(self, table: _Box) -> Iterator[_Range]:
        """Where the frames lie; a chunk is some of them in a row."""
        offsets = [each for (each,) in self._entries(table, b"stco", ">I")]
        offsets += [each for (each,) in self._entries(table, b"co64", ">Q")]
        runs = [(first, frames) for first, frames, _ in self._entries(table, b"stsc", ">III")]
        runs.append((len(offsets) + 1, 0))
        if any(first >= following for (first, _), (following, _) in pairwise(runs)) or runs[0][0] != 1:
            raise ValueError("The chunks are not in order.")
        frame = 0
        ends = self._ends(table.one(b"stsz"))
        for (first, frames), (following, _) in pairwise(runs):
            for chunk in range(first, following):
                self._count_part()
                start, size = offsets[chunk - 1], ends(frame + frames) - ends(frame)
                yield start, start + size
                frame += frames

    def _ends(self, box: _Box) -> Callable[[int], int]:
        """How many bytes the first so many frames have."""
        size, at = self._number(box.body + 4, 4)
        if size:
            return lambda frames: frames * size
        sizes = (each for (each,) in struct.iter_unpack(">I", self._data[at + 4 : box.end]))
        return list(accumulate(sizes, initial=0)).__getitem__

    def _entries(self, table: _Box, kind: bytes, form: str) -> Iterator[tuple[int, ...]]:
        for box in table.all(kind):
            count, at = self._number(box.body + 4, 4)
            end = min(at + count * struct.calcsize(form), box.end)
            yield from struct.iter_unpack(form, self._data[at:end])
