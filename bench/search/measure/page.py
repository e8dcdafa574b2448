"""One HTML page with everything in it: plots as inline SVG, drawn here, and the tables."""

import html
import math

from . import summary, table

# An engine has one colour in all plots; names that are not here take those that are left.
COLOURS = {
    "vectorbucket": "#dc2626", "vectorbucket over HTTP": "#f97316", "its vector index alone": "#fda4af", "scann": "#2563eb", "svs": "#16a34a", "faiss-ivf": "#7c3aed",
    "faiss-hnsw": "#c084fc", "hnswlib": "#0891b2", "usearch": "#a16207", "lancedb": "#111827", "qdrant": "#db2777", "chroma": "#65a30d",
}
# Recalls to mark, and what a recall of 1 is drawn as: the axis is logarithmic in what is missed.
RECALLS, MISSED_MIN = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0), 5e-4
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 70, 230, 30, 50
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c1917;background:#fff}
h1,h2,h3{line-height:1.2}table{border-collapse:collapse;font-size:13px;margin:1rem 0;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #d6d3d1;padding:.3rem .6rem;text-align:right}td:first-child,th:first-child{text-align:left}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#44403c}
"""


def page(results):
    body = ["<h1>Vector search, recall and speed</h1>", "<p>Queries per second of one core (queries / CPU seconds), one query at a time, the 10 nearest. Up and to the right is better.</p>"]
    for name, one in results["sets"].items():
        body += set_plots(name, one)
    body += growth_plots(results.get("scale", {}))
    body += ["<h2>Tables</h2>", markdown_tables(table.tables(results))]
    return f"<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Search benchmark</title><style>{STYLE}</style>\n" + "\n".join(body) + "</html>\n"


def set_plots(name, one):
    engines = one["engines"]
    curves = {summary.name(e): [(p["recall"], p["qps"]) for p in summary.front(parts["curve"])] for e, parts in engines.items() if parts.get("curve")}
    yield f"<h2>{html.escape(name)}, {one['rows']:,} x {one['dimension']}</h2>"
    if curves:
        low = min(0.8, max(0.0, min(x for points in curves.values() for x, _ in points)))
        yield plot("Recall against speed", "recall@10", "QPS per core", curves, x_range=(max(low, 0.7), 1.0), log_y=True, x_axis=RecallAxis)
    for is_random, title in ((True, "a random attribute"), (False, "real attributes")):
        recalls, speeds = filter_series(engines, is_random)
        if recalls:
            yield plot(f"Filters on {title}: recall", "share of the rows that the filter keeps", "recall@10", recalls, log_x=True)
            yield plot(f"Filters on {title}: speed", "share of the rows that the filter keeps", "QPS per core", speeds, log_x=True, log_y=True)
    yield from update_plots(engines)


def filter_series(engines, is_random):
    recalls, speeds = {}, {}
    for engine, parts in engines.items():
        found = [filter for filter in parts.get("filter", {}).values() if filter["is_random"] == is_random]
        points = sorted((filter["share"], table.best(filter["points"])) for filter in found if filter["share"] > 0) if found else []
        if points:
            recalls[summary.name(engine)] = [(share, point["recall"]) for share, point in points]
            speeds[summary.name(engine)] = [(share, point["qps"]) for share, point in points]
    return recalls, speeds


def update_plots(engines):
    for part, title in (("insert", "inserting at full rate"), ("overwrite", "overwriting every row"), ("shift", "putting rows of another distribution")):
        series = {summary.name(e): [(s["second"], s["recall"]) for s in parts["update"][part]["seconds"]] for e, parts in engines.items() if part in parts.get("update", {})}
        if series:
            yield plot(f"Recall while {title}", "second", "recall@10", series)


GROWTH = {
    "speed": ("QPS per core", "Growth: speed", lambda found: found["points"][0]["qps"]),
    "bytes": ("bytes", "Growth: bytes of codes per query", lambda found: found["points"][0].get("bytes")),
    "building": ("CPU seconds", "Growth: building", lambda found: found["cpu"]),
}


def growth_image(scale, name):
    """One of the plots of growth as a file of its own."""
    drawing = "".join(growth_plots(scale, [name])).partition("<svg")[2]
    style = "<style>text{font:12px system-ui,sans-serif;fill:#44403c}</style><rect width='100%' height='100%' fill='#fff'/>"
    head, _, rest = drawing.partition(">")
    return f"<svg xmlns='http://www.w3.org/2000/svg'{head}>{style}{rest}\n" if drawing else ""


def growth_plots(scale, names=tuple(GROWTH)):
    for what, title, pick in (GROWTH[name] for name in names):
        series = {
            f"{name} {summary.name(engine)}": [(int(rows), pick(found)) for rows, found in by_rows.items() if pick(found)]
            for name, one in scale.items() for engine, by_rows in one.items()
        }
        series = {name: points for name, points in series.items() if points}
        if series:
            yield plot(title, "rows", what, series, log_x=True, log_y=True)


class Axis:
    """Maps values to pixels, linear or by logarithm."""

    def __init__(self, values, pixels, is_log, wanted=None):
        low, high = wanted or (min(values), max(values))
        self.is_log = is_log and low > 0
        if self.is_log:
            low, high = low * 0.9, high * 1.1
        elif high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self.pixels = low, high, pixels

    def scale(self, value):
        return math.log(value) if self.is_log else value

    def place(self, value):
        share = (self.scale(value) - self.scale(self.low)) / (self.scale(self.high) - self.scale(self.low))
        return self.pixels[0] + share * (self.pixels[1] - self.pixels[0])

    def marks(self):
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [step * 10.0 ** decade for decade in decades for step in (1, 2, 5)]
        else:
            step = nice((self.high - self.low) / 6)
            marks = [math.ceil(self.low / step) * step + number * step for number in range(9)]
        return [mark for mark in marks if self.low <= mark <= self.high + 1e-12]


class RecallAxis(Axis):
    """Recalls, spread out towards 1."""

    def scale(self, value):
        return -math.log10(max(MISSED_MIN, 1 - value))

    def marks(self):
        return [recall for recall in RECALLS if self.low <= recall <= self.high]


def nice(step):
    """The next of 1, 2, 5 x a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step)


