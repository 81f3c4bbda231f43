"""A minimal server for exports with TF Serving's two protocols, gRPC and REST."""

import json
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers ``PredictRequest`` messages with a SavedModel's signatures."""

    def __init__(self, export: Path) -> None:
        self.loaded = tf.saved_model.load(str(export))

    def run(self, signature: str, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Runs a signature; returns its outputs by name."""
        return self.loaded.signatures[signature or "serving_default"](**inputs)

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802, the protocol's name
        """Answers one request."""
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in self.run(request.model_spec.signature_name, inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def answer_rest(self, body: str) -> dict[str, Any]:
        """Returns what TF Serving answers to a REST request in row format (``instances``)."""
        request = json.loads(body)
        rows, signature = request["instances"], request.get("signature_name", "")
        inputs = {name: tf.constant([row[name] for row in rows]) for name in rows[0]}
        outputs = {name: value.numpy() for name, value in self.run(signature, inputs).items()}
        return {"predictions": [_take_row(outputs, i) for i in range(len(rows))]}


def start_server(service: Service) -> tuple[Any, int]:
    """Starts a gRPC server on a free port; returns the server and the port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    return server, port


def _take_row(outputs: dict[str, Any], i: int) -> dict[str, Any]:
    return {name: _to_json_value(value[i]) for name, value in outputs.items()}


def _to_json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return [_to_json_value(entry) for entry in value] if getattr(value, "ndim", 0) else value.item()
