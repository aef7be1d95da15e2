"""Gender bias in Action Unit recognition: the first experiment of "Uncovering the Bias in Facial Expressions".

  python launch.py --config=configs/au_gender.py
      Embedded face sequences of the study's 144 subjects, a narrow VGG16 pretrained on other embedded faces.
  python launch.py --config=configs/au_gender.py:combined --config.data.parts="('ckplus:DIR','actor_study:DIR')" \
      --config.model.weights=vgg16-397923af.pth
      The study's data, at 224 px; DIR/subjects.csv tells gender and skin_tone (docs/data.md).

Trains the dense layers of VGG16 on 37 female, 37 male or 37 mixed subjects and tests on 10 of each who are in no
training set, over random draws of the subjects and seeds; prints the study's Table 1 with intervals over draws.

Arguments after the colon: face_sequences (default) | combined | ckplus | actor_study | manifest, draws=N, seeds=N,
runlocal (a smoke test).
"""

from frown_jax import config as base


def get_config(arg=None):
    return base.subject_experiment(arg, "gender", ("Female:37",), ("Female:10", "Male:10"))


def sweep(add):
    add(**{"method": "female", "cohort.train": ("Female:37",)})
    add(**{"method": "male", "cohort.train": ("Male:37",)})
    add(**{"method": "mixed", "cohort.train": ("Female:19", "Male:18")})
