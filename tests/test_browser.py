"""The page in headless Chromium, from a file and offline (make test-browser)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
import pytest
from matplotlib import colormaps
from viewer_helpers import (
    EPSILONS,
    FALLS,
    IDS,
    LABELS,
    SAMPLES,
    change,
    heatmap,
    image,
    logits,
    segmenting_runs,
    squares,
    two_runs,
)

from attnrobust.report import page as pages
from attnrobust.report import samples

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.usefixtures("cheap_pages"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH"),
]
HOSTILE = "</script><img src=x onerror=\"window.fell='yes'\">"
LONG = "a_name_without_any_end_" * 6
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # A container's root has no sandbox.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def plain(cheap_pages: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    return pages.write(two_runs(root), root / "out")


@pytest.fixture(scope="module")
def hostile(cheap_pages: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    ids = (f"{HOSTILE}0", LONG, "__proto__", *IDS[3:])
    return pages.write(two_runs(root, classes=(HOSTILE, LONG), ids=ids), root / "out")


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Opens a page; at the end nothing was asked of a network and the console has no error."""
    wrong: list[str] = []
    contexts: list[Any] = []

    def open_(path: Path, width: int = 1400, height: int = 900, **wish: str) -> Any:
        how = {name: wish.pop(name) for name in ("color_scheme",) if name in wish}
        scripts = wish.pop("scripts", "on") == "on"
        context = browser.new_context(
            viewport={"width": width, "height": height},
            offline=True,
            java_script_enabled=scripts,
            **how,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url)
            ),
        )
        page.goto(path.as_uri() + (f"#{urlencode(wish)}" if wish else ""))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def shown(page: Any, id_: str, epsilon: str, letter: str = "a", method: str = "grad_cam") -> None:
    """Wait until the pictures are those of this image at this epsilon."""
    page.wait_for_selector(f'.panel.{letter}[data-shown="{id_} {epsilon} {method}"]')


def canvas(page: Any, kind: str, letter: str = "a") -> np.ndarray:
    """The pixels of a canvas, RGB."""
    values, height, width = page.evaluate(
        """(where) => {
          const canvas = document.querySelector(where);
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          return [Array.from(data), height, width];
        }""",
        f'.panel.{letter} canvas[data-kind="{kind}"]',
    )
    return np.array(values).reshape(height, width, 4)[..., :3]


def tiles(page: Any) -> list[str]:
    return page.eval_on_selector_all(".strip li", "all => all.map((each) => each.title)")


def address(page: Any) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(page.url.partition("#")[2]).items()}


def select(page: Any, name: str, value: str) -> None:
    page.select_option(f'.viewer select[name="{name}"]', value)


def test_the_slider_changes_every_picture_and_number_to_what_the_files_hold(
    plain: Path, visit: Open
) -> None:
    page = visit(plain, run="first", versus="second", image="image-4", eps="0")
    colours = (colormaps["PuOr"](np.arange(256), bytes=True))[:, :3]
    slider = page.locator("#viewer-epsilon")
    for level, epsilon in enumerate((0.0, *EPSILONS)):
        for letter, name in (("a", "first"), ("b", "second")):
            shown(page, "image-4", f"{epsilon:g}", letter)
            said = logits(name, level)[4].astype(float)
            chances = np.exp(said) / np.exp(said).sum()
            cells = page.eval_on_selector_all(
                f".panel.{letter} .classes td", "all => all.map((each) => each.textContent)"
            )
            expected = [
                (f"{p:.3f}", f"{z:.2f}".replace("-", "−"))
                for p, z in zip(chances, said, strict=True)
            ]
            assert cells == [text for pair in expected for text in pair]
            right = FALLS[name][4] > level
            sign, word = ("✓", "nevus") if right else ("✗", "melanoma")
            verdict = page.text_content(f".panel.{letter} .verdict")
            assert verdict == f"{sign} {word} {100 * chances.max():.1f} %, true: nevus"
            attacked = image(4) + change(epsilon)
            seen = canvas(page, "image", letter)
            np.testing.assert_allclose(seen, attacked * 255, atol=1)
            grey = 128 if not epsilon else np.where(np.arange(16) < 8, 255, 0)
            assert (canvas(page, "perturbation", letter) == colours[grey]).all()
            over = samples.overlay(attacked.astype(np.float32), heatmap(level).astype(float) / 2)
            np.testing.assert_allclose(canvas(page, "heatmap", letter), over * 255, atol=3)
        assert slider.get_attribute("aria-valuetext").startswith(f"ε = {epsilon:g} (")
        assert address(page)["eps"] == f"{epsilon:g}" if level else True
        slider.press("ArrowRight")


