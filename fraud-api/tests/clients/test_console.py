"""The console page in Debian's Chromium: figures under traffic, the form, its errors, phone, dark, keyboard.

Run by run.sh. Screenshots go to out/console."""

import json
import os
import pathlib
import re
import threading
import time
import unittest
import urllib.request

from playwright.sync_api import expect, sync_playwright

ADDRESS = os.environ["FRAUD_API"]
OUT = pathlib.Path("out/console")


def traffic(stop):
    """A few transactions a second, some of them large, some not valid."""
    run = time.time_ns()
    number = 0
    while not stop.is_set():
        number += 1
        body = {
            "transaction_id": f"{run}-{number}",
            "customer_id": number % 50,
            "terminal_id": number % 70,
            "tx_amount": -1 if number % 17 == 0 else (number * 37) % 400 + (900 if number % 5 == 0 else 0),
            "tx_datetime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        }
        request = urllib.request.Request(
            f"http://{ADDRESS}/predict", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            urllib.request.urlopen(request, timeout=10).read()
        except urllib.error.HTTPError:
            pass
        stop.wait(0.02)


class Console(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        OUT.mkdir(parents=True, exist_ok=True)
        cls.stop = threading.Event()
        cls.traffic = threading.Thread(target=traffic, args=(cls.stop,))
        cls.traffic.start()
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])

    @classmethod
    def tearDownClass(cls):
        cls.stop.set()
        cls.traffic.join()
        cls.browser.close()
        cls.playwright.stop()

    def open(self, **options):
        context = self.browser.new_context(**options)
        self.addCleanup(context.close)
        page = context.new_page()
        self.troubles = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda line: self.troubles.append(line.text) if line.type == "error" else None)
        self.requests = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(f"http://{ADDRESS}/")
        expect(page.locator("#state")).to_have_text("live", timeout=20_000)
        return page

    def test_figures_move_under_traffic(self):
        page = self.open(viewport={"width": 1280, "height": 1400})
        # (The page's content security policy forbids what `wait_for_function` does.)
        expect(page.locator("#rate")).to_have_text(re.compile(r"^[1-9]"), timeout=20_000)
        first = page.locator("#rate-more").inner_text()
        expect(page.locator("#rate-more")).not_to_have_text(first, timeout=20_000)
        expect(page.locator("#p50")).not_to_have_text("–")
        self.assertGreater(page.locator("#score-chart rect").count(), 0)
        self.assertTrue(page.locator("#card").inner_text())
        page.wait_for_timeout(4_000)
        page.screenshot(path=OUT / "light.png", full_page=True)
        self.assertEqual(self.troubles, [])
        for url in self.requests:
            self.assertTrue(url.startswith((f"http://{ADDRESS}/", "data:")), url)

    def test_the_form_scores_and_explains_its_errors(self):
        page = self.open()
        page.fill("[name=tx_amount]", "950")
        # By keyboard alone: from the field, Enter.
        page.locator("[name=tx_amount]").press("Enter")
        expect(page.locator("#result")).to_contain_text("probability")
        page.fill("[name=tx_datetime]", "yesterday")
        page.locator("#score").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#result .error")).to_contain_text("tx_datetime")
        page.screenshot(path=OUT / "error.png")

    def test_a_phone_in_the_dark(self):
        page = self.open(viewport={"width": 360, "height": 800}, color_scheme="dark", device_scale_factor=2)
        page.wait_for_timeout(3_000)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)
        page.screenshot(path=OUT / "phone-dark.png", full_page=True)

    def test_every_control_is_reached_by_tab(self):
        page = self.open()
        reached = set()
        for _ in range(30):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.className"))
        self.assertTrue({"skip", "customer_id", "terminal_id", "tx_amount", "tx_datetime", "score"} <= reached, reached)

    def test_a_lost_service_is_said(self):
        page = self.open()
        page.context.set_offline(True)
        page.evaluate("window.stop()")
        page.locator("#score").click()
        expect(page.locator("#result .error")).to_contain_text("could not be reached")


if __name__ == "__main__":
    unittest.main(verbosity=2)
