"""Work of training that is timed: products, the exact softmax, and whole steps."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset

SQUARE = 2048  # Rows of the matrices whose product is the machine's rate.
_POSITIONS = 4096  # Of the loss alone.


class Work(NamedTuple):
    """Something to be timed.

    Attributes:
        flops: Floating-point operations of a call.
        run: Does it.
        num_targets: Training targets of a call.
    """

    flops: float
    run: Callable[[], Any]
    num_targets: int = 0


def product_work() -> Work:
    """Returns one product of two large fp32 matrices."""
    import tensorflow as tf

    square = tf.random.Generator.from_seed(0).normal([SQUARE, SQUARE])

    @tf.function
    def product() -> tf.Tensor:
        return tf.matmul(square, square)

    return Work(2.0 * SQUARE**3, lambda: product().numpy())


def softmax_works(
    config: ExperimentConfig, dataset: PreparedDataset
) -> tuple[Work, Work]:
    """Returns the exact softmax with its gradients: written plainly, and ours."""
    import tensorflow as tf

    from tfrec.models.chunked_softmax import chunked_softmax_loss

    num_items = len(dataset.item_vocabulary.counts)
    dim = config.retrieval.embedding_dim
    generator = tf.random.Generator.from_seed(0)
    queries = generator.normal([_POSITIONS, dim])
    candidates = tf.math.l2_normalize(generator.normal([num_items, dim]), axis=1)
    bias = tf.zeros([num_items])
    columns = generator.uniform([_POSITIONS], 0, num_items, tf.int32)

    def plainly(queries: tf.Tensor, candidates: tf.Tensor, bias: tf.Tensor) -> Any:
        logits = tf.matmul(queries, candidates, transpose_b=True) + bias
        return tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(columns, logits)
        )

    def ours(queries: tf.Tensor, candidates: tf.Tensor, bias: tf.Tensor) -> Any:
        weights = tf.ones([_POSITIONS])
        return chunked_softmax_loss(queries, candidates, bias, columns, weights)

    def with_gradients(loss: Callable[..., Any]) -> Callable[[], Any]:
        @tf.function
        def run() -> Any:
            sources = (queries, candidates, bias)
            with tf.GradientTape() as tape:
                tape.watch(sources)
                value = loss(*sources)
            return value, tape.gradient(value, sources)

        return lambda: run()[0].numpy()

    flops = 6.0 * _POSITIONS * num_items * dim
    return Work(flops, with_gradients(plainly)), Work(flops, with_gradients(ours))


class TrainingSteps:
    """The training of retrieval, step by step.

    Args:
        config: The configuration.
        dataset: Its prepared data.
    """

    def __init__(self, config: ExperimentConfig, dataset: PreparedDataset) -> None:
        import tensorflow as tf

        from tfrec.features.item_table import build_item_table
        from tfrec.training.fitting import make_optimizer
        from tfrec.training.input import batch_spec, endless_batches, make_builder
        from tfrec.training.retrieval import build_retrieval_model

        sequences = dataset.load_sequences()
        model = build_retrieval_model(config, dataset, build_item_table(dataset))
        settings = config.training.retrieval.optimizer
        model.compile(optimizer=make_optimizer(settings, model.first_variables))
        self.config = config
        self.model = model
        self.num_items = model.num_items
        self.num_weights = sum(
            weight.shape.num_elements() for weight in model.trainable_variables
        )
        self.builder = make_builder(
            config, sequences, splits=("train",), num_replicas=1
        )
        self.batches: Iterator[Any] = iter(endless_batches(self.builder, lambda: 0))
        self.spec = batch_spec(sequences)
        self._step: Any = tf.function(model.train_step, input_signature=[self.spec])

    def run(self, batch: Any) -> None:
        """Learns from a batch; returns when that is done."""
        self._step(batch)["loss"].numpy()

    def count(self, batch: Any) -> tuple[int, float]:
        """Returns the targets of a batch, and the operations of its products."""
        flops = step_flops(self.config, batch, self.num_items)
        return int(batch.target_items.shape[0]), flops


def step_flops(config: ExperimentConfig, batch: Any, num_items: int) -> float:
    """Counts the products of a step, forward and backward (three times forward)."""
    settings = config.retrieval
    rows, length = batch.tokens.item_index.shape
    targets, dim = int(batch.target_items.shape[0]), settings.embedding_dim
    dense = 4 * dim * dim + 2 * dim * settings.feedforward_dim
    attention = 2 * length * dim
    encoder = settings.num_layers * rows * length * (dense + attention)
    return 6.0 * (settings.num_interests * targets * num_items * dim + encoder)
