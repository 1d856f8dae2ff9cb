# The README's two commands come first.
.PHONY: run test stop bench bench-upstream profile fmt fuzz cluster cluster-stop conformance swap compare clients faults

export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/go/bin

# Builds Xebec, starts a cluster, runs the demo.
run:
	@scripts/run

# Everything that must hold.
test:
	@scripts/test

# Ends the cluster of `make run` and removes all that it made.
stop:
	@scripts/stop

# Puts load on a server of its own and prints the figures of SPECIFICATION.md.
bench:
	@scripts/bench

# The same load on upstream's API server with etcd and on Xebec, in turn; writes BENCHMARKS.md. Needs Go.
bench-upstream:
	@scripts/bench-upstream

# Says where the server spends its time during one phase of the bench: make profile WHAT=create-pod-16
profile:
	@scripts/profile $(WHAT)

# Starts a cluster of several nodes on this machine, each in namespaces of its own.
NODES ?= 2
cluster:
	@scripts/install run
	@cargo build --release --quiet --package xebec
	@scripts/cluster up $(NODES)

# Ends it and removes all that it made.
cluster-stop:
	@scripts/cluster down

# Upstream's conformance suite against two nodes; FOCUS=… for a part. Needs Go.
FOCUS ?=
conformance:
	@scripts/install run
	@cargo build --release --quiet --package xebec
	@tests/conformance/suite $(if $(FOCUS),--focus '$(FOCUS)')

# Upstream's programs beside, over and under ours, in all combinations, and faults of the etcd under it: an hour. Needs Go.
swap:
	@scripts/install test
	@scripts/swap

# The same requests to our API server and to upstream's: tells every difference. LABELS=… for a part. Needs Go.
LABELS ?=
compare:
	@scripts/compare $(if $(LABELS),'$(LABELS)')

# Clients that others wrote, each at work against a cluster; NAMES=… for some, see docs/clients.md. Needs Go and Python.
NAMES ?=
clients:
	@scripts/install run
	@cargo build --release --quiet --package xebec
	@tests/clients/run $(NAMES)

# Faults drawn from a seed while clients write and watch: kills, power cuts, full disks, failing syncs, clocks. Prints
# one line a fault; SEED and FAULTS choose the list, see docs/faults.md.
SEED ?= 1
FAULTS ?= 300
faults:
	@scripts/install test
	@cargo build --release --quiet --package xebec
	@tests/faults/run --seed $(SEED) --faults $(FAULTS)

# Fuzzes the decoders: WHAT=json for one of them, SECONDS for how long each. See docs/fuzz.md.
WHAT ?=
SECONDS ?= 1200
fuzz:
	@scripts/install test
	@fuzz/run $(SECONDS) $(WHAT)

fmt:
	cargo fmt --all
