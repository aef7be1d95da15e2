"""Action Units through training: mitigations, labels that are not known, members' own subjects, thresholds."""

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from frown_jax import config as configs
from frown_jax import evaluate
from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset, attribute_vocabularies
from frown_jax.errors import ConfigError, MitigationError
from frown_jax.inference.ensemble import Ensemble
from frown_jax.jobs.job import train
from frown_jax.metrics import predictions_table
from frown_jax.mitigations import registry
from frown_jax.runs.directory import RunDir
from frown_jax.training import check
from frown_jax.training.build import check_programs
from frown_jax.training.grid import expand
from frown_jax.training.program import ProgramTrainer
from tests.conftest import any_weights

# Each changes what is learnt from Action Units, in one program with the others of its kind.
SHARED = (
    "focal(gamma=4)",
    "group_weights(by='gender')",
    "group_weights(by=('AU1', 'gender'), how='sqrt')",
    "affirmative_action(by='gender', cells='Male')",
    "equalise(by='gender', how='max')",
    "balanced_sampling(by='gender')",
    "sqrt_sampling(by='AU1')",
    "subg(by='gender')",
    "equalise(by='gender', how='min') + matched_steps()",
    "group_dro(by='gender', rate=1.0)",
    "cvar_dro(alpha=0.3)",
    "demographic_parity_gap(by='gender', weight=300)",
    "equal_opportunity_gap(by='gender', weight=300)",
    "equalized_odds_gap(by='gender', weight=300)",
    "hsic(by='gender', weight=1000)",
    "mmd(by='gender', weight=10)",
    "mindiff(by='gender', weight=10)",
    "coral(by='gender', weight=10)",
    "swa(start=0.3)",
    "swad(converge=1, tolerance=2)",
)
APART = (
    "sam(radius=0.5)",
    "domain_independent(by='gender')",
    "domain_independent(by='gender', inference='known')",
    "uniform_confusion(by='gender', strength=5)",
    "disentangled(by='gender', strength=5)",
    "dann(by='gender', strength=5)",
    "laftr(by='gender', strength=5, conditional=False)",
)


@pytest.fixture(scope="module")
def data():
    """120 images of 20 people: AU1 is brightness, AU2 is redness; AU2 is known of half the people."""
    rng = np.random.default_rng(0)
    person = np.arange(120) // 6
    labels = rng.integers(0, 2, (120, 2)).astype(float)
    images = rng.integers(40, 120, (120, 32, 32, 3)) + (90 * labels[:, 0])[:, None, None, None]
    images[..., 0] += (70 * labels[:, 1])[:, None, None].astype(int)
    labels[person % 2 == 1, 1] = np.nan
    table = pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(120)],
            "split": np.where(person < 12, "train", np.where(person < 16, "val", "test")),
            "subject": [f"s{p:02d}" for p in person],
            "gender": np.where(person % 3 == 0, "Male", "Female"),
            "AU1": labels[:, 0],
            "AU2": labels[:, 1],
        }
    )
    images = np.clip(images, 0, 255).astype(np.uint8)
    return Dataset("toy", table, images, ("AU1", "AU2"), attribute_vocabularies(table), "0", multilabel=True)


def _config(**fields):
    c = configs.default()
    configs.action_units(c, "face_sequences")
    c.data.test, c.model.image_size, c.model.width, c.model.hidden = "given", 32, 4, 16
    c.epochs, c.batch_size, c.threshold, c.seeds = 20, 16, "0.5", (0,)
    c.optimiser.learning_rate = 3e-3
    c.update_from_flattened_dict(fields)
    check.validate(c)
    return c


_initial = functools.partial(any_weights, seed=3)


def _run(data, tmp_path, config, points):
    """Test predictions by (method, draw), states and members of every program."""
    config.data.cache_dir = str(tmp_path / "cache")
    found, states = {}, []
    for i, group in enumerate(expand(config, points)):
        run = RunDir(tmp_path / f"run{i}")
        run.path.mkdir(parents=True, exist_ok=True)
        trainer = ProgramTrainer(0, group, run, data, _initial)
        state = trainer.train()
        states.append((state, group))
        for (method, split), part in trainer.predict(state, data, ("val", "test")).groupby(["method", "split"]):
            found[method, split] = part
    return found, states


