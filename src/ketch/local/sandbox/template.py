"""A warm interpreter: imports what it is told to, then becomes a container's process whenever a keeper asks.

Runs as a program under a container's own interpreter (3.9 or newer), inside a view of its own, and imports nothing of
this package. It has the rights to enter containers' namespaces, so all that it imports was chosen by the platform; what
it becomes gives every right up before it runs a line of anybody else's.

A keeper sends one datagram with descriptors (``DESCRIPTORS``). This process forks, in the container's PID namespace, a
child that forks again and ends: so the container's init becomes the parent of the container's process, which enters the
container's other namespaces when its file system stands; and who dies here later harms nobody.
"""

import atexit
import gc
import io
import json
import marshal
import os
import sys
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

LISTENER, REPORT = 3, 4
"""Descriptors that this program is started with: where keepers write, and where it tells that it is ready."""

REPORT_SUFFIX = ".json"
DESCRIPTORS = 7
"""Of a datagram: the init's pidfd, the request, stdout, stderr, "the file system stands", the keeper, the init."""

WITH_NETWORK, WITHOUT_NETWORK, END = b"n", b"h", b"e"
"""What a datagram says: a container in a network of its own, one in this process's, and that this process may end."""

READY, COLD = b"r", b"c"
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 1 << 30
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, LAST_CAPABILITY, CAPABILITY_VERSION_3 = 24, 38, 40, 0x20080522
PR_SET_MM, PR_SET_MM_MAP, NO_PROGRAM = 35, 14, 0xFFFFFFFF << 32
PLACES = (26, 27, 45, 46, 47)
"""Where /proc/self/stat says that code, data and heap begin and end; the stack is at 28."""

CLONE3, CLOSE_RANGE, ALL_NUMBERS = 435, 436, 0x7FFFFFFF
LIKE_FORK = 8
"""Of the words that say how to clone: none but the fifth, the signal of its end, is set."""

UNKNOWN = (3, 15)
"""From this version on nobody knows what an interpreter does after a fork of its own."""

INTERRUPTED = 130
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
OWN_MODULES = ("array", "ctypes", "signal", "socket", "time")
WRITERS = ("TextIOWrapper", "BufferedWriter", "BufferedRandom")
PAUSE = 0.00002


class Place:
    """A container's init, and what its process needs to get there: descriptors."""

    def __init__(self, numbers: "Sequence[int]", *, with_network: bool) -> None:
        self.init, self.request, self.stdout, self.stderr, self.stands, self.keeper, self.born = numbers
        self.with_network = with_network


