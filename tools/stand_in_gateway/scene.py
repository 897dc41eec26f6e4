"""What a prompt looks like: a backdrop, and a surface in front of it for the product to stand on.

The same prompt and variation always give the same scene. Where the words name no colour, their hash chooses.
"""

import colorsys
import hashlib
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

# Scenes are drawn this much smaller than the picture: quicker, and softer than the product in front of them.
_SCALE = 2

_COLOURS: dict[str, Colour] = {
    "white": (240, 240, 238),
    "black": (44, 44, 48),
    "grey": (150, 152, 156),
    "gray": (150, 152, 156),
    "silver": (186, 190, 196),
    "red": (196, 62, 60),
    "orange": (232, 146, 74),
    "yellow": (242, 210, 104),
    "gold": (206, 168, 90),
    "golden": (214, 174, 94),
    "green": (116, 164, 116),
    "mint": (170, 218, 198),
    "teal": (62, 140, 142),
    "turquoise": (90, 190, 186),
    "blue": (92, 138, 194),
    "navy": (46, 64, 106),
    "purple": (130, 98, 170),
    "violet": (144, 108, 186),
    "lavender": (192, 180, 224),
    "pink": (234, 170, 186),
    "beige": (222, 206, 180),
    "cream": (240, 230, 210),
    "brown": (144, 108, 80),
}

# In each of the following tables the first row that the prompt has a word of wins.
_BACKDROP_WORDS = {
    "sea": "beach sea ocean coast shore seaside tropical island lagoon surf",
    "trees": "forest woods woodland jungle trees tree garden park meadow grass nature leaves moss spring",
    "skyline": "city street urban skyline town downtown cyberpunk neon rooftop",
    "mountains": "mountain mountains alps snow snowy winter ski glacier ice hills valley",
    "dunes": "desert dune dunes sahara canyon",
}
_SURFACE_WORDS = {
    "marble": "marble",
    "planks": "wood wooden oak walnut plank planks deck table desk rustic bamboo",
    "sand": "sand sandy beach desert dune dunes sahara",
    "snow": "snow snowy winter ice ski glacier",
    "grass": "grass meadow lawn moss forest woods woodland jungle garden park mountain mountains alps hills valley",
    "wet": "street city cyberpunk neon rain rainy wet asphalt urban downtown skyline",
}
_SURFACE_BEFORE = {"sea": "sand", "trees": "grass", "skyline": "wet", "mountains": "grass", "dunes": "sand"}
_LIGHT_WORDS = {
    "night": "night midnight moon moonlight stars starry neon cyberpunk",
    "dusk": "sunset dusk sunrise dawn evening twilight",
}

# From the zenith down to the horizon.
_SKIES: dict[str, list[Colour]] = {
    "day": [(98, 160, 216), (150, 198, 232), (224, 238, 244)],
    "dusk": [(82, 72, 132), (190, 100, 124), (244, 160, 100), (254, 218, 150)],
    "night": [(8, 10, 28), (22, 28, 62), (60, 56, 104)],
}
# What the light leaves of the colours that it falls on.
_TINTS: dict[str, Colour] = {"day": (255, 255, 255), "dusk": (255, 214, 190), "night": (96, 104, 150)}


