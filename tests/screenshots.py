"""Make docs/images/demo.png, the picture in the README: ``python -m tests.screenshots``.

The demo runs for real, with a worker; alice and bob talk in two browsers. ``python -m
tests.screenshots FOLDER`` shows more of it, for those who work on the page: each state, on a desk
and on a phone, light and dark.
"""

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.demo.browser import PATIENCE_MS, Person
from tests.demo.conftest import Deployment
from tests.demo.processes import DemoWorker
from tests.kit import ROOT
from tests.kit.browser import chromium

PICTURE = ROOT / "docs" / "images" / "demo.png"
PICTURE_SIZE = {"viewport": {"width": 1280, "height": 930}}
DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
#: Long enough to be caught half-way.
TASK_SECONDS = "20"
TALK = (
    ("bob", "Is the quarterly report ready?"),
    ("alice", "Almost. The numbers of November are still missing."),
    ("bob", "I can wait. Ping me when it's done 🙂"),
    ("alice", "No need to: I start it now, and the server pushes the progress to my page."),
    ("bob", "No polling? 🎉"),
)
LONG_NAMES = ("Wolfeschlegelsteinhausenbergerdorff-the-Elder", "مريم", "🦊 Foxy")


class Scene:
    """Alice and bob at the demo, with browsers of a size and a colour scheme."""

    def __init__(self, browser, deployment, server, **options):
        self.deployment = deployment
        self.people = {
            name: Person(browser, server, **(options if name == "alice" else {}))
            for name in ("alice", "bob", "admin")
        }
        self.alice = self.people["alice"]

    def enter(self, *names):
        for name in names:
            somebody = self.people[name].sign_in(name)
            expect(somebody("#connection-text")).to_have_text("Live")

    def talk(self, lines=TALK):
        self.alice.choose("bob")
        self.people["bob"].choose("alice")
        for name, text in lines:
            self.people[name].write(text)
            for somebody in (self.alice, self.people["bob"]):
                expect(somebody(".line .text").last).to_have_text(text)

    def start_task(self, at_least=45):
        self.alice("#task-form button").evaluate("button => button.click()")
        bar = f"() => document.querySelector('.task progress')?.value >= {at_least}"
        self.alice.page.wait_for_function(bar)

    def announce(self, text):
        self.people["admin"].page.fill("#news-text", text)
        self.people["admin"].page.keyboard.press("Enter")
        expect(self.alice("#news .text").first).to_have_text(text)

    def save(self, path):
        self.alice.page.screenshot(path=path, animations="disabled")

    def close(self):
        for somebody in self.people.values():
            somebody.context.close()


def picture(scene):
    """Two people talk, one more is online, a task is on its way; and what makes it all go."""
    scene.enter("alice", "bob", "admin")
    scene.talk(TALK[:-1])
    scene.announce("Deployment at 18:00: your page comes back by itself.")
    scene.start_task()
    scene.alice.page.click("#wire-open")
    scene.talk(TALK[-1:])
    PICTURE.parent.mkdir(exist_ok=True)
    scene.alice.page.evaluate("document.activeElement.blur()")
    scene.save(PICTURE)


def states(scene, prefix):
    """Every state of the page, one file each."""

    def save(name):
        scene.save(f"{prefix}-{name}.png")

    alice = scene.alice
    save("signed-out")
    alice.page.fill("#username", "alice")
    alice.page.fill("#password", "wrong")
    alice.page.keyboard.press("Enter")
    expect(alice("#sign-in-message")).to_be_visible()
    save("wrong-password")
    alice.page.route("**/token/", lambda route: route.abort())
    alice.page.keyboard.press("Enter")
    expect(alice("#sign-in-message")).to_have_text("The server can't be reached.")
    save("server-down")
    alice.page.unroute("**/token/")
    scene.enter("alice")
    save("empty")
    scene.enter("bob", "admin")
    scene.talk([*TALK, ("bob", f"مرحبا، שלום {'w' * 80}"), ("alice", "👍")])
    save("conversation")
    scene.start_task(10)
    scene.announce("Lunch is ready: everybody to the kitchen, please.")
    save("task-and-toast")
    alice.page.click("#wire-open")
    save("wire")
    alice.page.click("#wire-close")
    scene.deployment.redis.pause()
    try:
        expect(alice("#connection-text")).to_have_text("Live, presence unknown")
        save("presence-unknown")
    finally:
        scene.deployment.redis.resume()
    expect(alice("#connection-text")).to_have_text("Live")
    alice.page.route("**/chat/send/", lambda route: route.abort())
    alice.write("This does not get through.")
    expect(alice(".line[data-note=failed]")).to_be_visible()
    alice.context.set_offline(True)
    expect(alice("#connection-text")).to_contain_text("Connection lost", timeout=2 * PATIENCE_MS)
    save("connection-lost")


def make_people(deployment, names):
    users = f"User.objects.create_user(name, password='demo') for name in {names!r}"
    deployment.manage("shell", "-c", f"from demo.users.models import User; list({users})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="of pictures of every state")
    folder = parser.parse_args().folder
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory() as directory, chromium() as browser:
        deployment = Deployment(Path(directory))
        worker = None
        try:
            deployment.prepare()
            server = deployment.daphne()
            worker = DemoWorker({**deployment.env, "DEMO_TASK_SECONDS": TASK_SECONDS})
            worker.wait_until_ready()
            if folder is None:
                picture(Scene(browser, deployment, server, **PICTURE_SIZE))
                return
            folder.mkdir(parents=True, exist_ok=True)
            make_people(deployment, LONG_NAMES)
            for size, options in (("desk", DESK), ("phone", PHONE)):
                for scheme in ("light", "dark"):
                    scene = Scene(browser, deployment, server, color_scheme=scheme, **options)
                    states(scene, folder / f"{size}-{scheme}")
                    scene.close()
        finally:
            if worker is not None:
                worker.stop()
            deployment.stop()


if __name__ == "__main__":
    main()
