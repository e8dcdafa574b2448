"""Real passages with real metadata: Debian package descriptions and three free dictionaries.

Each passage is an object with `id`, `text` and the fields its source has; equal texts (ignoring case) are kept once.
"""

import gzip
import json
import re

from . import fetch, results

CHARACTERS_MAX = 400
CHARACTERS_MIN = 12
DICTIONARIES = {"wordnet": ("dict-wn", "wn"), "gcide": ("dict-gcide", "gcide"), "foldoc": ("dict-foldoc", "foldoc")}


def collect(out):
    """The passages, read from --out when an earlier run wrote them."""
    target = out / "passages.jsonl"
    if not target.exists():
        folder = fetch.packages_folder(out)
        results.write_lines(target, (json.dumps(p, ensure_ascii=False) for p in numbered(every_source(folder))))
    with open(target, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def every_source(folder):
    yield from debian(folder)
    for source, (package, stem) in DICTIONARIES.items():
        path = fetch.debian_file(package, f"usr/share/dictd/{stem}.dict.dz", folder)
        yield from READERS[source](path)


def numbered(passages):
    """Drops short and repeated texts, cuts long ones, and numbers what is left."""
    seen = set()
    for text, fields in passages:
        text = re.sub(r"\s+", " ", text).strip()[:CHARACTERS_MAX].rstrip()
        folded = text.casefold()
        if len(text) >= CHARACTERS_MIN and folded not in seen:
            seen.add(folded)
            yield {"id": len(seen) - 1, "text": text, **{k: v for k, v in fields.items() if v not in (None, "", [])}}


# Debian: stanzas of "Field: value", continuation lines start with a blank.

def debian(folder):
    long_texts = {s["Package"]: s.get("Description-en", "") for s in stanzas(fetch.debian_list_text(folder, "_main_i18n_Translation-en"))}
    for stanza in stanzas(fetch.debian_list_text(folder, "_Packages")):
        text = long_texts.get(stanza["Package"]) or stanza.get("Description", "")
        yield text.replace("\n.\n", "\n"), debian_fields(stanza)


def stanzas(text):
    for block in text.split("\n\n"):
        fields, name = {}, None
        for line in block.split("\n"):
            if line[:1] in " \t" and name:
                fields[name] += "\n" + line[1:]
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Package" in fields:
            yield fields


def debian_fields(stanza):
    """With `text` these are ten keys, which is as many as the service takes for one vector."""
    tags = [tag.strip() for tag in stanza.get("Tag", "").split(",") if tag.strip()]
    return {
        "source": "debian",
        "name": stanza["Package"],
        "section": stanza.get("Section"),
        "architecture": stanza.get("Architecture"),
        "installed_kib": int(stanza.get("Installed-Size", 0)),
        "bytes": int(stanza.get("Size", 0)),
        "maintainer": stanza.get("Maintainer"),
        "tags": tags[:16],
        "depends": len([d for d in stanza.get("Depends", "").split(",") if d.strip()]),
    }


# Dictionaries in the dictd format: an entry starts at a line that does not begin with a blank.

def entries(path):
    head, body = None, []
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line[:1].strip():
                if head:
                    yield head, "".join(body)
                head, body = line.strip(), []
            else:
                body.append(line)
    if head:
        yield head, "".join(body)


SENSE = re.compile(
    r"^\s{2,6}(?:(?P<part>n|v|adj|adv) )?(?P<number>\d+): (?P<text>.*?)(?=^\s{2,6}(?:(?:n|v|adj|adv) )?\d+: |\Z)", re.S | re.M
)


def wordnet(path):
    """One passage a sense; the part of speech is printed only at the first sense that has it."""
    for head, body in entries(path):
        part = None
        for sense in SENSE.finditer(body):
            part = sense["part"] or part
            synonyms = [re.sub(r"\s+", " ", s) for s in re.findall(r"\{([^}]*)\}", sense["text"])]
            text = re.sub(r"\[(?:syn|ant|also)[^\]]*\]", "", sense["text"])
            yield text, {"source": "wordnet", "name": head, "part": part, "sense": int(sense["number"]), "synonyms": synonyms[:12], "length": len(head)}


def gcide(path):
    for head, body in entries(path):
        word = head.split("\\")[0].strip()
        field = re.search(r"\(([A-Z][a-z]+\.?(?: [A-Z&][a-z]*\.?)?)\)", body)
        edition = re.search(r"\[(1913 Webster|WordNet 1\.5|PJC|Webster Suppl\.)", body)
        plain = re.sub(r"\[[^\]]*\]|\\[^\\]*\\|[{}]", " ", body)
        yield f"{word}: {plain}", {"source": "gcide", "name": word, "field": field and field[1], "edition": edition and edition[1]}


def foldoc(path):
    for head, body in entries(path):
        field = re.search(r"<([^>]{2,40})>", body)
        yield f"{head}: {re.sub(r'[{}]', '', body)}", {"source": "foldoc", "name": head, "field": field and field[1]}


READERS = {"wordnet": wordnet, "gcide": gcide, "foldoc": foldoc}
