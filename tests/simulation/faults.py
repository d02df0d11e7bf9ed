"""What goes wrong in a world while it may: processes die, machines lose power, disks fill up, numbers come twice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from live_spec.core.messages import advice_from_json, advice_json
from live_spec.wire.decisions import Decision, decision_to_frames
from live_spec.wire.frames import Message, to_frames
from live_spec.wire.messages import header_from_bytes
from simulation.bridge import Bridge
from simulation.daemon import Daemon
from simulation.disk import Disk, Killed
from simulation.net import Weather
from simulation.source import Source

if TYPE_CHECKING:
    from simulation.world import Actor, World

BAD_S = 8.0
"""How long everything may go wrong."""
P_ECHO = (0.0, 0.1)
DEATHS_PER_S = {"source": (0.0, 0.1, 0.4), "daemon": (0.0, 0.1, 0.4), "bridge": (0.0, 0.2)}
P_POWER = 0.5
"""Of the deaths, how many take the page cache along."""
P_DOOMED = 0.5
"""Of those that are killed, how many lose power as soon as they are there again."""
P_NEW_DISK = 0.1
FORGED: dict[str, dict[str, Any]] = {"design": {"plan": 9}, "exposure": {"tier": "ap1D"}}
"""What is different in a second message of the same number, by its kind."""


class Faults:
    """Draws from the world's random numbers what goes wrong, and does it.

    Args:
        calm: Nothing does.
    """

    def __init__(self, world: World, *, calm: bool) -> None:
        self._world, self._calm = world, calm
        rng = world.rng
        self.weather = Weather.draw(rng, world.now_s, BAD_S)
        self.p_worker_fails = 0.0 if calm else rng.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.1))
        self._p_echo = 0.0 if calm else rng.choice(P_ECHO)
        self._deaths_per_s = {name: 0.0 if calm else rng.choice(rates) for name, rates in DEATHS_PER_S.items()}
        self.n_commands = 0 if calm else rng.choice((0, 0, 0, 0, 0, 2))
        self._doomed: set[str] = set()
        self._contradicts = not calm and rng.random() < 0.25

    def plan(self) -> None:
        """What happens at a certain time."""
        if self._calm:
            return
        world, rng = self._world, self._world.rng
        for disk in world.disks:
            if rng.random() < 0.25:
                start_s = rng.uniform(0.0, BAD_S)
                world.at(start_s, self._fill, disk)
                world.at(min(BAD_S, start_s + rng.choice((0.3, 3.0))), self.make_room, disk)
        for _ in range(self.n_commands):
            world.at(rng.uniform(0.0, BAD_S), self.command, world.daemon)
        if self._contradicts:
            world.at(rng.uniform(1.0, BAD_S), self._contradict)
        if rng.random() < 0.25:
            world.at(rng.uniform(1.0, BAD_S), self._forgotten_daemon)
        world.at(BAD_S, self._calm_down)

    # -- deaths --------------------------------------------------------------------------------------------------

    def start(self, actor: Actor) -> None:
        """Start a process that is not there; it may already have its death in it."""
        if actor.is_up:
            return
        world = self._world
        rate = self._deaths_per_s[actor.name] if world.is_bad else 0.0
        if actor.name in self._doomed:
            self._doomed.discard(actor.name)
            world.at(world.rng.uniform(0.0, 0.3), self._strike, actor, 1.0)
        elif rate:
            if not isinstance(actor, Bridge) and world.rng.random() < 0.5:
                actor.disk.fuse = world.rng.randrange(1, world.rng.choice((30, 150)))
                actor.disk.dies_syncing = world.rng.random() < 0.5
            else:
                world.at(world.rng.expovariate(rate), self._strike, actor)
            if isinstance(actor, Source) and world.rng.random() < P_NEW_DISK:
                world.tell(actor.name, "has a new disk", "disks replaced")
                actor.disk.replace()
                world.is_exact = False
        self.guarded(actor, actor.start)

    def guarded(self, actor: Actor, what: Any, *args: Any) -> None:
        """Let an actor do something; it may die of it."""
        disk = None if isinstance(actor, Bridge) else actor.disk
        try:
            what(*args)
        except Killed:
            self._dies(actor, 0.3)
        except Exception:
            if disk is None or not disk.is_dead:
                raise
            self._dies(actor, 0.3)
        else:
            if disk is not None and disk.is_dead:
                self._dies(actor, 0.3)

    def fails(self, actor: Source | Daemon) -> None:
        """A process ends with an error, and is started again.

        Raises:
            Killed: When it was dead before.
        """
        actor.stop()
        if actor.disk.is_dead:
            raise Killed
        self._world.tell(actor.name, "ends with an error", "processes ended by an error")
        actor.disk.kill()
        self._world.at(1.0, self.start, actor)

    def _strike(self, actor: Actor, power: float = P_POWER) -> None:
        world = self._world
        if not (actor.is_up and world.is_bad):
            return
        if isinstance(actor, Bridge) and world.rng.random() < 0.7:
            actor.dies_in_act = True
        elif isinstance(actor, Daemon) and power < 1.0 and world.rng.random() < 0.2:
            world.tell(actor.name, "is asked to end", "daemons asked to end")
            self.guarded(actor, actor.end)
            self._dies(actor, 0.0)
        else:
            self._dies(actor, power)

    def _dies(self, actor: Actor, power: float) -> None:
        """An actor is gone, and with probability ``power`` its machine's page cache too."""
        world = self._world
        if actor.is_up or not isinstance(actor, Bridge):
            actor.stop()
        if not isinstance(actor, Bridge) and world.rng.random() < power:
            world.tell(actor.name, "loses power", "machines without power")
            actor.disk.lose_power()
        else:
            world.tell(actor.name, "is killed", "processes killed")
            if not isinstance(actor, Bridge):
                actor.disk.kill()
                # One that is hardly there again says what it found before it has written anything.
                if world.is_bad and world.rng.random() < P_DOOMED:
                    self._doomed.add(actor.name)
        world.at(world.rng.choice((0.0, 0.2, 2.0)), self.start, actor)

    def dies_before_ack(self) -> bool:
        """Whether telescope control dies after it has acted."""
        world = self._world
        return world.is_bad and self._deaths_per_s["bridge"] > 0 and world.rng.random() < 0.1

    # -- disks ---------------------------------------------------------------------------------------------------

    def _fill(self, disk: Disk) -> None:
        self._world.tell(disk.root.name, "has a full disk", "disks full")
        disk.is_full = True

    def make_room(self, disk: Disk) -> None:
        """A disk is no longer full."""
        if disk.is_full:
            self._world.tell(disk.root.name, "has room on its disk")
        disk.is_full = False

    def _calm_down(self) -> None:
        self._world.tell("world", "from here on nothing goes wrong")
        self._world.is_bad, self._world.net.weather = False, None
        for disk in self._world.disks:
            disk.is_full, disk.fuse = False, None

    # -- what is said --------------------------------------------------------------------------------------------

    def echoes(self) -> float | None:
        """After how long a message comes once more, if it does."""
        world = self._world
        return world.rng.uniform(1.0, 5.0) if world.is_bad and world.rng.random() < self._p_echo else None

    def command(self, daemon: Daemon) -> None:
        """An operator holds the field."""
        world = self._world
        if self.n_commands == 0:
            return
        values = {"visit": "v1", "author": "kp", "action": "hold", "reason": "moon", "note": f"{world.now_s:.3f}"}
        header = json.dumps({"event": "override", **values, "expires_after": 2}).encode()

        def take() -> None:
            if daemon.command(header):
                world.laws.commands.append(header)

        self.guarded(daemon, take)

    def _forgotten_daemon(self) -> None:
        """A daemon on another machine, long replaced, has a decision of its own."""
        world = self._world
        if not world.bridge.is_up or not world.laws.heard_epoch or not world.laws.said:
            return
        earlier = advice_from_json(next(reversed(world.laws.said.values())))
        body = advice_json(replace(earlier, id=f"{earlier.visit}/99/1", exposure=99))
        decision = Decision(999, world.laws.heard_epoch - 1, f"{earlier.visit}/99/1", body)
        world.tell("net", "a decision of a daemon that was replaced", "decisions of replaced daemons")
        self.guarded(world.bridge, world.bridge.hear, decision_to_frames(decision))

    def _contradict(self) -> None:
        """A message that is on disk comes again with other contents."""
        world = self._world
        epoch, last = max(world.laws.promised.items(), default=(0, 0))
        if not last or epoch != world.source.sender.epoch or not world.daemon.is_up:
            return
        sent = world.source.sent.get((epoch, world.rng.randrange(1, last + 1)))
        if sent is None:
            return
        header = header_from_bytes(sent[1])
        change = FORGED.get(header.kind, {"visit": "v9"})
        forged = to_frames(Message(header.model_copy(update=change), sent[2]))
        known = world.daemon.remembers(header.seq)
        world.tell("net", f"a second message {header.seq}, with other contents", "contradictions")
        self.guarded(world.daemon, world.daemon.hear, tuple(bytes(frame) for frame in forged))
        world.laws.n_contradictions += known and world.daemon.is_up
