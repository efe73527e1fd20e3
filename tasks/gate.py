"""Whether a candidate may become the live model: rules on numbers of the same images, in pairs."""

from difflib import get_close_matches

from storage.evaluations import Evaluation, Metric
from storage.gate_decisions import GateDecision, RuleResult
from tasks.gate_rules import Gate, Hold, Improve
from vision.metrics.bootstrap import MeanDifference, paired_bootstrap


def decide(gate: Gate, candidate: Evaluation, live: Evaluation) -> GateDecision:
    """Compare two measurements by the rules of a gate; nothing is stored.

    Args:
        gate: The rules.
        candidate: Measurement of the model that wants to become live.
        live: Measurement of the model that is.

    Returns:
        The decision with every rule's numbers, in words too. Where the measurements cannot be
        compared, that is the only rule, and the candidate is refused.
    """
    rules = [_comparable(candidate, live)]
    if rules[0].passed:
        rules += [_apply(rule, gate, candidate, live) for rule in gate.rules]
    return GateDecision(
        decision_id="",
        verdict="promote" if all(rule.passed for rule in rules) else "refuse",
        candidate_id=candidate.model_id,
        live_id=live.model_id,
        candidate_evaluation_id=candidate.evaluation_id,
        live_evaluation_id=live.evaluation_id,
        rules=tuple(rules),
        gate=gate.model_dump(mode="json"),
    )


def compare_metric(
    candidate: Metric, live: Metric, confidence: float, resamples: int, seed: int
) -> MeanDifference | None:
    """How much higher the candidate's number is, with a confidence interval.

    Returns:
        None if the two are not means over the same images, or over fewer than two groups of them.

    Raises:
        ValueError: A parameter is out of its range.
    """
    pairs = _pairs(candidate, live)
    if isinstance(pairs, str) or len(set(pairs[2])) < 2:
        return None
    return paired_bootstrap(*pairs, seed=seed, resamples=resamples, confidence=confidence)


def comparable(candidate: Evaluation, live: Evaluation) -> bool:
    """Whether two measurements are of the same images, made in the same way."""
    return _comparable(candidate, live).passed


def _comparable(candidate: Evaluation, live: Evaluation) -> RuleResult:
    def subject(evaluation: Evaluation) -> str:
        params = f", parameters {evaluation.params_id}" if evaluation.params_id else ""
        masks = f", set {evaluation.set_id[:12]}" if evaluation.set_id else ""
        images = f"{evaluation.images:,} images of {evaluation.dataset}/{evaluation.split}"
        return images + masks + params

    same = subject(candidate) == subject(live)
    words = (
        f"both were measured on {subject(live)}"
        if same
        else f"the candidate was measured on {subject(candidate)}, but the live model on "
        f"{subject(live)}: measure both alike"
    )
    return _result("", "comparable", same, words, images=candidate.images)


def _apply(rule: Improve | Hold, gate: Gate, candidate: Evaluation, live: Evaluation) -> RuleResult:
    for name, evaluation in (("candidate", candidate), ("live model", live)):
        if rule.metric not in evaluation.metrics:
            near = get_close_matches(rule.metric, evaluation.metrics, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(evaluation.metrics)}"
            words = f"the measurement of the {name} has no {rule.metric!r}; {hint}"
            return _result(rule.metric, rule.must, False, words)
    pairs = _pairs(candidate.metrics[rule.metric], live.metrics[rule.metric])
    if isinstance(pairs, str):
        return _result(rule.metric, rule.must, False, f"{rule.metric}: {pairs}")
    first, second, groups = pairs
    images = len(candidate.metrics[rule.metric].per_image)
    drawn = len(set(groups))  # no more than images
    if drawn < gate.min_images:
        words = f"{rule.metric}: {images} images in {drawn} groups are too few to decide"
        return _result(
            rule.metric, rule.must, False, f"{words}; min_images is {gate.min_images}", images
        )
    if rule.better == "lower":
        first, second = second, first
    found = paired_bootstrap(
        first, second, groups, seed=gate.seed, resamples=gate.resamples, confidence=gate.confidence
    )
    means = sum(first) / len(first), sum(second) / len(second)
    if rule.better == "lower":
        means = means[1], means[0]
    passed, why = _passes(rule, found, means[1])
    change = f"{rule.metric}: {means[1]:.4g} to {means[0]:.4g}"
    interval = f"{gate.confidence:.0%} interval {found.low:+.4f} to {found.high:+.4f}"
    counted = f"{images} images" + (f" in {drawn} groups" if drawn < images else "")
    words = f"{change}, gain {found.mean_difference:+.4f} ({interval}, {counted}): {why}"
    return RuleResult(
        metric=rule.metric,
        rule=rule.must,
        passed=passed,
        candidate=means[0],
        live=means[1],
        gain=found.mean_difference,
        low=found.low,
        high=found.high,
        images=images,
        words=words,
    )


def _passes(rule: Improve | Hold, found: MeanDifference, live_mean: float) -> tuple[bool, str]:
    gain = found.mean_difference
    if isinstance(rule, Improve):
        if rule.beyond_noise and found.low <= 0:
            return False, "this may be luck with the images"
        if gain < rule.min_gain:
            return False, f"less than the {rule.min_gain:g} that is asked for"
        return True, "better" + (" by more than noise" if rule.beyond_noise else "")
    if rule.better == "same" and rule.relative:
        factor = 1 + rule.tolerance
        least, most = sorted((live_mean / factor, live_mean * factor))
        told = f"{least:.4g} to {most:.4g}, which is tolerated"
        if not least <= live_mean + gain <= most:
            return False, f"outside {told}"
        return True, f"within {told}"
    tolerance = rule.tolerance * (abs(live_mean) if rule.relative else 1)
    worse = abs(gain) if rule.better == "same" else -gain
    kind = "another" if rule.better == "same" else "worse"
    if worse > tolerance:
        return False, f"{kind} by more than the {tolerance:.4g} that is tolerated"
    return True, f"not {kind} by more than {tolerance:.4g}"


def _pairs(candidate: Metric, live: Metric) -> tuple[list[float], list[float], list[str]] | str:
    """Values of the same things in the same order, and their groups; or why there are none."""
    if not candidate.per_image or not live.per_image:
        return "there are no values of single images to compare in pairs"
    if candidate.per_image.keys() != live.per_image.keys():
        shared = len(candidate.per_image.keys() & live.per_image.keys())
        return (
            f"the candidate has values of {len(candidate.per_image)} images, the live model of "
            f"{len(live.per_image)}, and only {shared} are the same: measure both on the same"
        )
    first: list[float] = []
    second: list[float] = []
    groups: list[str] = []
    for image_id in sorted(candidate.per_image):
        ours, theirs = candidate.per_image[image_id], live.per_image[image_id]
        if len(ours) != len(theirs):
            return f"image {image_id} has {len(ours)} values, and {len(theirs)} of the live model"
        first += ours
        second += theirs
        group = live.groups.get(image_id)
        groups += [image_id if group is None else f"group {group}"] * len(ours)
    return first, second, groups


def _result(metric: str, rule: str, passed: bool, words: str, images: int = 0) -> RuleResult:
    return RuleResult(metric, rule, passed, None, None, None, None, None, images, words)
