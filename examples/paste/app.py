"""An application that knows nothing of images. Run it with ``PYTHONPATH=. pserve development.ini``."""

PAGE = b"""<!doctype html><title>Pictures</title>
<img src="/img/cat/300x200-cover.auto" width="300" height="200" alt="A cat">
"""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]


def main(global_config, **settings):
    return application