def plot(title, x_name, y_name, series, x_range=None, log_x=False, log_y=False, x_axis=Axis):
    """Lines with points; `series` are {name: [(x, y)]}."""
    if x_range:
        series = {name: [point for point in points if x_range[0] <= point[0] <= x_range[1]] for name, points in series.items()}
    points = [point for one in series.values() for point in one]
    if not points:
        return ""
    x = x_axis([point[0] for point in points], (LEFT, WIDTH - RIGHT), log_x, x_range)
    y = Axis([point[1] for point in points], (HEIGHT - BOTTOM, TOP), log_y)
    parts = [f"<h3>{html.escape(title)}</h3><svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{html.escape(title)}'>", *grid(x, y)]
    parts.append(f"<text x='{(LEFT + WIDTH - RIGHT) / 2}' y='{HEIGHT - 10}' text-anchor='middle'>{html.escape(x_name)}</text><text x='{LEFT}' y='18' text-anchor='middle'>{html.escape(y_name)}</text>")
    for number, (name, one) in enumerate(series.items()):
        parts.append(line(number, name, [(x.place(a), y.place(b)) for a, b in one], one))
    return "".join(parts) + "</svg>"


def grid(x, y):
    text = lambda value: f"{value:,.0f}" if abs(value) >= 10 else f"{value:.4g}"
    for mark in x.marks():
        at = x.place(mark)
        yield f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='#e7e5e4'/><text x='{at:.1f}' y='{HEIGHT - BOTTOM + 18}' text-anchor='middle'>{text(mark)}</text>"
    for mark in y.marks():
        at = y.place(mark)
        yield f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{at:.1f}' y2='{at:.1f}' stroke='#e7e5e4'/><text x='{LEFT - 8}' y='{at + 4:.1f}' text-anchor='end'>{text(mark)}</text>"


def line(number, name, places, values):
    colour = COLOURS.get(name) or list(COLOURS.values())[number % len(COLOURS)]
    width = 3 if name in summary.OURS.values() else 1.5
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    dots = "".join(f"<circle cx='{a:.1f}' cy='{b:.1f}' r='3' fill='{colour}'><title>{html.escape(name)}: {p:.4g}, {q:,.4g}</title></circle>" for (a, b), (p, q) in zip(places, values))
    at = TOP + 10 + number * 20
    legend = f"<rect x='{WIDTH - RIGHT + 16}' y='{at - 6}' width='14' height='4' fill='{colour}'/><text x='{WIDTH - RIGHT + 36}' y='{at}'>{html.escape(name)}</text>"
    return f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='{width}'/>{dots}{legend}"


def markdown_tables(text):
    """The tables of `table.tables` as HTML: headings, tables, plain lines."""
    out, rows = [], []
    for one in [*text.splitlines(), ""]:
        if one.startswith("|"):
            rows.append([html.escape(cell.strip()) for cell in one.strip("|").split("|")])
            continue
        if rows:
            head, *body = [cells for cells in rows if any(cell.strip("-") for cell in cells)]
            out.append("<table><tr>" + "".join(f"<th>{cell}" for cell in head) + "".join("<tr>" + "".join(f"<td>{cell}" for cell in cells) for cells in body) + "</table>")
            rows = []
        if one.startswith("###"):
            out.append(f"<h3>{html.escape(one.strip('# '))}</h3>")
        elif one:
            out.append(f"<p>{html.escape(one)}</p>")
    return "\n".join(out)
