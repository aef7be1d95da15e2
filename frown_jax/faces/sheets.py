"""Contact sheets of the embedded faces.

python -m frown_jax.faces.sheets --out=docs/faces
"""

from __future__ import annotations

import pathlib

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw

from frown_jax import schema
from frown_jax.faces import action_units, people, regions, sequences
from frown_jax.faces.face import Face
from frown_jax.faces.render import SIZE, render_many

_OUT = flags.DEFINE_string("out", "docs/faces", "Folder to write the sheets to.")
_PEOPLE = (
    ("Caucasian", "Female", 28),
    ("African-American", "Male", 30),
    ("Asian", "Female", 25),
    ("Caucasian", "Male", 55),
    ("African-American", "Female", 45),
    ("Asian", "Male", 70),
    ("Caucasian", "Male", 6),
    ("African-American", "Female", 80),
)


def _plain(index: int, race: str, gender: str, age: float) -> people.Subject:
    person = people.subject(np.random.default_rng(50 + index), race, gender, age)
    hair = person.face.hair.replace(bangs=np.float32(0))
    face = person.face.replace(scene=people.studio(), hair=hair)
    return people.Subject(race, gender, age, face, person.style, 0.0)


def _with_aus(person: people.Subject, intensities: dict[int, float]) -> Face:
    expression = people.neutral().replace(au=action_units.vector(intensities))
    return person.face.replace(expression=expression)


