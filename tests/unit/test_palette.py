"""The colors of the chart can be told apart, also by color-blind readers."""

from __future__ import annotations

import math
import re
from itertools import combinations
from operator import mul

import pytest

from events.page.routes import STATIC

Color = tuple[float, ...]
#: How color-blind readers see linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
VISION = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
#: OKLab, in which equal distances look about equally different (Ottosson 2020).
TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
#: Two neighbouring shades of one hue are about 0.03 apart, black and white 1.
LEAST_DISTANCE = 0.1
#: WCAG 2.1, "Non-text contrast".
LEAST_CONTRAST = 3.0


def scheme(name: str) -> dict[str, str]:
    """The colors of `light` or `dark`: the first or the second block of the style sheet."""
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "style.css").read_text("utf-8"), re.DOTALL)
    block = blocks[["light", "dark"].index(name)]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def linear(text: str) -> Color:
    parts = [int(text[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    return tuple(x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)


def times(matrix: tuple[Color, ...], color: Color) -> Color:
    return tuple(sum(map(mul, row, color)) for row in matrix)


def seen(color: str, vision: str) -> Color:
    in_gamut = tuple(min(1, max(0, x)) for x in times(VISION[vision], linear(color)))
    return times(TO_LAB, tuple(x ** (1 / 3) for x in times(TO_CONES, in_gamut)))


def luminance(color: str) -> float:
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_colors_of_event_types_differ(name: str, vision: str) -> None:
    colors = [color for key, color in scheme(name).items() if key.startswith("tone-")]
    assert len(colors) == 6
    distances = {
        pair: math.dist(*(seen(color, vision) for color in pair))
        for pair in combinations(colors, 2)
    }
    assert min(distances.values()) >= LEAST_DISTANCE, min(distances, key=distances.__getitem__)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_the_colors_of_event_types_contrast_with_the_card(name: str) -> None:
    colors = scheme(name)
    for key, color in colors.items():
        if key.startswith("tone-"):
            bright, dim = sorted(map(luminance, (color, colors["card"])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= LEAST_CONTRAST, key
