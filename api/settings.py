"""Settings of the service: environment variables with the prefix THREADLINE_, or arguments of `Settings`."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.logs import LogFormat, LogLevel

_lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """What an operator can set. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="THREADLINE_", extra="ignore")

    config: Path = Path("langgraph.json")
    """The langgraph.json that says what is served."""
    data_dir: Path = Path(".threadline")
    """Where SQLite keeps threads, runs, events and checkpoints; relative to the folder of `config`."""
    wait_for_disk: bool = False
    """Whether what is acknowledged outlives a power cut too, not only the process."""
    host: str | None = None
    """The address that `threadline serve` listens on; None: another server listens, and where is not known."""
    api_keys: SecretStr = SecretStr("")
    """Who may call: `name:key`, comma separated; each name is a tenant of its own. Empty: not by keys."""
    webhook_secret: SecretStr = SecretStr("")
    """Signs the calls of webhooks: `whsec_` and Base64; several, comma separated, all sign. Empty: no signature."""
    cors_origins: list[str] | None = None
    """Origins whose pages may call the server, `*` for any. None: any where callers have to prove who they are; else
    LangGraph Studio's and those of this machine, which a list adds to."""
    allowed_hosts: list[str] = []
    """Names by which a server may be called that listens on this machine and asks nobody who they are; `*` for any."""
    trusted_proxies: list[str] = []
    """Addresses, or networks, whose `X-Forwarded-For` and `-Proto` tell who sends a request."""
    max_body_bytes: int = Field(default=16 << 20, ge=1)
    """Of a request: enough for a photo."""
    max_body_values: int = Field(default=10_000, ge=100)
    """Lists, objects and items in them that one request's body has."""
    max_bodies_bytes: int = Field(default=256 << 20, ge=1)
    """Of all requests that are being read or answered; one more is refused."""
    max_concurrent_runs: int = Field(default=128, ge=1)
    """Runs that execute at one time; further ones wait in the queue."""
    max_concurrent_runs_per_caller: int | None = Field(default=None, ge=1)
    """Likewise of one caller, where authentication tells them apart; None: three quarters of all."""
    max_queued_runs: int = Field(default=10_000, ge=1)
    """Runs that wait for their turn or execute; one more is refused."""
    max_queued_runs_per_caller: int = Field(default=1000, ge=1)
    """Likewise of one caller, where authentication tells them apart."""
    max_delayed_runs: int = Field(default=100_000, ge=1)
    """Runs that wait for their time; one more is refused."""
    max_delayed_runs_per_caller: int = Field(default=1000, ge=1)
    """Likewise of one caller, where authentication tells them apart."""
    max_crons_per_caller: int = Field(default=100, ge=1)
    """Crons of one caller, where authentication tells them apart."""
    min_cron_interval: float = Field(default=10.0, ge=0)
    """Between two dates of a cron's schedule; one that fires sooner is refused."""
    max_queued_runs_per_thread: int = Field(default=1000, ge=1)
    """Runs of one thread that wait; one more is refused."""
    max_batch_inputs: int = Field(default=100, ge=1)
    max_event_bytes: int = Field(default=64 << 20, ge=1024)
    """An event larger than this fails its run."""
    max_state_bytes: int = Field(default=64 << 20, ge=1024)
    """A state, or a value that a node writes to it, that is stored as more than this fails its run."""
    max_run_events: int = Field(default=1_000_000, ge=100)
    max_attempts: int = Field(default=25, ge=1)
    """How often a run is begun or taken up again; one that kills its server each time ends."""
    events_ttl: float = Field(default=7 * 24 * 3600.0, ge=0)
    """How long the events of a finished run are kept; 0 is for good. Its record, its thread and state stay."""
    runs_ttl: float = Field(default=0.0, ge=0)
    """How long the record of a finished run is kept; 0 is for good. Its thread and state stay."""
    max_run_bytes: int = Field(default=1 << 30, ge=1024)
    """Of all events of one attempt of a run; more fail it."""
    max_metadata_bytes: int = Field(default=1 << 18, ge=2)
    """Of the metadata that one request gives, as JSON."""
    max_store_items: int = Field(default=1000, ge=1)
    """Items, or namespaces, that one search of the store may ask for."""
    max_answer_bytes: int = Field(default=64 << 20, ge=1024)
    """Of the records, states or items that one answer holds; more are refused."""
    search_timeout: float = Field(default=5.0, gt=0)
    """For one search of the records."""
    max_header_bytes: int = Field(default=1 << 16, ge=1024)
    """Of a request's line and headers."""
    requests_per_minute: int = Field(default=0, ge=0)
    """Of one caller, who may make a minute's worth at once; 0 is no limit."""
    max_open_requests: int = Field(default=10_000, ge=1)
    """Under way at one time, open streams included; one more is refused."""
    max_open_requests_per_caller: int | None = Field(default=None, ge=0)
    """Likewise of one caller; 0 is no limit. None: 1000 where authentication tells callers apart, else no limit: all
    that comes through a proxy has one address."""
    max_connections: int = Field(default=12_000, ge=1)
    """Open at one time, those without a request included; a request on one more is refused."""
    header_timeout: float = Field(default=15.0, gt=0)
    """For a request's line and headers to come."""
    body_timeout: float = Field(default=60.0, gt=0)
    """For its body to come."""
    write_timeout: float = Field(default=60.0, gt=0)
    """How long a client may take nothing of what waits for it; then it is cut off. Its run goes on."""
    run_timeout: float = Field(default=3600.0, gt=0)
    heartbeat_interval: float = Field(default=5.0, gt=0)
    """Between comments on a silent stream."""
    lease_seconds: float = Field(default=30.0, gt=0)
    """How long a run stays with a worker that shows no sign of life."""
    shutdown_grace: float = Field(default=5.0, ge=0)
    """How long graphs have, when the server ends, to reach the end of a superstep."""
    loop_stall_seconds: float = Field(default=1.0, gt=0)
    """A block of the event loop that is this long is logged with its stack."""

    log_format: Annotated[LogFormat, _lower] = "text"
    """How the lines on stderr are written by `threadline serve`; an app that is mounted leaves that to its host."""
    log_level: Annotated[LogLevel, _lower] = "info"

    @property
    def most_concurrent_runs_per_caller(self) -> int:
        """How many runs of one caller execute at one time, with the default worked out."""
        share = self.max_concurrent_runs_per_caller or max(1, self.max_concurrent_runs * 3 // 4)
        return min(share, self.max_concurrent_runs)

    @property
    def root(self) -> Path:
        """The folder of langgraph.json, which relative paths in it start from."""
        return self.config.resolve().parent

    @property
    def storage_dir(self) -> Path:
        """Where the SQLite files are."""
        return self.root / self.data_dir
