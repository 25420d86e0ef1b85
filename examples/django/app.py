"""Pictures in Django. Run it with ``waitress-serve --listen=127.0.0.1:8080 app:application``."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template import Library
from django.urls import path

from lazycrop import LazyCrop, Markup, Middleware

PAGE = """<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
{% for name in names %}{% lazycrop_img name "300x200-cover" alt=name %}{% endfor %}
"""
LOADERS = [("django.template.loaders.locmem.Loader", {"page.html": PAGE})]
ENGINE = {"BACKEND": "django.template.backends.django.DjangoTemplates"}
TEMPLATES = [{**ENGINE, "OPTIONS": {"loaders": LOADERS, "builtins": [__name__]}}]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], TEMPLATES=TEMPLATES)

images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
register = Library()  # In a project, these two lines stand in templatetags/pictures.py.
register.simple_tag(Markup(images).img, name="lazycrop_img")
names: list[str] = []  # In a database, if it is to last.


def page(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        names.append(f"picture-{len(names) + 1}")
        images.store_origin(names[-1], request.FILES["picture"].file)
        return HttpResponseRedirect("/")
    return render(request, "page.html", {"names": names})


urlpatterns = [path("", page)]
application = Middleware(get_wsgi_application(), images)
