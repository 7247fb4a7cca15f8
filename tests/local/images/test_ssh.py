"""The ssh and sshd of containers: real processes, real sockets."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ketch.local.images import ssh
from ketch.local.images.ssh import Refusal, Request, mounted, options_of, secret_of, server_settings

PROGRAM = Path(ssh.__file__)
PATIENCE = 60


def program(name: str, *words: str) -> list[str]:
    return [sys.executable, "-I", str(PROGRAM), name, *words]


@pytest.fixture
def home(tmp_path: Path) -> Callable[[str], Path]:
    """A home with a key; whose keys are equal may enter each other's pods."""

    def made(key: str) -> Path:
        folder = tmp_path / key
        (folder / ".ssh").mkdir(parents=True, exist_ok=True)
        (folder / ".ssh" / "id_rsa").write_text(key)
        return folder

    return made


@contextmanager
def serving(home: Path, *words: str, **variables: str) -> Iterator[int]:
    """An sshd, on a port that was free."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **variables}
    command = program("sshd", "-De", "-p", str(port), *words)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert f"listening on 0.0.0.0 port {port}" in line, line
        try:
            yield port
        finally:
            server.terminate()
            server.communicate(timeout=PATIENCE)


def ask(home: Path, port: int, *words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = program("ssh", "-p", str(port), *words)
    return subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False, **options)


def test_a_command_runs_there_with_its_streams_and_its_code(home: Callable[[str], Path]):
    with serving(home("one"), WHERE="server") as port:
        done = ask(home("one"), port, "root@127.0.0.1", "echo $WHERE; cat; echo oh >&2; exit 7", input=b"input")
    assert (done.stdout, done.stderr, done.returncode) == (b"server\ninput", b"oh\n", 7)


def test_words_are_joined_as_ssh_does(home: Callable[[str], Path]):
    with serving(home("one")) as port:
        done = ask(home("one"), port, "-x", "-o", "ConnectionAttempts=10", "127.0.0.1", "echo", "a;", "echo", "b")
    assert done.stdout == b"a\nb\n"


def test_much_output_comes_whole(home: Callable[[str], Path]):
    with serving(home("one")) as port:
        done = ask(home("one"), port, "-n", "127.0.0.1", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")
    assert (len(done.stdout), len(done.stderr), done.returncode) == (3000000, 3000000, 0)


def test_a_signal_s_code_is_a_shell_s(home: Callable[[str], Path]):
    with serving(home("one")) as port:
        assert ask(home("one"), port, "-n", "127.0.0.1", "kill -9 $$").returncode == 137


def test_the_pod_itself_needs_nobody_who_listens(home: Callable[[str], Path]):
    name = socket.gethostname().partition(".")[0]
    done = ask(home("one"), 1, f"{name}.job.default.svc", "echo here; exit 3")
    assert (done.stdout, done.returncode) == (b"here\n", 3)


def test_who_has_another_key_stays_outside(home: Callable[[str], Path]):
    with serving(home("one")) as port:
        done = ask(home("two"), port, "127.0.0.1", "true")
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


def test_an_impostor_is_not_told_the_command(home: Callable[[str], Path]):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {"PATH": os.environ["PATH"], "HOME": str(home("one"))}
        port = listener.getsockname()[1]
        command = program("ssh", "-n", "-p", str(port), "127.0.0.1", "secret")
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as client:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(ssh.GREETING + os.urandom(ssh.NONCE))
                ssh.read(connection, ssh.NONCE + ssh.PROOF)
                connection.sendall(os.urandom(ssh.PROOF))
                connection.settimeout(PATIENCE)
                assert connection.recv(1) == b""
            _, said = client.communicate(timeout=PATIENCE)
    assert client.returncode == 255
    assert b"Host key verification failed" in said


def test_nobody_who_listens_is_told_and_asked_again(home: Callable[[str], Path]):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = ask(home("one"), port, "-o", "ConnectionAttempts=2", "127.0.0.1", "true")
    assert done.returncode == 255
    assert f"connect to host 127.0.0.1 port {port}: Connection refused".encode() in done.stderr


def test_a_server_that_comes_late_is_waited_for(home: Callable[[str], Path]):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home("one"))}
    waiting = program("ssh", "-n", "-o", "ConnectionAttempts=60", "-p", str(port), "127.0.0.1", "echo here")
    with subprocess.Popen(waiting, env=environment, stdout=subprocess.PIPE) as client:
        late = program("sshd", "-De", "-p", str(port))
        with subprocess.Popen(late, env=environment, stderr=subprocess.DEVNULL) as server:
            said, _ = client.communicate(timeout=PATIENCE)
            server.terminate()
    assert said == b"here\n"


def test_a_client_that_goes_takes_its_command_along(home: Callable[[str], Path], tmp_path: Path):
    told = tmp_path / "pid"
    with serving(home("one")) as port:
        environment = {"PATH": os.environ["PATH"], "HOME": str(home("one"))}
        command = program("ssh", "-n", "-p", str(port), "127.0.0.1", f"echo $$ > {told}; exec sleep 600")
        with subprocess.Popen(command, env=environment) as client:
            until(lambda: told.exists() and told.read_text().strip())
            client.kill()
        pid = int(told.read_text())
        until(lambda: has_ended(pid))


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or waits for nothing but its parent."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_what_left_its_session_outlives_it(home: Callable[[str], Path], tmp_path: Path):
    """As MPI's daemons do that put themselves into the background."""
    told = tmp_path / "pid"
    with serving(home("one")) as port:
        command = f"setsid sh -c 'echo $$ > {told}; exec sleep 600' > /dev/null 2>&1 < /dev/null &"
        assert ask(home("one"), port, "-n", "127.0.0.1", command).returncode == 0
        until(lambda: told.exists() and told.read_text().strip())
        pid = int(told.read_text())
        assert Path(f"/proc/{pid}").exists()
        os.kill(pid, 9)


