"""Rules against slow matrix forms, written from the formulas, and their properties; in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.explain import intercept, rules
from frown_jax.explain.composites import COMPOSITES, HIGH, LOW, Composite, parse
from frown_jax.explain.intercept import ConvOp, DenseOp, NoRuleError
from frown_jax.explain.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    ZBox,
    ZPlus,
)
from frown_jax.models.fold_norms import fold_batch_norms
from frown_jax.models.resnet import ResNet, ResNet10
from frown_jax.models.vgg import VGG
from tests.test_fold import moved

LAYERS = {
    "dense": (DenseOp(), (6,), (6, 4)),
    "conv": (ConvOp((1, 1), ((1, 1), (1, 1))), (5, 5, 2), (3, 3, 2, 3)),
    "strided": (ConvOp((2, 2), ((1, 1), (1, 1))), (5, 5, 2), (3, 3, 2, 3)),
    "unpadded": (ConvOp((1, 1), ((0, 0), (0, 0))), (4, 5, 3), (2, 2, 3, 2)),
    "wide": (ConvOp((2, 2), ((3, 3), (3, 3))), (6, 6, 3), (7, 7, 3, 2)),
    "projection": (ConvOp((2, 2), ((0, 0), (0, 0))), (5, 5, 2), (1, 1, 2, 3)),
}
RULES = {
    "lrp0": Epsilon(stabiliser=0.0),
    "epsilon": Epsilon(),
    "epsilon 0.1": Epsilon(stabiliser=0.1),
    "zplus": ZPlus(),
    "alphabeta": AlphaBeta(),
    "alpha1.5": AlphaBeta(alpha=1.5, beta=0.5),
    "gamma": Gamma(),
    "gamma 2": Gamma(gamma=2.0),
    "zbox": ZBox(low=(-3.0,), high=(2.5,)),
    "wsquare": WSquare(),
    "flat": Flat(),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def drawn(layer, seed=0, nonnegative=False, bias=True):
    op, shape, kernel = LAYERS[layer]
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(3, *shape)), rng.normal(size=kernel)
    b = rng.normal(size=kernel[-1]) if bias else np.zeros(kernel[-1])
    return op, np.abs(x) if nonnegative else x, w, b


def matrix(op, x, w):
    """The layer of one image as a matrix [outputs, inputs], one basis vector after another."""
    basis = np.eye(x[0].size).reshape(-1, *x[0].shape)
    return np.asarray(op(jnp.asarray(basis), jnp.asarray(w))).reshape(len(basis), -1).T


def sign(z):
    return np.where(z >= 0, 1.0, -1.0)


def slow(rule, w, ones, x, b, r):
    """Relevance of one image's inputs, from matrix w [O, I], bias b [O], inputs x [I], relevance r [O].

    `ones` is the matrix with 1 where the layer has a weight.
    """
    out = np.zeros(len(x))
    low, high = (v[0] if v else 0.0 for v in (getattr(rule, "low", ()), getattr(rule, "high", ())))
    for j in range(len(r)):
        each = w[j] * x
        z = each.sum() + b[j]
        eps = rule.stabiliser
        if isinstance(rule, Epsilon):
            out += each / (z + eps * sign(z)) * r[j] if eps or z else 0
        elif isinstance(rule, ZPlus):
            plus = np.maximum(each, 0)
            out += plus / (plus.sum() + max(b[j], 0) + eps) * r[j]
        elif isinstance(rule, AlphaBeta):
            plus, minus = np.maximum(each, 0), np.minimum(each, 0)
            below = minus.sum() + min(b[j], 0)
            out += rule.alpha * plus / (plus.sum() + max(b[j], 0) + eps) * r[j]
            out -= rule.beta * minus / (below + eps * sign(below)) * r[j]
        elif isinstance(rule, Gamma):
            if z == 0:
                continue
            favoured = np.maximum(each, 0) if z > 0 else np.minimum(each, 0)
            own = max(b[j], 0) if z > 0 else min(b[j], 0)
            whole = (each + rule.gamma * favoured).sum() + b[j] + rule.gamma * own
            out += (each + rule.gamma * favoured) / (whole + eps * sign(whole)) * r[j]
        elif isinstance(rule, ZBox):
            # Zero padding has bounds of 0, as the layer pads bounds as it pads inputs.
            box = each - low * np.maximum(w[j], 0) - high * np.minimum(w[j], 0)
            out += box / (box.sum() + eps * sign(box.sum())) * r[j]
        elif isinstance(rule, WSquare):
            out += w[j] ** 2 / ((w[j] ** 2).sum() + b[j] ** 2 + eps) * r[j]
        elif isinstance(rule, Flat):
            out += ones[j] / (ones[j].sum() + eps) * r[j]
    return out


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", RULES)
def test_rules_equal_their_matrix_form(name, layer, nonnegative):
    rule = RULES[name]
    op, x, w, b = drawn(layer, nonnegative=nonnegative)
    z = np.asarray(op(x, w)) + b
    r = np.random.default_rng(1).normal(size=z.shape)
    found = rules.propagate(rule, op, *map(jnp.asarray, (x, w, b, z, r)), nonnegative)
    dense, ones = matrix(op, x, w), matrix(op, x, np.ones_like(w))
    bias = np.broadcast_to(b, z.shape[1:]).ravel()
    wanted = np.stack([slow(rule, dense, ones, x[i].ravel(), bias, r[i].ravel()) for i in range(len(x))])
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(np.asarray(found).reshape(len(x), -1), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layer", LAYERS)
def test_alpha1_beta0_is_zplus(layer):
    op, x, w, b = drawn(layer)
    z = op(x, w) + b
    r = np.random.default_rng(1).normal(size=z.shape)
    args = [op, *map(jnp.asarray, (x, w, b, z, r)), False]
    np.testing.assert_allclose(
        rules.propagate(AlphaBeta(alpha=1.0, beta=0.0), *args), rules.propagate(ZPlus(), *args), rtol=1e-12
    )


@pytest.mark.parametrize("layer", ["dense", "conv", "strided"])
@pytest.mark.parametrize(
    "rule", [Epsilon(stabiliser=1e-12), ZPlus(), AlphaBeta(), Gamma(), WSquare(), Flat()], ids=repr
)
def test_what_arrives_is_what_was_sent_without_bias(rule, layer):
    op, x, w, b = drawn(layer, nonnegative=True, bias=False)
    z = op(x, w)
    # ReLU sends nothing to outputs below 0, and an output without a positive contribution has nothing to pass on.
    r = np.where(np.asarray(z) > 0, np.random.default_rng(1).uniform(0.5, 1, z.shape), 0)
    if isinstance(rule, AlphaBeta):  # every output needs contributions of both signs
        r = np.where((np.asarray(op(x, np.minimum(w, 0))) < 0) & (r > 0), r, 0)
    found = rules.propagate(rule, op, *map(jnp.asarray, (x, w, b, z, r)), True)
    np.testing.assert_allclose(found.sum(), r.sum(), rtol=1e-5)


def test_zero_bias_leaves_biases_out():
    op, x, w, b = drawn("conv")
    r = np.random.default_rng(1).normal(size=np.shape(op(x, w)))
    without = rules.propagate(Epsilon(), op, *map(jnp.asarray, (x, w, 0 * b, op(x, w), r)), False)
    found = rules.propagate(Epsilon(zero_bias=True), op, *map(jnp.asarray, (x, w, b, op(x, w) + b, r)), False)
    np.testing.assert_allclose(found, without, rtol=1e-12)


def test_sums_and_means_by_hand():
    """3 + 1 = 4 hands 8 on as 6 and 2; the mean of (1, 3) hands 4 on as 1 and 3."""
    a, back = jax.vjp(lambda a, b: rules.normed(jnp.add, a, b, stabiliser=0.0), jnp.array([3.0]), jnp.array([1.0]))
    assert a == 4 and [float(v[0]) for v in back(jnp.array([8.0]))] == [6.0, 2.0]
    _, back = jax.vjp(lambda x: rules.normed(lambda x: x.mean(keepdims=True), x, stabiliser=0.0), jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(back(jnp.array([4.0]))[0], [1.0, 3.0])
    _, back = jax.vjp(rules.through_branch, jnp.array([3.0]), jnp.array([1.0]))
    assert [float(v[0]) for v in back(jnp.array([8.0]))] == [0.0, 8.0]


def small(kind, bias=True, seed=0):
    """A plain network, its parameters in float64, and images."""
    if kind == "vgg":
        model = VGG(classes=3, width=1, hidden=8, dtype=jnp.float64)
    else:
        model = ResNet10(classes=3, width=2, dtype=jnp.float64)
    plain, variables = fold_batch_norms(model, moved(model, seed=seed))
    if not bias:
        flat = jax.tree_util.tree_map_with_path(lambda p, a: 0 * a if p[-1].key == "bias" else a, variables)
        variables = flat
    return plain, variables, np.random.default_rng(seed).normal(size=(2, 32, 32, 3))


def pulled(plain, variables, x, composite, start):
    @jax.jit
    def run(variables, x):
        y, back = jax.vjp(lambda x: intercept.outputs(plain, variables, x, composite), x)
        return y, back(jnp.asarray(start(y)))[0]

    return run(variables, jnp.asarray(x))


@pytest.mark.slow
def test_lrp0_without_bias_is_gradient_times_input():
    plain, variables, x = small("vgg", bias=False)
    table = (("conv", Epsilon(stabiliser=1e-14)), ("dense", Epsilon(stabiliser=1e-14)), ("mean", "gradient"))
    relevance = pulled(plain, variables, x, Composite("zero", table), lambda y: y)[1]
    gradient = pulled(plain, variables, x, None, jnp.ones_like)[1]
    np.testing.assert_allclose(relevance, gradient * x, rtol=1e-6, atol=1e-8 * np.abs(relevance).max())


@pytest.mark.parametrize("name", ["EpsilonPlus", "EpsilonPlusFlat", "ExcitationBackprop"])
def test_networks_conserve_relevance_without_biases(name):
    plain, variables, x = small("vgg", bias=False)
    relevance = pulled(plain, variables, x, COMPOSITES[name], lambda y: jax.nn.one_hot(jnp.zeros(len(x), int), 3))[1]
    if name == "ExcitationBackprop":
        table = COMPOSITES[name]
        relevance = pulled(plain, variables, x, table, lambda y: jnp.eye(3)[y.argmax(1)])[1]
    np.testing.assert_allclose(relevance.sum((1, 2, 3)), 1.0, rtol=1e-3 if name == "ExcitationBackprop" else 1e-5)


@pytest.mark.slow
def test_members_and_classes_together_are_as_one_by_one():
    plain, _, x = small("resnet")
    alone = [small("resnet", seed=s)[1] for s in range(2)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *alone)
    rules_ = COMPOSITES["EpsilonAlpha2Beta1Flat"]

    def maps(variables):
        y, back = jax.vjp(lambda x: intercept.outputs(plain, variables, x, rules_), jnp.asarray(x))
        return jax.vmap(lambda s: back(jnp.broadcast_to(s, y.shape))[0])(jnp.eye(3))

    together = jax.jit(jax.vmap(maps))(stacked)

    @jax.jit
    def one_map(variables, start):
        y, back = jax.vjp(lambda x: intercept.outputs(plain, variables, x, rules_), jnp.asarray(x))
        return back(jnp.broadcast_to(start, y.shape))[0]

    for i, k in itertools.product(range(2), range(3)):
        one = one_map(alone[i], jnp.eye(3)[k])
        np.testing.assert_allclose(together[i, k], one, rtol=1e-8, atol=1e-10 * np.abs(one).max())


def test_a_layer_without_a_rule_is_an_error():
    import flax.linen as nn

    class Odd(ResNet):
        def head(self, x, rate, key, out):
            out["penultimate"] = x
            return nn.Dense(self.classes, name="fc")(x)

    plain, variables, x = small("resnet")
    odd = Odd(classes=3, width=2, stage_sizes=(1, 1, 1, 1), batch_norm=False, dtype=jnp.float64)
    with pytest.raises(NoRuleError, match="no rule for Dense at fc"):
        intercept.outputs(odd, variables, x, COMPOSITES["EpsilonPlus"])
    with pytest.raises(NoRuleError, match="fold batch norms first"):
        model = ResNet10(classes=3, width=2, dtype=jnp.float64)
        intercept.outputs(model, moved(model), x, COMPOSITES["EpsilonPlus"])
    with pytest.raises(NoRuleError, match="has no rule for dense layers"):
        intercept.outputs(plain, variables, x, Composite("half", (("conv", ZPlus()),)))
    with pytest.raises(NoRuleError, match="bfloat16"):
        intercept.outputs(plain.clone(dtype=jnp.bfloat16), variables, x, COMPOSITES["EpsilonPlus"])


def test_a_composite_gives_each_layer_its_rule():
    """Every linear layer of ResNet10; 'first' is the stem alone, although each block has a conv1 too."""
    table = parse("layer4_*/conv2=gamma:0.5;first=flat;conv=alphabeta:2:1;dense=epsilon:0.1;add=main")
    found = {}
    for path in (("conv1",), ("layer1_0", "conv1"), ("layer4_0", "conv2"), ("layer4_0", "downsample_0")):
        found[path] = table.linear(path, "conv", path == ("conv1",))
    assert found == {
        ("conv1",): Flat(),
        ("layer1_0", "conv1"): AlphaBeta(alpha=2.0, beta=1.0),
        ("layer4_0", "conv2"): Gamma(gamma=0.5),
        ("layer4_0", "downsample_0"): AlphaBeta(alpha=2.0, beta=1.0),
    }
    assert table.linear(("fc",), "dense", False) == Epsilon(stabiliser=0.1)
    assert table.other(("layer1_0", "Add_0"), "add") == "main"
    assert table.other(("ReLU_0",), "activation") == "pass"
    assert COMPOSITES["EpsilonGammaBox"].linear(("conv1",), "conv", True) == ZBox(low=LOW, high=HIGH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EpsilonMinus", "there are EpsilonPlus"),
        ("conv=zminus", "'zminus' of 'conv' is no rule"),
        ("conv=gamma:x", "'x' in 'gamma:x' is not a number"),
        ("conv=alphabeta:2:2", "alpha - beta = 1"),
        ("conv=flat:1", "flat takes 0 numbers"),
        ("add=pass", "add takes norm, main, gradient"),
        ("conv", "or a table like"),
        ("conv=;dense=epsilon", "'conv=' is not of the form"),
    ],
)
def test_bad_composites_say_what_there_is(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_frozen_networks_are_explained_as_others():
    """What is frozen stops gradients in training, not relevance."""
    plain, variables, x = small("vgg")
    frozen = plain.clone(trainable="head")
    a, b = (pulled(m, variables, x, COMPOSITES["EpsilonPlus"], jnp.ones_like)[1] for m in (plain, frozen))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a).max() > 0


def test_inputs_that_are_known_not_to_be_negative():
    """The shortcut is taken behind ReLUs and poolings, and gives what the general form gives."""
    seen = []
    plain, variables, x = small("resnet")
    original = rules.linear

    def spy(rule, op, nonneg, *arrays):
        seen.append(nonneg)
        return original(rule, op, nonneg, *arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "linear", spy)
        fast = pulled(plain, variables, x, COMPOSITES["EpsilonPlus"], jnp.ones_like)[1]
        patch.setattr(rules, "linear", lambda rule, op, nonneg, *a: original(rule, op, False, *a))
        general = pulled(plain, variables, x, COMPOSITES["EpsilonPlus"], jnp.ones_like)[1]
    assert seen[0] is False and all(seen[1:-1])
    np.testing.assert_allclose(fast, general, rtol=1e-10, atol=1e-12 * np.abs(general).max())