def test_images_are_filtered_by_class_and_by_what_the_attack_reached(
    plain: Path, visit: Open
) -> None:
    page = visit(plain, run="first", versus="second", eps="0.02")
    level, first, second = 2, np.array(FALLS["first"]), np.array(FALLS["second"])
    expected = {
        "all": first > -1,
        "standing-a": first > level,
        "fallen-a": first <= level,
        "falls-a": first == level,
        "standing-b": second > level,
        "fallen-b": second <= level,
        "falls-b": second == level,
        "only-a": (first > level) & (second <= level),
        "only-b": (second > level) & (first <= level),
    }
    values = page.eval_on_selector_all(
        'select[name="show"] option', "all => all.map((each) => each.value)"
    )
    assert values == list(expected)
    for name, wanted in expected.items():
        select(page, "show", name)
        assert sorted(tiles(page)) == sorted(np.array(IDS)[wanted]), name
    both, one, other = (first > 2) & (second > 2), first > 2, second > 2
    text = (
        f"both {both.sum()}, A alone {(one & ~other).sum()}, B alone {(other & ~one).sum()}, "
        f"neither {(~one & ~other).sum()}"
    )
    assert text in page.text_content(".count")
    select(page, "show", "all")
    select(page, "class", "melanoma")
    assert sorted(tiles(page)) == sorted(np.array(IDS)[LABELS == 1])
    assert page.text_content(".count").startswith("6 of 12 images")


def test_images_are_sorted(plain: Path, visit: Open) -> None:
    page = visit(plain, run="first", eps="0.02")
    assert set(tiles(page)[:3]) == {IDS[number] for number in SAMPLES}, "those with pictures"
    select(page, "sort", "unsure")
    assert tiles(page) == list(IDS), "by the helpers' logits, from the least sure to the surest"
    select(page, "sort", "sure")
    assert tiles(page) == list(IDS)[::-1]
    select(page, "sort", "early")
    order = [FALLS["first"][IDS.index(each)] for each in tiles(page)]
    assert order == sorted(order)
    page.click('.strip li[title="image-1"]')
    shown(page, "image-1", "0.02")
    assert address(page) | {"eps": ""} == address(page) | {"image": "image-1", "eps": ""}


