"""How many embedded faces a second: python -m benchmarks.render [--count=1024]

Compile time and parameter sampling are reported apart from rendering.
"""

import json
import os
import platform
import time

import jax
import numpy as np
from absl import app, flags

from frown_jax import schema
from frown_jax.faces import geometry, people
from frown_jax.faces.render import render_many

_COUNT = flags.DEFINE_integer("count", 1024, "Faces to render.", lower_bound=1)


def main(_):
    began = time.perf_counter()
    geometry.tables()
    tables = time.perf_counter() - began
    began = time.perf_counter()
    faces = []
    for i in range(_COUNT.value):
        rng = np.random.default_rng([0, i])
        person = people.subject(rng, schema.RACES[i % 3], schema.GENDERS[i % 2], float(rng.uniform(1, 85)))
        shown = people.expression(rng, person, schema.EMOTIONS[i % 7])
        faces.append(person.face.replace(expression=shown, scene=people.scene(rng, person)))
    sampling = time.perf_counter() - began
    began = time.perf_counter()
    render_many(faces[:64])
    first = time.perf_counter() - began
    began = time.perf_counter()
    render_many(faces)
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "device": jax.devices()[0].device_kind,
                "processor": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "jax": jax.__version__,
                "faces": len(faces),
                "faces_per_second": round(len(faces) / seconds, 1),
                "sampled_parameters_per_second": round(len(faces) / sampling, 1),
                "head_tables_seconds": round(tables, 2),
                "compile_and_first_64_seconds": round(first, 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    app.run(main)
