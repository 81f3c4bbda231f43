"""The tasks that models are fine-tuned for, a row each in `TASKS`."""

from keras_bert_impl.data import read_conll, read_squad, read_table
from keras_bert_impl.data.conll import iterate_conll
from keras_bert_impl.data.squad import iterate_squad
from keras_bert_impl.data.tables import iterate_table
from keras_bert_impl.tasks import classification, question_answering, tagging
from keras_bert_impl.tasks.task import Task

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="classification",
            model="BertForSequenceClassification",
            problem_type="single_label_classification",
            per_token=False,
            read=read_table,
            examples=iterate_table,
            from_texts=classification.from_texts,
            labels=classification.class_names,
            encode=classification.encode_classes,
            loss=classification.class_loss,
            metrics=classification.class_metrics,
            decode=classification.decode_classes,
            score=classification.score_classes,
            main_metric="accuracy",
            file_columns=("text", "text_pair", "label"),
        ),
        Task(
            name="regression",
            model="BertForSequenceClassification",
            problem_type="regression",
            per_token=False,
            read=read_table,
            examples=iterate_table,
            from_texts=classification.from_texts,
            labels=classification.value_names,
            encode=classification.encode_values,
            loss=classification.value_loss,
            metrics=classification.value_metrics,
            decode=classification.decode_values,
            score=classification.score_values,
            main_metric="pearson",
            file_columns=("text", "text_pair", "label"),
        ),
        Task(
            name="tagging",
            model="BertForTokenClassification",
            problem_type=None,
            per_token=True,
            read=read_conll,
            examples=iterate_conll,
            from_texts=tagging.from_texts,
            labels=tagging.tag_names,
            encode=tagging.encode,
            loss=tagging.loss,
            metrics=tagging.metrics,
            decode=tagging.decode,
            score=tagging.score,
            main_metric="f1",
        ),
        Task(
            name="question-answering",
            model="BertForQuestionAnswering",
            problem_type=None,
            per_token=True,
            read=read_squad,
            examples=iterate_squad,
            from_texts=question_answering.from_texts,
            labels=question_answering.label_names,
            encode=question_answering.encode,
            loss=question_answering.loss,
            metrics=question_answering.metrics,
            decode=question_answering.decode,
            score=question_answering.score,
            main_metric="f1",
            # The mean of both cross entropies, as the published model was trained.
            loss_weights={"start_logits": 0.5, "end_logits": 0.5},
        ),
    )
}

__all__ = ["TASKS", "Task"]
