"""Commands and code in the documents: which lines there are, how they are made small, and who runs them.

For authors of a page: put commands into ```sh blocks, one per line (a backslash may continue it), Python into ```python
blocks, everything else into ```text, ```yaml and so on. A complete command between backticks in the text also
counts as a line, unless it contains `...` or `<...>`. A page runs from top to bottom in one folder, which contains
the files of ``tests/docs_folder.py`` and the run ``outputs/demo/demo`` of `make demo`; a page must make other runs
itself, with a ``run_id`` that it names. Each line is made small by SMALLER and SMALL below. Lines that the run of a
page cannot execute are listed in ELSEWHERE, with the test or file that executes them.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
STUDIES = sorted((ROOT / "experiments").rglob("README.md"))
STUDY_LIST = ROOT / "experiments/README.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


class ByTest(NamedTuple):
    """A test that gets lines from the pages from :func:`lines_for`, by its own ``id``, and runs them."""

    id: str


class InFile(NamedTuple):
    """A file run by CI contains the line, or its equivalent: a pattern, which may refer to the line's groups."""

    file: str
    pattern: str


SERVED = ByTest("tests/test_docs.py::test_a_page_is_served_as_the_documents_say")
PAGE = ByTest("tests/test_docs.py::test_the_page_answers_requests_and_its_image_is_drawn_anew")
DRAWN = ByTest("tests/test_docs.py::test_the_pictures_of_the_documents_are_drawn_anew")
BATCH = ByTest("tests/test_slurm.py::test_the_batch_script_of_the_documents_trains")
POINTS = ByTest("tests/test_slurm.py::test_points_of_a_sweep_are_jobs")
LAUNCHED = ByTest(
    "tests/training/test_sweep.py::test_a_killed_point_is_a_failed_trial_and_a_sweep_that_is_ended_saves_its_points"
)
PAIRS_SWEPT = ByTest("tests/training/test_launcher.py::test_a_sweep_of_trainings_on_two_processes")

# lines that are executed elsewhere than by their page; a test checks that they really are
ELSEWHERE: dict[str, tuple[ByTest | InFile, ...]] = {
    r"restore serve$": (PAGE,),
    r"restore serve (?!--cfg)": (SERVED,),
    r"python docs/serve_page\.py ": (PAGE,),
    r"python docs/\w+\.py$": (DRAWN,),
    r"(curl|printf) ": (PAGE,),
    r"sbatch ": (BATCH,),
    r"restore fit .*hydra/launcher=slurm": (POINTS,),
    r"restore fit -m .*hydra/launcher=(?!slurm)": (LAUNCHED,),
    r"restore fit -m .*trainer=ddp_cpu": (PAIRS_SWEPT,),
    r"make bench$": (InFile("Makefile", r"\t\$\(BIN\)/python -m restore\.benchmark$"),),  # a line that is run
    r"make gpu$": (InFile("Makefile", r"\t\$\(BIN\)/python -m experiments\.performance\.gpu$"),),
    r"make (?:test|test-slow|coverage)$": (
        InFile("Makefile", r"\t\$\(PYTEST\)$"),  # what test-all runs, a part of it or with figures
        InFile(".ci/run", r"make test-all$"),
    ),
    r"make ([\w -]+)$": (InFile(".ci/run", r" *make (.+ )?{0}( |$)"),),  # each of its targets
    r"(python3 -m venv|\.) \.venv": (InFile("Makefile", r"\t\$\(PYTHON\) -m venv \$\(VENV\)$"),),
    r"pip install -c constraints\.txt \.$": (
        InFile("Makefile", r"\t\$\(BIN\)/python -m pip install .*-c constraints\.txt -e '\.\[dev\]'$"),  # with more
    ),
    r"pip install (?:-c constraints\.txt )?'\.\[(\w+)\]'$": (
        InFile("Makefile", r"\t\$\(BIN\)/python -m pip install .*-c constraints\.txt -e '\.\[dev\]'$"),
        InFile("pyproject.toml", r'    "restore\[(\w+,)*{0}(,\w+)*\]",$'),  # which is in dev
    ),
}

