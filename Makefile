CARGO ?= cargo

clip := target/demo/vtest.avi
live555 := target/live555/live555-server
tansu := target/tansu/tansu
moto := target/moto
annotated := target/demo/vtest-annotated.mp4
# Tests that call no foreign code, which Miri cannot run; the one that is left out would take it an hour.
kernels := geometry preprocess::tests postprocess::nms postprocess::merge secrets text --skip any_size_matches_the_reference

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-cuda setup-deploy build demo test fuzz lint doc cov miri bench compare soak chaos deploy-check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install the Debian packages and ONNX Runtime; does nothing where both are there
	@scripts/setup.sh

setup-test: ## Install what the tests need as well
	@scripts/setup.sh test

setup-cuda: ## Install ONNX Runtime for NVIDIA cards as well (CUDA 12 and cuDNN 9 are yours to install)
	@scripts/setup.sh cuda

setup-deploy: ## Install what checking deploy/ needs as well
	@scripts/setup.sh deploy

build: setup ## Build target/release/streamdet
	$(CARGO) build --release --locked

demo: build $(clip) ## Detect the people in a sample clip and save the annotated video
	target/release/streamdet detect $(clip) -o $(annotated) --overwrite
	@echo 'The annotated video: $(annotated)'

test: setup-test $(live555) $(tansu) $(moto) ## Run every test, those in the documentation included
	@# Most of them wait for video that comes in its own time: twice as many as there are cores.
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(( $$(nproc) * 2 ))} $(CARGO) test --release --locked

fuzz: setup ## Try a million cases of whatever comes from outside (make test tries 256)
	PROPTEST_CASES=1000000 $(CARGO) test --release --locked --lib -- fuzz properties validate

lint: setup ## Check the formatting, and that clippy has nothing to say
	@# A minimal Rust comes without these two.
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets --locked -- -D warnings

doc: setup ## Build the library's documentation; a warning is an error
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --release --no-deps --locked

cov: setup-test $(live555) $(tansu) $(moto) ## Measure which lines the tests reach, into target/llvm-cov/html (ARGS=--lib: the unit tests alone)
	@$(CARGO) llvm-cov --version >/dev/null 2>&1 || { echo 'make cov needs cargo-llvm-cov: cargo install --locked cargo-llvm-cov' >&2; exit 1; }
	@rustup component add llvm-tools
	$(CARGO) llvm-cov --release --locked --html $(ARGS)
	$(CARGO) llvm-cov report --release --summary-only

miri: setup ## Run the tests of the plain kernels in Miri, which finds undefined behaviour
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo 'make miri needs Miri: rustup toolchain install nightly --component miri --component rust-src' >&2; exit 1; }
	PROPTEST_CASES=8 MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --locked --lib -- $(kernels)

bench: setup ## Measure each stage and the whole
	$(CARGO) bench --locked

compare: build ## Measure side by side with Ultralytics (see benches/compare.py for what it needs)
	python3 benches/compare.py

soak: build ## Ten minutes into segments and to an RTSP client: memory, drops, sound (SECONDS=60 tries it)
	python3 benches/soak.py --seconds $(or $(SECONDS),600)

chaos: build setup-test $(live555) ## Ten minutes of outages, kills, full disks and stalled clients: what is lost (SECONDS=120 tries it)
	python3 benches/chaos.py --seconds $(or $(SECONDS),600)

deploy-check: build setup-deploy ## Check deploy/ with real tools: image and package in a clean Debian (needs root; ARGS=quick: the files and the dashboard)
	deploy/check.sh $(ARGS)

clean: ## Delete target/, the demo's clip included
	$(CARGO) clean

# After setup, as an order only: the clip is fetched once, whatever setup did.
$(clip): | setup
	@scripts/demo-clip.sh $@

# The tests' second RTSP server. Without it, those that want it say that they are skipped.
$(live555): tests/live555/build.sh tests/live555/server.cpp | setup-test
	-@tests/live555/build.sh $@

# The tests' Kafka broker; as above.
$(tansu): tests/tansu/fetch.sh | setup-test
	-@tests/tansu/fetch.sh $@

# The tests' S3 server; as above.
$(moto): tests/moto/fetch.sh tests/moto/requirements.txt | setup-test
	-@tests/moto/fetch.sh $@
