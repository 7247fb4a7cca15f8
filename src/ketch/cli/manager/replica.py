"""One replica's life: it answers webhooks from the start, waits until it leads, then does all of it."""

import asyncio
import os
import platform
import socket
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import msgspec

from ketch.cli.manager.certificates import shared_pair
from ketch.cli.manager.doors import Duties, context_of, health_application, listening, secure_application
from ketch.cli.manager.options import NAME, WEBHOOK_SUFFIX, ManagerOptions
from ketch.cli.parts import Part
from ketch.cli.serving import served
from ketch.kube.admission import Admission
from ketch.kube.certificates import ServingPair
from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import Forbidden, NotFound
from ketch.kube.installation import PatientInstaller
from ketch.kube.leader import LeaseLock
from ketch.kube.webhooks.guarding import GuardedManager
from ketch.kube.webhooks.registrations import (
    MutatingWebhookConfiguration,
    Place,
    ValidatingWebhookConfiguration,
    registrations,
)
from ketch.kube.webhooks.reviews import Reviewer
from ketch.local.platform.supervisor import listen_at
from ketch.local.program import announce_ready
from ketch.metadata.database import Database
from ketch.metadata.objects import LocalObjectStore
from ketch.pipelines.native.setup import admissions as pipelines_admissions
from ketch.pipelines.settings import read_settings
from ketch.pipelines.setup import CARRIAGE
from ketch.pipelines.setup import setup as setup_pipelines
from ketch.pipelines.transfer.sources import KUBEFLOW_MINIO, Carriage
from ketch.training.progress.telling import StatusAddress
from ketch.training.setup import admissions as training_admissions
from ketch.training.setup import setup as setup_training


class Replica:
    """A manager of a cluster, for as long as ``run`` runs."""

    def __init__(self, client: Client, clock: Clock, options: ManagerOptions) -> None:
        self._client = client
        self._clock = clock
        self._options = options
        self._duties = Duties()
        self._admissions = _admissions(options)
        self._secure_port = options.secure_port

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set. Raises LeadershipLost, DefinitionsMissing, DatabaseUnusable, StartError, OSError,
        APIError, TransportError."""
        options = self._options
        async with AsyncExitStack() as doors:
            health = health_application(self._duties)
            await doors.enter_async_context(listening(health, options.bind, options.health_port))
            pair = None
            if options.names:
                pair = await shared_pair(self._client, options.namespace, options.names, self._clock)
                secure = secure_application(Reviewer(self._admissions, self._client, self._clock), self._duties)
                listened = listening(secure, options.bind, options.secure_port, context_of(pair))
                self._secure_port = await doors.enter_async_context(listened)
            announce_ready()
            await self._until_stopped(stop, pair)

    async def _until_stopped(self, stop: asyncio.Event, pair: ServingPair | None) -> None:
        lock = self._lock()
        if lock is None:
            await _first(stop.wait(), self._lead(pair))
            return
        if not await _first(stop.wait(), lock.acquire()):
            return
        try:
            await _first(stop.wait(), lock.hold(), self._lead(pair))
        finally:
            await lock.release()

    def _lock(self) -> LeaseLock | None:
        options = self._options
        if not options.leader_elect:
            return None
        identity = f"{platform.node()}_{uuid.uuid4()}"
        return LeaseLock(self._client, self._clock, NAME, options.namespace, identity)

    async def _lead(self, pair: ServingPair | None) -> None:
        """Run the controllers and the APIs until cancelled."""
        options, duties = self._options, self._duties
        await self._register(pair)
        manager = GuardedManager(self._client, self._clock, self._admissions)
        install = PatientInstaller(self._clock)
        database = Database(options.database)
        running: asyncio.Task[None] | None = None
        try:
            application, sockets = None, list[socket.socket]()
            if Part.PIPELINES not in options.without:
                settings = replace(read_settings(os.environ), hosts=options.hosts)
                store = None if options.objects is None else LocalObjectStore(options.objects)
                application = await setup_pipelines(manager, database, store, settings, self._carriage(), install)
                sockets.append(listen_at(options.bind, options.port, "--port"))
            if Part.TRAINING not in options.without:
                duties.door = await setup_training(manager, self._status_address(pair), install)
            duties.manager = manager
            running = asyncio.create_task(manager.run())
            async with served(application, sockets):
                duties.serving = True
                await running
        finally:
            duties.manager, duties.door, duties.serving = None, None, False
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await database.close()

    def _carriage(self) -> Carriage:
        options = self._options
        sources = () if options.objects is not None else (KUBEFLOW_MINIO,)
        return msgspec.structs.replace(CARRIAGE, sources=sources, image=options.image or CARRIAGE.image)

    def _status_address(self, pair: ServingPair | None) -> StatusAddress | None:
        if pair is None:
            return None
        options = self._options
        host = options.advertise or f"{options.service}.{options.namespace}.svc"
        port = f":{self._secure_port}" if options.advertise else ""
        return StatusAddress(f"https://{host}{port}", authority=pair.certificate.decode())

    async def _register(self, pair: ServingPair | None) -> None:
        """Have the API server ask our webhooks, or nobody."""
        options = self._options
        if pair is None or not options.webhooks:
            for kind in (MutatingWebhookConfiguration, ValidatingWebhookConfiguration):
                with suppress(NotFound, Forbidden):
                    await self._client.delete(kind, NAME)
            return
        if options.advertise:
            place = Place(pair.certificate, url=f"https://{options.advertise}:{self._secure_port}")
        else:
            service = f"{options.service}{WEBHOOK_SUFFIX}"
            place = Place(pair.certificate, namespace=options.namespace, service=service)
        for registration in registrations(NAME, self._admissions, place):
            await self._client.apply(registration, manager=NAME)


def _admissions(options: ManagerOptions) -> Sequence[Admission[Any]]:
    pipelines = () if Part.PIPELINES in options.without else pipelines_admissions()
    return (*pipelines, *(() if Part.TRAINING in options.without else training_admissions()))


async def _first(stopping: Coroutine[Any, Any, Any], *others: Coroutine[Any, Any, Any]) -> bool:
    """Run all until one ends, and end the rest: whether it was one of the ``others``, whose error is raised."""
    first = asyncio.create_task(stopping)
    tasks = [asyncio.create_task(each) for each in others]
    try:
        done, _ = await asyncio.wait((first, *tasks), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (first, *tasks):
            task.cancel()
        await asyncio.gather(first, *tasks, return_exceptions=True)
    for task in done - {first}:
        task.result()
    return first not in done
