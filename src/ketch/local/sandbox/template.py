"""A warm interpreter: imports what it is told to, then becomes a container's process whenever a keeper asks.

Runs as a program under a container's own interpreter (3.9 or newer), inside a view of its own, and imports nothing of
this package. It has the rights to enter containers' namespaces, so all that it imports was chosen by the platform; what
it becomes gives every right up before it runs a line of anybody else's.

A keeper sends one datagram with descriptors (``DESCRIPTORS``). This process forks, in the container's PID namespace, a
child that enters the container's other namespaces, forks again and ends: so the container's init becomes the parent of
the container's process, and who dies here later harms nobody.
"""

import atexit
import gc
import io
import os
import sys
from _weakref import ref

LISTENER, REPORT = 3, 4
"""Descriptors that this program is started with: where keepers write, and where it tells that it is ready."""

DESCRIPTORS = 7
"""Of a datagram: the init's pidfd, the request, stdout, stderr, "the file system stands", the keeper, the init."""

WITH_NETWORK, WITHOUT_NETWORK = b"n", b"h"
READY, COLD, END = b"r", b"c", b"e"
REPORT_SUFFIX = ".json"
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 1 << 30
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, LAST_CAPABILITY, CAPABILITY_VERSION_3 = 24, 38, 40, 0x20080522
CLOSE_RANGE = 436
INTERRUPTED = 130
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
OWN_MODULES = ("array", "ctypes", "signal", "socket", "time")


class Keepsakes:
    """Modules that are imported already although nobody has asked for them yet.

    They are not in ``sys.modules``: a program finds there what it would find in a process of its own. When it imports
    one of them, and would get it from the very same file, it gets this one, with all that its import brings along.
    """

    def __init__(self):
        self._modules = {}
        self._groups = {}
        self._used = None

    def take(self, name):
        """Import the module and put it away, with everything new that its import brought."""
        before = set(sys.modules)
        self._used = set()
        try:
            __import__(name)
        finally:
            used, self._used = self._used, None
            restored = {each for group in used for each in group}
            new = tuple(each for each in sys.modules if each not in before and each not in restored)
            together = (*new, *sorted(restored))
            for each in new:
                self._groups[each] = together
            for each in together:
                self._modules[each] = sys.modules.pop(each)

    def find_spec(self, name, path=None, target=None):
        """What ``sys.meta_path`` is asked: the module that is kept, if the path still leads to its file."""
        kept = self._modules.get(name)
        if kept is None:
            return None
        from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder

        original = kept.__spec__
        for finder in (BuiltinImporter, FrozenImporter, PathFinder):
            found = finder.find_spec(name, path)
            if found is not None:
                break
        if found is None or original is None or found.origin != original.origin:
            return None
        return ModuleSpec(name, _KeepsakeLoader(self, kept, original), origin=found.origin)

    def bring_back(self, name):
        """Put the module's companions where its import would have put them."""
        group = self._groups[name]
        if self._used is not None:
            self._used.add(group)
        for each in group:
            sys.modules.setdefault(each, self._modules[each])


class _KeepsakeLoader:
    def __init__(self, keepsakes, module, spec):
        self._keepsakes, self._module, self._spec = keepsakes, module, spec

    def create_module(self, spec):
        return self._module

    def exec_module(self, module):
        module.__spec__ = self._spec
        self._keepsakes.bring_back(self._spec.name)


