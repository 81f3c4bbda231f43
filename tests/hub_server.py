"""A Hugging Face hub in a thread, with the parts of the protocol that download and upload models.

Clients read ``HF_ENDPOINT`` when huggingface_hub is imported, so they run in processes of their own.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlparse


@dataclass
class Hub:
    """The models that the server offers, and the requests that it received.

    Attributes:
        models: the directory of each revision of each model, ``{"org/name": {"main": directory}}``.
        moved: the current name of each model by its old name.
        gated: models that answer 403 because their terms were not accepted.
        broken: models whose downloads end before the first byte.
        private: models that are only there for a known token.
        tokens: the known access tokens, and whether each of them may write.
        root: the directory of models that clients create.
        refused: a file that makes the hub refuse a commit, although the client may write.
        endpoint: the server's address.
        requests: the requests so far, as ``"HEAD org/name/resolve/main/config.json"``.
        blobs: the large files that were uploaded, by their SHA-256.
    """

    models: Mapping[str, Mapping[str, Path]]
    moved: Mapping[str, str] = field(default_factory=dict)
    gated: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    tokens: Mapping[str, bool] = field(default_factory=dict)
    root: Path | None = None
    refused: str = ""
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)


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


def make_environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    """The environment of a client, with its cache in ``home``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return {**inherited, **own, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}


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

        def do_POST(self) -> None:
            self.write()

        def do_PUT(self) -> None:
            self.write()

        def log_message(self, format: str, *args: object) -> None:
            pass

        @property
        def token(self) -> str:
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def answer(self) -> None:
            path = unquote(self.path).lstrip("/")
            hub.requests.append(f"{self.command} {path}")
            if path.startswith("api/models/"):
                return self.describe(path.removeprefix("api/models/"))
            model, _, rest = path.partition("/resolve/")
            revision, _, name = rest.partition("/")
            if model in hub.moved:
                return self.reply(307, {"Location": f"/{hub.moved[model]}/resolve/{rest}"})
            if not self.may_read(model):
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

        def may_read(self, model: str) -> bool:
            return model in hub.models and (model not in hub.private or self.token in hub.tokens)

        def describe(self, model: str) -> None:
            if not self.may_read(model):
                return self.reply(404, {"X-Error-Code": "RepoNotFound"})
            self.reply_json({"id": model, "sha": make_commit_hash(model, "main"), "private": False})

        def write(self) -> None:
            path = unquote(urlparse(self.path).path).lstrip("/")
            hub.requests.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "PUT":
                hub.blobs[path.removeprefix("blobs/")] = body
                return self.reply(200, {})
            if path == "api/validate-yaml":
                return self.reply_json({"errors": [], "warnings": []})
            if not hub.tokens.get(self.token):
                return self.reply(403 if self.token in hub.tokens else 401, {"X-Error-Message": "No right to write."})
            if path == "api/repos/create":
                return self.create(json.loads(body))
            if path.endswith(".git/info/lfs/objects/batch"):
                return self.offer_uploads(json.loads(body))
            model, _, action = path.removeprefix("api/models/").rpartition("/")
            model, _, kind = model.rpartition("/")
            getattr(self, {"branch": "branch", "preupload": "choose_modes", "commit": "commit"}[kind])(
                model, action, body
            )

        def create(self, request: dict[str, Any]) -> None:
            model = f"{request['organization']}/{request['name']}"
            url = {"url": f"{hub.endpoint}/{model}"}
            if model in hub.models:
                return self.reply_json({**url, "error": "You already created this model repo."}, status=409)
            assert hub.root is not None
            (hub.root / model / "main").mkdir(parents=True)
            hub.models[model] = {"main": hub.root / model / "main"}
            if request.get("visibility") == "private":
                hub.private = (*hub.private, model)
            self.reply_json(url)

        def branch(self, model: str, name: str, body: bytes) -> None:
            if name in hub.models[model]:
                return self.reply(409, {})
            main = hub.models[model]["main"]
            hub.models[model][name] = Path(shutil.copytree(main, main.with_name(name)))
            self.reply_json({})

        def choose_modes(self, model: str, revision: str, body: bytes) -> None:
            modes = [
                {
                    "path": path,
                    "uploadMode": "lfs" if path.endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for path in (file["path"] for file in json.loads(body)["files"])
            ]
            self.reply_json({"files": modes})

        def offer_uploads(self, request: dict[str, Any]) -> None:
            objects = [
                {**file, "actions": {"upload": {"href": f"{hub.endpoint}/blobs/{file['oid']}"}}}
                for file in request["objects"]
            ]
            self.reply_json({"transfer": "basic", "objects": objects})

        def commit(self, model: str, revision: str, body: bytes) -> None:
            contents = {}
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    contents[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    contents[value["path"]] = hub.blobs[value["oid"]]
            if hub.refused in contents:
                return self.reply(500, {"X-Error-Message": "The disk is full."})
            for name, content in contents.items():
                file = hub.models[model][revision] / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            sha = make_commit_hash(model, revision)
            self.reply_json({"commitUrl": f"{hub.endpoint}/{model}/commit/{sha}", "commitOid": sha})

        def reply_json(self, value: Any, status: int = 200) -> None:
            self.reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

        def reply(self, status: int, headers: dict[str, str], content: bytes = b"", broken: bool = False) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = broken
            if self.command != "HEAD" and not broken:
                self.wfile.write(content)

    return Handler
