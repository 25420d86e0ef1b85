"""Make the pictures of the documentation with the real code: ``python docs/make_sheets.py``.

sizes.jpg        four sizes of one photograph, for the start page
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

from lazycrop.model.sizes import COMPASS, Size  # noqa: E402
from lazycrop.pictures.render import render  # noqa: E402
from lazycrop.pictures.settings import Limits, Recipe  # noqa: E402

PHOTO = ROOT / "lazycrop" / "playground" / "seeding.jpg"
PICTURES = Path(__file__).with_name("pictures")
SETTINGS = (Recipe(), Limits())

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


def rendered(data: bytes, text: str) -> Image.Image:
    return Image.open(BytesIO(render(data, Size.parse(text), "png", *SETTINGS).data)).convert("RGB")


def jpeg(im: Image.Image, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    im.save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


def turned(im: Image.Image, how: Image.Transpose | None) -> Image.Image:
    return im if how is None else im.transpose(how)


Cell = tuple[str, Image.Image]


def sheet(rows: list[list[Cell]], box: tuple[int, int]) -> Image.Image:
    """The pictures in rows, each centred in a frame as large as ``box``, its caption below."""
    width, height = box[0] + MARGIN, box[1] + MARGIN + CAPTION
    result = Image.new("RGB", (max(map(len, rows)) * width + MARGIN, len(rows) * height + MARGIN), PAPER)
    draw = ImageDraw.Draw(result)
    for y, row in enumerate(rows):
        for x, (caption, im) in enumerate(row):
            left, top = MARGIN + x * width, MARGIN + y * height
            result.paste(im, (left + (box[0] - im.width) // 2, top + (box[1] - im.height) // 2))
            draw.rectangle((left - 1, top - 1, left + box[0], top + box[1]), outline=FRAME)
            draw.text((left, top + box[1] + 3), caption, fill=INK)
    return result


def fits(photo: bytes) -> Image.Image:
    """Each fit into a box of 160x160: of a photograph, of a small one, and of the small one with ``up``."""
    small = jpeg(rendered(photo, "120x120"))
    rows = []
    for data, more in ((photo, ""), (small, ""), (small, "-up")):
        made = {fit: rendered(data, f"160x160{fit}{more}") for fit in ("", "-cover", "-contain-bgccc", "-fill")}
        rows.append([(f"160x160{fit}{more}: {im.width}x{im.height}", im) for fit, im in made.items()])
    return sheet(rows, (160, 160))


def sizes(photo: bytes) -> Image.Image:
    """A row of pictures, each with its size below."""
    made = {
        text: rendered(photo, text) for text in ("200x", "150x150-cover", "100x150-cover-e", "200x150-contain-bg246b4c")
    }
    result = Image.new(
        "RGB", (sum(im.width + MARGIN for im in made.values()) + MARGIN, 150 + 2 * MARGIN + CAPTION), PAPER
    )
    left = MARGIN
    for text, im in made.items():
        result.paste(im, (left, MARGIN + 150 - im.height))
        ImageDraw.Draw(result).text((left, MARGIN + 153), text, fill=INK)
        left += im.width + MARGIN
    return result


def gravities(photo: bytes) -> Image.Image:
    """``inside`` and ``fill``, which have no gravity; ``cover`` (square, flat) and ``contain`` at every one."""
    gravities = ["", *(f"-{point}" for point in COMPASS), "-f30x40"]
    rows = [["140x140", "140x140-fill"]]
    rows += [[f"140x140-cover{gravity}" for gravity in gravities]]
    rows += [[f"140x48-cover{gravity}" for gravity in gravities]]
    rows += [[f"140x140-contain{gravity}-bgccc" for gravity in gravities]]
    return sheet([[(text, rendered(photo, text)) for text in row] for row in rows], (140, 140))


def orientations(photo: bytes) -> Image.Image:
    """As stored; below it, all of it and its left part as rendered."""
    upright, large = rendered(photo, "110x110"), rendered(photo, "880x880")
    rows: list[list[Cell]] = [[(f"stored as {value}", turned(upright, how)) for value, how in STORED.items()]]
    stored = [jpeg(turned(large, how), value) for value, how in STORED.items()]
    rows += [[(text, rendered(data, text)) for data in stored] for text in ("110x", "80x80-cover-w")]
    return sheet(rows, (110, 110))


def main() -> None:
    photo = PHOTO.read_bytes()
    PICTURES.mkdir(exist_ok=True)
    sizes(photo).save(PICTURES / "sizes.jpg", quality=85, optimize=True)
    fits(photo).save(PICTURES / "fits.jpg", quality=85, optimize=True)
    gravities(photo).save(PICTURES / "gravity.jpg", quality=75, optimize=True)
    orientations(photo).save(PICTURES / "orientation.jpg", quality=85, optimize=True)
    for fit in ("inside", "cover", "contain-bgccc", "fill"):
        size = Size.parse("200x150" if fit == "inside" else f"200x150-{fit}")
        name = fit.partition("-")[0]
        (PICTURES / f"{name}.jpg").write_bytes(render(photo, size, "jpg", *SETTINGS).data)


if __name__ == "__main__":
    main()
