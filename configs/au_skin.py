"""Skin-colour bias in Action Unit recognition: the second experiment of "Uncovering the Bias in Facial Expressions".

  python launch.py --config=configs/au_skin.py
      Embedded face sequences of the study's 144 subjects, a narrow VGG16 pretrained on other embedded faces.
  python launch.py --config=configs/au_skin.py:combined --config.data.parts="('ckplus:DIR','actor_study:DIR')" \
      --config.model.weights=vgg16-397923af.pth
      The study's data, at 224 px; DIR/subjects.csv tells gender and skin_tone (docs/data.md).

`light` trains the dense layers of VGG16 on 104 subjects with light skin and tests on 21 others and on all 19 with dark
skin: the study's Table 2. `mixed` is the reverse that the study had too few subjects for: as many subjects, 10 of them
with dark skin, tested on the other 9. The two are compared on those 9. Over random draws of the subjects, and seeds.

Arguments after the colon: face_sequences (default) | combined | ckplus | actor_study | manifest, draws=N, seeds=N,
runlocal (a smoke test).
"""

from frown_jax import config as base


def get_config(arg=None):
    return base.subject_experiment(arg, "skin_tone", ("Light:104",), ("Light:21", "Dark:19"))


def sweep(add):
    add(method="light")
    add(**{"method": "mixed", "cohort.train": ("Light:94", "Dark:10"), "cohort.test": ("Light:21", "Dark:9")})
