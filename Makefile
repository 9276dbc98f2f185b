# SPDX-License-Identifier: GPL-2.0-or-later
#
# A thin front: names to type.  meson.build, scripts/build-qemu and scripts/check know what is built and
# tested, and how, and work without make.  A tree that is not configured is configured with the defaults
# first.

.DEFAULT_GOAL := all
VDPA_MODEL := build/meson/tests/unit/test-vdpa-shadow-model-plain

.PHONY: all build demo check bench bench-sync results fuzz vdpa-long stock fault graft install kernel kernel-install clean distclean help
MAKEFLAGS += --no-print-directory

CONFIGURED := build/meson/build.ninja
NINJA := ninja -C build/meson
DEPS := scripts/deps

SUITES := $(shell sed -n 's/^\[\(.*\)\]$$/\1/p' tests/suites.toml)
CHECKS := $(SUITES:%=check-%)
.PHONY: $(CHECKS) check-fast

$(CONFIGURED):
	./configure

all build: $(CONFIGURED)
	@$(DEPS) build
	$(NINJA) all qemu

demo: $(CONFIGURED)
	@$(DEPS) build lab
	$(NINJA) qemu guest
	scripts/demo $(DEMO_ARGS)

check: $(CONFIGURED)
	@scripts/check

check-fast: $(CONFIGURED)
	@scripts/check --fast

$(CHECKS): check-%: $(CONFIGURED)
	@scripts/check $*

bench: $(CONFIGURED)
	@$(DEPS) build lab kernel
	$(NINJA) qemu stock guest kernel
	tests/bench/bench $(BENCH_ARGS)

bench-sync: $(CONFIGURED)
	@$(DEPS) build
	$(NINJA) qemu stock
	tests/bench/sync $(SYNC_ARGS)

results:
	scripts/result-pages $(RESULTS_ARGS)

fuzz:
	@$(DEPS) fuzz
	tests/fuzz/run --seconds 600 $(FUZZ_ARGS)

vdpa-long: $(CONFIGURED)
	$(NINJA) $(VDPA_MODEL:build/meson/%=%)
	$(VDPA_MODEL) --descriptors=10000000

stock fault graft: $(CONFIGURED)
	@$(DEPS) build
	$(NINJA) $@

install: all
	ninja -C build/qemu install
	@. build/config.sh && scripts/firmware-links "$(DESTDIR)$$prefix/share/qemu"

kernel:
	@$(DEPS) kernel
	scripts/build-kernel

kernel-install:
	scripts/install-kernel $(KERNEL_INSTALL_ARGS)

clean:
	@for dir in build/qemu build/qemu-fault build/stock build/meson; do \
	    if [ -f $$dir/build.ninja ]; then ninja -C $$dir -t clean; fi; \
	done
	rm -rf build/results build/lab build/bench build/kernel

distclean:
	rm -rf build

help:
	@sed -n 's/^# help: \{0,1\}//p' $(MAKEFILE_LIST)
	@echo; echo 'Suites (tests/suites.toml):'; python3 scripts/suites.py

# help: make                      build: core, unit tests and QEMU (build/qemu/qemu-system-x86_64)
# help: make demo                 migrate a busy nested guest and show it; DEMO_ARGS="..."
# help: make check                all that CI runs; the last line is the count
# help: make check-fast           unit tests under AddressSanitizer, lint, graft, one boot in the lab
# help: make bench                benchmarks against the ungrafted base; BENCH_ARGS="..."
# help: make bench-sync           syncs of guests of 16 to 960 GiB; SYNC_ARGS="..."
# help: make results              write docs/results from what suites and benchmarks have left in build/
# help: make fuzz                 fuzz targets, 10 minutes each; FUZZ_ARGS="--seconds 3600 --planted"
# help: make vdpa-long            shadow ring against its model, 10^7 descriptors
# help: make stock                build the ungrafted base (build/stock)
# help: make fault                build the QEMU that loses ring entries on purpose (build/qemu-fault)
# help: make graft                bring build/src up to date, build nothing
# help: make install              into --prefix of configure; DESTDIR=... before it
# help: make kernel               our kernel modules, for every kernel with headers (build/kernel)
# help: make kernel-install       put them onto this machine by DKMS, as root (docs/use/kernel.md)
# help: make clean                what was compiled; make distclean: all of build/
# help:
# help: Whatever the machine lacks is installed first, as root or by sudo; otherwise the one
# help: command that installs it is printed.  Options are configure's: ./configure --help
