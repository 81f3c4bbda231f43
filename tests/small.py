"""A small random BERT that transformers saves, and a few examples of each task, for end-to-end tests."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from sentence_models import Kind, make_directory
from torch_process import run_in_torch_process

SIZES: dict[str, Any] = {
    "vocab_size": 997,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 131,
    # Ten times the usual value, so that the outputs of such a small network differ between texts, and it learns fast.
    "initializer_range": 0.2,
}


def write_vocabulary(directory: Path, texts: list[str], *, vocab_size: int) -> None:
    """Writes an uncased ``vocab.txt``: special tokens, characters, and the most frequent words of the texts."""
    words = Counter(word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    characters = sorted({character for word in words for character in word})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    tokens += sorted(words.keys() - set(tokens), key=lambda word: (-words[word], word))
    (directory / "vocab.txt").write_text("\n".join(tokens[:vocab_size]) + "\n", encoding="utf-8")


def write_checkpoint(directory: Path, texts: list[str], *, model: str = "BertModel", **config: Any) -> Path:
    """Saves a model with random weights, as transformers does, and its vocabulary; returns the directory."""
    directory.mkdir(parents=True)
    write_vocabulary(directory, texts, vocab_size=SIZES["vocab_size"])
    _save_random_model(model, directory, {**SIZES, **config})
    return directory


def write_embedder(directory: Path, checkpoint: Path, *, include_prompt: bool = True, **settings: Any) -> Path:
    """Copies `small_bert` and adds the files of sentence-transformers: mean pooling, at most 53 tokens.

    ``settings`` are keys of ``config_sentence_transformers.json``. Returns the directory.
    """
    pooling = {"pooling_mode_mean_tokens": True, "include_prompt": include_prompt}
    return make_directory(Kind(pooling, prompts=settings), directory, bert=checkpoint)


@run_in_torch_process
def _save_random_model(model: str, directory: Path, config: dict[str, Any]) -> None:
    import torch
    import transformers

    torch.manual_seed(3)
    transformers.utils.logging.disable_progress_bar()
    getattr(transformers, model)(transformers.BertConfig(**config)).save_pretrained(directory)


def make_finetune_arguments(checkpoint: Path, snippets: Path, output: Path, *more: str) -> list[str]:
    """Returns the arguments of a fine-tuning that takes seconds and overfits its 61 training examples."""
    data = [part for name in ("train", "valid", "test") for part in (f"--{name}", str(snippets / f"{name}.tsv"))]
    settings = ["--epochs", "12", "--batch-size", "8", "--learning-rate", "3e-3", "--max-length", "29"]
    return ["finetune", str(checkpoint), *data, "--output", str(output), *settings, *more]


PAIRS = """\
A plane is taking off.\tAn air plane is taking off.\t5.0
A man is playing a large flute.\tA man is playing a flute.\t3.8
A man is smoking.\tA man is skating.\t0.5
Three men are playing chess.\tTwo men are playing chess.\t2.6
The dog runs.\tA cat sleeps in the sun.\t0.0
A woman slices an onion.\tA woman is cutting an onion.\t4.2
A boy sings 😀\tA boy sings.\t4.75
\tNothing stands before this.\t1.0
"""

TAGGED = """\
Ada B-person
Lovelace I-person
lived O
in O
London B-location
. O

Paris B-location
greets O
Grace B-person
Hopper I-person

nothing O
here O
"""

_CONTEXTS = {
    "Ada Lovelace wrote the first program in London.": {
        "Who wrote the first program?": "Ada Lovelace",
        "Where?": "London",
    },
    "The film was shot in Rome, and it rained 😀 all week.": {
        "Where was the film shot?": "Rome",
        "How long?": "all week",
    },
    "She saw Paris once, in 1925, and never again.": {"When did she see Paris?": "1925", "What did she see?": "Paris"},
}

QUESTIONS = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": context,
                    "qas": [
                        {
                            "id": f"{i}.{question}",
                            "question": question,
                            "answers": [{"text": answer, "answer_start": context.index(answer)}],
                        }
                        for question, answer in questions.items()
                    ],
                }
                for i, (context, questions) in enumerate(_CONTEXTS.items())
            ]
        }
    ]
}


def write_examples(directory: Path) -> dict[str, Path]:
    """Writes a file of examples for regression, tagging and question answering; returns the files by task."""
    files = {
        "regression": directory / "pairs.tsv",
        "tagging": directory / "tagged.conll",
        "question-answering": directory / "questions.json",
    }
    files["regression"].write_text(f"text\ttext_pair\tlabel\n{PAIRS}", encoding="utf-8")
    files["tagging"].write_text(TAGGED, encoding="utf-8")
    files["question-answering"].write_text(json.dumps(QUESTIONS), encoding="utf-8")
    return files
