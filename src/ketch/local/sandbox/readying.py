"""What a warm interpreter does before it waits, so that those forked from it have less to do, and less to copy.

A child copies every page of its parent that it touches. So a program is gone through some times first: the interpreter
then knows its ways (caches of lookups and patterns, instructions made for the types they meet), and what it learned is
shared. Nothing else of it may be left. And what is free between the parent's objects is taken away from it: children
that need memory then find it in one piece, and touch nothing else for it.

A part of ``template``, beside which it lies and which alone imports it; nothing of this package is imported here.
"""

import gc
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

TIMES = 12
"""So often a program is gone through: what runs as often as that, an interpreter makes instructions of its own for."""

PLACE = "/tmp/rehearsal"  # noqa: S108  # of a file system that nobody else sees
TEXT, FOLDER = "{text}", "{folder}"
"""Words of a rehearsal that stand for the file with its text, and for a folder in which it may leave something."""

LARGE, SMALLEST, STEP = (65000, 32000, 16000, 8000, 4000), 24, 16
BEYOND = 120000
"""Bytes: no hole between other memory is as large, and the C library does not map that apart yet."""

LARGEST_SMALL, STEP_SMALL = 512, 16
"""Objects up to this size the interpreter puts into pools of its own, one for each multiple of 16 bytes."""

HEAD, POOL = 48, 4096 if sys.version_info < (3, 10) else 16384
"""Bytes before the first object of a pool, and of a pool: it is aligned by its size."""

EMPTY_BYTES = sys.getsizeof(b"")
MOST = 20000
"""Pieces of one size that are taken at most: where memory is kept in other ways, nothing is won."""

KNOWN = ("logging", "threading")
"""Modules that renew their locks after a fork, and look who else was running: of a process of one thread, nobody."""


class Keepsakes:
    """Modules that are imported already although nobody has asked for them yet.

    They are not in ``sys.modules``: a program finds there what it would find in a process of its own. When it imports
    one of them, and would get it from the very same file, it gets this one, with all that its import brings along.
    """

    def __init__(self) -> None:
        self.modules: "dict[str, ModuleType]" = {}
        self._groups: "dict[str, tuple[str, ...]]" = {}
        self._used: "set[tuple[str, ...]]" = set()

    def take(self, name: str) -> None:
        """Import the module and put it away, with everything new that its import brought."""
        before = set(sys.modules)
        self._used = set()
        __import__(name)
        restored = {each for group in self._used for each in group}
        new = tuple(each for each in sys.modules if each not in before and each not in restored)
        together = (*new, *sorted(restored))
        self._groups.update(dict.fromkeys(new, together))
        for each in together:
            self.modules[each] = sys.modules.pop(each)

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: "Any" = None) -> "ModuleSpec | None":
        """What ``sys.meta_path`` is asked: the module that is kept, if the path still leads to its file."""
        kept = self.modules.get(name)
        original = None if kept is None else kept.__spec__
        if kept is None or original is None:
            return None
        from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder

        found = BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name) or PathFinder.find_spec(name, path)
        if found is None or found.origin != original.origin:
            return None
        loader: "Any" = _KeepsakeLoader(self, kept, original)
        return ModuleSpec(name, loader, origin=found.origin)

    def bring_back(self, name: str) -> None:
        """Put the module's companions where its import would have put them."""
        group = self._groups[name]
        self._used.add(group)
        for each in group:
            sys.modules.setdefault(each, self.modules[each])


class _KeepsakeLoader:
    def __init__(self, keepsakes: Keepsakes, module: "ModuleType", spec: "ModuleSpec") -> None:
        self._keepsakes, self._module, self._spec = keepsakes, module, spec

    def create_module(self, spec: "ModuleSpec") -> "ModuleType":
        return self._module

    def exec_module(self, module: "ModuleType") -> None:
        module.__spec__ = self._spec
        self._keepsakes.bring_back(self._spec.name)