def _p(part):
    return part[["p_AU1", "p_AU2"]].to_numpy()


@pytest.mark.slow
def test_every_mitigation_for_labels_changes_what_is_learnt(data, tmp_path):
    points = [{"method": "ERM"}, *({"method": m, "mitigation": m} for m in (*SHARED, *APART))]
    found, _ = _run(data, tmp_path, _config(), points)
    base = _p(found["ERM", "test"])
    y = found["ERM", "test"]["y_true_AU1"].to_numpy()
    assert roc_auc_score(y, base[:, 0]) > 0.95  # it learns
    for method in (*SHARED, *APART):
        p = _p(found[method, "test"])
        assert np.isfinite(p).all() and abs(p - base).max() > 1e-4, method
    # Together the two lists are everything that is not of classes alone, or that has another test.
    used = {c.method.name for text in (*SHARED, *APART) for c in registry.parse(text)}
    elsewhere = {"attribute_aware", "invert", "invert_test", "lighting", "mixup", "reweighing"}
    usable = {n for n, m in registry.METHODS.items() if not m.classes_only}
    assert usable - used <= elsewhere, usable - used


@pytest.mark.slow
def test_attribute_aware_networks_answer_without_attributes(data, tmp_path):
    text = "attribute_aware(by='gender')"
    config = _config(**{"model.name": "resnet10", "model.hidden": 0})
    found, _ = _run(data, tmp_path, config, [{"method": "ERM"}, {"method": "aware", "mitigation": text}])
    assert abs(_p(found["aware", "test"]) - _p(found["ERM", "test"])).max() > 1e-4
    blind = data.table.assign(gender=[None] * len(data))
    unknown, _ = _run(dataclasses.replace(data, table=blind), tmp_path / "blind", config, [{"method": "aware"}])
    assert np.isfinite(_p(unknown["aware", "test"])).all()


@pytest.mark.parametrize(
    "text",
    ["ldam()", "logit_adjustment()", "reweighing(by='gender')", "jtt()", "dfr(by='gender')", "lisa(by='gender')"],
)
def test_what_needs_one_class_an_image_is_refused(data, text):
    (group,) = expand(_config(mitigation=text), [{}])
    sets = [Annotations.of(data.split(s)) for s in ("train", "val")]
    with pytest.raises(MitigationError, match="needs one class an image, and Action Units are many labels: one of"):
        check_programs([group], *sets)


def test_conditional_adversaries_are_refused(data):
    (group,) = expand(_config(mitigation="laftr(by='gender')"), [{}])
    with pytest.raises(MitigationError, match="conditional=True of laftr needs one class an image"):
        check_programs([group], *(Annotations.of(data.split(s)) for s in ("train", "val")))


def test_what_moves_features_is_refused_where_all_of_them_are_frozen():
    with pytest.raises(ConfigError, match="mmd works on features, and"):
        _config(**{"model.name": "resnet18", "model.hidden": 0, "mitigation": "mmd(by='gender')"})


@pytest.mark.slow
def test_labels_that_are_not_known_teach_nothing(data, tmp_path):
    """Whatever stands where nothing is known, the result is the same to the bit."""
    train = (data.table["split"] == "train").to_numpy()
    emptied = data.table.assign(AU2=data.table["AU2"].where(~train))
    found, (state,) = _run(dataclasses.replace(data, table=emptied), tmp_path, _config(), [{"method": "ERM"}])
    kernel = np.asarray(state[0].params["classifier_6"]["kernel"])[0]
    first = np.asarray(_first_state(emptied, data, tmp_path).params["classifier_6"]["kernel"])[0]
    # AdamW's decay shrinks the column of the unit that is never known; nothing else happens to it.
    ratio = kernel[:, 1] / first[:, 1]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert 0 < ratio[0] < 1 and abs(kernel[:, 0] / first[:, 0] - ratio[0]).max() > 0.01
    assert np.isfinite(_p(found["ERM", "test"])).all()


