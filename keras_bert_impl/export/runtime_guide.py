"""The short ``README.md`` in an export for another runtime: how to ask it."""

from keras_bert_impl.export.parts import Parts

_PAGE = """# {name}

Made by keras_bert_impl, for {title}, in {precision}. It takes token ids: of strings this format knows nothing. The
tokenizer stands beside it, for the `tokenizers` library; so does `config.json` with the labels.

    pip install {package} tokenizers numpy

```python
import numpy as np
{imports}
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({max_length})
tokenizer.enable_padding(pad_id={pad_id})
texts = ["It was a great movie.", "A dull film."]
rows = tokenizer.encode_batch(texts)
inputs = {{
    "input_ids": np.array([row.ids for row in rows], np.int32),
    "token_type_ids": np.array([row.type_ids for row in rows], np.int32),
    "attention_mask": np.array([row.attention_mask for row in rows], np.int32),
}}
{code}
for name, values in outputs.items():
    print(name, values.shape)
```

In the directory above, `keras-bert predict {name} "It was a great movie."` and `keras-bert evaluate` take the export
as it is.
"""

# Format: its name, the package to install, imports, and what turns ``inputs`` into ``outputs`` by name.
_RUNTIMES = {
    "onnx": (
        "ONNX Runtime",
        "onnxruntime",
        "import onnxruntime",
        """session = onnxruntime.InferenceSession("model.onnx")
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(names, inputs)))""",
    ),
    "openvino": (
        "OpenVINO",
        "openvino",
        "import openvino",
        """compiled = openvino.Core().compile_model("model.xml", "CPU")
outputs = {output.get_any_name(): values for output, values in compiled(inputs).items()}""",
    ),
    "litert": (
        "LiteRT",
        "ai-edge-litert",
        "from ai_edge_litert.interpreter import Interpreter",
        """runner = Interpreter("model.tflite").get_signature_runner()
outputs = runner(**inputs)""",
    ),
}


def runtime_guide(format: str, parts: Parts) -> str:
    """The page for an export of that format."""
    title, package, imports, code = _RUNTIMES[format]
    return _PAGE.format(
        name=parts.name,
        title=title,
        precision=parts.precision,
        package=package,
        imports=imports,
        code=code,
        max_length=parts.max_length,
        pad_id=parts.tokenizer.pad_token_id,
    )
