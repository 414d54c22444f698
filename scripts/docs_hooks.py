"""Hooks of MkDocs that add the labs, the notebooks and the change log as pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docs_notebooks import as_markdown
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Container

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\]\()([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages from outside of docs/, and their pictures."""
    source = f"{config.repo_url.rstrip('/')}/blob/main"
    pages = {lab: f"labs/{lab.parent.name}.md" for lab in sorted((ROOT / "tutorials").glob("0*/README.md"))}
    pages[ROOT / "tutorials/README.md"] = "labs/index.md"
    pages[ROOT / "CHANGELOG.md"] = "changelog.md"
    pages[ROOT / "notebooks/README.md"] = "notebooks/index.md"
    pages |= {path: f"notebooks/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    for path, uri in pages.items():
        pictures: dict[Path, str] = {}
        drawn: dict[str, bytes] = {}
        if path.suffix == ".ipynb":
            text, drawn = as_markdown(path, source)
        else:
            text = path.read_text()
        text = _rewritten(text, path, uri, pages, pictures, source, drawn)
        files.append(File.generated(config, uri, content=text))
        for picture, target in pictures.items():
            files.append(File.generated(config, target, content=picture.read_bytes()))
        for target, content in drawn.items():
            files.append(File.generated(config, f"notebooks/{target}", content=content))
    for thumbnail in (ROOT / "notebooks/thumbnails").glob("*.png"):
        files.append(File.generated(config, f"notebooks/thumbnails/{thumbnail.name}", content=thumbnail.read_bytes()))
    return files


def _rewritten(
    text: str,
    page: Path,
    uri: str,
    pages: dict[Path, str],
    pictures: dict[Path, str],
    source: str,
    drawn: Container[str],
) -> str:
    """Returns the page with its relative links changed to pages of the site, copied pictures, or the repository.

    Pictures whose paths are in `drawn` are already part of the site.
    """

    def relink(match: re.Match[str]) -> str:
        before, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:") or target in drawn:
            return match[0]
        file = (page.parent / target).resolve()
        if file.is_dir() and (file / "README.md") in pages:
            file /= "README.md"
        up = "../" * uri.count("/")
        if file in pages:
            return f"{before}{up}{pages[file]}{anchor})"
        docs = ROOT / "docs"
        if file.is_relative_to(docs) and file.suffix == ".md":
            return f"{before}{up}{file.relative_to(docs).as_posix()}{anchor})"
        if before.startswith("!") and file.is_file():
            pictures[file] = f"labs/{page.parent.name}/{file.name}"
            return f"{before}{up}{pictures[file]})"
        return f"{before}{source}/{file.relative_to(ROOT).as_posix()}{anchor})"

    def prose(text: str) -> str:
        # GitHub renders Markdown inside of <details>; Python-Markdown only does so with these attributes.
        return (
            LINK.sub(relink, text)
            .replace("<details>", '<details markdown="1">')
            .replace("<summary>", '<summary markdown="span">')
        )

    # Links in code are not changed. labkit's options after the language of a block are removed.
    parts = re.split(r"(^(?:```|~~~).*?^(?:```|~~~)[ ]*$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(_plain_block(part) if part.startswith(("```", "~~~")) else prose(part) for part in parts)


def _plain_block(block: str) -> str:
    """Returns a block of code with only its language on the first line."""
    return re.sub(r"\A((?:```|~~~)[\w-]*)[^\n]*", r"\1", block)
