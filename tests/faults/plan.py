"""The list of faults that a seed stands for. Nothing here looks at the clock or at the machine."""

import random
from dataclasses import dataclass, field

EMBEDDED, ETCD = "embedded", "etcd"
BOTH = (EMBEDDED, ETCD)
# What the log's thread does between deciding a transaction and acknowledging it, and while it starts a segment or a
# checkpoint.
CALLS = "pwrite64,fdatasync,fsync,fallocate,ftruncate,openat,rename,unlink"
# Seconds that a clock is off; the server's certificates began an hour before its start.
CLOCK = [0, 3, 100, 3700, 30 * 3600, -3, -100, -1800]

# kind: how often, on which datastore, what is drawn for it
KINDS = {
    "the server is killed": (10, BOTH, lambda r: {"down_ms": r.choice([0, 0, 300, 1500])}),
    "the server is killed at a system call": (12, [EMBEDDED], lambda r: {"call": r.randint(1, 40)}),
    "the server is killed while it starts": (6, BOTH, lambda r: {"after_ms": r.randint(0, 120), "power": r.random() < 0.5}),
    "the server loses power": (10, [EMBEDDED], lambda r: {"down_ms": r.choice([0, 500])}),
    "the server loses power at a system call": (12, [EMBEDDED], lambda r: {"call": r.randint(1, 40)}),
    "the kubelet is killed": (9, BOTH, lambda r: {"down_ms": r.choice([0, 300, 2000])}),
    "containerd is killed": (7, BOTH, lambda r: {}),
    "kubelet and containerd are killed": (4, BOTH, lambda r: {"down_ms": r.choice([0, 1000])}),
    "server, kubelet and containerd are killed": (4, BOTH, lambda r: {"down_ms": r.choice([0, 1000])}),
    "the node loses power": (3, BOTH, lambda r: {}),
    "the disk fills": (6, [EMBEDDED], lambda r: {"full_ms": r.choice([500, 2000]), "kill": r.random() < 0.4}),
    "syncs fail": (8, [EMBEDDED], lambda r: {"count": r.randint(1, 3), "power": r.random() < 0.4}),
    "a sync takes 2 s": (6, BOTH, lambda r: {"kill": r.random() < 0.3}),
    "the server's clock jumps": (6, BOTH, lambda r: {"to_s": r.choice(CLOCK)}),
    "the node's clock jumps": (5, BOTH, lambda r: {"to_s": r.choice(CLOCK)}),
    "etcd is killed": (14, [ETCD], lambda r: {"down_ms": r.choice([0, 300, 3000])}),
    "etcd loses power": (10, [ETCD], lambda r: {"down_ms": r.choice([0, 1000])}),
    "server and etcd are killed": (5, [ETCD], lambda r: {"power": r.random() < 0.5}),
}
# A cluster lives through so many faults; every third one is on an etcd.
LIFE = 50


@dataclass
class Fault:
    kind: str
    given: dict
    wait_ms: int  # from the last check to the fault
    replicas: int  # what a Deployment is scaled to beforehand
    seed: int  # for what is drawn while it happens

    def __str__(self):
        return ", ".join([self.kind, *(f"{key} {value}" for key, value in self.given.items())])


@dataclass
class Life:
    datastore: str
    faults: list = field(default_factory=list)


def lives(seed, count, life=LIFE):
    chance, plan, replicas = random.Random(seed), [], 2
    for number in range(count):
        if number % life == 0:
            plan.append(Life(ETCD if len(plan) % 3 == 1 else EMBEDDED))
        kinds = [kind for kind, (_, on, _) in KINDS.items() if plan[-1].datastore in on]
        kind = chance.choices(kinds, [KINDS[kind][0] for kind in kinds])[0]
        replicas = chance.choice([other for other in (1, 2, 3) if other != replicas])
        fault = Fault(kind, KINDS[kind][2](chance), chance.randint(0, 400), replicas, chance.getrandbits(32))
        plan[-1].faults.append(fault)
    return plan
