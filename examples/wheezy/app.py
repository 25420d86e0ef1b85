"""Pictures in wheezy.web. Run it with ``waitress-serve --listen=127.0.0.1:8080 app:application``."""

from wheezy.http import HTTPResponse, WSGIApplication
from wheezy.template.engine import Engine
from wheezy.template.ext.core import CoreExtension
from wheezy.template.loader import DictLoader
from wheezy.web.handlers import BaseHandler
from wheezy.web.middleware import bootstrap_defaults, path_routing_middleware_factory

from wheezy_lazycrop import ImagesMixin, lazycrop_middleware_factory

PAGE = """\
@require(names, lazycrop_img)
<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
@for name in names:
@lazycrop_img(name, "300x200-cover", alt=name)
@end
"""
names: list[str] = []  # In a database, if it is to last.


class Page(ImagesMixin, BaseHandler):
    def get(self) -> HTTPResponse:
        return self.render_response("page.html", names=names)

    def post(self) -> HTTPResponse:
        name = f"picture-{len(names) + 1}"
        self.options["lazycrop"].store_origin(name, self.request.files["picture"][0].file)
        names.append(name)
        return self.redirect_for("page")


engine = Engine(DictLoader({"page.html": PAGE}), [CoreExtension()])
options = {"LAZYCROP_STORE": "images", "LAZYCROP_SIZES": ["300x200-cover", "300x200-cover@2x"]}
options["render_template"] = lambda name, context: engine.get_template(name).render(context)
routes = bootstrap_defaults(url_mapping=[("", Page, None, "page")])
application = WSGIApplication([routes, lazycrop_middleware_factory, path_routing_middleware_factory], options)
