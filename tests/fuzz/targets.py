"""What is fuzzed: readers of files that users bring, and the command line's settings."""

import contextlib
import dataclasses
import io
import pathlib
import zipfile
from collections.abc import Callable

from absl import flags
from ml_collections import config_flags
from PIL import Image

from frown_jax.data import store
from frown_jax.data.ckplus import CkPlusSource
from frown_jax.data.manifest import ManifestSource
from frown_jax.data.rafdb import RafDbSource
from frown_jax.errors import UserError, WeightsError
from frown_jax.jobs import search
from frown_jax.models import torch_file
from frown_jax.runtime import command
from frown_jax.training import check

ROOT = pathlib.Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
_BETWEEN = b"\n---\n"  # files of one case

OWN_ERRORS = (UserError,)


@dataclasses.dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
      read: gets the case, and a folder of its own; raises one of OWN_ERRORS or nothing.
      seeds: cases to begin with.
      prepare: fills the folder once.
    """

    read: Callable[[bytes, pathlib.Path], None]
    seeds: tuple[bytes, ...]
    prepare: Callable[[pathlib.Path], None] = lambda folder: None


def _picture(path, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (90, 80, 70)).save(path, kind)


def _files(data, folder, names):
    """Writes the case's files; those that it does not have are empty."""
    parts = data.split(_BETWEEN)
    for name, part in zip(names, parts + [b""] * len(names), strict=False):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part)


def _consume(source):
    """As preparing a data set does."""
    for data in source.encoded_images(range(len(source.table))):
        store.decode(data, "made")


# --- labels.csv ---------------------------------------------------------------------------------------------------


def _manifest(data, folder):
    (folder / "labels.csv").write_bytes(data)
    _consume(ManifestSource(str(folder), ("Contempt",), ("Anger", "Fear"), ("Happiness",), "skip"))


MANIFEST = Target(
    _manifest,
    (
        b"path,emotion,split,subject,race,gender,age,AU1\na.png,Surprise,train,s1,Asian,Male,30,1\nb.png,fear,test,,,f,,9\n",
        b'image;label\n"a.png";0\n',
        b"pixels,emotion\n0 1 2 3,Anger\n255 255 255 255,1\n",
        b"path,emotion\n../a.png,Sad\n/etc/passwd,Sad\nb.png,Contempt\n",
        b"\xef\xbb\xbfpath,AU01,AU_2\na.png,1,0\nb.png,-1,\n",
    ),
    lambda folder: [_picture(folder / name) for name in ("a.png", "b.png")],
)

# --- RAF-DB -------------------------------------------------------------------------------------------------------


def _rafdb(data, folder):
    names = ("list_patition_label.txt", "manual/train_00001_manu_attri.txt", "manual/test_0001_manu_attri.txt")
    _files(data, folder, names)
    _consume(RafDbSource(str(folder), "skip"))


_POINTS = b"".join(b"%d.5\t%d.25\n" % (30 + k, 40 + k) for k in range(5))
RAFDB = Target(
    _rafdb,
    (
        _BETWEEN.join([b"train_00001.jpg 5\ntest_0001.jpg 3\n", _POINTS + b"0\n1\n2", _POINTS + b"1\n0\n4\n"]),
        _BETWEEN.join([b"train_00001_aligned.jpg 7", b"0 0 0", b"2 2 4"]),
    ),
    lambda folder: [
        _picture(folder / f"aligned_{name.split('_')[0]}" / f"{name}_aligned.jpg", "JPEG")
        for name in ("train_00001", "test_0001")
    ],
)

# --- CK+ ----------------------------------------------------------------------------------------------------------

_FRAME = "S005/001/S005_001_0000000"


def _ckplus(data, folder):
    names = (
        f"FACS/{_FRAME}2_facs.txt",
        f"Emotion/{_FRAME}2_emotion.txt",
        f"Landmarks/{_FRAME}1_landmarks.txt",
        f"Landmarks/{_FRAME}2_landmarks.txt",
        "subjects.csv",
    )
    _files(data, folder, names)
    source = CkPlusSource(str(folder), on_bad="skip")
    _consume(source)
    source.landmarks(0)


