"""What a pickle may name beside the table of `references.py`: classes that nobody reads, or what would run a program.

Nothing is looked up, imported or called either way. The difference is what the user reads: a class of the author's
own project beside the network is passed over by name; what runs programs where the file is opened is refused as such.
"""

from __future__ import annotations

import sys

# Whatever of these is data stands in the table; the rest starts programs, opens files, imports, or could be made to.
_OF_PYTHON_2 = {"__builtin__", "commands", "copy_reg", "popen2", "urllib2"}
_OF_SYSTEMS = {"nt", "posix"}
_OF_COMPRESSOR = {"torch", "numpy", "compressor"}
_PICKLERS = {"dill", "cloudpickle", "joblib"}
_INSTALLERS = {"pip", "setuptools", "pkg_resources", "wheel"}
_EVALUATORS = {"IPython", "numexpr", "cffi"}
_SHELLS = {"sh", "plumbum", "pexpect", "ptyprocess", "fabric", "invoke", "paramiko"}
_CLIENTS = {"requests", "urllib3", "httpx"}
_CLOSED = sys.stdlib_module_names.union(
    _OF_PYTHON_2, _OF_SYSTEMS, _OF_COMPRESSOR, _PICKLERS, _INSTALLERS, _EVALUATORS, _SHELLS, _CLIENTS
)
# Modules that others import, by which a dotted name would reach them: `models.yolo.os.system`.
_RUN_PROGRAMS = ("os", "sys", "nt", "posix", "subprocess", "shutil", "pty", "multiprocessing", "threading")
_IMPORT = ("builtins", "importlib", "runpy", "ctypes", "pickle", "marshal", "torch", "numpy")
_REACH_FILES = ("pathlib", "socket", "urllib", "requests")
_RUNNERS = frozenset((*_RUN_PROGRAMS, *_IMPORT, *_REACH_FILES))
_SCRIPTS = ("__main__", "__mp_main__")  # whose classes the author wrote
_OPEN = ("torch.nn.", "torch.optim.", "torch.amp.", "torch.cuda.amp.", "torch.distributed.", "torch.quantization.")


def would_run(name: str) -> bool:
    """Whether a name that is not in the table reaches for what runs programs, files or imports.

    Args:
        name: module and qualified name with dots, as the file writes it.
    """
    parts = name.split(".")
    if len(name) > 200 or not all(part.isidentifier() and not part.startswith("__") for part in parts[1:]):
        return True
    if name.startswith(_OPEN):
        return not is_class(name) or bool(_RUNNERS & set(parts[1:]))
    if parts[0] not in _SCRIPTS and (not parts[0].isidentifier() or parts[0] in _CLOSED):
        return True
    return bool(_RUNNERS & set(parts[1:]))


def is_class(name: str) -> bool:
    """Whether a name is that of a class, as Python projects write them: it begins with a capital letter."""
    return name.rpartition(".")[2].lstrip("_")[:1].isupper()
