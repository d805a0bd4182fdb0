"""Boosted trees: trained by scikit-learn, kept as plain arrays, evaluated by a kernel of ours.

Inputs are binned once for a whole problem; scikit-learn then sees small integers, which saves the
largest part of its time on tables of some ten thousand events, and thresholds are mapped back to input units.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pydantic

from data.later import later
from data.sections import Section
from data.types import FloatArray
from models.arrays import Arrays, prefixed, take
from models.preprocessing import Inputs
from models.problems import Problem
from models.threads import one_thread

if TYPE_CHECKING:
    from scipy import special
    from sklearn import ensemble

    from models.kernels import forest
else:
    ensemble, special = later("sklearn.ensemble"), later("scipy.special")
    forest = later("models.kernels.forest")

_NODE = {
    "feature": ("feature_idx", np.int32),
    "left": ("left", np.int32),
    "right": ("right", np.int32),
    "missing_left": ("missing_go_to_left", np.uint8),
    "value": ("value", np.float64),
}
HISTORY = "history/"
"""Stands before the members' losses, ``validation`` and ``training``: tree by tree, from none on; scoring reads none."""
REACH = 0.9995
"""Quantile of an input up to which bins of equal width reach."""
_ORDER = (
    "feature",
    "threshold",
    "left",
    "right",
    "missing_left",
    "value",
    "tree_start",
    "member_start",
    "baseline",
)


class TreeSettings(Section):
    """Boosted trees.

    The defaults were chosen on one simulated pseudo-experiment (13,000 to 17,000 events in the signal region, some 200
    of them signal, drawn afresh several times), never on the shipped sample. There the number of members matters most:
    a single one an inner split gave a mean significance after a 1 % cut of 5.7, four gave 7.5. Eight that see a
    quarter of the events each do as well as eight that see all, in two thirds of the time. Fewer leaves or trees lose
    a little; larger leaves and regularisation did not help in smaller toys.
    """

    bags: int = pydantic.Field(default=8, ge=1, le=200)
    """Members an inner split, each on its own Poisson bootstrap of the training events."""
    sampling: float = pydantic.Field(default=0.25, gt=0, le=1)
    """Mean number of copies of an event in a bootstrap; less than 1 is faster, and members differ more."""
    iterations: int = pydantic.Field(default=200, ge=1, le=5000)
    """Most trees a member; early stopping ends it sooner."""
    patience: int = pydantic.Field(default=10, ge=1)
    """Trees without a lower loss on the inner validation quarter before a member stops."""
    learning_rate: float = pydantic.Field(default=0.1, gt=0, le=1)
    """Factor on what each tree adds."""
    leaves: int = pydantic.Field(default=31, ge=2, le=256)
    """Most leaves of a tree."""
    samples_per_leaf: int = pydantic.Field(default=5, ge=1)
    """Fewest training events of a leaf."""
    l2: float = pydantic.Field(default=0.0, ge=0)
    """Regularisation: pulls the values of leaves towards 0."""
    feature_fraction: float = pydantic.Field(default=0.6, gt=0, le=1)
    """Share of the inputs tried at each node."""
    bins: int = pydantic.Field(default=255, ge=2, le=255)
    """Bins an input, half of them quantiles, half of equal width."""


