"""Requests to TF Serving: those that an export's README shows, and those of its warm-up file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow_serving.apis.predict_pb2", reason="needs the package tensorflow-serving-api")

import tensorflow as tf
from page_code import extract_blocks, extract_commands
from tensorflow_serving.apis import prediction_log_pb2
from tf_server import Service, start_server


@pytest.fixture(scope="module")
def service(sentiment_export: Path) -> Service:
    return Service(sentiment_export)


@pytest.fixture(scope="module")
def port(service: Service) -> Iterator[int]:
    server, port = start_server(service)
    yield port
    server.stop(None)


@pytest.fixture
def page(sentiment_export: Path) -> str:
    return (sentiment_export / "README.md").read_text(encoding="utf-8")


def read_expected(page: str) -> dict[str, Any]:
    """The answer that the page shows."""
    (answer,) = extract_blocks(page, "json")
    return json.loads(answer)


def is_close(found: Any, shown: Any) -> bool:
    if isinstance(shown, dict):
        return found.keys() == shown.keys() and all(is_close(found[key], shown[key]) for key in shown)
    if isinstance(shown, list):
        return len(found) == len(shown) and all(map(is_close, found, shown))
    return found == (pytest.approx(shown, rel=1e-5) if isinstance(shown, float) else shown)


def test_the_rest_request_of_the_page(service: Service, page: str) -> None:
    ((_, _, address, _, body),) = extract_commands(page, "curl")
    assert is_close(service.answer_rest(body), read_expected(page))
    assert "/v1/models/sentiment:predict" in address


def test_the_grpc_client_of_the_page(port: int, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    (client,) = extract_blocks(page)
    assert "localhost:8500" in client
    exec(compile(client.replace("localhost:8500", f"localhost:{port}"), "README.md", "exec"), {})
    found = eval(capsys.readouterr().out)
    shown = read_expected(page)["predictions"][0]
    assert found.keys() == shown.keys()
    assert found["label"] == [shown["label"].encode()]
    assert found["scores"][0] == pytest.approx(shown["scores"], rel=1e-5)


def test_the_warm_up_requests_run(sentiment_export: Path, service: Service) -> None:
    path = sentiment_export / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path), buffer_size=1 << 18)
    ]
    signatures = set()
    for log in logs:
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "sentiment"
        signatures.add(request.model_spec.signature_name)
        batch = {tf.make_ndarray(tensor).shape[0] for tensor in request.inputs.values()}
        answer = service.Predict(request, None)
        assert {tf.make_ndarray(tensor).shape[0] for tensor in answer.outputs.values()} == batch
    assert signatures == {"serving_default", "pair", "ids"}
    assert len(logs) == 2 * len(signatures)
