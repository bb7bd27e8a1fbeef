"""The code of a function that a program passes: what it does, and the functions, classes and values that it uses.

Whatever differs between two processes that run the same program (addresses, the order of sets, a notebook's cell numbers) is
left out. Values that the function itself changes are no code, and of an object whose content is not plain only the type counts.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import itertools
import linecache
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

from sweep.study.code.arrays import array_text, tensor_text, type_name
from sweep.study.code.bytecode import text_of, uses_of
from sweep.study.code.digest import digest_of
from sweep.study.code.modules import Modules
from sweep.study.code.syntax import parsed, syntax_of

# Types, by module, whose `repr` is their whole content.
_PLAIN_MODULES = frozenset({"pathlib", "pathlib._local", "decimal", "fractions", "datetime", "uuid", "zoneinfo"})
_PLAIN_TYPES = frozenset(
    [
        "re.Pattern",
        "torch.dtype",
        "torch.device",
        "torch.layout",
        "torch.memory_format",
        "operator.itemgetter",
        "operator.attrgetter",
    ]
)
# Modules with types whose attributes are their whole content; those of the user's own and layers are looked into, too.
_OPEN_MODULES = frozenset({"types", "argparse", "collections", "string"})
_OF_LAYERS = ("_modules", "_parameters")
_NOT_MEMBERS = frozenset(
    [
        "__annotate_func__",
        "__annotate__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__qualname__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    ]
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_LONGEST, _DEEPEST, _MOST = 2_000, 50, 50_000  # of a longer container a sample, of what is deeper or beyond these only the type


class FunctionCode:
    """Collect the parts of a function.

    Args:
        modules: gets the modules that it uses.

    Attributes:
        parts: as of `sweep.study.code.digest.Code`.
        function: the digest of the function alone; None if there is no source.
    """

    def __init__(self, function: Callable[..., Any], modules: Modules) -> None:
        self._modules = modules
        self.parts: dict[str, str] = {}
        self._depth = self._count = 0
        self._known: dict[int, tuple[str, object]] = {}  # by id; the object is kept, so that the id stays its own
        self._put("the objective", self._text(function))
        node = _node(function) if isinstance(function, FunctionType) else None
        self.function = syntax_of(node).digest if node is not None else None

    def _put(self, name: str, text: str) -> None:
        """Add a part; of several with one name, such as lambdas, all count."""
        digest = digest_of(text)
        if self.parts.setdefault(name, digest) != digest:
            self.parts[name] = digest_of(f"{self.parts[name]} {digest}")

    def _text(self, value: Any) -> str:
        """Return what counts of a value, as a text."""
        if value is None or value is Ellipsis or isinstance(value, bool | float | complex | str | bytes) or type(value) is int:
            plain = type(value) in (bool, float, complex, str, bytes, int, type(None), type(Ellipsis))
            if isinstance(value, str | bytes) and len(value) > 1000:
                return f"{type_name(value)} {digest_of(value)}"
            return hex(value) if type(value) is int else ascii(value) if plain else f"{type_name(value)} {value!a}"
        if id(value) in self._known:
            return self._known[id(value)][0]
        self._known[id(value)] = f"the {type_name(value)} above", value  # it may contain itself
        self._count += 1
        if self._depth > _DEEPEST or self._count > _MOST:
            return type_name(value)
        self._depth += 1
        text = self._of_object(value)
        self._depth -= 1
        self._known[id(value)] = text, value
        return text

    def _of_object(self, value: Any) -> str:
        match value:
            case FunctionType() | type():
                return self._defined(value)
            case MethodType():
                return f"method {self._text(value.__func__)} of {self._text(value.__self__)}"
            case BuiltinFunctionType():
                return f"built-in {value.__module__}.{value.__qualname__}"
            case ModuleType():
                self._modules.add_module(value.__name__)
                return f"module {value.__name__}"
            case functools.partial():
                return f"partial {self._text(value.func)} {self._text(value.args)} {self._text(value.keywords)}"
            case enum.Enum():
                return f"{self._text(type(value))} {value.name}"
        return self._of_container(value)

    def _of_container(self, value: Any) -> str:
        match value:
            case tuple() | list() | deque():
                step = 1 + len(value) // _LONGEST
                return f"{type_name(value)} {len(value)} [{', '.join(map(self._text, [*value][::step]))}]"
            case set() | frozenset():
                kept = () if len(value) > _LONGEST else value  # in which order a set is differs from process to process
                return f"{type_name(value)} {len(value)} {{{', '.join(sorted(map(self._text, kept)))}}}"
            case dict() | MappingProxyType():
                items = itertools.islice(value.items(), 0, None, 1 + len(value) // _LONGEST)
                return f"{type_name(value)} {len(value)} {{{self._items(items)}}}"
            case range() | slice() | bytearray():
                return repr(value)
        return self._of_instance(value)

    def _of_instance(self, value: Any) -> str:
        kind = type(value)
        if kind.__module__ in _PLAIN_MODULES or type_name(value) in _PLAIN_TYPES:
            return f"{type_name(value)} {value!r}"
        if kind.__module__ == "numpy":
            return array_text(value)
        if (tensor := tensor_text(value)) is not None:
            return tensor
        whole = dataclasses.is_dataclass(value) or kind.__module__ in _OPEN_MODULES or not _by_reference(kind)
        if whole or _is_layer(value) or self._modules.file_of(kind.__module__) is not None:
            return f"{self._text(kind)} {{{self._items(_attributes(value).items())}}}"
        return f"{self._text(kind)} {self._text(getattr(value, '__wrapped__', None))}"  # such as of `functools.cache`

    def _items(self, items: Iterable[tuple[Any, Any]]) -> str:
        return ", ".join(sorted(f"{self._text(key)}: {self._text(item)}" for key, item in items))

    def _defined(self, value: Any) -> str:
        """Return the name of a function or class; one that no other process can import becomes a part."""
        name = str(value.__qualname__).replace("<locals>.", "")
        if _by_reference(value):
            self._modules.add_module(value.__module__)
            return f"{value.__module__}.{name}"
        if isinstance(value, type):
            self._put(f"class {name}", self._class_text(value))
        else:
            self._put(f"function {name}", self._function_text(value, name))
        return f"by value {name}"

    def _function_text(self, function: FunctionType, name: str) -> str:
        node, uses = _node(function), uses_of(function.__code__)
        changed = set(uses.changed)
        if node is None:
            text = text_of(function.__code__)
            for module in uses.imports:
                self._modules.add_module(module)
        else:
            syntax = syntax_of(node)
            text = syntax.digest
            self._modules.add_imports(syntax.imports)
            self._modules.add_named(syntax.named)
            changed |= {root for one in ast.walk(node) if (root := _changed_root(one))}
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        for used in dict.fromkeys((*cells, *uses.names)):
            try:
                value = cells[used].cell_contents if used in cells else function.__globals__[used]
            except (KeyError, ValueError):  # a built-in name, or one that has no value yet
                continue
            if value is function:
                continue
            if used in changed and not isinstance(value, FunctionType | type | ModuleType):
                self._put(f"{used} of {name}", type_name(value))
            elif isinstance(value, FunctionType | type | ModuleType):
                text += f"\n{used} is {self._text(value)}"
            else:
                self._put(f"{used} of {name}", self._text(value))
        held = {} if function.__name__ in changed else {key: one for key, one in vars(function).items() if key != "__wrapped__"}
        text += f"\n{self._items(held.items())}" * bool(held)
        return f"{text}\n{self._text(function.__defaults__)} {self._text(function.__kwdefaults__)}"

    def _class_text(self, value: type) -> str:
        members = {name: member for name, member in vars(value).items() if name not in _NOT_MEMBERS}
        names = set(_slots(value))
        lines = [self._text(base) for base in (*value.__bases__, *((type(value),) if type(value) is not type else ()))]
        for name, member in sorted(members.items()):
            if name not in names:  # the descriptor of a slot
                lines.append(f"{name} = {self._member_text(member)}")
        return "\n".join(lines)

    def _member_text(self, member: Any) -> str:
        match member:
            case staticmethod() | classmethod():
                return f"{type(member).__name__} {self._text(member.__func__)}"
            case property():
                return f"property {[self._text(one) for one in (member.fget, member.fset, member.fdel)]}"
            case functools.cached_property():
                return f"cached property {self._text(member.func)}"
        return self._text(member)


def _by_reference(value: Any) -> bool:
    """Return whether another process imports a function or class from its module, as pickle does."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or module == "__main__":
        return False
    found: Any = sys.modules.get(module)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _node(function: FunctionType) -> ast.AST | None:
    """Return the function's syntax tree if the source is that of the function as it runs: its file may have changed since."""
    code = function.__code__
    text = "".join(linecache.getlines(code.co_filename, function.__globals__)).encode("utf-8", "surrogatepass")
    nodes, compiled = _functions(text, code.co_filename)
    if code not in compiled:
        return None
    first = [one for one in nodes if _first_line(one) == code.co_firstlineno]
    named = [one for one in first if getattr(one, "name", "<lambda>") == code.co_name]
    return named[0] if len(named) == 1 else None


