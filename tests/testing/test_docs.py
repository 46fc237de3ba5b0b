"""docs/testing.md: a project is made of its snippets, and its tests pass without any Redis."""

import os
import re
import subprocess
import sys

import pytest

from tests.kit import ROOT
from tests.quickstart.document import COOKIES, File, steps_of

DOCS = (ROOT / "docs/testing.md").read_text()
BLOCKS = re.compile(r"<!-- (file|output): (.+?) -->\n```\w+\n(.*?)```", re.S)
SNIPPETS = {name: code for _, name, code in BLOCKS.findall(DOCS)}
FILES = {each.name: each.text for each in steps_of(COOKIES)[0] if isinstance(each, File)}

MODELS = """
from django.contrib.auth.models import AbstractUser
from bazis_ws_channels.models import UserWsMixin


class User(UserWsMixin, AbstractUser):
    pass
"""

SETTINGS = """
AUTH_USER_MODEL = "people.User"
INSTALLED_APPS.append("people")
SECRET_KEY = "a-secret-of-the-testing-page-0123456789-abcdef"
INSTALLED_APPS.append("shop")
DATABASES["default"]["ATOMIC_REQUESTS"] = True
DATABASES["default"]["TEST"] = {"NAME": BASE_DIR / "test.sqlite3"}
CHANNEL_LAYERS["default"]["CONFIG"]["hosts"] = ["redis://127.0.0.1:1"]  # nobody is there
"""

URLS = """
from django.urls import path
from shop.views import ship

urlpatterns = [path("ship/<int:number>/", ship)]
"""

INI = """
[pytest]
DJANGO_SETTINGS_MODULE = mysite.settings
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider {plugin}
filterwarnings = error
"""

FAILING = """
import pytest
from bazis_ws_channels.testing import capture


@pytest.mark.django_db
def test_that_fails(ws_outbox, django_user_model):
    alice = django_user_model.objects.create_user("alice", pk=1)
    alice.ws_publish({"type": "order_shipped", "number": 42})
    ws_outbox.assert_published(alice, {"type": "order_shipped", "number": 43})
"""


def has_entry_point():
    """Tell whether the package is installed with its plugin, and not only on the path."""
    from importlib.metadata import entry_points

    return any(each.value.startswith("bazis_ws") for each in entry_points(group="pytest11"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a Python command in the project; return the code and the output."""
    folder = tmp_path_factory.mktemp("project")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "REDIS_URL", "TEST_EDGES"):
        env.pop(name, None)

    def run(*args, code=0):
        done = subprocess.run(
            [sys.executable, *args], cwd=folder, env=env, text=True, capture_output=True
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("-m", "django", "startproject", "mysite", ".")
    run("manage.py", "startapp", "people")
    (folder / "people/models.py").write_text(MODELS)
    (folder / "mysite/asgi.py").write_text(FILES["mysite/asgi.py"])
    (folder / "shop/tests").mkdir(parents=True)
    (folder / "shop/__init__.py").touch()
    (folder / "shop/tests/__init__.py").touch()
    (folder / "mysite/urls.py").write_text(URLS)
    plugin = "" if has_entry_point() else "-p bazis_ws_channels.pytest_plugin"
    (folder / "pytest.ini").write_text(INI.format(plugin=plugin))
    for name, code in SNIPPETS.items():
        if name.endswith(".py"):
            (folder / name).write_text(code)
    with (folder / "mysite/settings.py").open("a") as settings:
        settings.write(FILES["mysite/settings.py"])
        settings.write(SNIPPETS["mysite/settings.py (added)"] + SETTINGS)
    run("manage.py", "makemigrations", "people")
    run.folder = folder
    return run


def test_with_pytest(run):
    """All of them, without a Redis, and with ATOMIC_REQUESTS."""
    assert "8 passed" in run("-m", "pytest", "-q")


def test_with_xdist(run):
    """In several processes."""
    assert "8 passed" in run("-m", "pytest", "-q", "-n", "2")


def test_with_django(run):
    """The `TestCase`, by manage.py."""
    output = run("manage.py", "test", "shop.tests.test_with_django")
    assert "Ran 1 test" in output
    assert "OK" in output


def test_what_fails_says_so(run):
    """As the page shows it."""
    path = run.folder / "shop/tests/test_failing.py"
    path.write_text(FAILING)
    try:
        output = run("-m", "pytest", "-q", str(path), code=1)
    finally:
        path.unlink()
    lines = [line.removeprefix("E").strip() for line in output.splitlines()]
    shown = [line.strip() for line in SNIPPETS["tests"].splitlines()]
    shown[0] = f"AssertionError: {shown[0]}"
    assert "\n".join(shown) in "\n".join(lines)


def test_a_run_without_django(tmp_path):
    """The plugin is of no matter to a project without Django, and imports none of it."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'django.conf' not in sys.modules\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider"]
    command += ["-p", "bazis_ws_channels.pytest_plugin", "--rootdir", str(tmp_path), "test_it.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(command, cwd=tmp_path, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
