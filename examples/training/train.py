"""Handwritten-looking digits, learned by several processes together; a plain PyTorch script.

    ketch train examples/training/train.py --nodes 2 --checkpoints -- --epochs 4

Where it was stopped or killed, it goes on from its last checkpoint. It also runs by itself: ``torchrun train.py``.
"""

import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

try:
    import ketch_training
except ModuleNotFoundError:  # not on Ketch: it trains without checkpoints, and tells nobody
    ketch_training = None

GLYPHS = """
.###. ..#.. .###. ####. ...#. ##### .###. ##### .###. .###.
#...# .##.. #...# ....# ..##. #.... #.... ....# #...# #...#
#...# ..#.. ...#. .###. .#.#. ####. ####. ...#. .###. .####
#...# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
.###. .###. ##### ####. ...#. ####. .###. .#... .###. .###.
"""


def glyphs():
    """The ten digits as pictures of 5 x 5."""
    rows = [line.split() for line in GLYPHS.strip().splitlines()]
    pictures = [[[float(dot == "#") for dot in row[digit]] for row in rows] for digit in range(10)]
    return torch.tensor(pictures)


def samples(count, seed):
    """Digits that were moved about a picture of 8 x 8, and blurred by noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    images = torch.rand((count, 8, 8), generator=generator) * 0.6
    places = torch.randint(0, 4, (count, 2), generator=generator)
    for image, picture, (top, left) in zip(images, glyphs()[labels], places.tolist()):
        image[top : top + 5, left : left + 5] += picture
    return images.flatten(1), labels


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    epoch = load(network, optimizer)
    model = DistributedDataParallel(network)
    images, labels = samples(2048, seed=rank)  # each process has its own share
    batches = len(images) // arguments.batch
    while epoch < arguments.epochs:
        for batch in range(batches):
            chosen = slice(batch * arguments.batch, (batch + 1) * arguments.batch)
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if ketch_training:
                step, total = epoch * batches + batch + 1, arguments.epochs * batches
                ketch_training.report(step, total=total, samples=arguments.batch, loss=loss)
        epoch += 1
        if rank == 0:
            save(network, optimizer, epoch)
            print(f"epoch {epoch}: {accuracy(network):.0%} right, on {world} processes", flush=True)
    dist.destroy_process_group()


def accuracy(network):
    """How many of digits that were never seen are known."""
    images, labels = samples(1000, seed=10_000)
    with torch.no_grad():
        return (network(images).argmax(1) == labels).float().mean().item()


def load(network, optimizer):
    """Take up the last checkpoint; the epoch that it ended with."""
    last = ketch_training and ketch_training.latest_checkpoint()
    if not last:
        return 0
    state = torch.load(last)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return state["epoch"]


def save(network, optimizer, epoch):
    """Leave a checkpoint."""
    if ketch_training is None:
        return
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    with ketch_training.saving_checkpoint(epoch, ".pt") as path:
        torch.save(state, path)


if __name__ == "__main__":
    main()
    os._exit(0)  # torch 2.13: a thread of gloo may abort an interpreter that ends in the ordinary way
