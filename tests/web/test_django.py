"""Django: a project with an ImageField gets lazy sizes by settings and templates alone."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Base
from frameworks import setup_django
from lazycrop import BadImageId, ConfigurationError, LazyCrop, UnknownImage
from lazycrop.stores.memory import MemoryStore
from servers import S3

setup_django()

from django import forms  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.files.base import ContentFile, File  # noqa: E402
from django.core.files.uploadedfile import SimpleUploadedFile  # noqa: E402
from django.core.management import CommandError, call_command, execute_from_command_line  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.template import Context, Engine, TemplateSyntaxError  # noqa: E402
from django.test import Client, RequestFactory, override_settings  # noqa: E402
from django.urls import include, path  # noqa: E402

import django_lazycrop  # noqa: E402
from django_lazycrop.checks import check_images  # noqa: E402
from django_lazycrop.forms import validate_picture  # noqa: E402
from django_lazycrop.serving import image  # noqa: E402
from django_project.models import Photo  # noqa: E402

SIZES = ["60x40-cover", "60x40-cover@2x", "100x"]
Project = Callable[..., Path]


def picture(colour: str = "red", size: tuple[int, int] = (300, 200)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _database() -> Iterator[None]:
    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connections.close_all()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Starts the project with these settings of lazycrop; gives the folder of its media."""
    with ExitStack() as stack:

        def start(middleware: bool = False, urls: Any = "django_project.urls", storage: Any = None, **own: Any) -> Path:
            media = tmp_path / "media"
            media.mkdir(exist_ok=True)
            given = {"store": str(tmp_path / "sizes"), "source": "default", "sizes": SIZES, "broker": "inline", **own}
            first = ["django_lazycrop.middleware"] if middleware else []
            from django_project import settings as plain

            changed = {"LAZYCROP": given, "MEDIA_ROOT": str(media), "ROOT_URLCONF": urls}
            if storage is not None:
                changed["STORAGES"] = {**plain.STORAGES, "default": storage}
            stack.enter_context(override_settings(**changed, MIDDLEWARE=[*first, *plain.MIDDLEWARE]))
            return media

        yield start
        with suppress(ConfigurationError):
            django_lazycrop.get_images().close()
        Photo.objects.all().delete()


def render(template: str, **context: Any) -> str:
    engine = Engine(libraries={"lazycrop": "django_lazycrop.templatetags.lazycrop"})
    return str(engine.from_string("{% load lazycrop %}" + template).render(Context(context)))


def body_of(response: Any) -> bytes:
    body = b"".join(response.streaming_content) if response.streaming else response.content
    response.close()
    return bytes(body)


@pytest.mark.parametrize("middleware", [False, True])
def test_fifty_files_that_were_there_before_get_sizes_by_settings_and_a_template_alone(
    project: Project, middleware: bool
) -> None:
    media = project(middleware)
    (media / "photos").mkdir()
    for number in range(50):
        name = f"photos/Größe {number}.jpg"
        (media / name).write_bytes(picture())
        Photo.objects.create(name=f"photo {number}", file=name)
    before = {path: path.stat().st_mtime_ns for path in media.rglob("*")}
    page = body_of(Client().get("/")).decode()
    sources = re.findall(r'<img src="([^"]*)"', page)
    assert len(sources) == 50 and "%C3%B6%C3%9Fe%2049.jpg/60x40-cover.auto" in sources[-1]
    for src in sources:
        response = Client().get(unescape(src))
        assert response.status_code == 200
        assert Image.open(io.BytesIO(body_of(response))).size == (60, 40)
    assert {path: path.stat().st_mtime_ns for path in media.rglob("*")} == before
    assert 'width="60" height="40"' in body_of(Client().get("/")).decode()


def test_a_tag_takes_a_file_of_a_row_a_url_and_an_image_id(project: Project) -> None:
    project()
    photo = Photo(name="cat")
    photo.file.save("cat #1.jpg", ContentFile(picture()))
    images = django_lazycrop.get_images()
    url = "/img/photos/cat_1.jpg/100x.jpg"
    for given in (photo.file, photo.file.url, f"{photo.file.url}?a#b", photo.file.name):
        assert render('{% lazycrop_url given "100x" %}', given=given) == url
    images.store_origin(42, picture())
    assert render('{% lazycrop_url 42 "100x" %}') == "/img/42/100x.jpg"
    shown = render('{% lazycrop_picture 42 "60x40-cover" widths="100x" formats="png webp" class_="a" %}')
    assert re.findall('type="image/([a-z]+)"', shown) == ["png", "webp"]
    assert 'class="a"' in shown and "/img/42/100x.png 100w" in shown
    assert render('{% lazycrop_srcset 42 "100x" %}') == "/img/42/100x.auto 100w"
    with pytest.raises(BadImageId):
        render('{% lazycrop_url "https://elsewhere.example/cat.jpg" "100x" %}')