def train(problem: Problem, settings: TreeSettings, seed: Callable[..., int]) -> Arrays:
    """Train the members of all inner splits.

    Each member is a boosted ensemble on a Poisson bootstrap of its split's three quarters, stopped where the loss
    on the fourth quarter no longer falls. A few hundred signal events among ten thousand leave each member noisy, so
    their mean is what counts.

    Parameters
    ----------
    problem
        Inputs, targets, weights, inner splits.
    settings
        Hyperparameters.
    seed
        Gives the seed of a part of the task.

    Returns
    -------
    dict
        The arrays that `probability` reads, and the losses below `HISTORY`, float32 (members, trees + 1), ∞ after a
        member's end.
    """
    edges = [bin_edges(values, settings.bins) for values in problem.x.T]
    binned = binned_inputs(problem.x, edges)
    members, losses = [], []
    for number, (fitted, validation) in enumerate(problem.parts()):
        for bag in range(settings.bags):
            state = seed("split", number, "bag", bag)
            copies = np.random.default_rng(state).poisson(settings.sampling, len(problem.weight))
            weight = problem.weight * copies
            chosen = fitted & (weight > 0)
            model = _booster(settings, state)
            with one_thread():
                model.fit(
                    binned[chosen],
                    problem.target[chosen],
                    sample_weight=weight[chosen],
                    X_val=binned[validation],
                    y_val=problem.target[validation],
                    sample_weight_val=problem.weight[validation],
                )
            members.append(forest_arrays(model, edges))
            scores = {"validation": model.validation_score_, "training": model.train_score_}
            losses.append({which: -np.asarray(score) for which, score in scores.items()})
    return {**join(members), **prefixed(HISTORY, _histories(losses))}


def _histories(losses: Sequence[Mapping[str, FloatArray]]) -> Arrays:
    """Losses of members that end at different trees, ∞ after their ends."""
    found: Arrays = {}
    for which in losses[0]:
        longest = max(len(one[which]) for one in losses)
        history = np.full((len(losses), longest), np.inf, dtype=np.float32)
        for row, one in zip(history, losses, strict=True):
            row[: len(one[which])] = one[which]
        found[which] = history
    return found


def _booster(settings: TreeSettings, state: int) -> "ensemble.HistGradientBoostingClassifier":
    return ensemble.HistGradientBoostingClassifier(
        learning_rate=settings.learning_rate,
        max_iter=settings.iterations,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=settings.samples_per_leaf,
        l2_regularization=settings.l2,
        max_features=settings.feature_fraction,
        early_stopping=True,
        n_iter_no_change=settings.patience,
        random_state=state,
    )


def bin_edges(values: npt.NDArray[Any], bins: int) -> FloatArray:
    """Edges that separate an input into bins: between all distinct values where these are few.

    Else half of them are quantiles, half are of equal width: quantiles alone put the whole tail of an input, where an
    anomaly shows, into one bin.

    Parameters
    ----------
    values
        The input, one an event.
    bins
        Most bins.

    Returns
    -------
    numpy.ndarray
        float64, ascending, at most ``bins - 1``.
    """
    exact = values.astype(np.float64)
    distinct = np.unique(exact)
    if len(distinct) <= bins:
        return np.asarray(0.5 * (distinct[1:] + distinct[:-1]), dtype=np.float64)
    wide = bins // 2
    quantiles = np.quantile(exact, np.arange(1, bins - wide) / (bins - wide))
    # A lone outlier must not stretch the bins of equal width.
    equal = np.linspace(distinct[0], np.quantile(exact, REACH), wide + 2)[1:-1]
    return np.unique(np.concatenate([quantiles, equal]))


