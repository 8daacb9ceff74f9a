"""``restore <command> ...``, the same as ``python -m restore.<command> ...``."""

import difflib
import importlib
import sys

from restore import __version__

COMMANDS = {
    "fit": "train a model",
    "evaluate": "score a checkpoint or a baseline on benchmark folders",
    "predict": "restore an image, a folder or a glob",
    "check": "check data, memory and run time before a long job",
    "table": "compare runs, with paired statistics",
    "export": "write a model as ONNX, as a program of torch.export, or as weights with a card",
    "serve": "a web page and an HTTP API that restore images",
    "average_frames": "make blurred and sharp pairs from the frames of a sharp video",
    "contours": "draw the contours of photos, as contour-to-photo translation reads them",
    "benchmark": "measure start-up, data path, training step and memory",
}


def main() -> None:
    """Run the command named by the first argument."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in COMMANDS:
        del sys.argv[1]
        try:
            module = importlib.import_module(f"restore.{name}")
        except KeyboardInterrupt:
            sys.exit(130)
        module.main()
        return
    if name == "--version":
        sys.stdout.write(f"restore {__version__}\n")
        return
    text = "usage: restore <command> [key=value ...]\n\n" + "".join(
        f"  {command:<14} {what}\n" for command, what in COMMANDS.items()
    )
    if name in ("-h", "--help"):
        sys.stdout.write(text + "\nrestore <command> --help lists its settings\n")
        return
    close = difflib.get_close_matches(name, COMMANDS, 1)
    sys.stderr.write(f"restore: {name} is not a command{f'; did you mean {close[0]}?' if close else ''}\n{text}")
    sys.exit(2)


if __name__ == "__main__":
    main()
