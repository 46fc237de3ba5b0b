"""The plan of the house, held by the syntax tree: who imports whom, sizes, names."""

import ast
import importlib
import inspect
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "bazis_ws_channels"
ROOT = Path(__file__).parents[2] / PACKAGE

#: From the ground up: a module may import from lower floors, and from its own package.
FLOORS = [
    {
        "buckets", "conf", "counters", "exceptions", "groups", "locks", "loops", "membership",
        "parcels", "protocol", "signals", "times", "types", "users",
    },
    {"redis", "servers"},
    {"history"},
    {"sending"},
    {"presence"},
    {"auth"},
    {"connection"},
]  # fmt: skip
#: Above the top level, which has no floor of its own.
ROOF = {"management", "testing"}

#: Private names of other libraries that we touch, each with its probe or its fallback beside it.
PRIVATE_NAMES = {
    "_password",  # Django: what set_password() got, until save() returns
    "_chain", "_clone", "_fetch_all", "_result_cache",  # Django: QuerySet, as its subclasses do
    "_tempDataLen",  # Twisted: what waits in a transport's second buffer
}  # fmt: skip
#: A private name in a string; ours on other people's objects begin with "_ws_".
_NAME = re.compile(r"_(?!ws_|_)\w+")
#: Documented, underscore or not: of Django's models, and of named tuples.
DOCUMENTED = {"_asdict", "_base_manager", "_default_manager", "_meta", "_replace", "_state"}

#: What the contract's modules offer.
OFFERED = {
    "publishing": [
        "MessageTooBig", "PublishError", "abroadcast", "anotify", "apublish", "apublish_anonymous",
        "apublish_changed", "broadcast", "notification", "notify", "publish", "publish_anonymous",
        "publish_changed",
    ],
    "presence": [
        "Status", "acount", "alast_seen", "aonline", "aonline_count", "aonline_users",
        "astatuses", "count", "last_seen", "online", "online_count", "online_users", "prefetch",
        "statuses",
    ],
    "auth": [
        "AuthenticationFailed", "adisconnect", "arevoke_before", "arevoke_token", "authenticate",
        "disconnect", "issue", "revoke_before", "revoke_token", "user_from_token",
    ],
    "groups": [
        "COMMON_CHANNEL", "anonymous_group", "anonymous_key", "common_group", "is_anonymous",
        "key_group", "session_key", "user_group", "watch_group",
    ],
    "signals": ["user_offline", "user_online"],
    "serializers": ["LastSeenField", "OnlineField", "UserWsSerializerMixin"],
    "viewsets": ["UserWsPagination", "UserWsViewSet"],
    "consumers": ["UserWsConsumer"],
    "middleware": ["JWTAuthMiddleware", "JWTAuthMiddlewareStack", "OriginMiddleware", "tokens_in"],
    "routing": ["serves_sockets", "websocket_urlpatterns"],
    "layers": ["InMemoryChannelLayer", "RedisPubSubChannelLayer"],
    "models": ["UserWsMixin", "UserWsQuerySet"],
    "exceptions": [
        "AuthenticationFailed", "ChannelLayerUnavailable", "JwksUnavailable", "MessageTooBig",
        "PresenceUnavailable", "PublishError", "ServerBusy", "SessionRefused", "TokenError",
        "WsError",
    ],
    "protocol": [
        "BLAMES_CLIENT", "CLOSE_AUTH", "CLOSE_BAD_CLIENT", "CLOSE_GOING_DOWN",
        "CLOSE_SERVER_FAILURE",
        "CLOSE_TOO_BIG", "CLOSE_TOO_MUCH", "PONG", "SUBPROTOCOL", "BadMessage", "data_frame",
        "error_frame", "json_id", "missed_frame", "parse", "positioned", "presence_frame",
        "subscribed_frame",
    ],
}  # fmt: skip


@cache
def trees():
    """Return the syntax tree of every module by its name below the package, "" for itself."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text())
    return found


@cache
def nodes(module):
    """Return all nodes of a module's tree."""
    return tuple(ast.walk(trees()[module]))


@cache
def is_package(module):
    """Tell whether a module is a package."""
    return (ROOT / module.replace(".", "/") / "__init__.py").exists()


