"""Auth: who calls, and what of a resource they may have, as handlers of langgraph_sdk's `Auth` decide.

request ──authenticate──> Caller ──authorize(resource, action, value)──> nothing | AccessFilter | refusal

The one place that asks handlers. `Authentication` calls it for every request, `Guard` for every operation; API keys are
such handlers too. `Auth` keeps its handlers in attributes that the SDK says are read by servers and will not change;
tests/api/test_auth.py fails if they do.
"""

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, cast

from langgraph_sdk import Auth
from langgraph_sdk.auth.types import AuthContext, StudioUser
from pydantic import BaseModel, ConfigDict, ValidationError

from api.access_filter import AccessFilter, InvalidFilterError, parse
from api.api_keys import key_auth, parse_keys
from api.callers import Caller, kept_caller, known_caller
from api.errors import ConfigError, ForbiddenError, RefusedError, ThreadlineError, UnauthorizedError
from api.proofs import Proofs
from api.registry import load_attribute, read_config
from api.schemas import Json
from api.settings import Settings

logger = logging.getLogger(__name__)

PARAMETERS = frozenset(
    {"request", "body", "path", "method", "path_params", "query_params", "headers", "authorization", "scope"}
)
"""What `authenticate` may ask for, by name."""

STUDIO_IDENTITY = "langgraph-studio-user"

_ACTIONS = {
    "threads": ("create", "read", "update", "delete", "search", "create_run"),
    "assistants": ("create", "read", "update", "delete", "search"),
    "crons": ("create", "read", "update", "delete", "search"),
    "store": ("put", "get", "search", "delete", "list_namespaces"),
}


class AuthConfig(BaseModel):
    """The `auth` entry of langgraph.json: https://docs.langchain.com/langgraph-platform/cli"""

    model_config = ConfigDict(strict=True, extra="forbid")

    path: str
    disable_studio_auth: bool | None = None
    """False lets LangGraph Studio in without a credential; so it is off unless it is written down."""
    openapi: Json = {}
    cache: Json | None = None
    """Has no effect: `authenticate` is asked for each request."""


