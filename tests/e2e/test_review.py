"""The page of `backdrop review` in a real browser, over uploads on the deployed local stack."""

import base64
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.e2e.deployed import Deployed
from tests.e2e.relay import Relay
from tools.files import ROOT, SAMPLES
from tools.local_stack import CREDENTIALS
from tools.polling import until

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = ROOT / ".local" / "screenshots"
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;\u202egpj"
WAIT = 45_000.0  # milliseconds, for what takes an upload to its end
expect.set_options(timeout=20_000)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no chromium or google-chrome to look at the review page with"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def reviewing(deployed: Deployed, cache: Path, prefix: str, endpoint_url: str = "") -> Iterator[str]:
    """`backdrop review` of what is below a prefix of the test's folder; its address."""
    command = [
        *(str(Path(sys.executable).with_name("backdrop")), "review", "--no-browser", deployed.folder + prefix),
        *("--endpoint-url", endpoint_url or deployed.stack.endpoint_url),
    ]
    with subprocess.Popen(
        command,
        env=os.environ | CREDENTIALS | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(20)


Open = Callable[..., Page]


@pytest.fixture
def review(browser: Browser, deployed: Deployed, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a prefix in a window of its own; nothing on it may fail or be blocked unexpectedly."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []
    with contextlib.ExitStack() as running:

        def open_(prefix: str = "", address: str = "", endpoint_url: str = "", **options: Any) -> Page:
            if not address:
                address = running.enter_context(reviewing(deployed, tmp_path, prefix, endpoint_url))
            options.setdefault("reduced_motion", "reduce")
            contexts.append(browser.new_context(**options))
            page = contexts[-1].new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
            page.goto(address)
            return page

        yield open_
        for context in contexts:
            context.close()
    assert errors == []


def card(page: Page, name: str) -> Any:
    return page.locator(".pair", has_text=name)


def status(page: Page, name: str, text: str) -> None:
    expect(card(page, name).locator(".facts")).to_contain_text(text, timeout=WAIT)


def tags(deployed: Deployed, name: str) -> dict[str, str]:
    found = deployed.s3.get_object_tagging(Bucket=deployed.output_bucket, Key=deployed.folder + name)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def photos(deployed: Deployed, *names: str, **metadata: str) -> None:
    for name, sample in zip(names, SAMPLES, strict=False):
        deployed.put(name, sample.read_bytes(), **({"prompt": f"a wall for {Path(name).stem}"} | metadata))


def test_results_come_in_and_are_approved_rejected_undone_and_chosen_with_the_keyboard_alone(
    deployed: Deployed, review: Open
) -> None:
    page = review()
    expect(page.locator("#nothing")).to_contain_text("no photos yet")
    photos(deployed, "a.jpg", "b.jpg", "c.jpg")
    photos(deployed, "three.jpg", n="3")
    page.reload()
    for name in ("a.jpg", "b.jpg", "c.jpg", "three.jpg"):
        status(page, name, "To decide")
    expect(page.locator("#top")).to_contain_text("4 photos")
    expect(page.locator("#top")).to_contain_text("$0.18 for these")

    card(page, "a.jpg").locator("a").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#shown .key")).to_contain_text("a.jpg")
    page.keyboard.press("w")
    expect(page.locator("#one")).to_have_attribute("data-mode", "wipe")
    page.keyboard.press("b")
    page.keyboard.press("s")
    page.keyboard.press("a")
    expect(page.locator("#said")).to_contain_text("Approved: ")
    expect(page.locator("#shown .key")).to_contain_text("b.jpg")
    page.keyboard.press("r")
    expect(page.locator("#shown .key")).to_contain_text("c.jpg")
    page.keyboard.press("r")
    expect(page.locator("#shown .key")).to_contain_text("three.jpg")
    page.keyboard.press("z")
    expect(page.locator("#said")).to_contain_text("Undone: ")
    expect(page.locator("#shown .key")).to_contain_text("c.jpg")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#shown .key")).to_contain_text("three.jpg")
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="Choose 2")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("a")
    expect(page.locator("#said")).to_contain_text("Approved: ")
    page.keyboard.press("Escape")
    expect(page.locator("#grid")).to_be_visible()
    expect(card(page, "three.jpg").locator("a")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(card(page, "c.jpg").locator("a")).to_be_focused()  # also when the card is drawn anew meanwhile

    assert [tags(deployed, name).get("backdrop-review") for name in ("a.jpg.png", "b.jpg.png", "c.jpg.png")] == [
        "approved",
        "rejected",
        None,
    ]
    verdicts = [tags(deployed, f"three.jpg.{i}.png")["backdrop-review"] for i in (1, 2, 3)]
    assert verdicts == ["rejected", "approved", "rejected"]

    page.reload()
    assert "secret" not in page.url
    status(page, "a.jpg", "Approved by root")
    status(page, "b.jpg", "Rejected by root")
    status(page, "c.jpg", "To decide")

    page.locator("#statuses").get_by_text("Rejected").click()
    expect(page.locator(".pair:visible")).to_have_count(1)
    page.locator("#statuses").get_by_text("All").click()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("for c")
    expect(page.locator(".pair:visible")).to_have_count(1)
    page.locator("#search").fill("nothing is like this")
    expect(page.locator("#nothing")).to_contain_text("No photo is like that")


SLOW_READING = """() => {
  const text = Response.prototype.text;
  window.read = 0;
  Response.prototype.text = async function () {
    const said = await text.call(this);
    await new Promise((done) => setTimeout(done, 1000));
    window.read += 1;
    return said;
  };
}"""


def test_who_goes_back_before_a_photo_has_come_in_stays_with_all_of_them(deployed: Deployed, review: Open) -> None:
    photos(deployed, "a.jpg")
    page = review()
    status(page, "a.jpg", "To decide")
    page.evaluate(SLOW_READING)
    card(page, "a.jpg").locator("a").focus()
    with page.expect_response("**/pair/*"):
        page.keyboard.press("Enter")
    page.keyboard.press("Escape")

    until("the photo is read", lambda: page.evaluate("window.read"))

    expect(page.locator("#grid")).to_be_visible()
    expect(page.locator("#one")).not_to_be_visible()


def test_again_with_another_prompt_asks_first_and_shows_the_new_result_beside_the_old_one(
    deployed: Deployed, review: Open
) -> None:
    photos(deployed, "a.jpg", tag="ana")
    page = review()
    status(page, "a.jpg", "To decide")
    page.get_by_role("link", name="Look closely").click()
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="Again with another prompt")
    expect(dialog).to_contain_text("It buys 1 image, $0.03")
    expect(dialog).to_contain_text("1 of today's 1000 images are bought.")
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    assert deployed.charged() == 1

    page.keyboard.press("n")
    page.get_by_label("Prompt", exact=True).fill("شاطئ à midi")
    page.get_by_role("button", name="Buy 1 image").click()

    expect(page.locator("#shown h2")).to_have_text("شاطئ à midi", timeout=WAIT)
    expect(page.locator("#shown .after img")).to_be_visible(timeout=WAIT)
    expect(page.locator("#shown .earlier img")).to_be_visible()
    assert page.locator("#shown .after img").get_attribute("src") != page.locator("#shown .earlier img").get_attribute(
        "src"
    )
    assert deployed.charged() == 2
    head = deployed.s3.head_object(Bucket=deployed.input_bucket, Key=f"{deployed.folder}a.jpg")
    assert head["Metadata"]["tag"] == "ana"


def test_two_pages_at_once_show_each_others_decisions_and_overwrite_nothing_unseen(
    deployed: Deployed, review: Open, tmp_path: Path
) -> None:
    photos(deployed, "a.jpg")
    deployed.until_stored("a.jpg.png")
    with reviewing(deployed, tmp_path, "") as address:
        mine, same_server = review(address=address), review(address=address)
        colleague = review()
        for page in (mine, same_server, colleague):
            status(page, "a.jpg", "To decide")
        card(mine, "a.jpg").locator("a").focus()
        mine.keyboard.press("a")
        status(mine, "a.jpg", "Approved")
        status(same_server, "a.jpg", "Approved")

        card(colleague, "a.jpg").locator("a").focus()
        colleague.keyboard.press("r")
        expect(colleague.locator("#said")).to_contain_text("root has approved it meanwhile.")
        status(colleague, "a.jpg", "Approved")
        assert tags(deployed, "a.jpg.png")["backdrop-review"] == "approved"
        card(colleague, "a.jpg").locator("a").focus()
        colleague.keyboard.press("r")
        status(colleague, "a.jpg", "Rejected")
        assert tags(deployed, "a.jpg.png")["backdrop-review"] == "rejected"


def test_hostile_keys_and_prompts_are_text_and_other_pages_can_do_nothing(
    deployed: Deployed, review: Open, tmp_path: Path
) -> None:
    photo = SAMPLES[0].read_bytes()
    prompt = base64.b64encode(f"<script>alert(1)</script>{HOSTILE}".encode()).decode()
    deployed.put(f"{HOSTILE}.jpg", photo, **{"prompt-b64": prompt})
    long = "é" * ((1024 - len(deployed.folder) - len(".jpg.avif")) // 2) + ".jpg"
    deployed.put(long, photo, prompt="y" * 1900)
    with reviewing(deployed, tmp_path, "") as address:
        page = review(address=address)
        for name in (HOSTILE, "éééé"):
            status(page, name, "To decide")
        card(page, HOSTILE).locator("a").click()
        expect(page.locator("#shown h2")).to_have_text(f"<script>alert(1)</script>{HOSTILE}")
        page.keyboard.press("a")
        expect(page.locator("#said")).to_contain_text(HOSTILE)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        assert page.locator("img[src='x'], body script").count() == 0

        without = page.context.browser.new_context().new_page()  # type: ignore[union-attr]
        bare = address.partition("?")[0]
        for place in (bare, f"{bare}?secret=wrong", bare[: bare.index("/", 8) + 1]):
            answer = without.goto(place)
            assert answer
            assert answer.status == 403
        without.context.close()
        foreign = page.context.new_page()
        foreign.route("http://evil.test/", lambda route: route.fulfill(body="<p>evil</p>", content_type="text/html"))
        foreign.goto("http://evil.test/")
        before = deployed.s3.list_object_versions(Bucket=deployed.output_bucket, Prefix=deployed.folder)["Versions"]
        for options in ("{method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}'}", "{}"):
            with contextlib.suppress(Exception):  # the browser itself may refuse to send it
                foreign.evaluate(f"fetch('{bare}undo', {options})")
        assert before
        assert tags(deployed, f"{HOSTILE}.jpg.png")["backdrop-review"] == "approved", "nothing was undone"


def test_when_the_stack_goes_away_the_page_says_so_and_goes_on_when_it_is_back(
    deployed: Deployed, review: Open
) -> None:
    photos(deployed, "a.jpg")
    deployed.until_stored("a.jpg.png")
    with Relay(deployed.stack.endpoint_url) as relay:
        page = review(endpoint_url=relay.url)
        status(page, "a.jpg", "To decide")
        relay.is_open = False
        card(page, "a.jpg").locator("a").focus()
        page.keyboard.press("a")
        expect(page.locator("#said")).to_contain_text("AWS can't be asked", timeout=WAIT)
        status(page, "a.jpg", "To decide")
        with page.expect_response(lambda answer: answer.status == 503, timeout=WAIT):
            card(page, "a.jpg").locator("a").click()
        expect(page).to_have_url(re.compile("^[^#]+$"))
        expect(page.locator("#grid")).to_be_visible()
        relay.is_open = True
        card(page, "a.jpg").locator("a").focus()
        page.keyboard.press("a")
        status(page, "a.jpg", "Approved")


def check_with_axe(page: Page, what: str) -> None:
    found = Axe().run(page).response["violations"]
    serious = [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert not serious, f"{what}: {serious}"


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
}


def test_everybody_can_use_the_page_in_light_dark_and_on_a_phone(
    deployed: Deployed, review: Open, tmp_path: Path
) -> None:
    photos(deployed, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    photos(deployed, "three.jpg", n="3", tag="ana")
    deployed.put("no-prompt.jpg", SAMPLES[4].read_bytes())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with reviewing(deployed, tmp_path, "") as address:
        for look, options in LOOKS.items():
            page = review(address=address, **options)
            for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "three.jpg"):
                expect(card(page, name).locator("img")).to_have_count(2, timeout=WAIT)
            status(page, "no-prompt.jpg", "Failed")
            if look == "light":
                for name, key in (("a.jpg", "a"), ("b.jpg", "r")):
                    card(page, name).locator("a").focus()
                    page.keyboard.press(key)
                status(page, "b.jpg", "Rejected")
            check_with_axe(page, f"{look}: all")
            page.screenshot(path=SCREENSHOTS / f"{look}-all.png")
            card(page, "three.jpg").locator("a").click()
            expect(page.locator("#shown .after img").first).to_be_visible()
            for image in page.locator("#one img").all():
                expect(image).to_have_js_property("complete", True)
            check_with_axe(page, f"{look}: one")
            page.screenshot(path=SCREENSHOTS / f"{look}-one.png")
            page.locator(".modes").get_by_text("Wipe").click()
            page.screenshot(path=SCREENSHOTS / f"{look}-wipe.png")
            page.get_by_role("button", name="Again").click()
            expect(page.get_by_role("button", name="Buy 3 images")).to_be_enabled()
            if look == "light":
                check_with_axe(page, "again")
            page.screenshot(path=SCREENSHOTS / f"{look}-again.png")
            page.get_by_role("button", name="Cancel").click()
            page.get_by_role("button", name="Help").click()
            if look == "light":
                check_with_axe(page, "help")
            page.screenshot(path=SCREENSHOTS / f"{look}-help.png")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{look}: something sticks out"