def foreign_imports(module):
    """Return what a module imports of other libraries: ``(dotted path, name or None)``."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((each.name, None) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module, each.name) for each in node.names)


def own_imports(module):
    """Return what a module imports of the package: ``(module, name or None)``, wherever in it."""
    for node in nodes(module):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = module.split(".") if module else []
        above = above[: len(above) - node.level + is_package(module)]
        source = ".".join(above + (node.module.split(".") if node.module else []))
        for each in node.names:
            inner = f"{source}.{each.name}" if source else each.name
            yield (inner, None) if inner in trees() else (source, each.name)


def imported(module):
    """Return the package's modules that a module imports."""
    return {source for source, _ in own_imports(module)}


def floor(module):
    """Return on which floor a module lives; the top where it has none of its own."""
    head = module.partition(".")[0]
    if head == "pytest_plugin":
        return len(FLOORS) + 2  # the flag on the roof: it hands out `testing`
    if head in ROOF:
        return len(FLOORS) + 1
    return next((n for n, names in enumerate(FLOORS) if head in names), len(FLOORS))


def broken(module, source):
    """Say what is wrong with an import of `source` by `module`, if anything."""
    own, other = module.partition(".")[0], source.partition(".")[0]
    if own == other or floor(source) < floor(module):
        return None
    if floor(source) > floor(module):
        return f"{module} imports {source}: upwards"
    if is_package(own) or is_package(other):
        return f"{module} imports {source}: sideways between packages"
    return None


# --- imports --------------------------------------------------------------------------------


def test_nothing_imports_upwards_or_sideways():
    """Top level, connection, auth, presence, sending, redis and servers, leaves."""
    pairs = [(module, source) for module in trees() for source in imported(module)]
    assert not [wrong for pair in pairs if (wrong := broken(*pair))]


def test_the_rule_finds_what_breaks_it():
    """It would not be silent."""
    assert broken("presence.queries", "auth.tokens").endswith("upwards")
    assert broken("groups", "sending").endswith("upwards")
    assert broken("redis.hosts", "servers.writer").endswith("sideways between packages")
    assert broken("models", "management.commands.ws_token").endswith("upwards")
    assert broken("management.commands.ws_token", "auth.tokens") is None
    assert broken("auth.tokens", "presence.queries") is None
    assert broken("auth.tokens", "auth.keys") is None
    assert broken("models", "publishing") is None
    assert {"users", "conf"} <= imported("groups")
    assert "sending" in imported("auth.revocation")
    assert "presence.stores.base" in imported("presence.stores.memory")


def test_there_is_no_cycle():
    """Neither between modules nor for types alone."""
    graph = {module: imported(module) for module in trees()}
    tuple(TopologicalSorter(graph).static_order())


def test_own_modules_are_imported_relatively():
    """So that the rules here see them all."""
    paths = [(module, path) for module in trees() for path, _ in foreign_imports(module)]
    assert not [pair for pair in paths if pair[1].startswith(PACKAGE)]


def test_every_lock_of_threads_is_one_that_no_fork_leaves_held():
    """A child would wait for ever."""
    kinds = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"}
    users = {
        module
        for module in trees()
        for node in nodes(module)
        if isinstance(node, ast.Attribute)
        and node.attr in kinds
        and getattr(node.value, "id", "") == "threading"
    }
    assert users == {"locks"}


def test_only_serializers_and_viewsets_need_rest_framework():
    """A project that uses neither needs it not."""
    users = {
        module
        for module in trees()
        for path, _ in foreign_imports(module)
        if path.startswith("rest_framework")
    }
    assert users == {"serializers", "viewsets"}


def test_the_protocol_does_nothing_but_encode():
    """No sockets, no loops, no database."""
    assert {path for path, _ in foreign_imports("protocol")} == {
        "__future__", "json", "math", "collections.abc", "datetime", "typing",
        "django.core.serializers.json", "django.db.models",
    }  # fmt: skip
    assert imported("protocol") == {"conf"}


def test_the_packages_door_stays_empty():
    """So that Django may import it before there are apps."""
    assert (ROOT / "__init__.py").read_text().strip() == ""


def test_the_user_model_is_asked_for_when_it_is_there():
    """Never at import: the project may define it after us."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    for module in trees():
        within = {
            id(call)
            for function in nodes(module)
            if isinstance(function, functions)
            for call in ast.walk(function)
        }
        for node in nodes(module):
            if isinstance(node, ast.Call) and id(node) not in within:
                assert getattr(node.func, "id", "") != "get_user_model", module


# --- sizes ----------------------------------------------------------------------------------


def test_classes_and_functions_are_short():
    """A class has at most 200 lines, a function 40."""
    limits = {ast.ClassDef: 200, ast.FunctionDef: 40, ast.AsyncFunctionDef: 40}
    long = {
        f"{module}.{node.name}": lines
        for module in trees()
        for node in nodes(module)
        if (lines := getattr(node, "end_lineno", 0) - getattr(node, "lineno", 0) + 1)
        > limits.get(type(node), lines)
    }
    assert long == {}


# --- names ----------------------------------------------------------------------------------


def is_private(name):
    """Tell a name with one leading underscore."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