def grid(images: np.ndarray, rows: list[str], columns: list[str], left: int) -> Image.Image:
    """Images [R, C, H, W, 3] uint8 on a white sheet with row and column labels."""
    r, c, h, w = images.shape[:4]
    sheet = Image.new("RGB", (left + c * w, 16 + r * h), "white")
    draw = ImageDraw.Draw(sheet)
    for i in range(r):
        draw.text((4, 16 + i * h + h // 2 - 6), rows[i], fill="black")
        for j in range(c):
            sheet.paste(Image.fromarray(images[i, j]), (left + j * w, 16 + i * h))
    for j, label in enumerate(columns):
        draw.text((left + j * w + 4, 2), label, fill="black")
    return sheet


def demographics() -> Image.Image:
    ages = (1.5, 6, 12, 20, 32, 50, 65, 82)
    rows = [(race, gender) for race in schema.RACES for gender in ("Female", "Male")]
    faces = [_plain(7 * i + j, *row, age).face for i, row in enumerate(rows) for j, age in enumerate(ages)]
    images = render_many(faces).reshape(len(rows), len(ages), SIZE, SIZE, 3)
    return grid(images, [f"{r}, {g}" for r, g in rows], [f"{a} years" for a in ages], 160)


def emotions() -> Image.Image:
    cast = [_plain(i, *p) for i, p in enumerate(_PEOPLE)]
    faces = []
    for k, emotion in enumerate(schema.EMOTIONS):
        for i, person in enumerate(cast):
            rng = np.random.default_rng([k, i])
            faces.append(person.face.replace(expression=people.expression(rng, person, emotion, (0.95, 0.95))))
    images = render_many(faces).reshape(len(schema.EMOTIONS), len(cast), SIZE, SIZE, 3)
    return grid(images, list(schema.EMOTIONS), [f"{r.split('-')[0]} {g[0]} {a}" for r, g, a in _PEOPLE], 80)


def aus() -> Image.Image:
    """Every AU alone at full intensity on four people, beside its exact region on the first."""
    cast = [_plain(i, *p) for i, p in enumerate(_PEOPLE[:4])]
    faces = [_with_aus(p, {au: 1.0}) for au in action_units.AUS for p in cast]
    images = render_many(faces).reshape(len(action_units.AUS), 4, SIZE, SIZE, 3)
    masks = regions.au_regions(cast[0].face)
    overlay = images[:, :1].astype(np.float32)
    tint = np.array([255, 60, 30], np.float32)
    overlay = np.where(masks[:, None, ..., None], 0.45 * overlay + 0.55 * tint, overlay).astype(np.uint8)
    cells = np.concatenate([images, overlay], 1)
    labels = [f"AU{a} {n}" for a, n in action_units.AU_NAMES.items()]
    half = (len(labels) + 1) // 2
    blank = np.full((2 * half - len(labels), *cells.shape[1:]), 255, np.uint8)
    cells = np.concatenate([cells, blank])
    left = grid(cells[:half], labels[:half], ["full intensity", "", "", "", "region"], 160)
    right = grid(cells[half:], labels[half:] + [""] * len(blank), ["full intensity", "", "", "", "region"], 160)
    sheet = Image.new("RGB", (left.width + right.width, left.height), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width, 0))
    return sheet


def random_faces(rows: int = 6, columns: int = 12) -> Image.Image:
    faces = []
    for i in range(rows * columns):
        rng = np.random.default_rng([5, i])
        age = rng.uniform(*people.AGE_RANGES[str(rng.choice(schema.AGES, p=[0.1, 0.2, 0.35, 0.25, 0.1]))])
        gender = "Unsure" if age < 3 else str(rng.choice(["Male", "Female"]))
        person = people.subject(rng, str(rng.choice(schema.RACES)), gender, float(age))
        shown = people.expression(rng, person, schema.EMOTIONS[i % len(schema.EMOTIONS)])
        faces.append(person.face.replace(expression=shown, scene=people.scene(rng, person)))
    images = render_many(faces).reshape(rows, columns, SIZE, SIZE, 3)
    return grid(images, [""] * rows, [], 0)


def twins() -> Image.Image:
    """Counterfactual pairs: one face over skin tones and over gender."""
    tones, genders = (0.05, 0.25, 0.45, 0.65, 0.9), (0.0, 0.25, 0.5, 0.75, 1.0)
    cast = [_plain(i, *p) for i, p in enumerate(_PEOPLE[:4])]
    faces = []
    for person in cast:
        face = _with_aus(person, {6: 0.7, 12: 0.8})
        faces += [people.twin(face, skin_tone=s) for s in tones] + [people.twin(face, gender=g) for g in genders]
    columns = [f"skin tone {s}" for s in tones] + [f"gender {g}" for g in genders]
    images = render_many(faces).reshape(len(cast), len(columns), SIZE, SIZE, 3)
    return grid(images, [f"{r}, {g}" for r, g, _ in _PEOPLE[:4]], columns, 160)


def onsets(rows: int = 6) -> Image.Image:
    """Sequences of the Action Unit study's embedded data, onset to apex."""
    recipe = sequences.SequenceRecipe(per_subject=1, frames=6)
    table, faces = sequences.generate(recipe)
    chosen = table.drop_duplicates("subject").iloc[np.linspace(0, 143, rows).astype(int)]
    shown = [faces[i + f] for i in chosen.index for f in range(recipe.frames)]
    images = render_many(shown).reshape(rows, recipe.frames, SIZE, SIZE, 3)
    apex = table.iloc[chosen.index + recipe.frames - 1]
    units = [[f"AU{u}" for u in action_units.AUS if row[f"AU{u}"]] for _, row in apex.iterrows()]
    labels = [f"{r.source}, {r.gender}, {r.skin_tone}" for r in chosen.itertuples()]
    columns = [f"{100 * share:.0f} %" for share in sequences.onset(recipe.frames)]
    return grid(images, [f"{a}: {' '.join(u)}" for a, u in zip(labels, units, strict=True)], columns, 330)


def main(_: list[str]) -> None:
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    sheets = {
        "demographics": demographics,
        "emotions": emotions,
        "aus": aus,
        "random": random_faces,
        "twins": twins,
        "sequences": onsets,
    }
    for name, make in sheets.items():
        path = out / f"{name}.jpg"
        make().save(path, quality=82, optimize=True)
        print(path)


if __name__ == "__main__":
    app.run(main)
