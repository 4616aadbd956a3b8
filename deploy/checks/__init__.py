"""Static checks of deploy/: what each file's own tool, schema or documentation says of it.

Run by `cargo xtask deploy`, or `python -m unittest discover -s deploy/checks -t deploy` where requirements.txt and
helm.txt are installed. Each check is a function from a text, or a folder, to a list of faults. Each is run on what
lies in deploy/, where it must find nothing, and on a copy that was broken on purpose, where it must find something.
"""

from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent


def read(name):
    """A file of deploy/."""
    return (DEPLOY / name).read_text()


def broken(text, old, new):
    """The text with one thing made wrong; what is to be made wrong must be there."""
    assert old in text, f"{old!r} is not there to be broken"
    return text.replace(old, new)