_FACE = b"\n".join(b"%.4e %.4e" % (2 + k % 9 * 1.5, 3 + k % 7 * 2) for k in range(68))
FACS = Target(
    _ckplus,
    (
        _BETWEEN.join([b"1.0 0\n12.0000000e+00 3.0\n", b"   3.0000000e+00\n", _FACE, _FACE, b"subject,gender\nS005,f"]),
        _BETWEEN.join([b"", b"", _FACE, _FACE, b"subject , skin_tone\nS005,\nS006,Dark"]),
        _BETWEEN.join([b"   2.5e+01   3.0e+00\n", b"8", _FACE, _FACE]),
    ),
    lambda folder: [_picture(folder / "cohn-kanade-images" / f"{_FRAME}{k}.png") for k in (1, 2)],
)

# --- images -------------------------------------------------------------------------------------------------------


def _encoded(kind, **options):
    out = io.BytesIO()
    Image.radial_gradient("L").resize((24, 24)).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def _image(data, _):
    store.decode(data, "image")


IMAGE = Target(
    _image,
    (_encoded("PNG"), _encoded("JPEG"), _encoded("GIF"), _encoded("TIFF"), _encoded("WEBP"), _encoded("BMP")),
)

# --- weights ------------------------------------------------------------------------------------------------------


def _weights(data, folder):
    for name in ("w.pth", "w.safetensors"):
        (folder / name).write_bytes(data)
        with contextlib.suppress(WeightsError):
            torch_file.read(str(folder / name))


WEIGHTS = Target(
    _weights, tuple((GOLDEN / f"tiny{end}").read_bytes() for end in ("_zip.pth", "_legacy.pth", ".safetensors"))
)


def _state_dict(data, folder):
    """Inside a whole archive, whose checksums hold."""
    with zipfile.ZipFile(folder / "w.pth", "w") as archive:
        for name, content in (_ENTRIES | {_PICKLE: data}).items():
            archive.writestr(name, content)
    torch_file.read(str(folder / "w.pth"))


with zipfile.ZipFile(GOLDEN / "tiny_zip.pth") as _archive:
    _ENTRIES = {name: _archive.read(name) for name in _archive.namelist()}
_PICKLE = next(name for name in _ENTRIES if name.endswith("data.pkl"))
STATE_DICT = Target(_state_dict, (_ENTRIES[_PICKLE],))

# --- settings -----------------------------------------------------------------------------------------------------


def _settings(data, _):
    """A case is an argument for the config, then a line an override."""
    first, *rest = data.decode("utf-8", "replace").split("\n")
    values = flags.FlagValues()
    argv = ["launch.py", f"--config={ROOT}/configs/baseline.py:{first}", *(f"--config.{line}" for line in rest[:8])]
    config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=argv)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            command.parse(argv, values)
            config = values["config"].value
            check.validate(config)
            if search.wanted(config):
                search.points(config)
        except SystemExit as e:
            assert e.code == command.EXIT_USAGE and said.getvalue().startswith("error: ")
            assert "Traceback" not in said.getvalue(), said.getvalue()


CONFIG = Target(
    _settings,
    (
        b"runlocal,seeds=3\nepochs=2\noptimiser.learning_rate=1e-3\nmodel.name=vgg16\n",
        b"rafdb\ndata.dir=x\ndata.strata=('emotion','race')\nsearch.lr=('log',1e-4,1e-2)\nsearch.budget=3\n",
        b"full\nmitigation=group_dro(by='race',step=0.1) + balanced_sampling(by='gender')\nseeds=(1,2,3)\n",
        b"fidelity=repo\ndata.faces.reweight=('race=Asian:0.1',)\nthreshold=validation\ndata.target=aus\n",
        b"manifest\ncohort.by=gender\ncohort.train=('Male:3',)\ncohort.test=('Male:1','Female:1')\ncohort.draws=(0,1)\n",
    ),
)

TARGETS = {
    "manifest": MANIFEST,
    "rafdb": RAFDB,
    "facs": FACS,
    "image": IMAGE,
    "weights": WEIGHTS,
    "state_dict": STATE_DICT,
    "config": CONFIG,
}
