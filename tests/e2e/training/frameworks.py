"""Programs that train with real collectives, each beside one process that trains alone. They travel as text.

Each prints, from rank 0, a line ``result`` with what it learnt together and alone; they must be the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent

JAX = dedent(
    """
    import os
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if "JAX_COORDINATOR_ADDRESS" in os.environ:  # a TrainJob
        names = ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID")
        address, count, index = (os.environ[f"JAX_{name}"] for name in names)
    else:  # a JAXJob
        address = f"{os.environ['COORDINATOR_ADDRESS']}:{os.environ['COORDINATOR_PORT']}"
        count, index = os.environ["NUM_PROCESSES"], os.environ["PROCESS_ID"]
    jax.distributed.initialize(address, int(count), int(index))

    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()), ("data",))
    rows, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    data = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)
    answer = data @ np.arange(4, dtype=np.float32)

    def step(weights, data, answer):
        loss, slope = jax.value_and_grad(lambda w: jnp.mean((data @ w - answer) ** 2))(weights)
        return weights - 0.1 * slope, loss

    def trained(data, answer, step):
        weights = jnp.zeros(4, jnp.float32)
        for _ in range(20):
            weights, loss = step(weights, data, answer)
        return float(loss)

    size = 64 // jax.process_count()
    share = slice(jax.process_index() * size, (jax.process_index() + 1) * size)
    across = [jax.make_array_from_process_local_data(rows, each[share]) for each in (data, answer)]
    together = trained(*across, jax.jit(step, out_shardings=(whole, whole)))
    if jax.process_index() == 0:
        print("result", jax.process_count(), together, trained(data, answer, jax.jit(step)), flush=True)
    """
)

XGBOOST = dedent(
    """
    import os, socket, time
    import numpy as np
    import xgboost
    from xgboost import collective
    from xgboost.tracker import RabitTracker

    if "DMLC_TRACKER_URI" in os.environ:  # a TrainJob
        names = ("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_TASK_ID", "DMLC_NUM_WORKER")
    else:  # an XGBoostJob
        names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
    lead, port, rank, count = (os.environ[name] for name in names)
    port, rank, count = int(port), int(rank), int(count)
    while True:
        try:
            address = socket.gethostbyname(lead)
            break
        except OSError:  # the other pod has no address yet
            time.sleep(0.1)
    tracker = None
    if rank == 0:
        tracker = RabitTracker(n_workers=count, host_ip=address, port=port, timeout=120)
        tracker.start()
    generator = np.random.default_rng(3)
    data = generator.integers(0, 16, size=(400, 5)).astype(float)
    answer = data @ np.arange(5) + data[:, 0] * data[:, 1]
    settings = {"max_depth": 3, "eta": 0.3, "tree_method": "hist", "nthread": 1, "base_score": 0.0}

    def trained(rows):
        matrix = xgboost.DMatrix(data[rows], answer[rows])
        return xgboost.train(settings, matrix, num_boost_round=10).predict(xgboost.DMatrix(data))

    told = {"dmlc_communicator": "rabit", "dmlc_tracker_uri": address, "dmlc_tracker_port": port}
    for _ in range(120):
        try:
            collective.init(**told, dmlc_task_id=str(rank), dmlc_timeout=120)
            break
        except xgboost.core.XGBoostError:  # the tracker does not listen yet
            time.sleep(0.5)
    assert collective.get_world_size() == count
    together = trained(slice(rank * 400 // count, (rank + 1) * 400 // count))
    collective.finalize()
    if tracker is not None:
        tracker.wait_for(120)
        alone = trained(slice(None))
        print("result", count, float(np.abs(together).sum()), float(np.abs(alone).sum()), flush=True)
    """
)

TENSORFLOW = dedent(
    """
    import json, os
    import numpy as np
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # reads TF_CONFIG
    place = json.loads(os.environ["TF_CONFIG"])["task"]
    count = strategy.num_replicas_in_sync
    data = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)
    answer = data @ np.arange(4, dtype=np.float32)[:, None]

    def slope(weights, data, answer):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((data @ weights - answer) ** 2) / 64
        return loss, tape.gradient(loss, weights)

    with strategy.scope():
        weights = tf.Variable(tf.zeros((4, 1)), aggregation=tf.VariableAggregation.NONE)
    share = slice(place["index"] * 64 // count, (place["index"] + 1) * 64 // count)

    @tf.function
    def together(data, answer):
        def one():
            loss, change = slope(weights, data, answer)
            context = tf.distribute.get_replica_context()
            loss, change = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, change])
            weights.assign_sub(0.1 * change)
            return loss
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(one), axis=None)

    for _ in range(20):
        loss = float(together(tf.constant(data[share]), tf.constant(answer[share])))
    if place["index"] == 0:
        own = tf.Variable(tf.zeros((4, 1)))
        for _ in range(20):
            alone, change = slope(own, data, answer)
            own.assign_sub(0.1 * change)
        print("result", count, loss, float(alone), flush=True)
    """
)


@dataclass(frozen=True)
class Framework:
    """A job of kubeflow.org/v1 that trains with a framework; ``roles`` are its replicas, the first of them rank 0."""

    kind: str
    image: str
    program: str
    roles: Sequence[tuple[str, int]]
    runtime: str = ""
    """The shipped runtime of TrainJobs, if there is one."""

    @property
    def lead(self) -> str:
        """The first replica, as pods are named after it."""
        return f"{self.roles[0][0].lower()}-0"


FRAMEWORKS = {
    "jax": Framework("JAXJob", "nvcr.io/nvidia/jax:25.10-py3", JAX, [("Worker", 2)], "jax-distributed"),
    "xgboost": Framework(
        "XGBoostJob",
        "ghcr.io/kubeflow/trainer/xgboost-runtime",
        XGBOOST,
        [("Master", 1), ("Worker", 1)],
        "xgboost-distributed",
    ),
    "tensorflow": Framework("TFJob", "tensorflow/tensorflow:2.21.0", TENSORFLOW, [("Worker", 2)]),
}