# commands that end with status 1 on the few images there are, and their message
REFUSED = {
    r"restore check .*(data=div2k|experiment=deblur_published|\[data/Set5\])": (
        r"holds \d+ images, the published set has \d+"
    )
}

DEMO = "outputs/demo/demo/checkpoints/best.ckpt"

# words that a small machine without network cannot take, after any command or a certain one -> their replacement
SMALLER: dict[str, str | None] = {
    r"trainer=ddp": "trainer=ddp_cpu",
    r"trainer=(cpu|gpu|auto)": None,  # SMALL has trainer=smoke
    r"trainer\.max_steps=.*": "trainer.max_steps=6",
    r"trainer\.max_time=.*": None,  # SMALL has a number of steps
    r"trainer\.(precision|strategy|accelerator)=.*": None,
    r"(data\.)?(patch_size|batch_size|load_size|num_workers|val_limit)=.*": None,
    r"model=(super_resolution|deblur|translation)\w*": r"model=\1_tiny",
    r"model\.(groups|blocks|channels|width|depth)=.*": None,
    r"model\.style_features=(download|vgg19)": "model.style_features=random",
    r"(val_every_steps|checkpoint\.every_steps|zero_shot\.max_steps|max_seconds)=.*": None,
    r"zero_shot\.model\.kernel_steps=.*": "zero_shot.model.kernel_steps=2",
    r"(lpips|inception)_weights=.*": None,
    r"export (ckpt_path)=(super_resolution_x\d|deblur_narrow)": rf"\1={DEMO}",
    r"device=\w+": "device=cpu",
    r"image_size=.*": None,
    r"hydra\.sweeper\.n_trials=.*": "hydra.sweeper.n_trials=2",
    r"seed=0,1,.*|seed=1,2(,.*)?": "seed=0,1",
    r"logger\.wandb\.offline=false": "logger.wandb.offline=true",
}

TRAINING = (
    "trainer=smoke",
    "trainer.precision=32-true",
    "trainer.max_steps=4",
    "callbacks.progress=null",
    "callbacks.panels=null",
    "val_every_steps=4",
)
PAIRS = ("data.batch_size=2", "data.patch_size=32", "data.val_limit=1", "data.num_workers=0")
ENLARGED_PAIRS = (PAIRS[0], "data.patch_size=12", *PAIRS[2:])  # a multiple of 3, too, in the smallest photos
ADAPTATION = (
    "max_steps=10",
    "start=scratch",
    "model.width=4",
    "model.depth=1",
    "model.back_projection=1",
    "data.patch_size=16",
)
INFERENCE = tuple(f"zero_shot.{each}" for each in ADAPTATION)

# added to a command's words
SMALL: dict[str, tuple[str, ...]] = {
    "super_resolution": (*TRAINING, *ENLARGED_PAIRS, "model=super_resolution_tiny"),
    "deblur": (*TRAINING, *PAIRS, "model=deblur_tiny"),
    "translation": (*TRAINING, *PAIRS, "model=translation_tiny", "model.style_weight=0"),
    "zero_shot": (*TRAINING, "model.width=4", "model.depth=1", "model.back_projection=1", "data.patch_size=16"),
    "predict": INFERENCE,
    "evaluate": INFERENCE,
    "serve": INFERENCE[1:],  # visitors choose the number of steps
    "benchmark": (
        *("patch_size=32", "batch_size=2", "model=super_resolution_tiny", "runs=1"),
        *("side=32", "sides=[64]", "image_size=[72,128]", "budgets_gb=[0.5]"),
    ),
}
TRAINS = ("fit", "check")  # for these commands it depends on the method
# their load_size must be small, too
RESIZED = ("data=contours", "data=facades", "experiment=translation_contours", "experiment=translation_camvid")
STUDIED = ("model.style_weight=null", "model.levels=3", "data.val_limit=2")  # required by the study's scripts