class Template:
    """The interpreter while it waits."""

    def __init__(self, imports: "Sequence[str]", extras: "Sequence[str]", environment: "Mapping[str, str]") -> None:
        os.environ.clear()
        os.environ.update(environment)
        self.readying: "Any" = __import__("readying")
        del sys.path[0], sys.modules["readying"]  # where this program is, and what lies beside it
        self.forks = self.readying.Forks()
        self.forks.listen()
        import runpy

        self.runpy: "Any" = runpy
        self.main: "tuple[str, Any]" = ("", None)
        for name in imports:
            __import__(name)
        self.keepsakes = self.readying.Keepsakes()
        sys.meta_path.insert(0, self.keepsakes)  # asked for find_spec alone
        for name in (*OWN_MODULES, *extras):
            if name not in sys.modules:
                self.keepsakes.take(name)
        modules: "dict[str, Any]" = {**self.keepsakes.modules, **sys.modules}
        self.array, self.ctypes, _, self.socket, self.time = (modules[name] for name in OWN_MODULES)
        self.signal: "Any" = sys.modules["_signal"]  # what it is made of: its own functions go through enumerations
        self.libc: "Any" = self.ctypes.CDLL(None, use_errno=True)
        self.held: "Any" = self.ctypes.PyDLL(None, use_errno=True)
        self.like_fork: "Any" = (self.ctypes.c_uint64 * LIKE_FORK)(0, 0, 0, 0, self.signal.SIGCHLD)
        self.like_fork_size: "Any" = self.ctypes.c_long(8 * LIKE_FORK)
        unsigned = self.ctypes.c_uint32
        self.nobody = (unsigned * 2)(CAPABILITY_VERSION_3, 0), (unsigned * 6)()
        self.before = frozenset(modules)
        self.names = frozenset(name.partition(".")[0] for name in sys.modules)
        self.forks.stop()

    def rehearse(self, told: "Mapping[str, Any]") -> None:
        """Know the ways of the module that most will run, and of what becomes of this process before."""
        module = told["module"]
        details = self.runpy._get_module_details(module)
        main = type(sys)("__main__")
        main.__spec__, main.__loader__, main.__package__ = details[1], details[1].loader, details[1].parent
        self.readying.rehearse(main, details[2], told)
        self.main = (module, details)
        for _ in range(self.readying.TIMES):
            path = written("rehearsal", "")
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
            self.look_for_others("/tmp")
            self.refresh_modules({})
            self.tell_kernel([sys.executable, *sys.argv], dict(os.environ))

    def settle(self) -> None:
        """Give up what no child may have, and what forks would copy for nothing."""
        for capability in range(LAST_CAPABILITY + 1):
            self.libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        self.checked(self.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        self.signal.signal(self.signal.SIGCHLD, self.signal.SIG_IGN)
        if forked() == 0:  # some libraries end their threads before a fork, and begin them anew when they need them
            os._exit(0)
        if len(os.listdir("/proc/self/task")) > 1:
            raise SystemExit("a module that was imported ahead has started threads")
        # What stood in folders then, and what was said to this process: to free it later would copy all of it.
        sys.path_importer_cache.clear()
        os.environ.clear()
        gc.collect()
        self.used_up = self.readying.use_up(self.ctypes)
        gc.disable()
        gc.freeze()

    def checked(self, result: int) -> None:
        """Raise what the C library says went wrong."""
        if result == -1:
            number = self.ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def files(self) -> "dict[str, str]":
        """Every module in memory that came from a file: its name and the file."""
        modules = {**self.keepsakes.modules, **sys.modules}
        found = {name: getattr(module, "__file__", None) for name, module in modules.items() if name != "__main__"}
        return {name: path for name, path in found.items() if path}

    def wait(self, idle: int) -> "Place":
        """Serve until nobody has asked for ``idle`` seconds; returns in the container's process alone."""
        listener = self.socket.socket(fileno=LISTENER)
        listener.setsockopt(self.socket.SOL_SOCKET, self.socket.SO_RCVTIMEO, self.array.array("l", (idle, 0)))
        space = self.socket.CMSG_SPACE(DESCRIPTORS * 4)
        while True:
            try:
                word, control, _, _ = listener.recvmsg(1, space, self.socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                os._exit(0)
            numbers = self.array.array("i")
            for _, _, data in control:
                numbers.frombytes(data[: len(data) - len(data) % 4])
            if word not in (WITH_NETWORK, WITHOUT_NETWORK) or len(numbers) != DESCRIPTORS:
                os._exit(0)
            # The way back is not needed: this process forks for nobody else, and its own namespace stays what it is.
            if self.libc.setns(numbers[0], CLONE_NEWPID) != -1 and self.cloned() == 0:
                if self.forked() != 0:
                    os._exit(0)
                listener.detach()
                return Place(numbers, with_network=word == WITH_NETWORK)
            for number in numbers:
                os.close(number)

    def cloned(self) -> int:
        """fork(2) for a process that will do nothing but fork: without what an interpreter does after one.

        All that would do is to copy pages.
        """
        return self.held.syscall(CLONE3, self.like_fork, self.like_fork_size)

    def forked(self) -> "int | None":
        """fork(2), with of all that an interpreter does about it what is needed where no other thread can be.

        The rest would be to renew locks that nobody holds, and to copy the pages on which they are.
        """
        if sys.version_info >= UNKNOWN:
            return forked()
        pid = self.held.fork()
        if pid == 0:
            self.forks.meet()
        return pid

    def enter(self, place: "Place") -> None:
        """Go where the container is, once its file system stands."""
        kinds = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (CLONE_NEWNET if place.with_network else 0)
        if os.read(place.stands, 1) != READY or self.libc.setns(place.init, kinds) == -1:
            os._exit(0)
        os.dup2(place.stdout, 1)
        os.dup2(place.stderr, 2)

    def prepare(self, request: "Any") -> None:
        """Make this process what ``python -m`` makes of one. Raises OSError where it cannot be like it."""
        os.setsid()
        self.signal.signal(self.signal.SIGCHLD, self.signal.SIG_DFL)
        self.checked(self.libc.capset(*self.nobody))
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        folder = os.getcwd()
        self.look_for_others(folder)
        sys.path.insert(0, folder)
        arguments = list(request["arguments"])
        if request["text"] is not None:
            arguments[request["text_at"]] = written(request["text_name"], request["text"])
        sys.argv = ["-m", *arguments]
        sys.executable = "%s/%s" % (sys.executable.rpartition("/")[0], request["program"])
        words = [request["program"], "-m", request["module"], *arguments]
        if sys.version_info >= (3, 10):
            sys.orig_argv = words
        self.refresh_modules(request["env"])
        self.tell_kernel(words, request["env"])

    def look_for_others(self, folder: str) -> None:
        """Raise FileExistsError when a module of this name would be found in the working directory first."""
        names = {
            entry.partition(".")[0]
            for entry in os.listdir(folder)
            if "." in entry or os.path.exists("%s/%s/__init__.py" % (folder, entry))
        }
        if names & self.names:
            raise FileExistsError(folder)

    def known(self, name: str) -> "Any":
        """The module, if it is in memory."""
        found: "Any" = sys.modules.get(name)
        return self.keepsakes.modules.get(name) if found is None else found

    def refresh_modules(self, environment: "Mapping[str, str]") -> None:
        """What modules remember of the time and the chance in which they were imported."""
        # One by one: whoever counts a reference to a module copies its page.
        known = self.known
        if (logging := known("logging")) is not None:
            newer = sys.version_info >= (3, 13)
            logging._startTime = self.time.time_ns() if newer else self.time.time()
        if (tempfile := known("tempfile")) is not None:
            tempfile.tempdir = None
        if (random := known("numpy.random")) is not None:
            random.seed()
        if (platform := known("platform")) is not None:
            platform._uname_cache = None
            platform._platform_cache.clear()
        if (processes := known("multiprocessing.process")) is not None:
            processes.current_process().authkey = os.urandom(32)
        if (threading := known("threading")) is not None:
            threading.current_thread()._set_native_id()
        if "TZ" in environment:
            self.time.tzset()
        if environment.get("PYTHONDONTWRITEBYTECODE"):
            sys.dont_write_bytecode = True
        if environment.get("PYTHONUNBUFFERED"):
            sys.stdout = sys.__stdout__ = unbuffered(1, sys.stdout)
            sys.stderr = sys.__stderr__ = unbuffered(2, sys.stderr)

    def tell_kernel(self, words: "Sequence[str]", environment: "Mapping[str, str]") -> None:
        """Have /proc say whose process this is; where the kernel cannot, it goes on to show the template's words."""
        command = b"".join(os.fsencode(word) + b"\0" for word in words)
        variables = b"".join(os.fsencode("%s=%s" % each) + b"\0" for each in environment.items())
        self.told = self.ctypes.create_string_buffer(command + variables)
        start = self.ctypes.addressof(self.told)
        middle = start + len(command)
        with open("/proc/self/stat", "rb") as file:
            fields = [b"", b"", b"", *file.read().rpartition(b")")[2].split()]
        self.libc.sbrk.restype = self.ctypes.c_void_p
        numbers = [*(int(fields[place]) for place in PLACES), self.libc.sbrk(0), int(fields[28])]
        numbers += [start, middle, middle, middle + len(variables), 0, NO_PROGRAM]
        places = (self.ctypes.c_uint64 * len(numbers))(*numbers)
        size = self.ctypes.c_ulong(self.ctypes.sizeof(places))
        self.libc.prctl(PR_SET_MM, PR_SET_MM_MAP, self.ctypes.byref(places), size, 0)

    def wait_for_init(self, born: int) -> None:
        """Until the container's init is the parent of this process; then tell it who is its child."""
        while os.getppid() != 1:
            self.time.sleep(PAUSE)
        os.write(born, os.getpid().to_bytes(4, "big"))


def forked() -> "int | None":
    """fork(2), and None where there is no room for another process."""
    try:
        return os.fork()
    except OSError:
        return None


def unbuffered(number: int, stream: "Any") -> "Any":
    """The stream as an interpreter makes it that is told not to buffer."""
    raw = open(number, "wb", buffering=0, closefd=False)
    lines = number == 2
    made: "Any" = io.TextIOWrapper(
        raw,  # pyright: ignore[reportArgumentType]  # so does the interpreter
        stream.encoding,
        stream.errors,
        "\n",
        line_buffering=lines,
        write_through=True,
    )
    made.mode = "w"
    return made


def written(name: str, text: str) -> str:
    """The path of a new file with that text, in a new directory such as mktemp(1) makes."""
    while True:
        folder = "/tmp/tmp." + "".join(LETTERS[byte % len(LETTERS)] for byte in os.urandom(10))
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue
        path = "%s/%s" % (folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        return path


def begin(template: Template, place: Place) -> str:
    """In the container's process: everything up to its first line. Returns the module to run."""
    keeper = place.keeper
    # Read while the file system is made.
    text = os.pread(place.request, os.lseek(place.request, 0, os.SEEK_END), 0)
    request = marshal.loads(text)  # noqa: S302  # the container's init wrote it
    os.close(place.request)
    module = request["module"]
    template.enter(place)
    try:
        template.prepare(request)
        template.wait_for_init(place.born)
        word = READY
    except OSError as error:
        word = COLD + str(error).encode("utf-8", "replace")
    os.write(keeper, word)
    if os.read(keeper, 1) != READY:
        os._exit(0)
    template.libc.syscall(CLOSE_RANGE, 3, ALL_NUMBERS, 0)
    gc.enable()
    return module


def run(template: Template, module: str) -> "NoReturn":
    """What ``python -m`` does after it has started, with its traces free of this program's, and its end."""
    main_module: "Any" = type(sys)("__main__")
    main_module.__builtins__ = __builtins__
    sys.modules["__main__"] = main_module
    del main_module
    code = 0
    if module == template.main[0]:
        find_once(template.runpy, template.main[1])
    try:
        template.runpy._run_module_as_main(module)
    except SystemExit as asked:
        if asked.code is not None and not isinstance(asked.code, int):
            raise  # a message: the interpreter knows how to say it
        code = asked.code or 0
    except BaseException as error:
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
        show(error)
    end(template, code)


def find_once(runpy: "Any", details: "Any") -> None:
    """Have the next module that is looked for be the one that was found before."""
    find = runpy._get_module_details

    def found(_name: str, _error: "Any" = None) -> "Any":
        runpy._get_module_details = find
        return details

    runpy._get_module_details = found


def show(error: BaseException) -> None:
    """Say what nobody caught, as the interpreter says it."""
    trace = error.__traceback__
    trace = error.__traceback__ = None if trace is None else trace.tb_next
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    sys.excepthook(type(error), error, trace)


def end(template: Template, code: int) -> "NoReturn":
    """End as an interpreter ends, but leave alone what was here before: to take it apart would copy all of it.

    Threads and exit handlers have their turn, then every module that was imported since is taken apart in the order in
    which an interpreter does that, so that all that it held is closed. Where somebody else still runs, or could not
    say all, the interpreter itself takes over.
    """
    threading: "Any" = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
        if threading.active_count() > 1:
            raise SystemExit(code)
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # what the interpreter itself calls
    try:
        flush_standard()
        added = take_apart(template.before)
        flush_standard()
    except BaseException:
        raise SystemExit(code) from None
    if code == INTERRUPTED:
        template.signal.signal(template.signal.SIGINT, template.signal.SIG_DFL)
        os.kill(os.getpid(), template.signal.SIGINT)
    if added:
        template.libc.exit(code & 0xFF)
    template.libc.fflush(None)
    os._exit(code & 0xFF)


def flush_standard() -> None:
    """Write what was printed."""
    streams: "tuple[Any, ...]" = (sys.stdout, sys.stderr)
    for stream in streams:
        if stream is not None and not stream.closed:
            stream.flush()


def take_apart(before: "frozenset[str]") -> bool:
    """Take apart the modules that are not in ``before``; whether they brought libraries that end in their own way."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__  # pyright: ignore[reportAttributeAccessIssue]  # None where the program closed them
    names = [name for name in reversed(tuple(sys.modules)) if name not in before]
    files = [getattr(sys.modules[name], "__file__", None) for name in names]
    added = "ctypes" in sys.modules or any(file is not None and file.endswith(".so") for file in files)
    modules = [ref(sys.modules.pop(name)) for name in (*names, "__main__")]
    gc.collect()
    for reference in modules:
        module = reference()
        if module is not None:
            clear_names(module.__dict__)
        del module
    gc.collect()
    for kind in WRITERS:
        for each in gc.get_objects():
            if type(each).__name__ == kind and isinstance(each, io.IOBase) and not each.closed:
                each.flush()
    return added


def clear_names(names: "dict[str, Any]") -> None:
    """Let go of a module's names, those first that begin with one underscore."""
    for name in tuple(names):
        if name[:1] == "_" and name[1:2] != "_":
            names[name] = None
    for name in tuple(names):
        if name != "__builtins__":
            names[name] = None


def main() -> "tuple[Template, str]":
    """Get ready, tell so, and wait to become somebody."""
    told = json.loads(sys.argv[1])
    template = Template(told["imports"], told["extras"], told["env"])
    if told["rehearsal"] is not None:
        template.rehearse(told["rehearsal"])
    template.settle()
    os.write(REPORT, json.dumps({"files": template.files()}).encode())
    os.close(REPORT)
    return template, begin(template, template.wait(told["idle"]))


if __name__ == "__main__":
    run(*main())
