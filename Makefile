# The README's two commands come first.
.PHONY: run test stop bench fmt

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

fmt:
	cargo fmt --all
