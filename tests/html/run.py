#!/usr/bin/env python3
"""run.py - the pages that the program writes, in a real browser: opened, clicked, read.

    python3 tests/html/run.py MOLE REPORT [FOLDER]

MOLE is the program; REPORT the test program tests/report/test_report_html. FOLDER keeps the pages, with screenshots
(default: a temporary folder); docs/img/report.png is its report-light.png, xray.png its xray-light.png, xray-phone.png
its xray-phone-demo.png, and xray-experts.png is copied as it is. ONLY=text in the environment: only tests with this
text in their name. The last line is "N passed, N failed, N skipped"."""
import os
import shutil
import sys
import tempfile
import time

import test_report_html
import test_xray_html
from browser import Browser


def run_class(make, name, browser):
    """Counts of tests that passed and failed; a class that cannot make its pages has failed once."""
    counts = [0, 0]
    try:
        tests = make()
    except Exception as error:  # whatever it is, the others run
        print(f"FAILED  {name}: {type(error).__name__}: {error}")
        return [0, 1]
    for test in [n for n in dir(tests) if n.startswith("test_") and os.environ.get("ONLY", "") in f"{name} {n[5:]}"]:
        browser.complaints()
        start = time.monotonic()
        try:
            getattr(tests, test)()
            counts[0] += 1
            print(f"ok      {name} {test[5:]} ({time.monotonic() - start:.1f} s)")
        except (AssertionError, RuntimeError, KeyError, ValueError, StopIteration) as error:
            counts[1] += 1
            print(f"FAILED  {name} {test[5:]}: {type(error).__name__}: {error}")
    return counts


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        print("SKIP the pages in a browser: no chromium with chromedriver (scripts/setup.sh --html)")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    temporary = None if len(sys.argv) == 4 else tempfile.TemporaryDirectory()
    folder = os.path.abspath(sys.argv[3] if len(sys.argv) == 4 else temporary.name)
    os.makedirs(folder, exist_ok=True)
    programs = {"mole": os.path.abspath(sys.argv[1]), "report": os.path.abspath(sys.argv[2])}
    browser, passed, failed = Browser(chromium, chromedriver), 0, 0
    try:
        for name, module in (("report", test_report_html), ("xray", test_xray_html)):
            counts = run_class(lambda m=module: m.Tests(browser, folder, programs), name, browser)
            passed += counts[0]
            failed += counts[1]
    finally:
        browser.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