def test_points_of_the_curve_tell_their_numbers_and_lead_to_the_images(
    plain: Path, visit: Open
) -> None:
    page = visit(plain, run="first", versus="second", eps="0")
    point = page.locator('.point.b[data-key="0.02"]')
    point.hover()
    told = page.text_content(".viewer .hover")
    # As make_run measures it: 0.75 / 3, from 0.8 to 1.1 times that.
    assert "B second, ε = 0.02 (5.1 of 255): 0.250 (0.200–0.275), n = 40, 3 images fall" in told
    point.click()
    assert sorted(tiles(page)) == sorted(np.array(IDS)[np.array(FALLS["second"]) == 2])
    assert address(page)["eps"] == "0.02"
    assert address(page)["show"] == "falls-b"
    cells = page.eval_on_selector_all(
        ".curves tbody tr", "all => all.map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert cells[2] == ["0.02 (5.1 of 255)", "0.250 (0.200–0.275)", "3", "0.250 (0.200–0.275)", "3"]


def test_a_link_restores_what_was_shown_and_nonsense_in_it_does_no_harm(
    plain: Path, visit: Open
) -> None:
    page = visit(plain)
    select(page, "versus", "second")
    select(page, "show", "fallen-b")
    select(page, "sort", "late")
    page.locator("#viewer-epsilon").press("End")
    before = page.text_content("#viewer-root"), tiles(page)
    again = visit(plain, **address(page))
    assert (again.text_content("#viewer-root"), tiles(again)) == before
    for word in ("constructor", "__proto__", HOSTILE):
        names = ("set", "run", "versus", "attack", "image", "eps", "show", "sort", "method")
        odd = visit(plain, **dict.fromkeys(names, word))
        assert len(tiles(odd)) == 12
    page.goto(page.url.partition("#")[0] + "#curves")
    assert tiles(page) == before[1], "a link to a section changes nothing"


def test_tables_are_sorted_and_copied(plain: Path, visit: Open) -> None:
    page = visit(plain)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    place = (
        "#tables .scroll table" if page.query_selector("#tables") else "main .scroll table.named"
    )
    table = page.locator(place).first
    column = table.locator("thead tr:last-child th").nth(1)

    def cells() -> list[str]:
        return table.locator("tbody tr").evaluate_all(
            "all => all.map((r) => r.cells[1].textContent)"
        )

    values = sorted(cells())
    for order, expected in (("ascending", values), ("descending", values[::-1])):
        column.locator("button").press("Enter")
        assert column.get_attribute("aria-sort") == order
        assert cells() == expected
    page.locator("button.copy").first.click()
    page.wait_for_selector('.tools [role="status"]:has-text("copied")')
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    first = page.locator("main > section:not(#viewer) .scroll table").first
    assert len(copied) == 1 + first.locator("tbody tr").count()


def test_everything_can_be_reached_and_done_by_keyboard_and_focus_is_seen(
    plain: Path, visit: Open
) -> None:
    page = visit(plain, run="first", versus="second", image="image-4", eps="0.01")
    seen: list[str] = []
    page.evaluate("document.querySelector('#viewer a, #viewer select')?.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        where, outline, stroke = page.evaluate(
            """() => {
              const e = document.activeElement, style = getComputedStyle(e);
              const reach = e.querySelector?.(".reach");
              const role = e.getAttribute("role") + (e.dataset?.key ?? "");
              return [e.name || e.id || role, style.outlineStyle,
                reach ? getComputedStyle(reach).stroke : "none"];
            }"""
        )
        seen.append(where)
        assert outline != "none" or stroke != "none", where
        if where == "viewer-epsilon":
            page.keyboard.press("ArrowRight")
            shown(page, "image-4", "0.02")
        if where == "button0.04":
            page.keyboard.press("Enter")
            assert address(page)["show"] == "falls-a"
            assert page.evaluate("document.activeElement.dataset.key") == "0.04", "focus stays"
            select(page, "show", "all")
            page.locator('.point.b[data-key="0.04"]').focus()
        if where == "option":
            before = address(page)["image"]
            page.keyboard.press("ArrowRight")
            page.keyboard.press("End")
            assert address(page)["image"] == tiles(page)[-1] != before
            assert page.evaluate("document.activeElement.title") == tiles(page)[-1]
            break
    assert "option" in seen
    assert {"run", "versus", "viewer-epsilon", "class", "show", "sort"} <= {*seen}


def contrast(one: str, other: str) -> float:
    """Of two colours as `rgb(r, g, b)`, by WCAG 2."""

    def light(text: str) -> float:
        parts = np.array([int(each) for each in re.findall(r"\d+", text)[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_colour_schemes(plain: Path, visit: Open, scheme: str) -> None:
    page = visit(plain, color_scheme=scheme, eps="0.04")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    for place in ("p", ".viewer .hover", ".viewer .wrong", ".viewer figcaption", "a", "td", "h2"):
        colour = page.evaluate(
            "(where) => getComputedStyle(document.querySelector(where)).color", place
        )
        assert contrast(colour, ground) >= 4.5, place


@pytest.mark.parametrize("width", [360, 1920])
@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_no_page_scrolls_sideways(
    request: pytest.FixtureRequest, visit: Open, which: str, width: int
) -> None:
    page = visit(request.getfixturevalue(which), width, versus="second")
    page.wait_for_selector(".strip li")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#viewer-epsilon").bounding_box()
    assert box["width"] > 100


def test_names_that_look_like_markup_are_shown_as_they_are(hostile: Path, visit: Open) -> None:
    page = visit(hostile, versus="second", image=f"{HOSTILE}0", eps="0.04")
    assert page.text_content(".shown h3") == f"{HOSTILE}0"
    assert HOSTILE in page.text_content(".panel.a .classes")
    select(page, "class", HOSTILE)
    assert len(tiles(page)) == 6
    page.click('.strip li[title="__proto__"]')
    assert page.text_content(".shown h3") == "__proto__"
    assert page.evaluate("window.fell") is None
    assert page.query_selector("img[src=x]") is None


def test_without_javascript_tables_and_figures_stay(plain: Path, visit: Open) -> None:
    page = visit(plain, scripts="off")
    assert "needs JavaScript" in page.text_content("#viewer noscript")
    assert page.locator("#curves img").is_visible()
    assert page.locator("main .scroll table").count() >= 5


def test_printing_leaves_out_what_only_a_hand_can_use(plain: Path, visit: Open) -> None:
    page = visit(plain, image="image-4", eps="0.02")
    shown(page, "image-4", "0.02")
    page.emulate_media(media="print")
    for gone in (".viewer .controls", ".viewer .strip", ".tools", "#viewer-epsilon"):
        assert not page.locator(gone).first.is_visible(), gone
    for stays in (".panel.a canvas", ".viewer svg", ".panel.a .classes"):
        assert page.locator(stays).first.is_visible(), stays


def test_a_segmenters_masks_and_dice_follow_the_slider(
    browser: Any, visit: Open, tmp_path: Path
) -> None:
    place = pages.write(segmenting_runs(tmp_path), tmp_path / "out")
    page = visit(place, run="first", versus="second", image="image-4", eps="0")
    ramp = (colormaps["turbo"](np.arange(256), bytes=True))[:, :3].astype(float)
    slider = page.locator("#viewer-epsilon")
    for level, epsilon in enumerate((0.0, *EPSILONS)):
        for letter, name in (("a", "first"), ("b", "second")):
            shown(page, "image-4", f"{epsilon:g}", letter, "predicted mask")
            size = squares(name, level)[4]
            value = 2 * size / (64 + size)
            told = page.text_content(f".panel.{letter} .verdict")
            right = value >= 0.7
            assert told == (f"✓ Dice {value:.3f}" if right else f"✗ Dice {value:.3f} (below 0.7)")
            seen = canvas(page, "image", letter).astype(float)
            grey = (seen @ (0.299, 0.587, 0.114))[..., None] * np.ones(3)
            mask = np.zeros((16, 16), bool)
            mask[4:12, 4:12].flat[:size] = True
            expected = np.where(mask[..., None], 0.45 * grey + 0.55 * ramp[255], grey)
            np.testing.assert_allclose(canvas(page, "heatmap", letter), expected, atol=2)
        slider.press("ArrowRight")
    select(page, "method", "true mask")
    shown(page, "image-4", "0.04", "a", "true mask")
    assert "true mask" in page.text_content(".panel.a figure:last-child figcaption")
    select(page, "sort", "unsure")
    values = squares("first", 3)[[IDS.index(each) for each in tiles(page)]]
    assert (np.diff(values) >= 0).all(), "by Dice, lowest first"
    assert "Dice, lowest first" in page.text_content('select[name="sort"]')
    assert "Dice on the test images" in page.text_content(".curves figcaption")
    assert not page.locator('select[name="class"]').is_visible(), "maps have no class"
    assert not page.locator(".panel.a .classes").is_visible()
    select(page, "show", "fallen-a")
    fallen = np.array(FALLS["first"]) <= 3
    assert sorted(tiles(page)) == sorted(np.array(IDS)[fallen])