def test_a_row_without_a_picture_shows_the_fallback(project: Project) -> None:
    project(fallback_url="/none.png")
    for given in (Photo(name="none").file, None, "https://elsewhere.example/cat.jpg", "gone.jpg"):
        assert 'src="/none.png"' in render('{% lazycrop_img given "60x40-cover" %}', given=given)


def test_a_block_shows_something_else_where_there_is_no_picture(project: Project) -> None:
    project()
    photo = Photo(name="cat")
    photo.file.save("cat.jpg", ContentFile(picture()))
    block = (
        '{% lazycrop given size format="webp" as shown %}{{ shown }} {{ shown.url }} '
        "{{ shown.width }}x{{ shown.height }}{% empty %}none{% endlazycrop %}"
    )
    django_lazycrop.get_images().adopt(photo.file.name)
    url = "/img/photos/cat.jpg/60x40-cover@2x.webp"
    assert render(block, given=photo.file, size="60x40-cover@2x") == f"{url} {url} 60x40"
    for given in (Photo().file, None, "", "gone.jpg", "http://no.example/"):
        assert render(block, given=given, size="100x") == "none"
    assert render('{% lazycrop "gone" "100x" as shown %}x{% endlazycrop %}') == ""
    for wrong in ('{% lazycrop "cat" "100x" %}', '{% lazycrop "cat" "100x" webp as shown %}'):
        with pytest.raises(TemplateSyntaxError, match="lazycrop"):
            render(wrong + "{% endlazycrop %}")


def test_the_bucket_of_django_storages_is_read_as_it_is(project: Project, s3: S3, s3_base: Base) -> None:
    options = {
        "bucket_name": s3.bucket,
        "location": f"{s3_base.prefix}media",
        "endpoint_url": s3.endpoint,
        "region_name": s3.region,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
    }
    bucket = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    project(storage=bucket, source=None, sources={"media": "default"})
    photo = Photo.objects.create(name="cat", file=File(io.BytesIO(picture()), "cat 1.jpg"))
    for given in (photo.file, photo.file.url):
        url = render('{% lazycrop_url given "100x" %}', given=given)
        assert url == "/img/media/photos/cat_1.jpg/100x.jpg"
    assert Image.open(io.BytesIO(body_of(Client().get(url)))).size == (100, 67)
    photo.file = File(io.BytesIO(picture("blue")), "cat_1.jpg")
    photo.save()  # It is written over.
    assert "/v2/" in render('{% lazycrop_url given "100x" %}', given=photo.file)
    photo.file.storage.connection.meta.client.close()


def test_a_storage_of_another_kind_is_refused_with_a_sentence(project: Project) -> None:
    project()
    project(storage={"BACKEND": "django.core.files.storage.InMemoryStorage"})
    [error] = check_images(None)
    assert error.id == "lazycrop.E001" and "InMemoryStorage" in error.msg


def test_the_checks_say_what_is_wrong(project: Project) -> None:
    project()
    assert check_images(None) == []
    project(middleware=True, urls=_routes())
    assert check_images(None) == []
    for wrong, said in (({"sises": "x"}, "'sises'"), ({"sizes": []}, "Nothing may be asked for yet")):
        project(**wrong)
        [error] = check_images(None)
        assert error.id == "lazycrop.E001" and said in error.msg
    project(urls=_routes())
    [warning] = check_images(None)
    assert warning.id == "lazycrop.W001" and "django_lazycrop.urls" in warning.hint
    project(prefix="/pictures")
    [warning] = check_images(None)
    assert warning.id == "lazycrop.W002" and '"prefix": "/img"' in warning.hint
    with override_settings(LAZYCROP=None):
        [error] = check_images(None)
        assert "no dict LAZYCROP" in error.msg


def _routes(*routes: Any) -> Any:
    return type("urls", (), {"urlpatterns": routes})


def test_images_are_where_the_project_includes_them(project: Project) -> None:
    media = project(urls=_routes(path("größe/", include("django_lazycrop.urls"))), snap=True)
    (media / "cat.jpg").write_bytes(picture())
    url = render('{% lazycrop_url "cat.jpg" "100x" %}')
    assert url == "/gr%C3%B6%C3%9Fe/cat.jpg/100x.jpg"
    assert Client().get(url).status_code == 200
    assert Client().get(url.replace("100x", "90x")).headers["Location"] == url
    assert Client().post(url).status_code == 405, "and no form's token is asked for"


def test_a_request_that_no_server_made_is_answered(project: Project) -> None:
    media = project()
    (media / "Größe.jpg").write_bytes(picture())
    request = RequestFactory().get("/img/Größe.jpg/100x.jpg")
    response = image(request, "Größe.jpg/100x.jpg")
    assert (response.status_code, response.content[:3]) == (200, b"\xff\xd8\xff")