def test_without_d_the_server_leaves_the_foreground(home: Callable[[str], Path]):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home("one"))}
    started = subprocess.run(
        program("sshd", "-p", str(port)), env=environment, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False
    )
    assert started.returncode == 0
    done = ask(home("one"), port, "-n", "127.0.0.1", "ps -o ppid= -p $$")
    assert done.returncode == 0
    os.kill(int(done.stdout), 15)


def test_a_pod_without_a_key_says_so(tmp_path: Path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        program("sshd", "-De"), env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert "no key" in done.stderr


def test_the_key_is_found_where_a_secret_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keys = tmp_path / "my keys"
    keys.mkdir()
    (keys / "authorized_keys").write_text("x")
    (keys / "id_rsa").write_text("x")
    place = str(keys).replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 0:21 / /proc rw - proc proc rw\n23 1 0:22 / {place} ro - tmpfs tmpfs ro\n")
    assert mounted("authorized_keys", str(table)) == [keys]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert secret_of(str(keys / "id_rsa"))
    with pytest.raises(Refusal, match="no key"):
        secret_of(str(tmp_path / "other"))


def test_options_are_read_as_ssh_reads_them():
    request = Request(["-xp22", "-o", "ConnectTimeout 5", "-oConnectionAttempts=3", "me@host", "-n", "run", "-x"])
    assert (request.host, request.port, request.command) == ("host", 22, "run -x")
    assert (request.attempts, request.timeout, request.no_input) == (3, 5.0, True)
    assert options_of(["-De", "-f", "file", "rest"], "f") == ([("D", ""), ("e", ""), ("f", "file")], ["rest"])


def test_settings_come_from_files_and_the_first_word_counts(tmp_path: Path):
    file = tmp_path / "sshd_config"
    file.write_text("# mine\nPort 2022\nHostKey /key\n\nStrictModes no\n")
    assert server_settings([("f", str(file))]) == {"port": "2022", "hostkey": "/key", "strictmodes": "no"}
    assert server_settings([("p", "22"), ("f", str(file))])["port"] == "22"
    assert server_settings([("f", "/home/mpiuser/.sshd_config")]) == {}


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
