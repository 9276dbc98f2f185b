# SPDX-License-Identifier: GPL-2.0-or-later
#
# A thin front.  What is built and tested, and how, is known to meson.build, scripts/build-qemu
# and scripts/check; here stand the names to type.  Nothing is kept here that they could not be
# asked for without make.  A tree that is not configured is configured with the defaults first.

.DEFAULT_GOAL := all
VDPA_MODEL := build/meson/tests/unit/test-vdpa-shadow-model-plain

.PHONY: all build demo check bench results fuzz vdpa-long stock fault graft install kernel kernel-install clean distclean help
MAKEFLAGS += --no-print-directory

CONFIGURED := build/meson/build.ninja
NINJA := ninja -C build/meson
DEPS := scripts/deps

SUITES := unit graft scripts compat bench lint fuzz kernel kernel-unit kernel-debug labtools payload lab lab-soundness mutants peer avocado avocado-host
CHECKS := $(SUITES:%=check-%)
.PHONY: $(CHECKS)

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

$(CHECKS): check-%: $(CONFIGURED)
	@scripts/check $*

bench: $(CONFIGURED)
	@$(DEPS) build lab kernel
	$(NINJA) qemu stock guest kernel
	tests/bench/bench $(BENCH_ARGS)

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

# help: make                      build: core, unit tests and QEMU (build/qemu/qemu-system-x86_64)
# help: make demo                 migrate a busy nested guest and show it; DEMO_ARGS="..."
# help: make check                all that CI runs; the last line is the count
# help:   make check-unit           the core under sanitizers, without QEMU and KVM
# help:   make check-graft          graft's own tests
# help:   make check-scripts        configure, fetching and counting
# help:   make check-compat         what QEMU offers its users, ours against stock
# help:   make check-bench          the benchmarks' and the demo's own code
# help:   make check-kernel         the kernel modules, every kernel with headers: W=1, sparse
# help:   make check-kernel-unit    vhost_iotlb and vringh in a process: sanitizers, model, fuzz
# help:   make check-lint           manifest, shell, Python, copied lines
# help:   make check-payload        the guest payloads, and that their oracle bites
# help:   make check-fuzz           fuzz targets, some seconds each
# help:   make check-lab            scenarios in the nested machine, short set
# help:   make check-avocado-host   migration tests for avocado-framework, on this machine
# help: make check-avocado        migration tests for avocado-framework, here and in the lab
# help: make check-peer           the base's own migration-test, ours against stock
# help: make check-lab-soundness  200 nested boots a mode
# help: make check-kernel-debug   the kernel modules on a kernel with KASAN, lockdep, kmemleak; hours
# help: make check-mutants        small edits of the code that a test has to notice; long
# help: make bench                benchmarks against the ungrafted base; BENCH_ARGS="..."
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
