"""What commands share: reading files and passphrases, printing, and errors without tracebacks."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import typer

from depin_id.durable import read_file
from depin_id.errors import ConfigError, DepinError, NetworkError, StateError, TransportError
from depin_id.network import load_card
from depin_id.printable import json_text, printable

MAX_INPUT: Final = 1 << 24
EXIT_ERROR: Final = 2
# Newer releases of typer carry their own click: its base class is found through what is public.
_Usage: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def app(help_text: str) -> typer.Typer:
    """A group of commands as this project has them: no rich tracebacks, help without arguments."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def read_input(name: str, *, max_bytes: int = MAX_INPUT) -> bytes:
    """A file's bytes, or standard input for ``-``. Raises TransportError, StateError."""
    if name == "-":
        data = sys.stdin.buffer.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise StateError("state.too_large", f"standard input is over {max_bytes} bytes")
        return data
    found = read_file(Path(name), max_bytes=max_bytes)
    if found is None:
        raise TransportError("file.missing", f"there is no file {name}")
    return found


@contextlib.contextmanager
def open_output(name: str) -> Iterator[BinaryIO]:
    """A file open for writing bytes, or standard output for ``-``. Raises TransportError."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = open(name, "wb")
    except OSError as error:
        raise TransportError("file.write", f"{name}: {error.strerror or error}") from error
    with file:
        yield file


def read_passphrase(path: Path | None) -> str | None:
    """The first line of a passphrase file of mode 0600. Raises StateError, ConfigError."""
    if path is None:
        return None
    data = read_file(path, max_bytes=4096, private=True)
    if data is None:
        raise StateError("state.missing", f"there is no passphrase file {path}")
    try:
        text = data.decode().split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError("config.passphrase", f"{path} is not UTF-8 text") from error
    if not text:
        raise ConfigError("config.passphrase", f"the first line of {path} is empty")
    return text


def network_and_card(value: str) -> tuple[str, bytes | None]:
    """A network given as its DID, or as the file of its card; gives the DID and the card."""
    if value.startswith("did:"):
        return value, None
    path = Path(value)
    if path.is_dir():
        raise NetworkError(
            "network.file", f"{value} is a folder", hint=f"did you mean {path / 'card.cbor'}?"
        )
    card, data = load_card(path)
    return card.network, data


def show(pairs: Mapping[str, Any], *, as_json: bool) -> None:
    """Print names and values: aligned for people, or one JSON object."""
    if as_json:
        print(json_text(pairs, indent=2))
        return
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        if isinstance(value, list):
            value = "\n".ljust(width + 3).join(printable(str(item)) for item in value)
        elif isinstance(value, str):
            value = printable(value)
        print(f"{name:<{width}}  {'-' if value is None or value == '' else value}")


def _report(error: DepinError, as_json: bool) -> None:
    if as_json:
        print(json_text({"error": error.to_json()}), file=sys.stderr)
        return
    message = "\n".join(map(printable, error.message.split("\n")))
    print(f"error: {error.code}: {message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)


def _print_anything() -> None:
    """Names may hold what a terminal's encoding has not; in files and pipes text is UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def silence() -> None:
    """Nobody reads standard output any more: the interpreter must not complain at exit."""
    handle = os.open(os.devnull, os.O_WRONLY)
    os.dup2(handle, sys.stdout.fileno())
    os.close(handle)


def run(command: Callable[..., Any], argv: list[str] | None, name: str) -> None:
    """Run a command line: errors go to standard error with exit code 2, never a traceback."""
    arguments = sys.argv[1:] if argv is None else argv
    _print_anything()
    try:
        code = command(args=arguments, prog_name=name, standalone_mode=False)
        # Started with its standard output closed, a process has none at all.
        if sys.stdout is not None:
            sys.stdout.flush()
    except DepinError as error:
        _report(error, "--json" in arguments)
        sys.exit(EXIT_ERROR)
    except _Usage as error:
        _report_usage(error, "--json" in arguments)
        sys.exit(EXIT_ERROR)
    except (typer.Abort, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        silence()
        sys.exit(0)
    except OSError as error:
        _report(
            TransportError("file.failed", f"{error.filename or name}: {error.strerror or error}"),
            "--json" in arguments,
        )
        sys.exit(EXIT_ERROR)
    if isinstance(code, int) and code:
        sys.exit(code)


def _report_usage(error: Any, as_json: bool) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return
    context = getattr(error, "ctx", None)
    hint = "" if context is None else f"{context.command_path} --help"
    _report(ConfigError("usage", error.format_message(), hint=hint), as_json)
