"""What curves say at one recall, and how this project compares."""

import math

RECALLS = (0.95, 0.99)
OURS = {"engine": "vectorbucket", "http": "vectorbucket over HTTP", "core": "its vector index alone"}


def front(points):
    """The points that no other beats in both recall and speed, by recall."""
    best, kept = 0, []
    for point in sorted(points, key=lambda point: (-point["recall"], -point["qps"])):
        if point["qps"] > best:
            kept.append(point)
            best = point["qps"]
    return kept[::-1]


def at_recall(points, recall):
    """Queries per CPU second at a recall, the logarithm interpolated along the front; None if it is never reached."""
    points = front(points)
    above = next((place for place, point in enumerate(points) if point["recall"] >= recall), None)
    if above is None:
        return None
    if above == 0:
        return points[0]["qps"]
    low, high = points[above - 1], points[above]
    share = (recall - low["recall"]) / (high["recall"] - low["recall"])
    return math.exp(math.log(low["qps"]) * (1 - share) + math.log(high["qps"]) * share)


def name(engine):
    return OURS.get(engine, engine)


def ratios(results):
    """Lines of {engine, recall, qps, engine ratio, core ratio} for one set."""
    curves = {engine: parts["curve"] for engine, parts in results.items() if parts.get("curve")}
    lines = []
    for recall in RECALLS:
        rate = {engine: at_recall(curve, recall) for engine, curve in curves.items()}
        for engine, qps in rate.items():
            ratio = lambda ours: rate[ours] / qps if qps and rate.get(ours) and engine not in OURS else None
            lines.append({"engine": engine, "recall": recall, "qps": qps, "engine_ratio": ratio("engine"), "core_ratio": ratio("core")})
    return lines


def shown(value, digits=0, unit=""):
    return "-" if value is None else f"{value:,.{digits}f}{unit}"
