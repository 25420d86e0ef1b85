"""Colours: whatever a profile says, to sRGB."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from PIL import Image, ImageChops, ImageCms

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Pixels in L, RGB or RGBA and sRGB. A broken or unfit profile never fails an image: it is left out of account."""
    if profile:
        with suppress(Exception):  # anything may be in a profile, and anything may come out of one
            image = _through_profile(image, profile)
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode = _PROFILE_MODES[source.profile.xcolor_space.strip()]
    fits = mode == image.mode or (mode == "RGB" and image.mode in ("L", "RGBA")) or (mode == "L" and _is_grey(image))
    if not fits:
        return image
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "RGB" and _is_identity(transform):
        return image
    result = transform.apply(image.convert(mode))
    if image.mode == "RGBA":
        result.putalpha(image.getchannel("A"))
    return result.convert("L") if image.mode == "L" == mode else result


def _is_grey(image: Image.Image) -> bool:
    """All bands are alike, as those of grey with transparency are once it is RGBA."""
    red, green, blue = image.convert("RGB").split()
    return not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox())


_PROBE = Image.merge(
    "RGB",
    [Image.frombytes("L", (64, 8), bytes((n // 8**band % 8) * 255 // 7 for n in range(512))) for band in range(3)],
)


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Most profiles are sRGB by one name or another: one that moves no colour by more than 2 of 255 is."""
    return max(ImageChops.difference(transform.apply(_PROBE), _PROBE).tobytes()) <= 2