class Template:
    """The interpreter while it waits."""

    def __init__(self, imports, extras, environment):
        os.environ.clear()
        os.environ.update(environment)
        del sys.path[0]  # where this program is
        import runpy

        self.runpy = runpy
        for name in imports:
            __import__(name)
        self.keepsakes = Keepsakes()
        sys.meta_path.insert(0, self.keepsakes)
        for name in (*OWN_MODULES, *extras):
            self.keepsakes.take(name)
        kept = self.keepsakes._modules
        self.array, self.ctypes, self.signal = kept["array"], kept["ctypes"], kept["signal"]
        self.socket, self.time = kept["socket"], sys.modules.get("time") or kept["time"]
        self.libc = self.ctypes.CDLL(None, use_errno=True)
        unsigned = self.ctypes.c_uint32
        self.nobody = (unsigned * 2)(CAPABILITY_VERSION_3, 0), (unsigned * 6)()
        self.before = frozenset((*kept, *sys.modules))
        self.names = frozenset(name.partition(".")[0] for name in sys.modules)

    def settle(self):
        """Give up what no child may have, and what forks would copy for nothing."""
        for capability in range(LAST_CAPABILITY + 1):
            self.libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        self.checked(self.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        self.signal.signal(self.signal.SIGCHLD, self.signal.SIG_IGN)
        if forked() == 0:  # some libraries end their threads before a fork, and begin them anew when they need them
            os._exit(0)
        if len(os.listdir("/proc/self/task")) > 1:
            raise SystemExit("a module that was imported ahead has started threads")
        gc.collect()
        gc.disable()
        gc.freeze()

    def checked(self, result):
        """Raise what the C library says went wrong."""
        if result == -1:
            number = self.ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def files(self):
        """Every module in memory that came from a file: its name and the file."""
        modules = {**self.keepsakes._modules, **sys.modules}
        found = {name: getattr(module, "__file__", None) for name, module in modules.items() if name != "__main__"}
        return {name: path for name, path in found.items() if path}

    def wait(self, idle):
        """Serve until nobody has asked for ``idle`` seconds; returns in the container's process alone, with its place."""
        listener = self.socket.socket(fileno=LISTENER)
        seconds = self.array.array("l", (idle, 0))
        listener.setsockopt(self.socket.SOL_SOCKET, self.socket.SO_RCVTIMEO, seconds)
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
            if self.libc.setns(numbers[0], CLONE_NEWPID) != -1:  # else the container ended before it began
                if forked() == 0:
                    listener.detach()
                    return self.enter(word == WITH_NETWORK, numbers)
            for number in numbers:
                os.close(number)

    def enter(self, with_network, numbers):
        """Go where the container is, and come out as its process."""
        init, request, stdout, stderr, stands, keeper, born = numbers
        kinds = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (CLONE_NEWNET if with_network else 0)
        if os.read(stands, 1) != READY or self.libc.setns(init, kinds) == -1 or forked() != 0:
            os._exit(0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        return request, keeper, born

    def prepare(self, request):
        """Make this process what ``python -m`` makes of one. Raises OSError where it cannot be like it."""
        os.setsid()
        self.signal.signal(self.signal.SIGCHLD, self.signal.SIG_DFL)
        self.checked(self.libc.capset(*self.nobody))
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.path_importer_cache.clear()
        folder = os.getcwd()
        self.look_for_others(folder)
        sys.path.insert(0, folder)
        arguments = list(request["arguments"])
        if request["text"] is not None:
            arguments[request["text_at"]] = written(request["text_name"], request["text"])
        sys.argv = ["-m", *arguments]
        sys.executable = os.path.join(os.path.dirname(sys.executable), request["program"])
        if sys.version_info >= (3, 10):
            sys.orig_argv = [request["program"], "-m", request["module"], *arguments]
        self.refresh_modules(request["env"])

    def wait_for_init(self, born):
        """Until the container's init is the parent of this process; then tell it who is its child."""
        while os.getppid() != 1:
            self.time.sleep(0.00002)
        os.write(born, os.getpid().to_bytes(4, "big"))

    def look_for_others(self, folder):
        """Raise FileExistsError when a module of this name would be found in the working directory first."""
        names = {
            entry.partition(".")[0]
            for entry in os.listdir(folder)
            if "." in entry or os.path.exists("%s/%s/__init__.py" % (folder, entry))
        }
        if names & self.names:
            raise FileExistsError(folder)

    def refresh_modules(self, environment):
        """What modules remember of the time and the chance in which they were imported."""
        modules = {**self.keepsakes._modules, **sys.modules}
        if "logging" in modules:
            logging = modules["logging"]
            now = self.time.time_ns() if sys.version_info >= (3, 13) else self.time.time()
            logging._startTime = now
        if "tempfile" in modules:
            modules["tempfile"].tempdir = None
        if "numpy.random" in modules:
            modules["numpy.random"].seed()
        if "TZ" in environment:
            self.time.tzset()
        if environment.get("PYTHONDONTWRITEBYTECODE"):
            sys.dont_write_bytecode = True
        if environment.get("PYTHONUNBUFFERED"):
            sys.stdout = sys.__stdout__ = unbuffered(1, sys.stdout)
            sys.stderr = sys.__stderr__ = unbuffered(2, sys.stderr)


def forked():
    """fork(2), and None where there is no room for another process."""
    try:
        return os.fork()
    except OSError:
        return None


def unbuffered(number, stream):
    """The stream as an interpreter makes it that is told not to buffer."""
    raw = open(number, "wb", buffering=0, closefd=False)
    lines = number == 2
    made = io.TextIOWrapper(raw, stream.encoding, stream.errors, "\n", line_buffering=lines, write_through=True)
    made.mode = "w"
    return made


def written(name, text):
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


def begin(template, place):
    """In the container's process: everything up to its first line. Returns the module to run."""
    import json

    descriptor, keeper, born = place
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            request = json.loads(file.read().decode("utf-8", "surrogateescape"))
        template.prepare(request)
        template.wait_for_init(born)
        word = READY
    except OSError as error:
        word = COLD + str(error).encode("utf-8", "replace")
    os.write(keeper, word)
    if os.read(keeper, 1) != READY:
        os._exit(0)
    template.libc.syscall(CLOSE_RANGE, 3, 0x7FFFFFFF, 0)
    gc.enable()
    return request["module"]


def run(template, module):
    """What ``python -m`` does after it has started, with its traces free of this program's, and its end."""
    sys.modules["__main__"] = type(sys)("__main__")
    sys.modules["__main__"].__builtins__ = __builtins__
    try:
        template.runpy._run_module_as_main(module)
        code = 0
    except SystemExit as asked:
        if asked.code is not None and not isinstance(asked.code, int):
            raise  # a message: the interpreter knows how to say it
        code = int(asked.code or 0)
    except BaseException as error:
        trace = error.__traceback__.tb_next
        error.__traceback__ = trace
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
        if sys.version_info >= (3, 12):
            sys.last_exc = error
        sys.excepthook(type(error), error, trace)
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    end(template, code)


def end(template, code):
    """End as an interpreter ends, but leave alone what was here before: to take it apart would copy all of it.

    Threads and exit handlers have their turn, then every module that was imported since is taken apart in the order in
    which an interpreter does that, so that all that it held is closed. Where somebody else still runs, or could not
    say all, the interpreter itself takes over.
    """
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
        if threading.active_count() > 1:
            raise SystemExit(code)  # 130 for who was interrupted, where a shell would say the same
    atexit._run_exitfuncs()
    try:
        flush_standard()
        take_apart(template.before)
        flush_standard()
    except BaseException:
        raise SystemExit(code) from None
    if code == INTERRUPTED:
        template.signal.signal(template.signal.SIGINT, template.signal.SIG_DFL)
        os.kill(os.getpid(), template.signal.SIGINT)
    template.libc.exit(code & 0xFF)


def flush_standard():
    """Write what was printed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def take_apart(before):
    """Take apart the modules that are not in ``before``."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    modules = []
    for name in reversed(tuple(sys.modules)):
        if name not in before and name != "__main__":
            modules.append(ref(sys.modules.pop(name)))
    modules.append(ref(sys.modules.pop("__main__")))
    gc.collect()
    for reference in modules:
        module = reference()
        if module is not None:
            clear_names(module.__dict__)
        del module
    gc.collect()
    for kind in ("TextIOWrapper", "BufferedWriter", "BufferedRandom"):
        for each in gc.get_objects():
            if type(each).__name__ == kind and not each.closed:
                each.flush()


def clear_names(names):
    """Let go of a module's names, those first that begin with one underscore."""
    for name in tuple(names):
        if name[:1] == "_" and name[1:2] != "_":
            names[name] = None
    for name in tuple(names):
        if name != "__builtins__":
            names[name] = None


def main():
    """Get ready, tell so, and wait to become somebody."""
    import json

    told = json.loads(sys.argv[1])
    template = Template(told["imports"], told["extras"], told["env"])
    template.settle()
    os.write(REPORT, json.dumps({"files": template.files()}).encode())
    os.close(REPORT)
    return template, begin(template, template.wait(told["idle"]))


if __name__ == "__main__":
    run(*main())
