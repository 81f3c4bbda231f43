"""A Hugging Face hub in a thread, with the part of the protocol that ``hf_hub_download`` uses.

Clients read ``HF_ENDPOINT`` when huggingface_hub is imported, so they run in processes of their own.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote


@dataclass
class Hub:
    """The models that the server offers, and the requests that it received.

    Attributes:
        models: the directory of each revision of each model, ``{"org/name": {"main": directory}}``.
        moved: the current name of each model by its old name.
        gated: models that answer 403 because their terms were not accepted.
        broken: models whose downloads end before the first byte.
        endpoint: the server's address.
        requests: the requests so far, as ``"HEAD org/name/resolve/main/config.json"``.
    """

    models: Mapping[str, Mapping[str, Path]]
    moved: Mapping[str, str] = field(default_factory=dict)
    gated: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serves ``hub`` on a free port until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_commit_hash(model: str, revision: str) -> str:
    """The commit hash of a revision."""
    return hashlib.sha1(f"{model}@{revision}".encode()).hexdigest()


def _make_handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def answer(self) -> None:
            path = unquote(self.path).lstrip("/")
            hub.requests.append(f"{self.command} {path}")
            model, _, rest = path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            if model in hub.moved:
                return self.reply(307, {"Location": f"/{hub.moved[model]}/resolve/{rest}"})
            if model not in hub.models:
                return self.reply(404, {"X-Error-Code": "RepoNotFound"})
            if model in hub.gated:
                return self.reply(403, {"X-Error-Code": "GatedRepo"})
            revisions = {make_commit_hash(model, name): files for name, files in hub.models[model].items()}
            sha = revision if revision in revisions else make_commit_hash(model, revision)
            if sha not in revisions:
                return self.reply(404, {"X-Error-Code": "RevisionNotFound"})
            file = revisions[sha] / name
            if not file.is_file():
                return self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
            content = file.read_bytes()
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": sha}
            self.reply(200, headers, content, broken=model in hub.broken)

        def reply(self, status: int, headers: dict[str, str], content: bytes = b"", broken: bool = False) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = broken
            if self.command == "GET" and not broken:
                self.wfile.write(content)

    return Handler
