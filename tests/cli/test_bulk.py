"""Many images at once, as users have them stored and adopted: folders of real files, real processes that are ended."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from lazycrop import LazyCrop
from lazycrop.cli import bulk
from lazycrop.cli.children import can_have
from lazycrop.errors import StoreUnavailable
from lazycrop.stores.memory import MemoryStore
from servers import HOST, ROOT, eventually

COMMAND = [sys.executable, "-m", "lazycrop"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
NAMES = ("cat {}.png", "Größe {}.png", "für später/Кот {}.png", "a/b/c/🐈 {}.png", "a/100% #{}+.png", "猫{}.png")


def lazycrop(folder: Path, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The finished command, run in ``folder``. Whatever happened, it showed nobody a traceback."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, input=stdin, capture_output=True, text=True, encoding="utf-8", timeout=300
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # Shells have background jobs ignore it.
    )


def counted(output: str) -> tuple[int, ...]:
    """Done, as before, no images, failed."""
    match = re.search(r"([\d,]+) \w+, ([\d,]+) as before, ([\d,]+) no images?, ([\d,]+) failed in [\d.,]+ s\.", output)
    assert match is not None, output
    return tuple(int(number.replace(",", "")) for number in match.groups())


def png(number: int, side: int = 8) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side), (number % 256, number // 256, 99)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def fill(folder: Path, count: int, side: int = 8) -> None:
    for number in range(count):
        write(folder / NAMES[number % len(NAMES)].format(number), png(number, side))


def records(store: Path) -> dict[str, bytes]:
    """What says what each image is, by its path."""
    return {str(path): path.read_bytes() for path in store.rglob("image.json")}


@pytest.mark.parametrize("arguments", [("store", "photos"), ("adopt", "--source", "photos")], ids=["store", "adopt"])
def test_a_folder_is_gone_through_once_and_then_left_as_it_is(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    fill(tmp_path / "photos", 300)
    write(tmp_path / "photos/für später/notes.txt", "größer".encode())
    write(tmp_path / "photos/unknown.kind", b"nothing that anybody knows")
    done = lazycrop(tmp_path, *arguments, "--jobs", "2")
    assert (done.returncode, counted(done.stdout), done.stderr) == (0, (300, 0, 2, 0), "")
    before = records(tmp_path / "images")
    assert len(before) == 300
    again = lazycrop(tmp_path, *arguments)
    assert (again.returncode, counted(again.stdout), again.stderr) == (0, (0, 300, 2, 0), "")
    assert records(tmp_path / "images") == before


@pytest.mark.parametrize("arguments", [("store", "photos"), ("adopt", "--source", "photos")], ids=["store", "adopt"])
def test_what_is_broken_or_too_large_is_named_and_the_others_are_done(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    write(tmp_path / "photos/good.png", png(1))
    write(tmp_path / "photos/cut.png", png(2, 300)[:-400])
    write(tmp_path / "photos/text.jpg", b"no image")
    write(tmp_path / "photos/large.png", png(3) + bytes(9_000))
    write(tmp_path / "photos/film.mp4", bytes(9_000))
    write(tmp_path / "photos/empty.txt", b"")
    done = lazycrop(tmp_path, *arguments, "--download-bytes", "5000")
    assert (done.returncode, counted(done.stdout)) == (1, (1, 0, 2, 3))
    said = sorted(re.sub(r"(\.\w+)?:", ":", line, count=1) for line in done.stderr.splitlines())
    assert [line.partition(".")[0] for line in said] == [
        "cut: The image is broken or cut short; it cannot be decoded to its end",
        "large: The image has more than 5,000 bytes, which is the limit ('download_bytes')",
        "text: The file is no image of a known format; accepted are jpg, png, webp, avif, gif",
    ]


def test_links_to_nothing_fail_and_named_pipes_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "photos/good.png", png(1))
    os.mkfifo(tmp_path / "photos/pipe.png")
    (tmp_path / "photos/gone.png").symlink_to("nowhere.png")
    (tmp_path / "photos/round.png").symlink_to("round.png")
    (tmp_path / "photos/all").symlink_to(".")
    done = lazycrop(tmp_path, "store", "photos")
    assert (done.returncode, counted(done.stdout)) == (1, (1, 0, 1, 2))
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["gone", "round"]
    adopted = lazycrop(tmp_path, "adopt", "--source", "photos", "--store", "sizes")  # What cannot be read is not there.
    assert (adopted.returncode, counted(adopted.stdout), adopted.stderr) == (0, (1, 0, 0, 0), "")


def test_of_several_files_of_one_name_the_first_image_is_stored(tmp_path: Path) -> None:
    for name, data in {
        "cat.png": png(1),
        "cat.txt": b"a cat",
        "cat.xmp": b"<x/>",
        "dog.gif": b"",
        "dog.png": png(2),
    }.items():
        write(tmp_path / "photos" / name, data)
    done = lazycrop(tmp_path, "store", "photos")
    assert (counted(done.stdout), len(done.stderr.splitlines())) == ((2, 0, 2, 1), 1)
    write(tmp_path / "photos/cat.webp", png(3))
    again = lazycrop(tmp_path, "store", "photos")
    assert counted(again.stdout) == (0, 2, 2, 2)
    assert "cat: 'photos/cat.webp' would replace another image of the same id" in again.stderr


def test_a_file_that_has_changed_is_stored_again_and_with_again_all_are(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 4)
    lazycrop(tmp_path, "store", "animals", "photos")
    write(tmp_path / "photos/cat 0.png", png(77))
    assert counted(lazycrop(tmp_path, "store", "animals", "photos").stdout) == (1, 3, 0, 0)
    assert (tmp_path / "images/animals/cat 0/v2/image.json").exists()
    assert counted(lazycrop(tmp_path, "store", "animals", "photos", "--again").stdout) == (4, 0, 0, 0)


def test_an_image_is_stored_again_where_it_is_not_as_private_or_follows_a_source(tmp_path: Path) -> None:
    write(tmp_path / "photos/cat", png(1))
    images = LazyCrop(store=str(tmp_path / "images"), source=str(tmp_path / "photos"), secret="a key", sizes="any")
    assert images.adopt("cat").version == 1
    versions = [images.store_origin("cat", png(1), private=private, again=False).version for private in (False, True)]
    assert versions == [2, 3]
    assert images.store_origin("cat", png(1), private=True, again=False).version == 3
    assert images.store_origin("cat", png(1), private=True).version == 4


def test_the_store_itself_is_no_folder_of_images(tmp_path: Path) -> None:
    write(tmp_path / "cat.png", png(1))
    assert counted(lazycrop(tmp_path, "store", ".").stdout) == (1, 0, 0, 0)
    assert counted(lazycrop(tmp_path, "store", ".").stdout) == (0, 1, 0, 0)
    inside = lazycrop(tmp_path, "store", "images/cat")
    assert (inside.returncode, inside.stdout) == (1, "")
    assert "The folder 'images/cat' is in that of the store" in inside.stderr


def test_a_list_is_stored_several_at_a_time_and_of_two_lines_of_one_id_the_first(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 3)
    lines = "kater 1\tphotos/cat 0.png\r\nGröße\tphotos/Größe 1.png\nkater 1\tphotos/cat 0.png\nREADME\tlist.tsv\n"
    (tmp_path / "list.tsv").write_text(lines, encoding="utf-8-sig", newline="")
    done = lazycrop(tmp_path, "store", "list.tsv", "--jobs", "3")
    assert (done.returncode, counted(done.stdout)) == (1, (2, 0, 1, 1))
    assert "kater 1: 'photos/cat 0.png' would replace" in done.stderr
    assert counted(lazycrop(tmp_path, "store", "-", stdin=lines).stdout) == (0, 2, 1, 1)
    (tmp_path / "list.tsv").write_text(lines, encoding="utf-16")
    other = lazycrop(tmp_path, "store", "list.tsv")
    assert other.returncode == 1
    assert other.stderr == "The file 'list.tsv' is not UTF-8 text; a line is an image id, a tab and a source.\n"


@pytest.mark.parametrize("arguments", [("store", "photos"), ("adopt", "--source", "photos")], ids=["store", "adopt"])
def test_after_a_kill_nothing_is_stored_twice(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    fill(tmp_path / "photos", 200, side=64)
    with started(tmp_path, *arguments, "--jobs", "3") as process:
        eventually(lambda: len(records(tmp_path / "images")) >= 20, what="some are stored")
        process.kill()
        process.communicate()  # Its children, who have its streams, end with it.
    before = records(tmp_path / "images")
    done = lazycrop(tmp_path, *arguments)
    after = records(tmp_path / "images")
    assert done.returncode == 0
    assert counted(done.stdout) == (200 - len(before), len(before), 0, 0)
    assert before.items() <= after.items()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("arguments", [("store", "photos"), ("adopt", "--source", "photos")], ids=["store", "adopt"])
def test_told_to_end_it_ends_what_is_under_way_and_says_how_far_it_came(
    tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, status: int
) -> None:
    fill(tmp_path / "photos", 300, side=64)
    with started(tmp_path, *arguments) as process:
        eventually(lambda: len(records(tmp_path / "images")) >= 10, what="some are stored")
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, "")
    assert output.startswith("Stopped: ") and output.endswith(" Run it again to go on.\n")
    stored, *rest = counted(output)
    assert rest == [0, 0, 0] and stored == len(records(tmp_path / "images")) < 300
    assert list((tmp_path / "images").rglob("-claim-*")) == []


@pytest.mark.parametrize("stored", [0, 10], ids=["as it starts", "at work"])
def test_of_a_child_that_is_killed_one_image_fails_and_the_others_are_done(tmp_path: Path, stored: int) -> None:
    fill(tmp_path / "photos", 120, side=64)
    with started(tmp_path, "store", "photos", "--jobs", "2") as process:
        eventually(lambda: len(records(tmp_path / "images")) >= stored, what="some are stored")
        child = eventually(lambda: children_of(process.pid), what="it has a child")[-1]
        os.kill(child, signal.SIGKILL)
        output, errors = process.communicate(timeout=120)
    done, *others = counted(output)
    assert (process.returncode, others, errors.count("\n")) == (1, [0, 0, 1], 1)
    assert errors.endswith(": The process that worked on it was ended (signal 9); is there enough memory?\n")
    # It may have been killed when it had stored it, and had not said so.
    there = len(records(tmp_path / "images"))
    assert there in (done, done + 1)
    assert counted(lazycrop(tmp_path, "store", "photos").stdout) == (120 - there, there, 0, 0)


def children_of(pid: int) -> list[int]:
    """Those of our own, in the order in which they were started; not what Python starts to clean up after them."""
    listed = subprocess.run(
        ["ps", "-ww", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [int(own) for own, parent, command in rows if int(parent) == pid and "spawn_main" in command]


def test_settings_that_are_objects_stay_in_this_process() -> None:
    assert can_have({"store": "s3://pics/", "sizes": ["90x60"], "public_url": None, "source": Path("media")})
    assert not can_have({"store": MemoryStore()})
    assert not can_have({"store": "memory:"})


def test_all_images_are_warmed_and_what_is_stored_is_skipped(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 12, side=64)
    images = LazyCrop(store=str(tmp_path / "images"), secret="a key")
    assert counted(lazycrop(tmp_path, "store", "photos").stdout) == (12, 0, 0, 0)
    images.store_origin("a", png(70, 64))  # which other images are below
    images.store_origin("a", png(71, 64))
    images.store_origin("secret", png(72, 64), private=True)
    images.store_origin("gone", png(73, 64))
    images.purge("gone")
    flags = ("--presets", "card=30x20-cover")
    done = lazycrop(tmp_path, "warm", "--all", "x10", "--preset", "card", "--jobs", "2", *flags)
    assert (done.returncode, counted(done.stdout), done.stderr) == (0, (14, 0, 1, 0), "")
    sizes = {path.relative_to(tmp_path / "images") for path in (tmp_path / "images").rglob("[3x]*.jpg")}
    assert len(sizes) == 28
    assert {Path("a/v2/30x20-cover.jpg"), Path("-private/secret/x10.jpg"), Path("a/b/c/🐈 3/x10.jpg")} < sizes
    (tmp_path / "images/a/v2/x10.jpg").unlink()
    assert counted(lazycrop(tmp_path, "warm", "--all", "x10", "--preset", "card", *flags).stdout) == (1, 13, 1, 0)


def test_an_image_that_cannot_be_warmed_is_named_and_the_log_of_the_child_says_why(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 12, side=64)
    lazycrop(tmp_path, "store", "photos", "--mezzanine-edges", "none")
    (tmp_path / "images/猫11/origin.png").write_bytes(b"no picture")
    done = lazycrop(tmp_path, "warm", "--all", "x10", "--jobs", "2")
    assert (done.returncode, counted(done.stdout)) == (1, (11, 0, 0, 1))
    [why, named] = done.stderr.splitlines()
    assert why.startswith("jobs fail; the first is store of ") and "no image of a known format" in why
    assert named.startswith("猫11: The job for '猫11/x10.jpg' was not taken, or failed")


def test_a_terminal_shows_one_line_that_is_renewed(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 30)
    write(tmp_path / "photos/text.png", b"no image")
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "store", "photos"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=its
    ) as process:
        os.close(its)
        shown = b"".join(_until_end(ours)).decode()
        assert process.wait(60) == 1
    os.close(ours)
    assert re.search(r"\r\x1b\[Ktext: The file is no image [^\r]*\r\n", shown)
    assert shown.count("\n") == 1
    assert re.search(r"\r\x1b\[K\d+ stored, 0 as before, 0 no images, \d failed in [\d.]+ s\.\r\x1b\[K", shown)


def _until_end(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 4096)
        except OSError:  # It was closed at its other end.
            return


def test_no_more_is_looked_up_than_is_soon_done() -> None:
    begun, ended, most = 0, 0, 0

    def one(hand: object) -> list[bulk.Outcome]:
        nonlocal ended
        ended += 1
        return [bulk.Outcome(bulk.DONE, "")]

    def items() -> Iterable[bulk.Item]:
        nonlocal begun, most
        for begun in range(1, 5_001):
            most = max(most, begun - ended)
            yield bulk.Item("", one)

    bulk.each("done", items(), lambda images: None, {"store": "memory:"}, 2)  # which no other process has
    assert ended == 5_000
    assert most <= 100


def test_as_many_photographs_as_there_are_jobs_are_worked_on_at_once() -> None:
    images = bulk.for_many({"store": "memory:"}, 2)
    assert images.config.limits.pixel_memory >= 2 * 200_000_000  # each of 24 megapixels
    assert bulk.for_many({"store": "memory:", "pixel_memory": "5000"}, 2).config.limits.pixel_memory == 5000


def test_what_is_unavailable_for_a_moment_is_tried_once_more() -> None:
    def do(errors: list[StoreUnavailable]) -> str:
        if errors:
            error = errors.pop()
            error.retry_after = 0
            raise error
        return bulk.DONE

    once, twice = ([StoreUnavailable("The store is not available.")] * times for times in (1, 2))
    assert bulk.outcome("cat.png", partial(do, once), of_any_kind=True).kind == bulk.DONE
    assert bulk.outcome("cat.png", partial(do, twice), of_any_kind=True).reason == "The store is not available."


def test_what_has_changed_at_its_source_is_adopted_again(tmp_path: Path) -> None:
    fill(tmp_path / "media", 6)
    fill(tmp_path / "more", 6)
    flags = ("--sources", f"media={tmp_path / 'media'} more={tmp_path / 'more'}")
    assert counted(lazycrop(tmp_path, "adopt", *flags).stdout) == (12, 0, 0, 0)
    write(tmp_path / "media/a/b/c/🐈 3.png", png(77))
    write(tmp_path / "more/cat 0.png", png(78))
    assert counted(lazycrop(tmp_path, "adopt", "media/a", *flags).stdout) == (1, 1, 0, 0)
    assert counted(lazycrop(tmp_path, "adopt", "media", "more", *flags).stdout) == (1, 11, 0, 0)


def test_names_that_only_a_stored_image_may_not_have_are_adopted(tmp_path: Path) -> None:
    write(tmp_path / "photos/2024/200x100.png", png(1))
    write(tmp_path / f"photos/{'n' * 201}.png", png(2))
    done = lazycrop(tmp_path, "adopt", "--source", "photos")
    assert (done.returncode, counted(done.stdout)) == (1, (1, 0, 0, 1))
    assert "has 205 characters; 200 are allowed" in done.stderr


class Site(ThreadingHTTPServer):
    """The files of a folder; ``asked`` are the names that were asked for, and whether only in part."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, bool]] = []
        super().__init__((HOST, 0), partial(_Handler, directory=str(folder)))


