"""What the documents hold that can be run, and how it is made small.

For who writes a page: put commands into ```sh blocks, one to a line (a backslash may break it), python into ```python
blocks, everything else into ```text, ```yaml and so on. A page is run from top to bottom in one folder that holds the
files of ``tests/docs_world.py`` and the run ``outputs/demo/demo`` of `make demo`; other runs a page must make itself,
with a ``run_id`` it names. Each line is made small by SMALLER and SMALL below; where that cannot be, it
stands in NOT_RUN.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
STUDIES = sorted((ROOT / "experiments").rglob("README.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

# lines that are not run, and why; those of `restore` are composed all the same
NOT_RUN = {
    r"pip install ": ".ci/run installs the wheel into a clean environment",
    r"\. \.venv/bin/activate$": "it changes the shell",
    r"make \w+$": ".ci/run calls them; that the target exists is tested",
    r"python docs/\w+\.py$": "they draw the pictures of these pages; that the script exists is tested",
    r"python -m experiments\.": "it works on trainings of hours; that the module exists is tested",
    r"restore fit .*experiment=(super_resolution|deblur|translation)_\w+": "a training of hours",
    r"restore check .*(experiment=(super_resolution|deblur|translation)_|div2k|GoPro)": "it counts their pictures",
    r"restore benchmark .*what=\[(step|inference|memory|budgets)": "it measures for minutes; what=[data] stands for it",
    r"restore benchmark( model=\w+)?$": "it measures for minutes; what=[data] stands for it",
    r"restore serve\b": "it runs until it is stopped; a test of its own starts each and stops it",
    r"(curl|printf) ": "it is sent to a page that a test of its own starts",
    r"restore export .*format=torch_export": "a graph takes ten seconds; tests of export make one of each method",
    r"torchrun ": "it starts processes; tests of several processes do",
    r"(srun|sbatch|squeue|scontrol|scancel|sacct) ": "it needs a cluster; tests of Slurm run on one of one node",
    r"wandb (login|sync)": "it needs an account",
    r"tensorboard --logdir": "it runs until it is stopped",
}

DEMO = "outputs/demo/demo/checkpoints/best.ckpt"

# words that a small machine without network cannot take, behind any command or a certain one -> what takes their place
SMALLER: dict[str, str | None] = {
    r"trainer=\w+": None,  # SMALL has trainer=smoke
    r"trainer\.max_steps=.*": "trainer.max_steps=6",
    r"trainer\.(devices|num_nodes|precision|strategy|accelerator)=.*": None,
    r"(data\.)?(patch_size|batch_size|load_size|num_workers|val_limit)=.*": None,
    r"model=(super_resolution|deblur|translation)\w*": r"model=\1_tiny",
    r"model\.(groups|blocks|channels|width|depth)=.*": None,
    r"model\.style_features=(download|vgg19)": "model.style_features=random",
    r"(val_every_steps|checkpoint\.every_steps|zero_shot\.max_steps|max_seconds)=.*": None,
    r"zero_shot\.model\.kernel_steps=.*": "zero_shot.model.kernel_steps=2",
    r"(lpips|inception)_weights=.*": None,
    r"devices=\d+": None,
    r"export (ckpt_path)=(super_resolution_x\d|deblur_narrow)": rf"\1={DEMO}",
    r"device=\w+": "device=cpu",
    r"hydra/launcher=.*": None,
    r"hydra\.launcher\..*": None,
    r"hydra\.sweeper\.n_trials=.*": "hydra.sweeper.n_trials=2",
    r"seed=0,1,.*|seed=1,2,.*": "seed=0,1",
    r"logger\.wandb\.offline=false": "logger.wandb.offline=true",
}

TRAINING = (
    "trainer=smoke",
    "trainer.max_steps=4",
    "callbacks.progress=null",
    "callbacks.panels=null",
    "val_every_steps=4",
)
PAIRS = ("data.batch_size=2", "data.patch_size=32", "data.val_limit=1", "data.num_workers=0")
ADAPTATION = ("max_steps=10", "model.width=4", "model.depth=1", "model.back_projection=1", "data.patch_size=16")
INFERENCE = tuple(f"zero_shot.{each}" for each in ADAPTATION)

# what is added to a command's words
SMALL: dict[str, tuple[str, ...]] = {
    "super_resolution": (*TRAINING, *PAIRS, "model=super_resolution_tiny"),
    "deblur": (*TRAINING, *PAIRS, "model=deblur_tiny"),
    "translation": (*TRAINING, *PAIRS, "model=translation_tiny", "model.style_weight=0"),
    "zero_shot": (*TRAINING, "model.width=4", "model.depth=1", "model.back_projection=1", "data.patch_size=16"),
    "predict": INFERENCE,
    "evaluate": INFERENCE,
    "serve": INFERENCE[1:],  # visitors name their number of steps
    "benchmark": ("patch_size=32", "batch_size=2", "model=super_resolution_tiny"),
}
TRAINS = ("fit", "check")  # for these it goes by method
RESIZED = ("data=contours", "data=facades")  # their load_size must be small as well


class Line(NamedTuple):
    """One command, or one block of Python.

    Attributes:
        place: page and line number. language: ``sh`` or ``python``. text: as it stands there, comments left out.
        typed: the same as one would type it.
    """

    place: str
    language: str
    text: str
    typed: str = ""

    @property
    def reason(self) -> str | None:
        """Why it is not run, or None."""
        text = re.sub(r"^python -m restore\.", "restore ", self.text)
        return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, text)), None)

    @property
    def restore(self) -> list[str] | None:
        """Command and overrides, where it is one of ours."""
        words = shlex.split(self.text)
        if words[0] == "restore":
            return words[1:]
        if words[:2] == ["python", "-m"] and words[2].startswith("restore."):
            return [words[2].removeprefix("restore."), *words[3:]]
        return None


def blocks(page: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line number, language and lines of each fenced block."""
    start, language, kept = 0, "", list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*(```+|~~~+)(.*)", line)
        if fence is None:
            kept.append(line)
        elif start:
            yield start, language, kept
            start = 0
        else:
            start, language, kept = number, fence[2].strip(), []


def lines_of(page: Path) -> list[Line]:
    """Everything on a page that can be run, in its order."""
    found = []
    for start, language, content in blocks(page):
        where = page.relative_to(ROOT)
        if language == "python":
            found.append(Line(f"{where}:{start}", language, "\n".join(content)))
        if language != "sh":
            continue
        pending = ""
        for number, line in enumerate(content, start + 1):
            pending += line.strip()
            if pending.endswith(("\\", "|")):
                pending = pending.removesuffix("\\") + " "
                continue
            words = shlex.split(pending, comments=True)
            if words:
                found.append(Line(f"{where}:{number}", language, shlex.join(words), pending))
            pending = ""
    return found


def smaller(words: Sequence[str]) -> list[str]:
    """A command and its overrides, made small; what only shows something stays as it is."""
    command, *given = words
    if {"--help", "--cfg", "--version", "--info"} & set(words):
        return list(words)
    options = [word for word in given if word.startswith("-")]  # before all settings, argparse wants
    kept = [
        word for word in (_smaller_word(command, each) for each in given) if word is not None and word not in options
    ]
    added = list(SMALL.get(_method(given) if command in TRAINS else command, ()))
    if "logger=wandb" in given:
        added.append("logger.wandb.offline=true")
    if any(word.startswith("experiment=search_") for word in given):
        added.append("hydra.sweeper.n_trials=2")
    if command in TRAINS:
        if any(each in given for each in RESIZED):
            added.append("data.load_size=40")
        if "-m" not in given and not any(word.startswith("run_id=") for word in given):
            added.append(f"run_id=line_{abs(hash(tuple(words)))}")  # two starts within a second would be one run
    return [command, *options, *added, *kept]  # of two words for one key the later one holds


def _smaller_word(command: str, word: str) -> str | None:
    for pattern, replacement in SMALLER.items():
        match = re.fullmatch(pattern, word) or re.fullmatch(pattern, f"{command} {word}")
        if match:
            return None if replacement is None else match.expand(replacement)
    return word


def _method(overrides: Sequence[str]) -> str:
    """Which network a training is of."""
    chosen = [word.partition("=")[2] for word in overrides if word.startswith(("model=", "experiment="))]
    known = ("super_resolution", "deblur", "translation", "zero_shot")
    return next((method for method in known for name in chosen if name.startswith(method)), "super_resolution")
