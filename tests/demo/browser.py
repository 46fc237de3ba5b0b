"""People with a browser."""

#: No claim about speed: the end of a test that would wait for ever.
PATIENCE_MS = 20_000


class Person:
    """Somebody with a tab of their own."""

    def __init__(self, browser, server, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.console, self.sockets = [], []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("websocket", lambda socket: self.sockets.append(socket.url))
        self.page.goto(server.http)

    def __call__(self, selector, **options):
        return self.page.locator(selector, **options)

    def sign_in(self, name):
        self.page.fill("#username", name)
        self.page.fill("#password", "demo")
        self.page.click("#sign-in button[type=submit]")
        return self

    def choose(self, name):
        self.page.click(f"[data-person={name}]")

    def write(self, text):
        self.page.fill("#chat-text", text)
        self.page.keyboard.press("Enter")
