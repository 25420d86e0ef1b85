"""Pictures in Django. Run it with ``waitress-serve --listen=127.0.0.1:8080 app:application``."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import Context, Engine, Library
from django.urls import path

from lazycrop import Helpers, LazyCrop, Middleware

PAGE = """<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
{% for name in names %}{% lazycrop_img name "300x200-cover" alt=name %}{% endfor %}
"""
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"])

images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
register = Library()  # In a project, what follows stands in templatetags/pictures.py.
names: list[str] = []  # In a database, if it is to last.


@register.simple_tag
def lazycrop_img(*arguments, **options):
    return Helpers(images).img(*arguments, **options)


def page(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        name = f"picture-{len(names) + 1}"
        images.store_origin(name, request.FILES["picture"].file)
        names.append(name)
        return HttpResponseRedirect("/")
    template = Engine(builtins=[__name__]).from_string(PAGE)
    return HttpResponse(template.render(Context({"names": names})))


urlpatterns = [path("", page)]
application = Middleware(get_wsgi_application(), images)
