"""Our commands for shell sessions, each in a process of its own that need not import everything.

A parent has imported the programs once and forks for each command, with the caller's folder,
environment and standard streams. The session of a document has dozens of commands; most of their
time is imports.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.project.tree import ROOT, project

# Without site and the environment's own start-up files this begins in some milliseconds.
_CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as to:
    to.connect(sys.argv[1])
    request = json.dumps([os.getcwd(), dict(os.environ), sys.argv[2:]]).encode()
    socket.send_fds(to, [request[:1]], [0, 1, 2])
    to.sendall(request[1:])
    to.shutdown(socket.SHUT_WR)
    sys.exit(int(to.recv(16) or b"70"))
"""


@contextlib.contextmanager
def warm() -> Iterator[str]:
    """Shell functions named as the console scripts of this source tree."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        path, client = f"{folder}/s", f"{folder}/client.py"
        Path(client).write_text(_CLIENT)
        search = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.warm", path],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": search, "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            yield "".join(
                f'{name}() {{ "{sys.executable}" -I -S "{client}" "{path}" '
                f'"{target.partition(":")[0]}" "$@"; }}\n'
                for name, target in project()["project"]["scripts"].items()
            )
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _serve(path: str) -> None:
    for target in project()["project"]["scripts"].values():
        # Some load a command when it is asked for: asked for the whole line they load all.
        getattr(import_module(target.partition(":")[0]), "cli", None)
    # When whoever started this is gone, however it went, this goes too.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            data, handles, _, _ = socket.recv_fds(connection, 1, 3)
            while more := connection.recv(1 << 16):
                data += more
            child = os.fork()
            if child == 0:
                os._exit(_command(json.loads(data), handles))
            for handle in handles:
                os.close(handle)
            threading.Thread(target=_answer, args=(connection, child), daemon=True).start()


def _end_with_parent() -> None:
    # Not through sys.stdin: a child would be born with its lock held.
    while os.read(0, 1):
        pass
    os._exit(0)


def _command(request: tuple[str, dict[str, str], list[str]], handles: list[int]) -> int:
    folder, environment, (module, *arguments) = request
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code: object = 0
    try:
        import_module(module).main(arguments)
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    return code if isinstance(code, int) else int(code is not None)


def _answer(connection: socket.socket, child: int) -> None:
    _, status = os.waitpid(child, 0)
    with connection:
        connection.sendall(str(os.waitstatus_to_exitcode(status) & 255).encode())


if __name__ == "__main__":
    _serve(sys.argv[1])
