"""hooks.py - what MkDocs is told beyond mkdocs.yml. Called by MkDocs; nothing of it is written into the tree.

* The navigation is the two tracks of scripts/reading.sh, and a reference.
* The reference of the library and of the operations is made from ref/api/mole.h and ref/ops/ops.h.
* Files outside docs/ that a page links to, or names in backticks, become pages below tree/.
* The first mention of a word of the glossary on a page leads to the glossary.
* The X-ray page of the demo (out/demo-xray.html, by make out/demo.png) is part of the site; the start leads to it."""
import html
import html.parser
import posixpath
import re
import subprocess
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
HEADERS = {"ref/api/mole.h": "reference/library.md", "ref/ops/ops.h": "reference/operations.md"}
LANGUAGES = {".c": "c", ".h": "c", ".py": "python", ".sh": "sh", ".js": "javascript", ".json": "json",
             ".awk": "awk", ".css": "css", ".html": "html"}

DEMO = "demo-xray.html"
DEMO_LINK = f"""

## The X-ray page of the demo

[Look inside the demo's picture]({DEMO}): the network as a U, and of each module its equation, its code and what came
out of it in each step.
"""

WIDE = {"mutants.md", "breaks.md"}  # tables of many columns: no list of headings beside them

# Words of the glossary that are ordinary words too: a link would be wrong as often as right.
ORDINARY = {"at", "map", "error", "scale", "unit", "limit", "hidden", "grid", "bound", "word", "base", "plain",
            "between", "narrow", "share", "reference", "resolution", "missing", "extra", "cause", "direct", "blas",
            "tiles", "after it", "agrees", "forced", "precision", "expert", "rank", "budget", "component", "trace",
            "truth", "ratio", "another shape"}


# ---- where a file of the tree stands on the site ------------------------------------------------------------

def page_of(path):
    """The site's source path of a file of the tree: pages of docs/ keep theirs, others stand below tree/."""
    if path.startswith("docs/"):
        return path[len("docs/"):]
    return "tree/" + path + ("" if path.endswith(".md") else ".md")


TITLED = re.compile(r"\[([^\[\]]+)\]\(([^)\s]+)\)")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
NAMED = re.compile(r"(?<![\[`\w])`((?:ref|scripts|tests|golden)/[\w./-]+\.(?:c|h|py|sh|js|awk))`(?![\]`])")
FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.M | re.S)


def target_of(path, link):
    """The file of the tree that a link of page `path` leads to, and its anchor; None: elsewhere."""
    name, _, anchor = link.partition("#")
    if not name or re.match(r"[a-z]+:", link):
        return None, ""
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
    return (found if (ROOT / found).exists() else None), anchor


def outside_code(markdown, change):
    """The Markdown with `change` made to all that is no block of code."""
    return "".join(part if part.startswith("```") else change(part) for part in FENCE.split(markdown))


def linked(path, markdown):
    """The files of the tree that a page leads to, and that have no page of their own in docs/."""
    found = set()

    def look(text):
        for match in LINK.finditer(text):
            target, _ = target_of(path, match[2])
            if target and (ROOT / target).is_file() and not target.startswith("docs/"):
                found.add(target)
        for match in NAMED.finditer(text):
            if (ROOT / match[1]).is_file():
                found.add(match[1])
        return text

    outside_code(markdown, look)
    return found


def relative(page, other):
    return posixpath.relpath(other, posixpath.dirname(page) or ".")


def relink(path, markdown):
    """Links of a page of the tree, as they are from its place on the site."""
    page = page_of(path)

    def link(match):
        target, anchor = target_of(path, match[2])
        if not target or (path.startswith("docs/") and target.startswith("docs/")):
            return match[0]
        to = page_of(target) if (ROOT / target).is_file() else page_of(target + "/README.md")
        return match[1] + relative(page, to) + ("#" + anchor if anchor else "") + match[3]

    def bare_folder(match):
        """A folder without a page of its own: its name alone."""
        folder = ROOT / (target_of(path, match[2])[0] or "README.md")
        return match[1] if folder.is_dir() and not (folder / "README.md").is_file() else match[0]

    def name(match):
        if not (ROOT / match[1]).is_file():
            return match[0]
        to = HEADERS.get(match[1]) or page_of(match[1])
        return f"[`{match[1]}`]({relative(page, to)})"

    return outside_code(markdown, lambda text: NAMED.sub(name, LINK.sub(link, TITLED.sub(bare_folder, text))))


# ---- the headers as pages -------------------------------------------------------------------------------------

def bare(comment):
    lines = [re.sub(r"^ \*? ?", "", line) for line in comment.rstrip(" *").split("\n")]
    return "\n".join(lines).strip("\n ")


def names_of(code):
    """What a declaration declares: functions, and types."""
    flat = re.sub(r"{.*?}", "{}", code, flags=re.S)
    return re.findall(r"^[\w *]+?\b(\w+)\(|}\s*(\w+);|^typedef [^(\n]*?(\w+);", flat, re.M)


def entries(text):
    """Comment and declaration of each entry; a declaration goes on to the next empty line or comment."""
    for block in re.split(r"\n\s*\n|\n(?=/\*)", text):
        match = re.match(r"/\*(.*?)\*/\n?(.*)", block, re.S)
        if match:
            yield bare(match[1]), match[2].strip()
        elif "(" in block and not block.startswith("#"):
            yield "", block.strip()


