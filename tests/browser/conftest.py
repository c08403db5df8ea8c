"""Fixtures: one JupyterLab and one headless Chromium for all tests of this folder."""

import os
import shutil
from collections.abc import Iterator

import pytest
from lab import Lab, start_lab
from playwright.sync_api import Browser, sync_playwright

FLAGS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        # Without one on this machine, the one that `playwright install chromium` brings; if it is missing, it says so
        browser = playwright.chromium.launch(executable_path=os.environ.get("PN_CHROMIUM") or found, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Lab]:
    with start_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab
