"""Words of the command line that mean nothing, and what to type instead."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from sweep.errors import SweepError, did_you_mean, nearest

# Words of other programs, and of plain English, for each verb.
_ALIKE = {
    "init": "create new make generate scaffold setup configure quickstart",
    "run": "start train tune go launch execute exec begin search optimize optimise fit sweep agent study",
    "resume": "continue restart retry rerun unpause",
    "plan": "dry-run dryrun preview",
    "list": "ls studies dir all find",
    "check": "validate verify lint test",
    "status": "ps info progress watch state top stat monitor",
    "logs": "log output tail cat stdout",
    "trials": "show results result table history export csv runs print get",
    "best": "leaderboard rank ranking winner summary",
    "stop": "kill cancel abort pause end halt quit terminate interrupt",
    "dashboard": "tensorboard board ui web serve view open tb hparams",
    "report": "compare diff html plot plots analyze analyse figures importance",
    "drop": "exclude discard ignore hide remove delete rm undrop",
    "note": "comment annotate remark tag label",
    "wait": "join block until",
    "clean": "prune gc purge cleanup du disk free",
    "import": "load warmstart warm-start prior",
    "docs": "help man doc documentation manual",
    "doctor": "env environment devices gpus gpu diagnose",
}
_VERB = {word: verb for verb, words in _ALIKE.items() for word in words.split()}
_WITHOUT_STUDY = ("init", "list", "clean", "docs", "doctor", "schema", "completion")


def unknown_verb(word: str, rest: Sequence[str], known: Iterable[str]) -> SweepError:
    """Return the error of a verb that there is not, with the whole command to type."""
    verbs = list(known)
    more = ["sweep --help   lists the verbs"]
    if _is_study(word):
        whole = shlex.join(["run", word, *rest])
        return SweepError("no-such-verb", f"{word!r} is a study; a verb comes before it", do=f"sweep {whole}   trains its trials")
    low = word.lower()
    verb = low if low in verbs else _VERB.get(low) or nearest(word, verbs)
    if verb:
        words = rest or (() if verb in _WITHOUT_STUDY else ["STUDY"])
        more.insert(0, f"sweep {shlex.join([verb, *words])}")
    return SweepError(
        "no-such-verb", f"there is no verb {word!r}", why=None if verb else did_you_mean(word, verbs), do="\n".join(more)
    )


def missing_study(verb: str) -> SweepError:
    """Return the error of a verb without the study that it needs, with the studies that are here."""
    found = [str(path) for pattern in ("*.yaml", "*.yml", "studies/*.yaml") for path in sorted(Path().glob(pattern))]
    if found:
        more = f"\nhere are: {', '.join(found[:5])}" if len(found) > 1 else ""
        do = f"sweep {verb} {shlex.quote(found[0])}{more}"
    else:
        do = f"sweep {verb} STUDY\nsweep init train.py   writes one for a script or function of yours"
        do += "\nsweep docs study-file   shows how to write one"
    what = f"sweep {verb} needs a study: a study file, or the folder of a study that has run"
    return SweepError("study-not-named", what, do=do)


def unknown_option(name: str, verb: str, possible: Sequence[str]) -> SweepError | None:
    """Return the error of an option that there is not: the keys of a study are words without dashes; None if it is a slip."""
    key = name.lstrip("-").replace("-", "_")
    if difflib.get_close_matches(key, [option.lstrip("-") for option in possible]):
        return None
    return SweepError(
        "no-such-option",
        f"sweep {verb} has no option {name}",
        do=f"sweep {verb} --help   lists the options\nsweep {verb} STUDY {key}.value=...   sets a parameter\n"
        f"sweep {verb} STUDY {key}=...   sets another key of the study file",
    )


def with_address(words: Sequence[str]) -> list[str]:
    """Return the words of a verb with that after `--ray`, if it can be an address, joined to it; else with an empty one."""
    found: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--ray":
            taken = left and not (left[0].startswith("-") or "=" in left[0] or _is_study(left[0]))
            word = f"--ray={left.pop(0) if taken else ''}"
        found.append(word)
    return found


def _is_study(word: str) -> bool:
    try:
        return Path(word).suffix in (".yaml", ".yml") or (Path(word) / "study.yaml").exists()
    except (OSError, ValueError):  # too long, or no path
        return False