class _Handler(SimpleHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, "Range" in self.headers))
        super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    server = Site(tmp_path / "site")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_site_is_told_the_names_and_what_has_not_changed_is_not_read_again(tmp_path: Path, site: Site) -> None:
    write(tmp_path / "site/2024/Größe 1.png", png(1))
    write(tmp_path / "site/2024/cat.png", png(2))
    for file in (tmp_path / "site/2024").iterdir():
        os.utime(file, (1e9, 1e9))
    flags = ("--sources", f"old=http://{HOST}:{site.server_port}/", "--allow-networks", f"{HOST}/32")
    names = "Größe 1.png\n\ncat.png\ngone.png\n"
    done = lazycrop(tmp_path, "adopt", "old/2024", "-", *flags, stdin=names)
    assert (done.returncode, counted(done.stdout)) == (1, (2, 0, 0, 1))
    assert done.stderr == "old/2024/gone.png: No source has a file 'old/2024/gone.png'.\n"
    assert len([path for path, in_part in site.asked if not in_part and "gone" not in path]) == 2
    site.asked.clear()
    again = lazycrop(tmp_path, "adopt", "old/2024", "-", *flags, stdin=names)
    assert counted(again.stdout) == (0, 2, 0, 1)
    assert len(site.asked) == 3 and all(in_part for _, in_part in site.asked)


