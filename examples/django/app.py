"""Pictures in Django, in one file. Run it with ``waitress-serve --listen=127.0.0.1:8080 app:application``."""

from django import setup
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import Context, Engine
from django.urls import include, path

from django_lazycrop import get_images
from lazycrop import LazyCropError

PAGE = """{% load lazycrop %}<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
{% for name in names %}{% lazycrop_img name "300x200-cover" alt=name %}{% endfor %}
"""
lazycrop = {"store": "images", "sizes": ["300x200-cover", "300x200-cover@2x"]}
installed = ["django_lazycrop"]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], INSTALLED_APPS=installed, LAZYCROP=lazycrop)
setup()
names: list[str] = []  # In a database, if it is to last.


def page(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        name = f"picture-{len(names) + 1}"
        try:
            get_images().store_origin(name, request.FILES["picture"])
        except LazyCropError as error:
            return HttpResponse(str(error), status=error.status)
        names.append(name)
        return HttpResponseRedirect("/")
    template = Engine(libraries={"lazycrop": "django_lazycrop.templatetags.lazycrop"}).from_string(PAGE)
    return HttpResponse(template.render(Context({"names": names})))


urlpatterns = [path("", page), path("img/", include("django_lazycrop.urls"))]
application = get_wsgi_application()
