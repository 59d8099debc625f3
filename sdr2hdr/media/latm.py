"""Raw AAC from LATM in LOAS, the wrapping of broadcasts (ISO/IEC 14496-3 1.7.2 and 1.7.3).

MP4 and Matroska hold raw AAC frames and a separate AudioSpecificConfig. Nothing is decoded: the bits of each frame are
moved to a byte's edge.
"""

_SYNC = 0x2B7  # 11 bits, then 13 bits of length
_GENERAL_AUDIO = {1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23}  # object types with a GASpecificConfig


class LatmError(ValueError):
    """What is not LATM, is damaged, or has several programs or layers in one stream."""


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._size, self.at = int.from_bytes(data, "big"), 8 * len(data), 0

    def take(self, count: int) -> int:
        self.at += count
        if self.at > self._size:
            raise LatmError("the element ends too early")
        return self._value >> (self._size - self.at) & ((1 << count) - 1)

    def take_bytes(self, count: int) -> bytes:
        return self.take(8 * count).to_bytes(count, "big")

    def value(self) -> int:
        """``LatmGetValue`` (1.7.3.1 table 1.44)."""
        return self.take(8 * (self.take(2) + 1))


class LatmReader:
    """Reads one stream, element by element: an element may rely on the configuration of an earlier one.

    ``config`` is the AudioSpecificConfig of the newest element; empty before the first.
    """

    def __init__(self) -> None:
        self.config = b""
        self._subframes = 1
        self._length: int | None = (
            None  # bytes of a frame, where all have the same; None: each says its own
        )

    def frames(self, data: bytes) -> list[bytes]:
        """The raw AAC frames in a packet of LOAS elements. Raises LatmError."""
        frames: list[bytes] = []
        at = 0
        while at + 3 <= len(data):
            head = int.from_bytes(data[at : at + 3], "big")
            size = head & 0x1FFF
            if head >> 13 != _SYNC or at + 3 + size > len(data):
                raise LatmError("there is no LOAS element")
            frames += self._element(_Bits(data[at + 3 : at + 3 + size]))
            at += 3 + size
        return frames

    def _element(self, bits: _Bits) -> list[bytes]:
        """``AudioMuxElement(1)``."""
        if not bits.take(1):
            self._configure(bits)
        if not self.config:
            return []  # joined in the middle: no configuration yet
        frames = []
        for _ in range(self._subframes):
            length = self._length
            if length is None:
                length = 0
                while (part := bits.take(8)) == 255:
                    length += 255
                length += part
            frames.append(bits.take_bytes(length))
        return frames

    def _configure(self, bits: _Bits) -> None:
        """``StreamMuxConfig``."""
        version = bits.take(1)
        if version and bits.take(1):
            raise LatmError("audioMuxVersionA 1 is reserved")
        if version:
            bits.value()  # taraBufferFullness
        bits.take(1)  # allStreamsSameTimeFraming: one stream has one framing
        self._subframes = bits.take(6) + 1
        if bits.take(4) or bits.take(3):
            raise LatmError("it has several programs or layers")
        if version:
            length = bits.value()
            self.config = (bits.take(length) << -length % 8).to_bytes((length + 7) // 8, "big")
        else:
            start = bits.at
            _skip_config(bits)
            length = bits.at - start
            bits.at = start
            self.config = (bits.take(length) << -length % 8).to_bytes((length + 7) // 8, "big")
        kind = bits.take(3)  # frameLengthType
        if kind == 0:
            bits.take(8)  # latmBufferFullness
            self._length = None
        elif kind == 1:
            self._length = bits.take(9) + 20
        else:
            raise LatmError("it is not AAC")
        _skip_rest(bits, version)


def _skip_rest(bits: _Bits, version: int) -> None:
    """Passes what a ``StreamMuxConfig`` says of other data and of a checksum."""
    if bits.take(1):  # otherDataPresent
        if version:
            bits.value()
        else:
            while bits.take(1):
                bits.take(8)
            bits.take(8)
    if bits.take(1):  # crcCheckPresent
        bits.take(8)


def _skip_config(bits: _Bits) -> None:
    """Passes an ``AudioSpecificConfig`` (1.6.2.1), which does not say how long it is."""
    kind = _object_type(bits)
    channels = _rate_and_channels(bits)
    if kind in (5, 29):  # SBR and PS, told of beforehand
        if bits.take(4) == 15:
            bits.take(24)
        kind = _object_type(bits)
    if kind not in _GENERAL_AUDIO or not channels:
        raise LatmError(f"audio object type {kind} with {channels} channels is not known here")
    bits.take(1)  # frameLengthFlag
    if bits.take(1):  # dependsOnCoreCoder
        bits.take(14)
    extended = bits.take(1)
    if kind in (6, 20):
        bits.take(3)
    if extended:
        bits.take({22: 16, 17: 3, 19: 3, 20: 3, 23: 3}.get(kind, 0) + 1)
    if kind >= 17:
        bits.take(2)  # epConfig


def _object_type(bits: _Bits) -> int:
    kind = bits.take(5)
    return 32 + bits.take(6) if kind == 31 else kind


def _rate_and_channels(bits: _Bits) -> int:
    if bits.take(4) == 15:
        bits.take(24)
    return bits.take(4)
