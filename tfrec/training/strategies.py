"""The `tf.distribute` strategy of a run."""

import logging
import os

import tensorflow as tf

from tfrec.config import TrainingConfig

logger = logging.getLogger(__name__)


def make_strategy(config: TrainingConfig) -> tf.distribute.Strategy:
    """Builds the strategy that the configuration names.

    `auto` is `multi_worker` where `TF_CONFIG` is set, `mirrored` where there is
    more than one GPU or logical CPU device, and the default strategy otherwise.

    Raises:
        ValueError: If `multi_worker` is asked for without `TF_CONFIG`, or logical
            devices after TensorFlow has started.
    """
    _configure_devices(config)
    name = config.strategy
    has_cluster = bool(os.environ.get("TF_CONFIG"))
    if name == "multi_worker" and not has_cluster:
        raise ValueError(
            "`training.strategy=multi_worker` needs the environment variable TF_CONFIG "
            "with the cluster and this task. Received: none."
        )
    if name == "multi_worker" or (name == "auto" and has_cluster):
        # Before anything looks at the devices: that starts TensorFlow, and then its
        # collective ops can no longer be configured.
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    cpus = tf.config.list_logical_devices("CPU")
    if name == "auto":
        name = "mirrored" if max(len(gpus), len(cpus)) > 1 else "default"
    logger.info("Strategy %s on %d GPU(s), %d CPU(s).", name, len(gpus), len(cpus))
    if name == "mirrored":
        return tf.distribute.MirroredStrategy([d.name for d in gpus or cpus])
    return tf.distribute.get_strategy()


def _configure_devices(config: TrainingConfig) -> None:
    for gpu in tf.config.list_physical_devices("GPU"):
        # Without it TensorFlow takes all memory of the device at once.
        tf.config.experimental.set_memory_growth(gpu, True)
    if config.num_logical_devices is None:
        return
    cpu = tf.config.list_physical_devices("CPU")[0]
    wanted = [tf.config.LogicalDeviceConfiguration()] * config.num_logical_devices
    existing = tf.config.get_logical_device_configuration(cpu)
    if existing is not None and len(existing) == len(wanted):
        return
    try:
        tf.config.set_logical_device_configuration(cpu, wanted)
    except RuntimeError as error:
        raise ValueError(
            "`training.num_logical_devices` must be set before TensorFlow starts; "
            "run this configuration in a process of its own."
        ) from error
