"""The Markdown tables for docs/benchmarks.md."""

from . import summary
from .summary import shown


def tables(results):
    machine = results["machine"]
    parts = [f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB. {results['date']}.\n"]
    for name, one in results["sets"].items():
        parts += [f"### {name}, {one['rows']:,} x {one['dimension']}\n", engines(one), filters(one), updates(one)]
    if results.get("scale"):
        parts += ["### Growth\n", growth(results["scale"])]
    if results.get("absent"):
        parts.append("Not measured: " + "; ".join(f"{peer} ({why})" for peer, why in results["absent"].items()) + ".\n")
    return "\n".join(part for part in parts if part)


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def head(*cells):
    return row(*cells) + "|" + "---|" * len(cells) + "\n"


def engines(one):
    """Speed at two recalls, building, memory."""
    text = head("engine", "QPS per core at 0.95 / 0.99", "straight after ingest", "ours is", "p50 / p99 at 0.95, us", "build CPU s", "memory stays / at most, of raw", "disk, of raw", "open + first query, s")
    lines = {(line["engine"], line["recall"]): line for line in summary.ratios(one["engines"])}
    for engine, parts in one["engines"].items():
        at = lambda recall: lines.get((engine, recall), {})
        fresh = parts.get("fresh", {}).get("points")
        ratio = " / ".join(shown(at(recall).get("engine_ratio"), 1, "x") for recall in summary.RECALLS)
        nearest = next((point for point in summary.front(parts.get("curve", [])) if point["recall"] >= 0.95), {})
        build, opened = parts.get("build", {}), parts.get("open", {})
        cpu = build.get("cpu") and build["cpu"] + build.get("background_cpu", 0)
        share = lambda value: shown(value and value / one["raw"], 2)
        text += row(
            summary.name(engine),
            " / ".join(shown(at(recall).get("qps")) for recall in summary.RECALLS),
            " / ".join(shown(summary.at_recall(fresh, recall)) for recall in summary.RECALLS) if fresh else "",
            "" if engine in summary.OURS else ratio,
            f"{shown(nearest.get('p50'))} / {shown(nearest.get('p99'))}",
            shown(cpu, 1),
            f"{share(opened.get('memory_stays'))} / {share(build.get('memory_at_most'))}",
            share(build.get("disk")),
            f"{shown(opened.get('open'), 3)} + {shown(opened.get('first'), 3)}" if opened else "",
        )
    return text


def best(points):
    """The fastest that is exact enough, or the most exact."""
    enough = [point for point in points if point["recall"] >= 0.98]
    return max(enough, key=lambda point: point["qps"]) if enough else max(points, key=lambda point: point["recall"])


def filters(one):
    measured = {engine: parts["filter"] for engine, parts in one["engines"].items() if parts.get("filter")}
    if not measured:
        return ""
    names = {name: filter for found in measured.values() for name, filter in found.items()}
    text = "Filtered: recall and QPS per core, ours at the default setting, others at the first setting with 0.98.\n\n"
    text += head("filter", "keeps", *(summary.name(engine) for engine in measured))
    for name, filter in sorted(names.items(), key=lambda item: item[1]["share"]):
        cells = [best(found[name]["points"]) if name in found else None for found in measured.values()]
        text += row(name, f"{filter['share'] * 100:.2f} %", *(f"{cell['recall']:.3f}, {cell['qps']:,.0f}{' SHORT' * (cell['short'] > 0)}" if cell else "-" for cell in cells))
    return text


def updates(one):
    text = ""
    for engine, parts in one["engines"].items():
        update = parts.get("update")
        if not update:
            continue
        if not text:
            text = head("engine", "recall while inserting", "rows/s", "while overwriting all", "half deleted: recall, QPS per core", "another distribution put", "queries of another distribution")
        worst = lambda part: shown(update.get(part, {}).get("worst"), 3)
        deleted = update["deleted"]["points"][-1]
        text += row(
            summary.name(engine), worst("insert"), shown(update.get("insert", {}).get("rate")), worst("overwrite"), f"{deleted['recall']:.3f}, {deleted['qps']:,.0f}",
            worst("shift"), shown(parts.get("drift", {}).get("recall"), 3),
        )
    return text


def growth(scale):
    text = head("set", "engine", "rows", "build CPU s", "memory stays, of raw", "recall", "QPS per core", "bytes per query")
    for name, one in scale.items():
        for engine, by_rows in one.items():
            for rows, found in by_rows.items():
                point = found["points"][0]
                text += row(name, summary.name(engine), f"{int(rows):,}", shown(found["cpu"], 1), shown(found["memory_share"], 2), f"{point['recall']:.3f}", shown(point["qps"]), shown(point.get("bytes")))
    return text