def own_private_names():
    """Return the private names that the package defines itself."""
    names = set()
    for module in trees():
        for node in nodes(module):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(getattr(node, "attr", getattr(node, "id", "")))
    return {name for name in names if is_private(name)} - inherited_private_names()


def inherited_private_names():
    """Return private names of foreign classes that ours override."""
    return {
        name
        for module in trees()
        for _, kind in inspect.getmembers(load(module), inspect.isclass)
        if kind.__module__ == load(module).__name__
        for name in names_in_body(module, kind.__name__)
        if is_private(name)
        for base in kind.__mro__[1:]
        if not base.__module__.startswith(PACKAGE) and name in vars(base)
        if base.__module__ not in ("typing", "abc", "collections.abc", "enum", "builtins")
    }


def names_in_body(module, name):
    """Return what the body of a class defines."""
    for node in nodes(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield from (each.name for each in node.body if hasattr(each, "name"))
            assigned = (each for each in node.body if isinstance(each, ast.Assign))
            yield from (target.id for each in assigned for target in each.targets)


def touched_private_names():
    """Return the private attributes and imports that the package reads, by name."""
    names = set(inherited_private_names())
    for module in trees():
        names |= {name for _, name in foreign_imports(module) if name and is_private(name)}
        for node in nodes(module):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and _NAME.fullmatch(str(node.value)):
                names.add(node.value)  # for getattr, or a look into __dict__
    return names


def test_few_private_names_of_other_libraries_are_touched():
    """At most 6, and those are listed above."""
    foreign = touched_private_names() - own_private_names() - DOCUMENTED
    assert foreign == PRIVATE_NAMES
    assert len(PRIVATE_NAMES) <= 6


def load(module):
    """Import a module of the package."""
    return importlib.import_module(f"{PACKAGE}.{module}".rstrip("."))


def assigned(module):
    """Return the public names that a module assigns at its top, with what it assigns."""
    for node in trees()[module].body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in getattr(target, "elts", [target]):
                    if not name.id.startswith("_") and name.id != "logger":
                        yield name.id, node.value


def is_type(value):
    """Tell type variables and aliases of types, which are for annotations."""
    made_by = getattr(getattr(value, "func", None), "id", "")
    is_union = isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr)
    return made_by == "TypeVar" or is_union or isinstance(value, ast.Subscript)


def defined(module):
    """Return the public names that a module defines; not those that are for annotations."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    names = {node.name for node in trees()[module].body if isinstance(node, kinds)}
    names |= {name for name, value in assigned(module) if not is_type(value)}
    return {name for name in names if not name.startswith("_")}


def listed(module):
    """Return a module's ``__all__``, None without one."""
    for node in trees()[module].body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    return None


def test_what_a_module_defines_it_offers():
    """``__all__`` has the public names, neither more nor less; commands are found by their path."""
    for module in trees():
        if module.startswith("management.commands.ws_"):
            assert defined(module) == {"Command"}
            continue
        offers = set(listed(module) or ())
        passed_on = {name for _, name in own_imports(module)}
        aliases = {name for name, _ in assigned(module)}
        assert not defined(module) - offers, module
        assert not offers - defined(module) - passed_on - aliases, module


def test_nothing_is_imported_that_is_not_offered():
    """A name that another module needs is public."""
    for module in trees():
        for source, name in own_imports(module):
            if name is not None:
                assert name in (listed(source) or ()), f"{module} imports {name} of {source}"


@pytest.mark.parametrize("module", OFFERED)
def test_the_contract_is_what_it_was(module):
    """A name goes or comes here on purpose only."""
    offered = load(module).__all__
    assert list(offered) == OFFERED[module]
    assert all(hasattr(load(module), name) for name in offered)


def test_no_module_is_private():
    """What is inside is told by the package, not by an underscore; but commands have theirs."""
    private = {each for each in trees() if is_private(each.rpartition(".")[2])}
    assert private == {"management.commands._user"}


def test_importing_the_package_starts_no_server():
    """Twisted's reactor is installed by daphne alone."""
    assert "twisted.internet.reactor" not in sys.modules or "daphne.server" in sys.modules