def binned_inputs(x: Inputs, edges: list[FloatArray]) -> FloatArray:
    """Number of edges below each input: bin ≤ k exactly where the input ≤ edge k.

    Parameters
    ----------
    x
        Inputs in their units, float32, shape (events, inputs).
    edges
        Of each input, ascending, as `bin_edges` gives them.

    Returns
    -------
    numpy.ndarray
        float64 whole numbers, shape (events, inputs).
    """
    columns = [
        np.searchsorted(edge, values.astype(np.float64)) for edge, values in zip(edges, x.T, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def forest_arrays(
    model: "ensemble.HistGradientBoostingClassifier", edges: list[FloatArray] | None = None
) -> Arrays:
    """A fitted scikit-learn model as plain arrays.

    Parameters
    ----------
    model
        A binary classifier without categorical inputs.
    edges
        Bin edges of each input where the model was fitted on bins; thresholds are mapped back to input units.

    Returns
    -------
    dict
        Arrays of one member, as `models.kernels.forest.member_logits` takes them.
    """
    # scikit-learn has no public access to the trees; the tests compare with its predict_proba.
    trees = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001
    starts = np.cumsum([0, *(len(nodes) for nodes in trees)]).astype(np.int64)
    nodes = np.concatenate(trees)
    arrays: Arrays = {name: nodes[field].astype(dtype) for name, (field, dtype) in _NODE.items()}
    leaf = nodes["is_leaf"].astype(bool)
    offset = np.repeat(starts[:-1], np.diff(starts))
    for side in ("left", "right"):
        arrays[side] = np.where(leaf, -1, arrays[side] + offset).astype(np.int32)
    arrays["feature"][leaf] = 0
    threshold = np.where(leaf, 0.0, nodes["num_threshold"])
    if edges is not None:
        for number, edge in enumerate(edges):
            split = ~leaf & (arrays["feature"] == number)
            threshold[split] = edge[np.floor(threshold[split]).astype(np.int64)]
    arrays["threshold"] = threshold
    arrays["tree_start"] = starts[:-1]
    arrays["member_start"] = np.array([0, len(trees)], dtype=np.int64)
    arrays["baseline"] = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1)  # noqa: SLF001
    return {name: np.ascontiguousarray(arrays[name]) for name in _ORDER}


def join(members: list[Arrays]) -> Arrays:
    """Several members as one.

    Parameters
    ----------
    members
        What `forest_arrays` gives, one or more.

    Returns
    -------
    dict
        As `models.kernels.forest.member_logits` takes them.
    """
    joined: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _ORDER}
    nodes = trees = 0
    for member in members:
        inner = member["left"] >= 0
        shifted = member | {
            "left": np.where(inner, member["left"] + nodes, -1).astype(np.int32),
            "right": np.where(inner, member["right"] + nodes, -1).astype(np.int32),
            "tree_start": member["tree_start"] + nodes,
            "member_start": member["member_start"][1:] + trees,
        }
        for name in _ORDER:
            joined[name].append(shifted[name])
        nodes += len(member["left"])
        trees += len(member["tree_start"])
    joined["member_start"].insert(0, np.zeros(1, dtype=np.int64))
    return {name: np.concatenate(parts) for name, parts in joined.items()}


def probability(arrays: Mapping[str, npt.NDArray[Any]], x: Inputs) -> FloatArray:
    """Mean probability of the members.

    Parameters
    ----------
    arrays
        As `train` gives them.
    x
        float32, shape (events, inputs).

    Returns
    -------
    numpy.ndarray
        float64, one an event; a row's value does not depend on the other rows.
    """
    logits = forest.member_logits(x, *(arrays[name] for name in _ORDER))
    return np.asarray(special.expit(logits).mean(axis=1), dtype=np.float64)


def check(arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> None:
    """Refuse trees that the kernel could not walk: it reads arrays without bounds checks.

    Parameters
    ----------
    arrays
        Supposedly what `train` gives.
    n_inputs
        Number of inputs.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    n = len(take(arrays, "left", "int32", None))
    for name, dtype in (
        ("feature", "int32"),
        ("threshold", "float64"),
        ("right", "int32"),
        ("value", "float64"),
    ):
        take(arrays, name, dtype, n)
    take(arrays, "missing_left", "uint8", n)
    roots = take(arrays, "tree_start", "int64", None)
    members = take(arrays, "member_start", "int64", None)
    take(arrays, "baseline", "float64", len(members) - 1)
    inner, node = arrays["left"] >= 0, np.arange(n)
    sides = [arrays[side][inner] for side in ("left", "right")]
    # Children after their parent: every walk ends.
    forward = all(np.all((side > node[inner]) & (side < n)) for side in sides)
    known = np.all((arrays["feature"] >= 0) & (arrays["feature"] < n_inputs))
    rooted = len(roots) > 0 and np.all((roots >= 0) & (roots < n))
    covered = (
        len(members) > 1 and members[0] == 0 and members[-1] == len(roots) and np.all(np.diff(members) >= 0)
    )
    finite = all(np.isfinite(arrays[name]).all() for name in ("threshold", "value", "baseline"))
    if not (forward and known and rooted and covered and finite):
        msg = "the trees' arrays do not describe trees"
        raise ValueError(msg)
