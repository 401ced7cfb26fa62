"""browser.py - Chromium without a window, spoken to through chromedriver's WebDriver interface; only Python's own
library is used."""
import base64
import http.client
import json
import re
import subprocess

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the WebDriver standard's key of an element
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014",
        "Down": "\ue015", "Home": "\ue011", "End": "\ue010", "Escape": "\ue00c", "Control": "\ue009"}


class Browser:
    def __init__(self, chromium, chromedriver):
        self.driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, text=True,
                                       stderr=subprocess.DEVNULL)
        self.port = None
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        if not self.port:
            raise RuntimeError("chromedriver did not start")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=1400,1000", "--force-device-scale-factor=1"]
        self.session = ""
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"binary": chromium, "args": arguments}}}})
        self.session = "/session/" + answer["sessionId"]

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, (self.session if path != "/session" else "") + path,
                           json.dumps(body if body is not None else {}) if method == "POST" else None)
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{path}: {answer['error']}: {answer['message'].splitlines()[0]}")
        return answer

    def open(self, path, part=""):
        self.call("POST", "/url", {"url": "about:blank"})
        self.call("POST", "/url", {"url": "file://" + path + part})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, css):
        return self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.call("POST", f"/element/{self.find(css)}/click")

    def text(self, css):
        return self.call("GET", f"/element/{self.find(css)}/text")

    def type(self, css, text):
        self.call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, *keys):
        """Keys one after the other: by name, or the character itself."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def paste(self, css):
        """Ctrl+V into an empty field; what it holds then."""
        self.click(css)
        keys = [("keyDown", "Control"), ("keyDown", "v"), ("keyUp", "v"), ("keyUp", "Control")]
        actions = [{"type": kind, "value": KEYS.get(key, key)} for kind, key in keys]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})
        return self.run("return document.querySelector(arguments[0]).value", css)

    def point(self, css, x, y, click=False):
        """The mouse to (x, y) from the element's middle."""
        moves = [{"type": "pointerMove", "duration": 0, "x": x, "y": y, "origin": {ELEMENT: self.find(css)}}]
        if click:
            moves += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "m", "actions": moves}]})

    def cdp(self, command, **params):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def complaints(self):
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]

    def requested(self):
        """Every address that was asked for since the last call."""
        log = self.call("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in log]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def drag(self, css, start, to):
        """With the mouse held down, from one x to another, both from the element's middle."""
        origin = {ELEMENT: self.find(css)}
        moves = [{"type": "pointerMove", "duration": 0, "x": start, "y": 0, "origin": origin},
                 {"type": "pointerDown", "button": 0},
                 {"type": "pointerMove", "duration": 100, "x": to, "y": 0, "origin": origin},
                 {"type": "pointerUp", "button": 0}]
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "m", "actions": moves}]})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self):
        try:
            if self.session:
                self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(10)
            self.driver.stdout.close()


def check(condition, *said):
    if not condition:
        raise AssertionError(" ".join(str(s) for s in said))