def header_page(path):
    text = (ROOT / path).read_text()
    out = [f"# `{path}`\n", f"Made from the header; [the header itself]({relative(HEADERS[path], page_of(path))}).\n"]
    seen = set()
    for number, (comment, code) in enumerate(entries(text)):
        section = re.match(r"-{3,} (.*?) -{3,}$", comment)
        names = ["".join(groups) for groups in names_of(code)]
        if number == 0:
            out.append(f"```text\n{comment}\n```\n")
        elif section:
            out.append(f"## {section[1]}\n")
        elif code and not code.startswith("#") and names and names[0] not in seen:
            seen.update(names)
            out.append("### " + ", ".join(f"`{name}`" for name in names) + "\n")
        if number and not section and comment:
            out.append(f"```text\n{comment}\n```\n")
        if number and code and not code.startswith("#"):
            out.append(f"```c\n{code}\n```\n")
    return "\n".join(out)


def source_page(path):
    text = (ROOT / path).read_text(errors="replace")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=2) + 3)
    language = LANGUAGES.get(Path(path).suffix, "text")
    return f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


# ---- MkDocs' events ---------------------------------------------------------------------------------------------

def track(name):
    """The pages of a track, in the order of reading."""
    table = subprocess.run([ROOT / "scripts/reading.sh", name], check=True, capture_output=True, text=True).stdout
    return re.findall(r"^\| \[(.*?)\]", table, re.M)


def on_config(config):
    config.nav = [{"Start": "README.md"}, {"Learn": track("learn")}, {"Check a port": track("port")},
                  {"Reference": [*HEADERS.values(), page_of("README.md"), page_of("CONTRIBUTING.md")]}]
    return config


def on_files(files, config):
    """Adds the pages that are made, and theirs in turn."""
    waiting = {"README.md", "CONTRIBUTING.md", *HEADERS}
    for file in files.documentation_pages():
        waiting |= linked("docs/" + file.src_uri, Path(file.abs_src_path).read_text())
    made = set()
    while waiting:
        path = waiting.pop()
        if path in made:
            continue
        made.add(path)
        if path.endswith(".md"):
            text = (ROOT / path).read_text()
            waiting |= linked(path, text) - made
            content = relink(path, text)
        else:
            content = source_page(path)
        files.append(File.generated(config, page_of(path), content=content))
    for path, page in HEADERS.items():
        files.append(File.generated(config, page, content=header_page(path)))
    files.append(File.generated(config, DEMO, abs_src_path=str(ROOT / "out" / DEMO)))
    return files


def on_page_markdown(markdown, page, config, files):
    path = page.file.src_uri
    if path == "README.md":
        markdown += DEMO_LINK
    if not path.startswith(("tree/", "reference/")):
        markdown = relink("docs/" + path, markdown)
    markdown = markdown.replace("<details>", '<details markdown="1">')
    if path == "glossary.md":
        markdown = outside_code(markdown, mark_terms)
    if path in WIDE:
        page.meta["hide"] = ["toc"]
    return markdown


# ---- the glossary -----------------------------------------------------------------------------------------------

ROW = re.compile(r"^\| ([^|]+?) \| ([^|]+?) \|", re.M)


def slug(term):
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def terms():
    """Word -> (anchor, meaning)."""
    found = {}
    for words, meaning in ROW.findall((ROOT / "docs/glossary.md").read_text()):
        if words in ("word", "---"):
            continue
        for term in words.replace("`", "").split(", "):
            found[term] = (slug(words), re.sub(r"\[(.*?)\]\(.*?\)|`", r"\1", meaning))
    return found


def mark_terms(text):
    def mark(match):
        if match[1] in ("word", "---"):
            return match[0]
        return match[0].replace("| " + match[1], f'| <a id="{slug(match[1])}"></a>{match[1]}', 1)

    return ROW.sub(mark, text)


class Linker(html.parser.HTMLParser):
    """The same HTML, the first mention of each term in running text being a link."""
    CLOSED = {"a", "code", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "script", "style", "summary", "th", "button"}

    def __init__(self, words, address):
        super().__init__(convert_charrefs=False)
        self.out, self.closed, self.address = [], 0, address
        self.words = dict(words)

    def handle_starttag(self, tag, attrs):
        self.closed += tag in self.CLOSED
        self.out.append(self.get_starttag_text())

    def handle_startendtag(self, tag, attrs):
        self.out.append(self.get_starttag_text())

    def handle_endtag(self, tag):
        self.closed = max(0, self.closed - (tag in self.CLOSED))  # a page may close what it never opened
        self.out.append(f"</{tag}>")

    def handle_data(self, data):
        self.out.append(data if self.closed else self.link(data))

    def handle_entityref(self, name):
        self.out.append(f"&{name};")

    def handle_charref(self, name):
        self.out.append(f"&#{name};")

    def handle_comment(self, data):
        self.out.append(f"<!--{data}-->")

    def link(self, text):
        if not self.words:
            return text
        pattern = "|".join(re.escape(word) for word in sorted(self.words, key=len, reverse=True))

        def put(match):
            word = match[1].lower()
            if word not in self.words:
                return match[0]
            anchor, meaning = self.words.pop(word)
            title = html.escape(meaning, quote=True)
            return f'<a class="term" href="{self.address}#{anchor}" title="{title}">{match[0]}</a>'

        return re.sub(rf"(?<![\w.-])({pattern})(s?)(?![\w-])", put, text, flags=re.I)


def on_page_content(content, page, config, files):
    path = page.file.src_uri
    if path == "glossary.md" or path.startswith(("tree/", "reference/")):
        return content
    words = {word: value for word, value in terms().items()
             if word.lower() == word and word not in ORDINARY and re.fullmatch(r"[a-z0-9 ]+", word)}
    linker = Linker(words, relative(page.file.dest_uri, "glossary.html"))
    linker.feed(content)
    linker.close()
    return "".join(linker.out)
