"""Room that is being made: kept for the pods it is made for, against all that are not dearer. Pure."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ketch.local.scheduler.preemption import Claim, Plan
from ketch.local.scheduler.state import State


def _reserved(uid: str) -> str:
    """What stands in the state for the pod while it has no node."""
    return f"nominated/{uid}"


@dataclass
class Nominations:
    """Pods with a node to come, and who goes for them. Invariant: each counts on its node as if it were there."""

    state: State
    _claims: dict[str, Claim] = field(default_factory=dict[str, Claim])
    _victims: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def add(self, plan: Plan) -> None:
        """Keep the room that the plan makes."""
        going = frozenset(each.uid for each in plan.victims)
        for claim in plan.claims:
            self.drop(claim.uid)
            self._claims[claim.uid] = claim
            self._victims[claim.uid] = going
            self.state.place(_reserved(claim.uid), claim.needs, claim.node)

    def drop(self, uid: str) -> bool:
        """The pod needs it no more, or has not got it after all; whether it had any."""
        known = self._claims.pop(uid, None)
        self._victims.pop(uid, None)
        return known is not None and self.state.displace(_reserved(uid))

    def node_of(self, uid: str) -> str:
        """The node that the pod is to have; empty for none."""
        claim = self._claims.get(uid)
        return claim.node if claim else ""

    def is_coming(self, uid: str) -> bool:
        """Whether some who are to go for the pod are still there."""
        return any(self.state.node_of(each) for each in self._victims.get(uid, ()))

    @contextmanager
    def lifted(self, uids: Collection[str], priority: int) -> Generator[None]:
        """The state as ``uids`` may use it: without what is kept for themselves or for those less dear."""
        if not self._claims:
            yield
            return
        own = [each for each in self._claims.values() if each.uid in uids or each.needs.priority < priority]
        for claim in own:
            self.state.displace(_reserved(claim.uid))
        try:
            yield
        finally:
            for claim in own:
                if self._claims.get(claim.uid) is claim:  # it was not given up, or changed, meanwhile
                    self.state.place(_reserved(claim.uid), claim.needs, claim.node)
