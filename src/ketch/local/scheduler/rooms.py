"""Making room: cheaper pods are told to go, and what they leave is kept for whom they go."""

from collections.abc import Callable, Sequence

from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.selectors import EVERYTHING, from_label_selector
from ketch.kube.types.policy import PodDisruptionBudget
from ketch.local.scheduler.decisions import Unplaced
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.gangs import Attempt, Gang, Gangs
from ketch.local.scheduler.nominations import Nominations
from ketch.local.scheduler.occupants import Budget, Occupants
from ketch.local.scheduler.preemption import Plan, Wish, World, plan, together
from ketch.local.scheduler.queue import Waiting
from ketch.local.scheduler.state import State
from ketch.local.scheduler.terms import NodeTerm
from ketch.local.scheduler.verdicts import Verdicts

Volumes = Sequence[tuple[NodeTerm, ...]]


class Rooms:
    """Preemption as it is carried out: once for a pod, until those who go for it have gone."""

    def __init__(self, state: State, gangs: Gangs, verdicts: Verdicts, budgets: Informer[PodDisruptionBudget]) -> None:
        self.occupants = Occupants()
        self.nominations = Nominations(state)
        self._state = state
        self._gangs = gangs
        self._verdicts = verdicts
        self._budgets = budgets

    def make(self, pod: Waiting, volumes: Volumes, verdict: Unplaced) -> Unplaced:
        """Let cheaper pods go for one that found no node; the verdict, with what is done about it."""
        if not verdict.cure & Change.ROOM or not self._may(pod):
            return verdict
        if not self.nominations.is_coming(pod.uid):
            self.nominations.drop(pod.uid)
            made = plan(Wish(pod.uid, pod.needs, None, volumes), self._world())
            if made is None:
                return verdict
            self._carry_out(made, pod.key)
        return _with_room_coming(verdict)

    def make_for(self, gang: Gang, outcome: Attempt, volumes: Callable[[Waiting], Volumes]) -> Attempt:
        """Let cheaper pods go for a gang that found no room: for all that it lacks at once, or for nobody."""
        if not any(verdict.cure & Change.ROOM for _, verdict in outcome.refused):
            return outcome
        if not any(map(self._may, gang.waiting.values())):
            return outcome
        if not any(map(self.nominations.is_coming, gang.waiting)):
            for uid in gang.waiting:
                self.nominations.drop(uid)
            waiting = sorted(gang.waiting.values(), key=lambda each: each.order)
            wishes = [Wish(each.uid, each.needs, gang.key, volumes(each)) for each in waiting]
            made = together(wishes, gang.missing or 1, self._world())
            if made is None:
                return outcome
            self._carry_out(made, gang.key)
        return outcome._replace(refused=[(pod, _with_room_coming(verdict)) for pod, verdict in outcome.refused])

    def _may(self, pod: Waiting) -> bool:
        """Whether anybody is cheaper at all: where no pod has a priority, this is all that preemption costs."""
        return pod.needs.preempts and self.occupants.any_below(pod.needs.priority)

    def _world(self) -> World:
        budgets = [
            Budget(
                each.metadata.namespace,
                from_label_selector(each.spec.selector) or EVERYTHING,
                each.status.disruptions_allowed or 0,
            )
            for each in self._budgets.list()
            if each.spec.selector is not None
        ]
        return World(self._state, self.occupants, self._gangs.placed, budgets)

    def _carry_out(self, made: Plan, by: ObjectKey) -> None:
        self.nominations.add(made)
        for victim in made.victims:
            self._verdicts.preempt(victim, by, self._state.node_of(victim.uid))


def _with_room_coming(verdict: Unplaced) -> Unplaced:
    """The verdict on a pod for which cheaper ones go. Its like may not wait behind it: the room is its own."""
    message = f"{verdict.message} Pods of lower priority are ending to make room."
    return Unplaced(message, verdict.cure | Change.ROOM, shared=False)