class Authority:
    """Decides by the handlers of one `Auth`.

    Args:
        auth: has an `authenticate` handler.
        admits_studio: whether LangGraph Studio's own header stands for a user of its own.
        hides_tenant: whether the labels that store handlers put in front of a namespace are kept from clients.
        openapi: security schemes for the OpenAPI document.
        identities: all who can be known by now; None: that cannot be said.

    Raises:
        ConfigError: `auth` has no `authenticate` handler, or that asks for what there is not.
    """

    def __init__(
        self,
        auth: Auth,
        *,
        admits_studio: bool = False,
        hides_tenant: bool = False,
        openapi: Json | None = None,
        identities: frozenset[str] | None = None,
    ) -> None:
        handler = auth._authenticate_handler  # see the module's docstring
        if handler is None:
            raise ConfigError("auth.path: this Auth has no authenticate handler: add one with @auth.authenticate.")
        self._auth = auth
        self._authenticate: Callable[..., Any] = handler
        self.parameters = _parameters(handler)
        self.admits_studio = admits_studio
        self.hides_tenant = hides_tenant
        self.openapi = openapi or {}
        self._identities = identities

    async def authenticate(self, arguments: Mapping[str, Any], proofs: Proofs) -> Caller:
        """Who makes a request.

        Args:
            arguments: the parameters that the handler asks for.
            proofs: what of the request proves who makes it: nothing that contains it is kept.

        Raises:
            RefusedError: the handler refuses.
            UnauthorizedError: it does not know the user.
            ThreadlineError: it fails, which is logged.
        """
        try:
            user = await self._call(arguments)
            if user is None:
                raise UnauthorizedError("Unauthorized")
            permissions, user = _permissions(user)
            caller = known_caller(user, permissions, proofs)
            if "\0" in caller.identity:  # a database may read it as a shorter one, another user's
                raise UnauthorizedError("Unauthorized")
            return caller
        except Auth.exceptions.HTTPException as exc:
            raise _refused(exc) from None
        except AssertionError:
            raise UnauthorizedError("Unauthorized") from None
        except ThreadlineError:
            raise
        except Exception as exc:  # the boundary to the operator's code
            logger.exception("the authenticate handler failed")
            raise ThreadlineError("The server failed to authenticate this request.") from exc

    async def _call(self, arguments: Mapping[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self._authenticate):
            return await self._authenticate(**arguments)
        answer = await asyncio.to_thread(self._authenticate, **arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def authorize(self, caller: Caller, resource: str, action: str, value: Json) -> AccessFilter | None:
        """Whether the caller may do something, and to which records; the most specific handler decides.

        Args:
            caller: who asks.
            resource: `threads`, `assistants`, `crons` or `store`.
            action: on it, by langgraph_sdk's names.
            value: what is to be done; the handler may change it.

        Returns:
            Which records, by their metadata; None: all.

        Raises:
            ForbiddenError: not at all.
            RefusedError: the handler refuses in its own words.
            ThreadlineError: it fails, which is logged.
        """
        handler = self._handler(resource, action)
        if handler is None:
            return None
        context = AuthContext(
            permissions=list(caller.permissions),
            user=caller.user,
            resource=cast("Any", resource),
            action=cast("Any", action),
        )
        try:
            return _verdict(await handler(ctx=context, value=value))
        except Auth.exceptions.HTTPException as exc:
            raise _refused(exc) from None
        except AssertionError as exc:
            raise ForbiddenError(str(exc) or "Forbidden") from None
        except ThreadlineError:
            raise
        except Exception as exc:  # the boundary to the operator's code
            logger.exception("the authorisation handler for %s.%s failed", resource, action)
            raise ThreadlineError("The server failed to authorise this request.") from exc

    def _handler(self, resource: str, action: str) -> Callable[..., Any] | None:
        handlers, everywhere = self._auth._handlers, self._auth._global_handlers
        for key in ((resource, action), (resource, "*"), ("*", action), ("*", "*")):
            if found := handlers.get(key):
                return found[-1]
        return everywhere[-1] if everywhere else None

    def check_known(self, caller: Caller) -> None:
        """Whether a caller who is kept with what they made would still be let in.

        Raises:
            UnauthorizedError: they would not: their key was taken away.
        """
        if self._identities is not None and caller.identity not in self._identities:
            raise UnauthorizedError(f"{caller.identity} has no key any more")

    def uncovered(self) -> list[str]:
        """Operations that no handler decides about, while others are: everybody who is known may do them to all."""
        if not (self._auth._handlers or self._auth._global_handlers):
            return []
        every = ((resource, action) for resource, actions in _ACTIONS.items() for action in actions)
        return [f"{resource}.{action}" for resource, action in every if self._handler(resource, action) is None]


def studio_caller() -> Caller:
    """LangGraph Studio's own user; handlers know it by its class."""
    user = cast("Any", StudioUser)(STUDIO_IDENTITY, is_authenticated=True)
    kept = {"identity": STUDIO_IDENTITY, "display_name": STUDIO_IDENTITY, "kind": "StudioUser"}
    return Caller(STUDIO_IDENTITY, user, tuple(user.permissions), is_studio=True, kept=kept)


def restored(record: Json) -> Caller:
    """The caller that a cron has kept, as handlers knew it."""
    return studio_caller() if record.get("studio") else kept_caller(record)


def load_auth(settings: Settings) -> Authority | None:
    """What langgraph.json or the API keys configure; None: nothing, and everybody may do everything.

    Its `env` and `dependencies` must be in effect: `registry.load` sees to that.

    Raises:
        ConfigError: both are configured; or the auth module cannot be used, and the message says why.
    """
    # The file that langgraph.json names as `env` is read after the settings: keys in it must not be overlooked.
    keys = parse_keys(settings.api_keys.get_secret_value() or os.environ.get("THREADLINE_API_KEYS", ""))
    entry = read_config(settings.config).get("auth")
    if entry is None:
        if not keys:
            return None
        names = frozenset(keys.values())
        return Authority(key_auth(keys), hides_tenant=True, openapi=_KEYS_OPENAPI, identities=names)
    if keys:
        raise ConfigError('Choose one: "auth" in langgraph.json, or THREADLINE_API_KEYS.')
    try:
        config = AuthConfig.model_validate(entry)
    except ValidationError as exc:
        complaint = exc.errors(include_url=False, include_context=False)[0]
        where = ".".join(("auth", *(str(part) for part in complaint["loc"])))
        raise ConfigError(f"{where}: {complaint['msg']}.") from None
    if config.cache is not None:
        logger.warning("auth.cache has no effect: authenticate is asked for each request.")
    auth = load_attribute("auth.path", config.path, settings.config)
    if not isinstance(auth, Auth):
        raise ConfigError(f"auth.path: {config.path} is a {type(auth).__name__}, not a langgraph_sdk.Auth.")
    admits_studio = config.disable_studio_auth is False
    authority = Authority(auth, admits_studio=admits_studio, openapi=config.openapi)
    if admits_studio:
        logger.warning(
            "auth.disable_studio_auth is false: whoever is on this machine, or comes through a proxy on it that sets "
            "no forwarding header, may be %s with the header x-auth-scheme: langsmith, and nothing else.",
            STUDIO_IDENTITY,
        )
    if uncovered := authority.uncovered():
        logger.warning(
            "auth.path: no handler decides about %s: every user may do these to everything. "
            "A handler under @auth.on that returns False denies what no other handler allows.",
            ", ".join(uncovered),
        )
    return authority


_KEYS_OPENAPI: Json = {
    "securitySchemes": {
        "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    },
    "security": [{"apiKey": []}, {"bearer": []}],
}


def _parameters(handler: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(handler).parameters.values()
    unknown = [each.name for each in parameters if each.name not in PARAMETERS and each.default is each.empty]
    if unknown:
        raise ConfigError(
            f"auth.path: authenticate asks for {', '.join(unknown)}; it may ask for {', '.join(sorted(PARAMETERS))}."
        )
    return frozenset(each.name for each in parameters if each.name in PARAMETERS)


def _permissions(user: Any) -> tuple[list[str], Any]:
    """The permissions and the user, of whatever form `authenticate` may return."""
    if isinstance(user, tuple):
        permissions, user = user
    elif isinstance(user, Mapping):
        permissions = user.get("permissions")
    else:
        permissions = getattr(user, "permissions", None)
    return [str(permission) for permission in permissions or ()], user


def _verdict(result: Any) -> AccessFilter | None:
    if result is None or result is True:
        return None
    if result is False:
        raise ForbiddenError("Forbidden")
    if not isinstance(result, Mapping):
        raise TypeError(f"an authorisation handler returned a {type(result).__name__}, not None, a boolean or a filter")
    try:
        return parse(dict(result))
    except InvalidFilterError as exc:
        raise TypeError(f"an authorisation handler returned a filter that cannot be used: {exc}") from exc


def _refused(exc: Auth.exceptions.HTTPException) -> RefusedError:
    return RefusedError(str(exc.detail), exc.status_code, exc.headers)
