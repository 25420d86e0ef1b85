"""Colours: whatever a profile says, to sRGB."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageChops, ImageCms

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Pixels in L, RGB or RGBA and sRGB. A broken or unfit profile never fails an image: it is left out of account."""
    if profile and (opened := _opened(profile)):
        image = _through_profile(image, *opened)
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def _through_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    transform = _built(profile, mode) if _fits(image, mode) else None
    if transform is None or (mode == "RGB" and _is_identity(transform)):
        return image
    result: Image.Image = transform.apply(image.convert(mode))
    if image.mode == "RGBA":
        result.putalpha(image.getchannel("A"))
    return result.convert("L") if image.mode == "L" == mode else result


# Anything may be in a profile, and anything may come out of littleCMS: what it raises says that the profile is broken.


def _opened(profile: bytes) -> tuple[ImageCms.ImageCmsProfile, str] | None:
    """The profile, and the mode of the pixels that it is for."""
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _PROFILE_MODES.get(opened.profile.xcolor_space.strip())
    except Exception:
        return None
    return (opened, mode) if mode else None


def _built(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform | None:
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        return ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)
    except Exception:
        return None


def _fits(image: Image.Image, mode: str) -> bool:
    fits_colour = mode == "RGB" and image.mode in ("L", "RGBA")
    return mode == image.mode or fits_colour or (mode == "L" and _is_grey(image))


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
