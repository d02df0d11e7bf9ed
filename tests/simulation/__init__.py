"""Deterministic simulation: a night of faults from one number, the classes of the daemon in the middle of it.

A seed makes a world (:mod:`simulation.world`): a source that sends a few visits of a tiny field, a daemon, telescope
control, their disks and the net between them. For eight seconds everything may go wrong (:mod:`simulation.faults`);
then it is fair, and within ninety seconds all must be as it would have been without (:mod:`simulation.laws`).
A world costs sixty milliseconds. The same seed gives the same world, event by event.

Real, that is the very classes that run at the telescope: :class:`~live_spec.client.sender.Sender` with its spool in
memory or in a folder; frames, headers, checksums; :class:`~live_spec.wire.ordering.Inbox` and
:class:`~live_specd.reception.Reception`; the journal with its recovery, on real files; the checkpoint;
:class:`~live_specd.service.Service` with translator and advisor; the table of decisions on real SQLite;
:class:`~live_specd.outbox.Outbox`; telescope control's :class:`~live_spec.client.tcs.Ledger`.

Simulated (:mod:`simulation.stand_ins`, :mod:`simulation.net`, :mod:`simulation.disk`): the sockets, the clocks, the
page cache and what a power failure does to it, one thread where the daemon has three, and the network, whose answers
are a function of the S/N. Sockets, keys, threads, signals and the worker process are tested on the real ones in
``tests/service``.

    python -m simulation            2,000 worlds and the mutants; others with --n and --seed
    python -m simulation --only 7   one of them, with everything that happens in it

:mod:`simulation.mutants` breaks the classes in one place each, to see whether the laws notice;
:mod:`simulation.power_cuts` cuts the power at every call that writes.
"""
