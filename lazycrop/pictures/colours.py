"""Colours: whatever a profile says, to sRGB."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image, ImageChops, ImageCms

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Pixels in L, RGB or RGBA and sRGB. A broken or unfit profile never fails an image: it is left out of account."""
    if profile and (found := _transform(image, profile)):
        image = _transformed(image, *found)
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def _transform(image: Image.Image, profile: bytes) -> tuple[ImageCms.ImageCmsTransform, str] | None:
    """What the profile does to pixels, and the mode that they must have; None when it does nothing, or does not fit."""
    try:  # Calls into littleCMS alone: anything may be in a profile, and anything may come out of one.
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = source.profile.xcolor_space.strip()
    except Exception:
        return None
    mode = _PROFILE_MODES.get(space)
    if mode is None or not _fits(image, mode):
        return None
    try:
        transform = _built(source, mode)
        same = mode == "RGB" and _is_identity(transform)
    except Exception:
        return None
    return None if same else (transform, mode)


def _built(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)


def _fits(image: Image.Image, mode: str) -> bool:
    fits_colour = mode == "RGB" and image.mode in ("L", "RGBA")
    return mode == image.mode or fits_colour or (mode == "L" and _is_grey(image))


def _transformed(image: Image.Image, transform: Any, mode: str) -> Image.Image:
    result: Image.Image = transform.apply(image.convert(mode))
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