def test_manage_py_has_the_command_line_under_the_settings_of_the_project(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    media = project(prefix="/pictures")
    (media / "cat.jpg").write_bytes(picture())
    url = "/pictures/cat.jpg/100x.jpg\n"
    for more in ([], ["--settings", "django_project.settings"]):
        with pytest.raises(SystemExit) as ended:
            execute_from_command_line(["manage.py", "lazycrop", "url", "cat.jpg", "100x", *more])
        assert ended.value.code == 0 and capsys.readouterr().out == url
    with pytest.raises(SystemExit, match="The size '9x' may not be asked for"):
        execute_from_command_line(["manage.py", "lazycrop", "url", "cat.jpg", "9x"])
    call_command("lazycrop", "url", "cat.jpg", "100x", "--prefix", "/flag")
    assert capsys.readouterr().out == "/flag/cat.jpg/100x.jpg\n"
    with pytest.raises(CommandError, match="'9x'"):
        call_command("lazycrop", "url", "cat.jpg", "9x")


def test_the_admin_shows_a_thumbnail_by_one_line(project: Project) -> None:
    from django.contrib.auth.models import User

    project()
    Photo(name="cat").file.save("cat.jpg", ContentFile(picture()))
    Photo.objects.update_or_create(name="cat", defaults={"file": "photos/cat.jpg"})
    Photo.objects.create(name="none")
    Photo.objects.create(name="gone", file="photos/gone.jpg")
    user, _ = User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    page = client.get("/admin/django_project/photo/").content.decode()
    assert page.count('<img src="/img/photos/cat.jpg/60x40-cover.auto"') == page.count('alt="thumb"') == 1


def stored(project: Project, **own: Any) -> Photo:
    """A row whose picture has a size."""
    project(**own)
    photo = Photo(name="cat")
    photo.file.save("cat.jpg", ContentFile(picture()))
    django_lazycrop.get_images().adopt(photo.file.name)
    return photo


def is_known(image_id: str) -> bool:
    try:
        record = django_lazycrop.get_images().record(image_id)
    except UnknownImage:
        return False
    return not record.is_provisional


def test_what_was_made_of_a_row_goes_after_the_commit_and_not_before(project: Project) -> None:
    photo = stored(project)
    name = photo.file.name
    with transaction.atomic():
        Photo.objects.get(pk=photo.pk).delete()
        transaction.set_rollback(True)
    assert is_known(name)
    with transaction.atomic():
        Photo.objects.get(pk=photo.pk).delete()
        assert is_known(name)
    photo.file.storage.delete(name)
    assert not is_known(name)


def test_what_was_made_of_a_former_file_goes_after_the_commit(project: Project) -> None:
    photo = stored(project)
    former = photo.file.name
    again = Photo.objects.get(pk=photo.pk)
    again.name = "same picture"
    again.save()
    assert is_known(former)
    with transaction.atomic():
        again.file.save("other.jpg", ContentFile(picture("blue")))
        assert is_known(former)
    again.file.storage.delete(former)
    assert not is_known(former)
    Photo.objects.filter(pk=photo.pk).update(file="")
    blank = Photo.objects.get(pk=photo.pk)
    blank.save(update_fields=["name"])
    blank.save()


def test_a_file_that_is_written_over_is_a_new_version_after_the_commit(project: Project) -> None:
    photo = stored(project)
    (Path(photo.file.path)).unlink()  # so that the storage gives the new one the same name
    with transaction.atomic():
        photo.file = File(io.BytesIO(picture("blue", (200, 200))), "cat.jpg")
        photo.save()
    assert photo.file.name == "photos/cat.jpg"
    assert render('{% lazycrop_url given "100x" %}', given=photo.file) == "/img/photos/cat.jpg/v2/100x.jpg"


def test_rows_are_saved_though_the_store_is_down_or_lazycrop_is_not_configured(project: Project) -> None:
    photo = stored(project)
    with override_settings(LAZYCROP=None):
        photo.save()
    with override_settings(LAZYCROP={**settings.LAZYCROP, "store": _Broken()}):
        photo.delete()
    assert not Photo.objects.filter(name="cat").exists()


class _Broken(MemoryStore):
    def list(self, folder: str) -> Iterator[str]:
        raise OSError("down")


def test_the_settings_may_be_a_lazycrop(project: Project) -> None:
    project()
    images = LazyCrop(store=MemoryStore(), sizes=SIZES)
    with override_settings(LAZYCROP=images):
        assert django_lazycrop.get_images() is images
        assert django_lazycrop.image_id(Photo(file="a.jpg").file) == "a.jpg"


def test_a_form_says_what_is_wrong_with_a_picture(project: Project) -> None:
    class Upload(forms.Form):
        picture = forms.FileField(validators=[validate_picture])

    project()
    right = Upload(files={"picture": SimpleUploadedFile("cat.jpg", picture())})
    assert right.is_valid() and right.cleaned_data["picture"].read(2) == b"\xff\xd8"
    wrong = Upload(files={"picture": SimpleUploadedFile("cat.jpg", b"no picture")})
    assert not wrong.is_valid() and wrong.errors.as_data()["picture"][0].code == "unsupported-image"
