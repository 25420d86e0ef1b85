"""Make the pictures of the documentation with the real code: ``python docs/make_sheets.py``.

fits.jpg         what each fit makes of a photograph, and of one that is smaller than the box
gravity.jpg      every fit and every gravity
orientation.jpg  the eight ways to store a picture, and that all of them come out upright
inside.jpg, cover.jpg, contain.jpg, fill.jpg: one photograph in a box of 200x150
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lazycrop.pictures import RenderSettings  # noqa: E402
from lazycrop.render import render  # noqa: E402
from lazycrop.sizes import COMPASS, Size  # noqa: E402

PHOTO = ROOT / "lazycrop" / "demo" / "seeding.jpg"
PICTURES = Path(__file__).with_name("pictures")
SETTINGS = RenderSettings()

MARGIN, CAPTION = 12, 16
PAPER, INK, FRAME = "#ffffff", "#222222", "#e0357a"

# How a camera stores an upright picture, for each value of EXIF's orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def rendered(data: bytes, text: str, format: str = "png") -> Image.Image:
    return Image.open(BytesIO(render(data, Size.parse(text), format, SETTINGS).data))


def jpeg(im: Image.Image, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    im.save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def sheet(cells: list[tuple[str, Image.Image]], columns: int, box: tuple[int, int]) -> Image.Image:
    """The pictures in rows, each centred in a cell with a frame as large as ``box``, its caption below."""
    width, height = box[0] + MARGIN, box[1] + MARGIN + CAPTION
    rows = -(-len(cells) // columns)
    result = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), PAPER)
    draw = ImageDraw.Draw(result)
    for i, (caption, im) in enumerate(cells):
        left, top = MARGIN + i % columns * width, MARGIN + i // columns * height
        at = (left + (box[0] - im.width) // 2, top + (box[1] - im.height) // 2)
        result.paste(im, at, im if im.has_transparency_data else None)
        draw.rectangle((left - 1, top - 1, left + box[0], top + box[1]), outline=FRAME)
        draw.text((left, top + box[1] + 3), caption, fill=INK)
    return result


def fits(photo: bytes) -> Image.Image:
    """Each fit into a box of 160x160: of a photograph, of one of 120x68, and of that one with ``up``."""
    small = jpeg(rendered(photo, "120x120"))
    cells = []
    for name, data, more in (("large", photo, ""), ("small", small, ""), ("small", small, "-up")):
        for fit in ("", "-cover", "-contain-bg9ec5d8", "-fill"):
            text = f"160x160{fit}{more}"
            im = rendered(data, text)
            cells.append((f"{text}: {im.width}x{im.height}", im))
    return sheet(cells, 4, (160, 160))


def gravities(photo: bytes) -> Image.Image:
    """``cover`` (a square, a strip) and ``contain`` at every gravity; ``inside`` and ``fill`` have none."""
    cells = [(text, rendered(photo, text)) for text in ("150x150", "150x150-fill")]
    for gravity in ("", *(f"-{point}" for point in COMPASS), "-f30x40"):
        for box, rest in (("150x150-cover", ""), ("150x50-cover", ""), ("150x150-contain", "-bg9ec5d8")):
            text = f"{box}{gravity}{rest}"
            cells.append((text, rendered(photo, text)))
    return sheet(cells, 8, (150, 150))


def orientations(photo: bytes) -> Image.Image:
    """As stored; below it, all of it and its left part as rendered."""
    upright = rendered(photo, "110x110").convert("RGB")
    large = rendered(photo, "880x880").convert("RGB")
    stored, made, cropped = [], [], []
    for value, how in STORED.items():
        stored.append((f"stored as {value}", turned(upright, how)))
        data = jpeg(turned(large, how), value)
        made.append(("110x", rendered(data, "110x")))
        cropped.append(("80x80-cover-w", rendered(data, "80x80-cover-w")))
    return sheet(stored + made + cropped, 8, (110, 110))


def turned(im: Image.Image, how: Image.Transpose | None) -> Image.Image:
    return im if how is None else im.transpose(how)


def main() -> None:
    photo = PHOTO.read_bytes()
    PICTURES.mkdir(exist_ok=True)
    fits(photo).save(PICTURES / "fits.jpg", quality=85, optimize=True)
    gravities(photo).save(PICTURES / "gravity.jpg", quality=75, optimize=True)
    orientations(photo).save(PICTURES / "orientation.jpg", quality=85, optimize=True)
    for fit in ("inside", "cover", "contain-bg9ec5d8", "fill"):
        size = Size.parse("200x150" if fit == "inside" else f"200x150-{fit}")
        name = fit.partition("-")[0]
        (PICTURES / f"{name}.jpg").write_bytes(render(photo, size, "jpg", SETTINGS).data)


if __name__ == "__main__":
    main()