def test_a_site_that_is_not_told_names_fails_and_the_other_sources_are_adopted(tmp_path: Path) -> None:
    fill(tmp_path / "media", 2)
    done = lazycrop(tmp_path, "adopt", "--sources", f"old=https://example.com/ media={tmp_path / 'media'}")
    assert (done.returncode, counted(done.stdout)) == (1, (2, 0, 0, 1))
    assert "old: The source https://example.com/ is a site, which cannot list" in done.stderr
    assert "lazycrop adopt old - < names.txt" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["adopt"], 1, "There is nothing to adopt from: set 'source', or name several in 'sources'."),
        (
            ["adopt", "olf", "--sources", "old=photos new=other"],
            1,
            "There is no source 'olf'; 'sources' names old, new.",
        ),
        (["adopt", "nowhere", "--source", "photos"], 1, "nowhere: The source has no such folder, or nothing in it."),
        (["adopt", "--source", "nowhere"], 1, "The source of the image is not available"),
        (["adopt", "-", "old", "--source", "photos"], 2, "Give one SOURCE at most before -"),
        (["adopt", "a", "b", "-", "--source", "photos"], 2, "Give one SOURCE at most before -"),
        (["store", "photos", "--jobs", "0"], 2, "0 is not in the range"),
        (["store", "a", "b", "photos"], 2, "Give an image id and a source."),
        (["warm", "--all"], 2, "Give the id of an image, or --all; and a size, or --preset."),
        (["warm", "cat"], 2, "Give the id of an image, or --all; and a size, or --preset."),
        (["warm", "--all", "--preset", "card"], 1, "'card'"),
        (["warm", "--all", "9000x"], 1, "has a side of 9000 pixels"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_a_sentence(
    tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    write(tmp_path / "photos/cat.png", png(1))
    done = lazycrop(tmp_path, *arguments)
    assert done.returncode == status
    assert words in done.stderr