# the same for scripts: text that occurs once -> its replacement in the copy that is run
SMALLER_SCRIPTS: dict[str, dict[str, str]] = {
    "performance/inference.py": {
        '{"super_resolution_x2": (1000, 1000, (256, 512)), "deblur_narrow": (720, 1280, (512,))}': (
            '{"super_resolution_x2": (16, 24, (16,))}'
        ),
        "ROUNDS = 2": "ROUNDS = 1",
    },
    "performance/training_step.py": {
        "16, 96, 5": "2, 16, 2",
        '(("ours", "channels_last"), ("RCAN", "channels_last"), ("RCAN", "default layout"))': (
            '(("ours", "channels_last"),)'
        ),
    },
    "deblur/richardson_lucy.py": {
        "FRAMES, SIDE = 6, 384": "FRAMES, SIDE = 1, 48",
        "(3, 5, 9, 13, 19, 27), range(0, 180, 30), (1, 3, 10)": "(3, 5), range(0, 180, 90), (1,)",
    },
    "deblur/attention.py": {"24, 256, (8, 16, 24), 16": "2, 48, (8, 16), 4"},
    "performance/pack.py": {
        "1356, 2040, 6": "490, 970, 2",
        "SECONDS = 3.0": "SECONDS = 0.001",
        "FILES = 100_000": "FILES = 3",
        '    "training": training,\n': "",  # a page on processes trains with two
    },
    "translation/collect.py": {
        '"load_size": 144, "patch_size": 128': '"load_size": 40, "patch_size": 32',
        "SIDE = 128": "SIDE = 32",
    },
    "camvid/collect.py": {"LOAD, SIDE = 144, 128": "LOAD, SIDE = 40, 32"},
    "camvid/label_reader.py": {"STEPS, BATCH, LR = 1000, 4": "STEPS, BATCH, LR = 2, 2"},
    "zero_shot/curve.py": {"(25, 50, 100, 200, 400, 800, 1500)": "(2, 4)"},
    "zero_shot/blur.py": {
        "range(1, 17, 2)": "range(1, 2)",
        "384, 2, 300": "128, 2, 2",
        '"kernel_steps": 500': '"kernel_steps": 2',
    },
    "zero_shot/start.py": {"for steps in given.steps:": "for steps in (0, 1):"},
    "zero_shot/unknown.py": {
        "320, 2, 8, ": "32, 2, 1, ",
        "max_steps=steps,": "max_steps=1,",
        "default=[*KINDS]": 'default=["all"]',
    },
    "zero_shot/hard.py": {"85, 600, 96": "85, 2, 24"},
}


class Line(NamedTuple):
    """One command, or one block of Python.

    Attributes:
        place: page and line number. language: ``sh`` or ``python``. text: as in the page, without comments.
        typed: the same as one would type it.
    """

    place: str
    language: str
    text: str
    typed: str = ""

    @property
    def elsewhere(self) -> tuple[ByTest | InFile, ...]:
        """Where it is executed instead of in the run of its page, if anywhere."""
        return next((each for pattern, each in ELSEWHERE.items() if self._match(pattern)), ())

    @property
    def targets(self) -> tuple[str, ...]:
        """The parts captured by its pattern in ELSEWHERE: targets of `make`, the extra of `pip install`."""
        found = next(match for match in map(self._match, ELSEWHERE) if match)
        return tuple(found[1].split()) if found.groups() else ("",)

    @property
    def refusal(self) -> str | None:
        """A pattern for its final message, if it fails in the small folder."""
        return next((words for pattern, words in REFUSED.items() if self._match(pattern)), None)

    def _match(self, pattern: str) -> re.Match[str] | None:
        return re.match(pattern, re.sub(r"^python -m restore\.", "restore ", self.text))

    @property
    def restore(self) -> list[str] | None:
        """Command and overrides, if it is one of ours."""
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
    """All executable lines of a page, in order."""
    where, found = page.relative_to(ROOT), dict[int, list[Line]]()
    for start, language, content in blocks(page):
        if language == "python":
            found[start] = [Line(f"{where}:{start}", language, "\n".join(content))]
        if language == "sh":
            found[start] = list(_commands(where, start, content))
    for number, words in _spans(page):
        found.setdefault(number, []).append(Line(f"{where}:{number}", "sh", shlex.join(shlex.split(words)), words))
    return [line for number in sorted(found) for line in found[number]]