def _first_state(table, data, tmp_path):
    config = _config()
    config.data.cache_dir = str(tmp_path / "cache")
    (group,) = expand(config, [{}])
    run = RunDir(tmp_path / "first")
    run.path.mkdir()
    trainer = ProgramTrainer(0, group, run, dataclasses.replace(data, table=table), _initial)
    return trainer.engine.init(trainer.plan.members, trainer.placement.pretrained)


def test_a_member_is_the_same_alone_and_beside_members_of_other_sizes(data, tmp_path):
    config = _config(
        **{"data.test": "cohort", "cohort.by": "gender", "cohort.test": ("Female:3",), "cohort.train": ("Female:4",)}
    )
    pooled = data.table.assign(split="train")
    pool = dataclasses.replace(data, table=pooled)
    points = [{"method": "small"}, {"method": "large", "cohort.train": ("Female:7",)}]
    points.append({"method": "men", "cohort.train": ("Male:5",), "mitigation": "balanced_sampling(by='AU1')"})
    together, _ = _run(pool, tmp_path / "together", config, points)
    for point in points:
        alone, _ = _run(pool, tmp_path / str(point["method"]), config, [point])
        for split in ("val", "test"):
            one, other = (x[point["method"], split] for x in (alone, together))
            assert one["id"].tolist() == other["id"].tolist()
            np.testing.assert_allclose(_p(one), _p(other), atol=1e-6)
    # Everybody's test subjects are the same, and of no training set.
    assert together["small", "test"]["subject"].tolist() == together["men", "test"]["subject"].tolist()
    assert len(together["small", "test"]) == 18 and len(together["large", "val"]) == 6


def test_thresholds_are_chosen_on_validation_and_share_the_training(data, tmp_path):
    points = [
        {"method": "half"},
        {"method": "chosen", "threshold": "validation"},
        {"method": "high", "threshold": "0.9"},
    ]
    config = _config()
    (group,) = expand(config, points)
    assert len(group.specs) == 1 and len(group.specs[0].all) == 3
    found, _ = _run(data, tmp_path, config, points)
    np.testing.assert_array_equal(_p(found["half", "test"]), _p(found["chosen", "test"]))
    high = found["high", "test"]
    np.testing.assert_array_equal(high["y_pred_AU1"], high["p_AU1"] >= 0.9)

    def f1(part):
        y, q = part["y_true_AU1"] == 1, part["y_pred_AU1"] == 1
        return 2 * (y & q).sum() / (y.sum() + q.sum())

    assert f1(found["chosen", "val"]) >= max(f1(found["half", "val"]), f1(found["high", "val"]))


def test_members_of_several_draws_are_repetitions_on_another_data_set(data, tmp_path, monkeypatch):
    pool = dataclasses.replace(data, table=data.table.assign(split="train"))
    config = _config(
        **{"data.test": "cohort", "cohort.by": "gender", "cohort.test": ("Female:3",), "cohort.train": ("Female:6",)}
    )
    config.cohort.draws, config.seeds, config.epochs = (0, 1), (0, 1), 2
    config.data.cache_dir = str(tmp_path / "cache")
    monkeypatch.setattr("frown_jax.jobs.job.load", lambda *_: pool)
    trained = train(config, [{}], tmp_path / "run", initial=_initial)
    assert trained.results.groupby("draw")["member"].agg(set).tolist() == [{0, 1}, {2, 3}]
    ensemble = Ensemble(tmp_path / "run")
    with pytest.raises(ConfigError, match="test subjects of its own"):
        evaluate.data_for(ensemble, "face_sequences")
    found = evaluate.evaluate(ensemble, data, "test")
    assert found.drop_duplicates("member")["seed"].tolist() == [0, 1, 2, 3] and "draw" not in found
    assert len(predictions_table.outcomes(found, data.attributes).runs) == 4
