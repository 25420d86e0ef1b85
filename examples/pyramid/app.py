"""Pictures in Pyramid. Run it with ``PYTHONPATH=. pserve development.ini``."""

from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import exception_view_config, view_config

from lazycrop import LazyCropError

names: list[str] = []  # In a database, if it is to last.


@view_config(route_name="page", request_method="GET", renderer="page.jinja2")
def page(request: Request) -> dict[str, Any]:
    return {"names": names}


@view_config(route_name="page", request_method="POST")
def store(request: Request) -> Response:
    name = f"picture-{len(names) + 1}"
    request.lazycrop.store_origin(name, request.POST["picture"].file)
    names.append(name)
    return HTTPFound(request.route_path("page"))


@exception_view_config(LazyCropError)
def refused(error: LazyCropError, request: Request) -> Response:
    return Response(str(error), error.status)


def main(global_config: dict[str, str], **settings: str) -> Any:
    config = Configurator(settings=settings)
    config.add_route("page", "/")
    config.scan("app")
    return config.make_wsgi_app()