def lines_for(test: str) -> list[Line]:
    """The lines of all pages that the test with this id runs, without duplicates."""
    every = [line for page in [*PAGES, *STUDIES] for line in lines_of(page) if line.language == "sh"]
    return list({line.text: line for line in every if ByTest(test) in line.elsewhere}.values())


def _commands(where: Path, start: int, content: Sequence[str]) -> Iterator[Line]:
    pending = ""
    for number, line in enumerate(content, start + 1):
        pending += line.strip()
        if pending.endswith(("\\", "|")):
            pending = pending.removesuffix("\\") + " "
            continue
        words = shlex.split(pending, comments=True)
        if words:
            yield Line(f"{where}:{number}", "sh", shlex.join(words), pending)
        pending = ""


PROGRAM = r"(restore [a-z_]+ |python docs/|python -m experiments\.|make |pip install |sbatch |torchrun |tensorboard )\S"


def _spans(page: Path) -> Iterator[tuple[int, str]]:
    """Line number and words of each command in the text that has an argument and no placeholders."""
    text = re.sub(
        r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for match in re.finditer(r"`([^`]+)`", text):
        words = " ".join(match[1].split())
        if re.match(PROGRAM, words) and not re.search(r'\.\.\.|<|"\$', words):
            yield text[: match.start()].count("\n") + 1, words


def smaller(words: Sequence[str]) -> list[str]:
    """A command and its overrides, made small; commands that only show something stay unchanged."""
    command, *given = words
    if {"--help", "--cfg", "--version", "--info"} & set(words):
        return list(words)
    options = [word for word in given if word.startswith("-")]  # argparse requires them before all settings
    kept = [
        word for word in (_smaller_word(command, each) for each in given) if word is not None and word not in options
    ]
    if sum(map(_is_swept, kept)) > 1:  # in a sweep over more than seeds, the first seed is enough
        kept = [re.sub(r"^(seed=\d+),.*", r"\1", word) for word in kept]
    added = list(SMALL.get(_method(given) if command in TRAINS else command, ()))
    if command == "predict" and not any(re.match(r"ckpt_path=|scale=(?![24]$)", word) for word in given):
        added = []  # shipped weights, with which predict refuses settings of zero-shot
    if "experiment=translation_contours" in given:
        added += STUDIED
    if "experiment=translation_camvid" in given:
        added += STUDIED[1:]
    if "trainer=ddp_cpu" in kept:
        kept = [word for word in kept if word != "trainer.devices=2"]
        added.append(
            "trainer.devices=2"
        )  # whether the line says so or leaves it to the preset: one run for all of them
    if "trainer=slurm" in given:
        added.append("trainer.accelerator=cpu")
    if "logger=wandb" in given:
        added.append("logger.wandb.offline=true")
    if any(word.startswith("experiment=search_") for word in given):
        added.append("hydra.sweeper.n_trials=2")
    if command in TRAINS:
        if any(each in given for each in RESIZED):
            added.append("data.load_size=40")
        if "-m" not in given and not any(word.startswith("run_id=") for word in given):
            added.append(f"run_id=line_{abs(hash((*added, *kept)))}")  # two starts within a second would be one run
    return [command, *options, *added, *kept]  # of two words for one key, the later one applies


def _smaller_word(command: str, word: str) -> str | None:
    for pattern, replacement in SMALLER.items():
        match = re.fullmatch(pattern, word) or re.fullmatch(pattern, f"{command} {word}")
        if match:
            return None if replacement is None else match.expand(replacement)
    return word


def _is_swept(word: str) -> bool:
    """Whether a word gives a setting several values."""
    value = word.partition("=")[2]
    return "," in value and not value.startswith(("[", "{"))


def _method(overrides: Sequence[str]) -> str:
    """The network that a training trains."""
    chosen = [word.partition("=")[2] for word in overrides if word.startswith(("model=", "experiment="))]
    known = ("super_resolution", "deblur", "translation", "zero_shot")
    return next((method for method in known for name in chosen if name.startswith(method)), "super_resolution")