class Forks:
    """What modules want done in a child after a fork. They say it when they are imported, hence ``listen`` before."""

    def __init__(self) -> None:
        self._wanted: "list[Callable[[], object]]" = []

    def listen(self) -> None:
        """Take note of what is wanted from now on."""
        register: "Any" = os.register_at_fork

        def noting(**wanted: "Callable[[], object]") -> None:
            register(**wanted)
            if (after := wanted.get("after_in_child")) is not None and after.__module__ not in KNOWN:
                self._wanted.append(after)

        self._register = register
        os.register_at_fork = noting

    def stop(self) -> None:
        """Listen no more."""
        os.register_at_fork = self._register

    def meet(self) -> None:
        """In a child: do what is wanted."""
        for each in self._wanted:
            each()


def rehearse(main: "ModuleType", code: "Any", told: "Mapping[str, Any]") -> None:
    """Run the program ``code``, which is like ``main``, as it is told to be run; everything it changes is put back.

    Raises whatever it raises.
    """
    modules, path, arguments, streams = dict(sys.modules), list(sys.path), sys.argv, (sys.stdout, sys.stderr)
    os.makedirs(PLACE, exist_ok=True)
    try:
        for number in range(TIMES):
            text = "%s/text%d.py" % (PLACE, number)
            with open(text, "w") as file:
                file.write(told["text"])
            sys.argv = ["-m", *(word.replace(TEXT, text).replace(FOLDER, PLACE) for word in told["arguments"])]
            sys.stdout = sys.stderr = io.TextIOWrapper(io.BytesIO())
            exec(code, {**vars(main), "__name__": "__main__"})  # noqa: S102  # the platform chose it
            forget_logging(modules)
    finally:
        sys.argv, (sys.stdout, sys.stderr), sys.path[:] = arguments, streams, path
        forget_logging(modules)
        forget_modules(modules)
        remove(PLACE)
        gc.collect()


def forget_logging(modules: "Mapping[str, Any]") -> None:
    """Have the root of all loggers as it was when it was made."""
    if (logging := modules.get("logging")) is None:
        return
    for handler in logging.root.handlers[:]:
        logging.root.removeHandler(handler)
        handler.close()
    logging.root.setLevel(logging.WARNING)


def forget_modules(known: "Mapping[str, ModuleType]") -> None:
    """Have no module but these."""
    for name in [name for name in sys.modules if name not in known]:
        above, _, last = name.rpartition(".")
        module = sys.modules.pop(name)
        if above in known and getattr(known[above], last, None) is module:
            delattr(known[above], last)
    sys.modules.update(known)


def remove(folder: str) -> None:
    """Remove the folder and all below it."""
    for above, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink("%s/%s" % (above, name))
        for name in folders:
            os.rmdir("%s/%s" % (above, name))
    os.rmdir(folder)


def use_up(ctypes: "Any") -> "Sequence[object]":
    """Take what is free between this process's memory; what is returned must be kept."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.restype, library.free.argtypes = None, (ctypes.c_void_p,)
    beyond = library.malloc(BEYOND)
    for size in (*LARGE, *range(2040, SMALLEST - 1, -STEP)):
        for _ in range(MOST):
            piece = library.malloc(size)
            if not piece or piece > beyond:
                library.free(piece)
                break
    library.free(beyond)
    kept: "list[object]" = []
    for size in range(STEP_SMALL, LARGEST_SMALL + 1, STEP_SMALL):
        for _ in range(MOST):
            thing = small(size)
            if thing is None or id(thing) % POOL == HEAD:  # the first of a pool that was free as a whole
                break
            kept.append(thing)
        thing = None
    return kept


def small(size: int) -> "object | None":
    """A new object of exactly so many bytes, which the collector does not look at; None: there is none that small."""
    if size == sys.getsizeof(object()):
        return object()
    if size == sys.getsizeof(1j):
        return complex(size, size)
    return bytes(size - EMPTY_BYTES) if size > EMPTY_BYTES else None