@functools.lru_cache(maxsize=4)
def _functions(text: bytes, name: str) -> tuple[list[_Function], list[CodeType]]:
    """Return the functions in a source, as syntax and compiled."""
    try:
        tree = parsed(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = [compile(tree, name, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [], []
    for outer in compiled:
        compiled += [one for one in outer.co_consts if isinstance(one, CodeType)]
    return [one for one in ast.walk(tree) if isinstance(one, _Function)], compiled


def _first_line(node: _Function) -> int:
    return min([node.lineno, *(int(one.lineno) for one in getattr(node, "decorator_list", ()))])


def _is_layer(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _attributes(value: Any) -> dict[str, Any]:
    """Return an object's attributes, also those in slots; of a layer not what changes when it is used."""
    slots = [slot for kind in type(value).__mro__ for slot in _slots(kind)]
    found = {slot: getattr(value, slot, None) for slot in slots if not slot.startswith("__")}
    held = getattr(value, "__dict__", None)
    held = held if isinstance(held, dict) else {}
    if _is_layer(value):
        held = {key: one for key, one in held.items() if key in _OF_LAYERS or not (key == "training" or key.startswith("_"))}
    return found | held


def _slots(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else map(str, slots)


def _changed_root(node: ast.AST) -> str | None:
    """Return the name of the variable in which an item or an attribute is set or deleted; None if none is."""
    if not isinstance(node, ast.Subscript | ast.Attribute) or isinstance(node.ctx, ast.Load):
        return None
    inner: ast.expr = node
    while isinstance(inner, ast.Subscript | ast.Attribute):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) else None
