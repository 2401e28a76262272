"""Bytes -> Facts: what a received file is, whatever its sender calls it."""

from dataclasses import dataclass, replace

from files import images, sandbox, tracing
from files.detection import detect
from files.errors import InvalidImage
from files.images import ImageFacts
from files.profiles import DECODERS, UploadProfile
from files.receive import Received


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`content_type` is detected; `image` is there if the bytes were decoded as one."""

    content_type: str
    image: ImageFacts | None


@tracing.traced("upload.validate")
def inspect(received: Received, profile: UploadProfile) -> Facts:
    """What the bytes are. Raises InvalidImage and ImageTooLarge where the profile decodes images."""
    if profile.decoders:
        with received.open() as file:
            image = sandbox.run(images.inspect, file, formats=profile.decoders, max_pixels=profile.max_pixels)
        if image is not None:
            return Facts(content_type=image.content_type, image=image)
    detected = detect(received.head)
    if DECODERS.get(detected) in profile.decoders:
        raise InvalidImage(reason=f"it begins like {detected} but cannot be opened")
    return Facts(content_type=detected, image=None)


def check_stripped(before: Facts, after: Facts) -> None:
    """Raises InvalidImage unless the picture is the same, and nothing is recorded of it any more."""
    if before.image is None or after.image != replace(before.image, exif=None):
        raise InvalidImage(reason="it does not look the same without its metadata")