@dataclass(frozen=True)
class _Stage:
    """What the parts of a scene are drawn for; `horizon` is the row where the surface begins."""

    width: int
    height: int
    horizon: int
    light: str
    wall_tone: Colour
    surface_tone: Colour | None
    rng: random.Random

    def lit(self, colour: Colour) -> Colour:
        tint = _TINTS[self.light]
        return (colour[0] * tint[0] // 255, colour[1] * tint[1] // 255, colour[2] * tint[2] // 255)


def draw(prompt: str, size: tuple[int, int], horizon: float, variation: int) -> Image.Image:
    """The scene for a prompt; `horizon` is a share of the height, `variation` tells the images of one call apart."""
    seed = hashlib.sha256(f"{variation} {prompt}".encode()).digest()
    words = re.findall("[a-z]+", prompt.lower())
    backdrop = _first(_BACKDROP_WORDS, words) or "wall"
    surface = _first(_SURFACE_WORDS, words) or _SURFACE_BEFORE.get(backdrop, "sweep")
    width, height = max(1, size[0] // _SCALE), max(2, size[1] // _SCALE)
    stage = _Stage(
        width,
        height,
        min(height - 1, max(1, round(height * horizon))),
        _first(_LIGHT_WORDS, words) or "day",
        *_tones(words, seed),
        random.Random(seed),
    )
    picture = Image.new("RGB", (width, height))
    behind = _BACKDROPS[backdrop](stage)
    # Something of the backdrop has to be there where the surface fades in.
    picture.paste(behind.crop((0, stage.horizon - 1, width, stage.horizon)).resize((width, height)))
    picture.paste(behind)
    ground = _SURFACES[surface](stage, behind)
    picture.paste(ground, (0, stage.horizon), _seam(ground.size, _SEAMS.get(surface, 0.01) * height))
    return _vignetted(picture).resize(size, Image.Resampling.BICUBIC)


def _first(table: Mapping[str, str], words: list[str]) -> str | None:
    return next((name for name, known in table.items() if not set(known.split()).isdisjoint(words)), None)


def _tones(words: list[str], seed: bytes) -> tuple[Colour, Colour | None]:
    """The wall's colour and the surface's: a colour in front of a surface's name is meant for that."""
    surfaces = set(" ".join(_SURFACE_WORDS.values()).split())
    pairs = list(pairwise([*words, ""]))
    of_surface = [_COLOURS[word] for word, following in pairs if word in _COLOURS and following in surfaces]
    others = [_COLOURS[word] for word, following in pairs if word in _COLOURS and following not in surfaces]
    return (others or of_surface or [_hashed_colour(seed)])[0], of_surface[0] if of_surface else None


def _hashed_colour(seed: bytes) -> Colour:
    return _rgb(seed[0] / 255, 0.62 + seed[1] / 255 * 0.16, 0.28 + seed[2] / 255 * 0.2)


def _rgb(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = (round(part * 255) for part in colorsys.hls_to_rgb(hue, lightness, saturation))
    return red, green, blue


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _gradient(width: int, height: int, stops: list[Colour]) -> Image.Image:
    """From the first colour at the top to the last at the bottom."""
    column = Image.new("RGB", (1, len(stops)))
    column.putdata(stops)
    return column.resize((width, height), Image.Resampling.BICUBIC, box=(0, 0.5, 1, len(stops) - 0.5))


def _glow(picture: Image.Image, centre: tuple[float, float], radius: float, colour: Colour, strength: float) -> None:
    side = max(2, round(radius * 2))
    # Pillow's gradient reaches 181 where it meets the edges; quadratic, so that the glow ends without a visible rim.
    mask = Image.radial_gradient("L").point(lambda value: max(0, 181 - value) ** 2 / 128.5 * strength)
    mask = mask.resize((side, side))
    picture.paste(colour, (round(centre[0] - radius), round(centre[1] - radius)), mask)


def _vignetted(picture: Image.Image) -> Image.Image:
    shade = Image.radial_gradient("L").point(lambda value: 255 - max(0, value - 110) * 0.45).resize(picture.size)
    return ImageChops.multiply(picture, Image.merge("RGB", (shade, shade, shade)))


def _seam(size: tuple[int, int], rows: float) -> Image.Image:
    """Fades a surface in over its first rows."""
    rows = max(1.0, rows)
    column = Image.new("L", (1, size[1]), 255)
    column.putdata([min(255, round(255 * (row + 0.5) / rows)) for row in range(size[1])])
    return column.resize(size)


# Backdrops


def _sky(stage: _Stage) -> Image.Image:
    width, height = stage.width, stage.horizon
    sky = _gradient(width, height, _SKIES[stage.light])
    rng = stage.rng
    sun = (width * rng.uniform(0.2, 0.8), height * rng.uniform(0.25, 0.55))
    if stage.light == "night":
        pen = ImageDraw.Draw(sky)
        for _ in range(90):
            brightness = rng.randint(90, 220)
            pen.point((rng.randrange(width), rng.randrange(height)), (brightness, brightness, brightness))
        _glow(sky, sun, width * 0.16, (150, 160, 210), 0.5)
        radius = width * 0.03
        pen.ellipse((sun[0] - radius, sun[1] - radius, sun[0] + radius, sun[1] + radius), (236, 236, 222))
        return sky
    clouds = Image.new("L", (width, height))
    pen = ImageDraw.Draw(clouds)
    for _ in range(5):
        x, y, reach = rng.uniform(0, width), rng.uniform(0.05, 0.6) * height, width * rng.uniform(0.05, 0.12)
        for _ in range(7):
            cx, cy, r = (
                x + rng.uniform(-2, 2) * reach,
                y + rng.uniform(-0.25, 0.25) * reach,
                reach * rng.uniform(0.2, 0.5),
            )
            pen.ellipse((cx - 1.6 * r, cy - 0.5 * r, cx + 1.6 * r, cy + 0.5 * r), rng.randint(90, 190))
    sky.paste(
        (255, 255, 255) if stage.light == "day" else (255, 196, 170),
        (0, 0),
        clouds.filter(ImageFilter.GaussianBlur(width * 0.018)),
    )
    if stage.light == "dusk":
        _glow(sky, (sun[0], height * 0.86), width * 0.5, (255, 228, 160), 0.85)
    else:
        _glow(sky, (sun[0], 0), width * 0.5, (255, 255, 246), 0.6)
    return sky


def _sea(stage: _Stage) -> Image.Image:
    picture = _sky(stage)
    width, top = stage.width, round(stage.horizon * 0.62)
    rows = stage.horizon - top
    if rows < 2:
        return picture
    far, near = stage.lit((38, 104, 158)), stage.lit((118, 206, 204))
    water = _gradient(width, rows, [far, _mix(far, near, 0.5), near])
    pen = ImageDraw.Draw(water)
    for _ in range(160):
        depth = stage.rng.random() ** 1.6
        x, y, reach = stage.rng.uniform(0, width), depth * rows, width * (0.01 + 0.05 * depth)
        pen.line((x - reach, y, x + reach, y), _mix(_mix(far, near, depth), stage.lit((236, 248, 248)), 0.45))
    picture.paste(water.filter(ImageFilter.GaussianBlur(width * 0.002)), (0, top))
    foam = ImageDraw.Draw(picture)
    phase = stage.rng.uniform(0, 6)
    crest = [
        (
            x,
            stage.horizon
            - rows * (0.06 + 0.03 * math.sin(phase + x / width * 9) + 0.02 * math.sin(phase + x / width * 23)),
        )
        for x in range(0, width + 4, 4)
    ]
    foam.polygon([*crest, (width, stage.horizon), (0, stage.horizon)], stage.lit((240, 246, 244)))
    return picture.filter(ImageFilter.GaussianBlur(width * 0.003))


def _trees(stage: _Stage) -> Image.Image:
    width, height, rng = stage.width, stage.horizon, stage.rng
    picture = _gradient(width, height, [stage.lit(c) for c in ((96, 140, 92), (168, 200, 128), (110, 150, 84))])
    _glow(picture, (width * rng.uniform(0.3, 0.7), height * 0.35), width * 0.55, stage.lit((246, 246, 196)), 0.9)
    for layer in range(3):
        pen = ImageDraw.Draw(picture)
        depth = (layer + 1) / 3
        leaf, bark = (54, 104, 58), (70, 56, 44)
        haze: Colour = (176, 204, 150)
        for _ in range(5 + layer * 2):
            x, girth = rng.uniform(0, width), width * rng.uniform(0.008, 0.016) * (0.6 + depth)
            pen.rectangle((x - girth, 0, x + girth, height), stage.lit(_mix(haze, bark, 0.3 + 0.6 * depth)))
        for _ in range(34):
            # Leaves crowd the top and the undergrowth and leave a clearing between.
            y = height * (rng.betavariate(1, 3.2) if rng.random() < 0.7 else rng.uniform(0.86, 1.05))
            x, r = rng.uniform(0, width), width * rng.uniform(0.02, 0.06)
            shade = _mix(haze, _mix(leaf, (132, 170, 72), rng.random()), 0.25 + 0.6 * depth)
            pen.ellipse((x - r, y - 0.8 * r, x + r, y + 0.8 * r), stage.lit(shade))
        picture = picture.filter(ImageFilter.GaussianBlur(width * (0.016 - 0.004 * layer)))
    return _with_bokeh(picture, stage, [(240, 246, 190), (206, 230, 150)], 26)


def _with_bokeh(picture: Image.Image, stage: _Stage, colours: list[Colour], count: int) -> Image.Image:
    """Lights out of focus."""
    rng, width = stage.rng, stage.width
    lights = Image.new("RGB", picture.size)
    for _ in range(count):
        disc = Image.new("L", picture.size)
        x, y, r = rng.uniform(0, width), rng.uniform(0, picture.height), width * rng.uniform(0.008, 0.028)
        ImageDraw.Draw(disc).ellipse((x - r, y - r, x + r, y + r), rng.randint(40, 110))
        lights.paste(rng.choice(colours), (0, 0), disc)
    return ImageChops.screen(picture, lights.filter(ImageFilter.GaussianBlur(width * 0.002)))


def _skyline(stage: _Stage) -> Image.Image:
    width, height, rng = stage.width, stage.horizon, stage.rng
    picture = _sky(stage)
    near: Colour = (28, 30, 48) if stage.light == "night" else stage.lit((104, 116, 136))
    windows: list[Colour] = [(255, 214, 140), (255, 236, 196), (150, 206, 255)]
    lit_share = {"night": 0.55, "dusk": 0.4, "day": 0.0}[stage.light]
    for layer in range(2):
        pen = ImageDraw.Draw(picture)
        body = _mix(_SKIES[stage.light][-1], near, 0.5 + 0.5 * layer)
        x = -rng.uniform(0, 0.05) * width
        while x < width:
            wide, top = width * rng.uniform(0.06, 0.14), height * (rng.uniform(0.12, 0.5) + 0.2 * layer)
            shade = _mix(body, (0, 0, 0), rng.uniform(0, 0.16))
            pen.rectangle((x, top, x + wide, height), shade)
            step = max(3.0, width * 0.013)
            for column in range(1, int(wide / step)):
                for row in range(1, int((height - top) / step)):
                    left, above = x + column * step, top + row * step * 1.2
                    if rng.random() < lit_share:
                        colour = _mix(shade, rng.choice(windows), 0.5 + 0.4 * layer)
                    else:
                        colour = _mix(shade, (255, 255, 255), 0.1)
                    pen.rectangle((left, above, left + step * 0.45, above + step * 0.55), colour)
            x += wide * rng.uniform(0.9, 1.25)
        picture = picture.filter(ImageFilter.GaussianBlur(width * (0.007 - 0.003 * layer)))
    if stage.light == "day":
        return picture
    return _with_bokeh(picture, stage, [(255, 120, 190), (110, 200, 255), (255, 200, 120)], 30)


def _mountains(stage: _Stage) -> Image.Image:
    picture = _sky(stage)
    sky = _SKIES[stage.light][-1]
    for layer, (top, rough) in enumerate(((0.3, 0.26), (0.52, 0.2), (0.76, 0.12))):
        rock = stage.lit(((150, 172, 198), (112, 140, 170), (84, 116, 128))[layer])
        ridge = _ridge(stage, top, rough, 0.55)
        pen = ImageDraw.Draw(picture)
        pen.polygon([*ridge, (stage.width, stage.horizon), (0, stage.horizon)], _mix(sky, rock, 0.55 + 0.2 * layer))
        if layer < 2:
            # Snow down to a line of its own, so that it lies on the peaks and leaves the valleys bare.
            line = _ridge(stage, top + 0.02, 0.05, 0.8)
            snow = [(x, max(y, edge)) for (x, y), (_, edge) in zip(ridge, line, strict=True)]
            pen.polygon([*ridge, *reversed(snow)], _mix(sky, stage.lit((240, 245, 250)), 0.85))
    return picture.filter(ImageFilter.GaussianBlur(stage.width * 0.004))


def _dunes(stage: _Stage) -> Image.Image:
    picture = _sky(stage)
    for layer, (top, rough) in enumerate(((0.55, 0.1), (0.7, 0.12), (0.84, 0.08))):
        sand = stage.lit(_mix((238, 204, 156), (206, 150, 98), layer / 2))
        ridge = _ridge(stage, top, rough, 0.3)
        ImageDraw.Draw(picture).polygon([*ridge, (stage.width, stage.horizon), (0, stage.horizon)], sand)
    return picture.filter(ImageFilter.GaussianBlur(stage.width * 0.006))


def _ridge(stage: _Stage, top: float, rough: float, roughness: float) -> list[tuple[float, float]]:
    """A line across the stage by midpoint displacement; `top` and `rough` are shares of the horizon's height."""
    heights = [top, top]
    spread = rough
    while len(heights) < 65:
        between = [(a + b) / 2 + stage.rng.uniform(-spread, spread) for a, b in pairwise(heights)]
        heights = [height for pair in zip(heights, between, strict=False) for height in pair] + [heights[-1]]
        spread *= roughness
    return [(stage.width * index / 64, stage.horizon * height) for index, height in enumerate(heights)]


def _wall(stage: _Stage) -> Image.Image:
    width, height, rng = stage.width, stage.horizon, stage.rng
    tone = stage.lit(stage.wall_tone)
    # Drawn to the stage's full height: the sweep below continues it without a seam.
    picture = _gradient(width, stage.height, [_mix(tone, (0, 0, 0), 0.1), tone, _mix(tone, (255, 255, 255), 0.16)])
    side = rng.choice((0.22, 0.78))
    _glow(picture, (width * side, height * 0.3), width * 0.75, _mix(tone, (255, 255, 255), 0.6), 0.75)
    # Daylight through a window, falling aslant.
    panes = Image.new("L", picture.size)
    pen = ImageDraw.Draw(panes)
    left, slant, wide = width * (side - 0.2), height * 0.28, width * 0.17
    for column in range(2):
        for row in range(2):
            x, y = left + column * wide * 1.14, height * (0.1 + row * 0.36) + column * slant * 0.5
            drop = height * 0.3
            pen.polygon([(x, y), (x + wide, y + slant * 0.5), (x + wide, y + slant * 0.5 + drop), (x, y + drop)], 74)
    picture.paste(
        _mix(tone, stage.lit((255, 250, 236)), 0.85), (0, 0), panes.filter(ImageFilter.GaussianBlur(width * 0.012))
    )
    return picture


# Surfaces: as wide as the stage, from the horizon down.


def _sweep(stage: _Stage, _behind: Image.Image) -> Image.Image:
    tone = stage.lit(stage.wall_tone)
    return _gradient(
        stage.width, stage.height - stage.horizon, [_mix(tone, (255, 255, 255), 0.22), _mix(tone, (0, 0, 0), 0.06)]
    )


def _sand(stage: _Stage, _behind: Image.Image) -> Image.Image:
    width, height, rng = stage.width, stage.height - stage.horizon, stage.rng
    far, near = stage.lit((226, 200, 158)), stage.lit((238, 214, 172))
    ground = _gradient(width, height, [_mix(far, (0, 0, 0), 0.12), far, near])
    pen = ImageDraw.Draw(ground)
    for _ in range(70):
        depth = rng.random() ** 0.7
        x, y, reach, phase = rng.uniform(0, width), depth * height, width * rng.uniform(0.05, 0.16), rng.uniform(0, 6)
        wave = [
            (x + step * reach / 5, y + math.sin(phase + step * 0.6) * height * 0.008 * depth) for step in range(-5, 6)
        ]
        pen.line(
            wave,
            _mix(far, (0, 0, 0) if rng.random() < 0.5 else (255, 255, 255), 0.08 + 0.1 * depth),
            1 + round(depth * 2),
        )
    ground = ground.filter(ImageFilter.GaussianBlur(width * 0.004))
    return _speckled(ground, rng, 1800, 14)


def _speckled(ground: Image.Image, rng: random.Random, count: int, contrast: int) -> Image.Image:
    grain = Image.new("L", ground.size, 128)
    pen = ImageDraw.Draw(grain)
    for _ in range(count):
        pen.point(
            (rng.randrange(ground.width), rng.randrange(ground.height)), 128 + rng.randint(-contrast, contrast) * 2
        )
    return ImageChops.add(ground, Image.merge("RGB", (grain, grain, grain)), 1, -128)


def _grass(stage: _Stage, _behind: Image.Image) -> Image.Image:
    width, height, rng = stage.width, stage.height - stage.horizon, stage.rng
    far, near = stage.lit((116, 156, 76)), stage.lit((74, 122, 52))
    ground = _gradient(width, height, [far, _mix(far, near, 0.6), near])
    pen = ImageDraw.Draw(ground)
    for blade in range(1500):
        depth = (blade / 1500) ** 0.8
        x, y, reach = rng.uniform(0, width), depth * height * 1.1, height * (0.015 + 0.09 * depth)
        colour = _mix(
            _mix(far, near, depth), stage.lit(rng.choice(((176, 206, 110), (40, 84, 36), (130, 172, 80)))), 0.5
        )
        pen.line((x, y, x + rng.uniform(-0.4, 0.4) * reach, y - reach), colour)
    return ground.filter(ImageFilter.GaussianBlur(width * 0.0016))


def _snow(stage: _Stage, _behind: Image.Image) -> Image.Image:
    width, height, rng = stage.width, stage.height - stage.horizon, stage.rng
    far, near = stage.lit((214, 226, 240)), stage.lit((250, 252, 255))
    ground = _gradient(width, height, [far, near, near])
    pen = ImageDraw.Draw(ground)
    for _ in range(12):
        depth = rng.random()
        x, y, reach = rng.uniform(0, width), depth * height, width * rng.uniform(0.08, 0.2)
        pen.ellipse((x - reach, y - reach * 0.12, x + reach, y + reach * 0.12), stage.lit((224, 234, 246)))
    return _speckled(ground.filter(ImageFilter.GaussianBlur(width * 0.02)), rng, 500, 8)


def _marble(stage: _Stage, behind: Image.Image) -> Image.Image:
    width, height, rng = stage.width, stage.height - stage.horizon, stage.rng
    tone: Colour = stage.lit(stage.surface_tone or (238, 236, 232))
    ground = _gradient(width, height, [_mix(tone, (255, 255, 255), 0.5), tone, _mix(tone, (0, 0, 0), 0.05)])
    vein = _mix(tone, (0, 0, 0), 0.45) if sum(tone) > 330 else _mix(tone, (255, 255, 255), 0.5)
    for soft in (True, False):
        lines = Image.new("L", (width, height))
        pen = ImageDraw.Draw(lines)
        for _ in range(7):
            x, y, heading = rng.uniform(-0.1, 1) * width, rng.uniform(-0.2, 0.9) * height, rng.uniform(0.1, 0.7)
            path = [(x, y)]
            for _ in range(18):
                heading = min(1.1, max(-0.3, heading + rng.uniform(-0.45, 0.45)))
                x, y = x + math.cos(heading) * width * 0.035, y + math.sin(heading) * width * 0.022
                path.append((x, y))
            pen.line(
                path, rng.randint(70, 130) if soft else rng.randint(90, 170), rng.randint(4, 9) if soft else 1, "curve"
            )
        blur = width * (0.012 if soft else 0.0012)
        ground.paste(vein, (0, 0), lines.filter(ImageFilter.GaussianBlur(blur)))
    return _mirrored(ground, behind, 0.16)


def _mirrored(ground: Image.Image, behind: Image.Image, strength: float) -> Image.Image:
    """A polished surface shows what stands behind it."""
    above = behind.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize(ground.size)
    return Image.blend(ground, above.filter(ImageFilter.GaussianBlur(ground.width * 0.012)), strength)


def _planks(stage: _Stage, behind: Image.Image) -> Image.Image:
    width, height, rng = stage.width, stage.height - stage.horizon, stage.rng
    ground = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(ground)
    wood: Colour = stage.surface_tone or (158, 112, 72)
    boards = 9

    def across(share: float, depth: float) -> float:
        """Where a line that runs away from the viewer stands: farther rows are narrower."""
        return width * (0.5 + (share - 0.5) * (0.75 + 0.9 * depth))

    for board in range(-2, boards + 2):
        shade = stage.lit(_mix(wood, rng.choice(((84, 54, 32), (208, 164, 114))), rng.uniform(0, 0.3)))
        left, right = board / boards, (board + 1) / boards
        pen.polygon(
            [(across(left, 0), 0), (across(right, 0), 0), (across(right, 1), height), (across(left, 1), height)], shade
        )
        for _ in range(16):
            share = rng.uniform(left, right)
            grain = _mix(shade, (40, 24, 12) if rng.random() < 0.6 else (255, 236, 204), rng.uniform(0.06, 0.2))
            pen.line((across(share, 0), 0, across(share + rng.uniform(-0.006, 0.006), 1), height), grain)
        pen.line((across(left, 0), 0, across(left, 1), height), _mix(shade, (20, 12, 6), 0.6), 2)
    shine = _gradient(width, height, [(255, 255, 255), (214, 214, 214), (232, 232, 232)])
    return _mirrored(ImageChops.multiply(ground.filter(ImageFilter.GaussianBlur(width * 0.0014)), shine), behind, 0.08)


def _wet(stage: _Stage, behind: Image.Image) -> Image.Image:
    width, height = stage.width, stage.height - stage.horizon
    dark: Colour = (34, 36, 46) if stage.light == "night" else stage.lit((112, 116, 124))
    ground = _gradient(width, height, [_mix(dark, (255, 255, 255), 0.12), dark, dark])
    return _speckled(_mirrored(ground, behind, 0.45), stage.rng, 900, 8)


_BACKDROPS: dict[str, Callable[[_Stage], Image.Image]] = {
    "sea": _sea,
    "trees": _trees,
    "skyline": _skyline,
    "mountains": _mountains,
    "dunes": _dunes,
    "wall": _wall,
}
_SURFACES: dict[str, Callable[[_Stage, Image.Image], Image.Image]] = {
    "sweep": _sweep,
    "sand": _sand,
    "grass": _grass,
    "snow": _snow,
    "marble": _marble,
    "planks": _planks,
    "wet": _wet,
}
# Over which share of the height a surface fades in where it is no hard edge.
_SEAMS = {"sweep": 0.16, "grass": 0.03, "snow": 0.03, "sand": 0.015, "wet": 0.02}
