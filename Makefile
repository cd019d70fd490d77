# Isobar: one Makefile, no configuration step.
#
#   make            build/isobar                 make check   arrows between rooms, formatting rules
#   make run        install, build, demo         make asan|tsan   unit tests and the end-to-end core
#   make test       everything that must pass    make fuzz    each fuzz target for FUZZ_SECONDS
#   make bench      against mosquitto            make lint    clang-tidy, cppcheck
#   make conformance-mutants   do the tests of MQTT's statements fail when the code is broken?
#   make bench-judge    cost of one verdict      make bench-connections    cost of a connection
#   make deb        the Debian package           make test-deb   the package on a fresh Debian with systemd
#   make test-docker   the image, the compose files and the Kubernetes manifests, for real
#   make test-ansible  the playbooks, on one, three and seven machines that are containers
#   make test-cluster  three nodes, Redis Cluster and all around it under load, killed part by part
#   make differential   verdicts against other readers, on every mutant
#
# Debian packages the build and the tests need stand in tools/packages.txt.

CC       ?= gcc
BUILD    ?= build
OPT      ?= -O2 -g
SANITIZE ?=
PREFIX   ?= /usr/local
FUZZ_SECONDS ?= 60

VERSION  := $(shell cat VERSION)
LIBS_PC  := openssl libfyaml jansson libxxhash zlib libcurl libzip hiredis
# The program builds before its packages are there only far enough to install them.
PC_CFLAGS := $(shell pkg-config --cflags $(LIBS_PC) 2>/dev/null)
PC_LIBS   := $(shell pkg-config --libs $(LIBS_PC) 2>/dev/null)

WARN     := -Wall -Wextra -Wshadow -Wconversion -Werror
CPPFLAGS += -D_GNU_SOURCE -Isrc -I$(BUILD)/gen -DISOBAR_VERSION='"$(VERSION)"' $(PC_CFLAGS)
CFLAGS   += -std=c11 $(WARN) $(OPT) -pthread -fno-common $(SANITIZE)
LDFLAGS  += -pthread $(SANITIZE)
LDLIBS   += $(PC_LIBS) -lcrypt -llmdb -lm

# A part of the house can be built alone: make ROOMS="base mqtt" BUILD=build/mqtt unit
ROOMS    ?= base net mqtt wis2 catalogue journal seen commit cluster report uplink broker source publish admin cli
SOURCES  := $(filter-out %_test.c,$(foreach room,$(ROOMS),$(wildcard src/$(room)/*.c)))
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
TESTS    := $(foreach room,$(ROOMS),$(wildcard src/$(room)/*_test.c))
TEST_BIN := $(TESTS:src/%.c=$(BUILD)/tests/%)
FUZZ_SRC := $(foreach room,$(ROOMS),$(wildcard tests/fuzz/$(room)_*_fuzz.c))
REPLAYS  := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/replay/%)
FUZZERS  := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/fuzzers/%)
LIBRARY  := $(BUILD)/libisobar.a
SCRIPTS  := $(patsubst src/cluster/%.lua,%,$(wildcard src/cluster/*.lua))
GENERATED := $(if $(filter wis2,$(ROOMS)),$(BUILD)/gen/wis2/hierarchy_data.h) \
	$(if $(filter cluster,$(ROOMS)),$(SCRIPTS:%=$(BUILD)/gen/cluster/%_script.h)) \
	$(if $(filter admin,$(ROOMS)),$(BUILD)/gen/admin/overview.h)
HEADERS  := $(wildcard src/*/*.h src/*/*.def) $(GENERATED)

# The tests that also run under the sanitizers, besides all unit tests.
E2E_CORE := tests/e2e/test_core.py $(wildcard tests/e2e/test_conformance_*.py)

.PHONY: all run test unit unit-build e2e differential check asan tsan fuzz fuzz-build fuzzers bench bench-judge bench-connections lint format \
	conformance-mutants \
	clean install packages clients deb test-deb test-docker test-ansible test-cluster
.DELETE_ON_ERROR:

all: packages
	@$(MAKE) --no-print-directory $(BUILD)/isobar

# Installs what is missing (asks nothing; needs root or sudo only when something is).
packages:
	@tools/packages.sh build

$(BUILD)/isobar: $(BUILD)/src/main.o $(LIBRARY)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/gen/wis2/hierarchy_data.h: tools/hierarchy.awk data/centres.txt data/topics.txt
	@mkdir -p $(@D)
	awk -f tools/hierarchy.awk data/centres.txt data/topics.txt > $@

$(BUILD)/gen/admin/overview.h: tools/embed.awk ui/overview.html
	@mkdir -p $(@D)
	awk -v name=overview_html -f tools/embed.awk ui/overview.html > $@

$(SCRIPTS:%=$(BUILD)/gen/cluster/%_script.h): $(BUILD)/gen/cluster/%_script.h: src/cluster/%.lua tools/embed.awk
	@mkdir -p $(@D)
	awk -v name=$*_lua -f tools/embed.awk $< > $@

$(BUILD)/%.o: %.c $(GENERATED)
	@mkdir -p $(@D)
	@echo "CC  $<"; $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: src/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(LDFLAGS) $(LDLIBS) -lcmocka

# Drives the Redis client for tests/e2e/test_redis.py and bench/redis.py.
CLUSTER_LOAD := $(BUILD)/tests/cluster/load
$(CLUSTER_LOAD): tests/cluster/load.c $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(LDFLAGS) $(LDLIBS)

$(BUILD)/replay/%: tests/fuzz/%.c tests/fuzz/replay.c $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $< tests/fuzz/replay.c $(LIBRARY) $(LDFLAGS) $(LDLIBS)

-include $(shell find $(BUILD) \( -path '$(BUILD)/deb*' -o -path '$(BUILD)/containers' \) -prune -o -type f -name '*.d' -print 2>/dev/null)

run:
	@tools/packages.sh build
	@$(MAKE) --no-print-directory -j$$(nproc) $(BUILD)/isobar
	@tools/demo.sh $(BUILD)/isobar

test:
	@tools/packages.sh build test
	@$(MAKE) --no-print-directory -j$$(nproc) $(BUILD)/isobar unit-build clients $(CLUSTER_LOAD)
	@tests/run.sh $(BUILD) all

unit-build: $(TEST_BIN) $(REPLAYS)
unit: unit-build
	@tests/run.sh $(BUILD) unit
e2e: $(BUILD)/isobar clients $(CLUSTER_LOAD)
	@tests/run.sh $(BUILD) e2e

# Every mutant instead of 10 000 of them: some 25 minutes.
differential: $(BUILD)/isobar
	@DIFFERENTIAL=all tests/run.sh $(BUILD) e2e tests/e2e/test_differential.py

# Client libraries of other makers, each as a program that takes orders (tests/clients/agent.h).
CLIENT_DIR  := build/clients
CLIENT_LIBS := libmosquitto paho_async paho_sync
$(CLIENT_DIR)/libmosquitto: LIBS := -lmosquitto
$(CLIENT_DIR)/paho_async: LIBS := -lpaho-mqtt3as
$(CLIENT_DIR)/paho_sync: LIBS := -lpaho-mqtt3cs
$(CLIENT_DIR)/paho_async $(CLIENT_DIR)/paho_sync: tests/clients/paho.c tests/clients/paho.h
$(CLIENT_DIR)/%: tests/clients/%.c tests/clients/agent.c tests/clients/agent.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=c11 $(WARN) -O1 -g -pthread -o $@ $(filter %.c,$^) $(LIBS) -ljansson

# MQTT.js: installed by its lockfile, asked for again only when that changes.
$(CLIENT_DIR)/js/node_modules/.package-lock.json: tests/clients/js/package-lock.json
	@mkdir -p $(CLIENT_DIR)/js
	@cp tests/clients/js/package.json tests/clients/js/package-lock.json $(CLIENT_DIR)/js
	npm ci --prefix $(CLIENT_DIR)/js --ignore-scripts --prefer-offline --no-audit --no-fund
$(CLIENT_DIR)/js/page.js: $(wildcard tests/clients/js/*) $(CLIENT_DIR)/js/node_modules/.package-lock.json
	@cp tests/clients/js/*.mjs $(CLIENT_DIR)/js
	cd $(CLIENT_DIR)/js && node_modules/.bin/esbuild page.mjs --bundle --format=iife \
		--log-level=warning --outfile=page.js

clients: $(CLIENT_LIBS:%=$(CLIENT_DIR)/%) $(CLIENT_DIR)/js/page.js

check:
	@tools/check.sh

asan:
	@tools/packages.sh build test
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/asan OPT='-O1 -g -fno-omit-frame-pointer' \
		SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all' build/asan/isobar unit-build
	@tests/run.sh build/asan core $(E2E_CORE)

tsan:
	@tools/packages.sh build test
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/tsan OPT='-O1 -g -fno-omit-frame-pointer' \
		SANITIZE='-fsanitize=thread' build/tsan/isobar unit-build
	@tests/run.sh build/tsan core $(E2E_CORE)

$(BUILD)/fuzzers/%: tests/fuzz/%.c $(LIBRARY)
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(CFLAGS) -fsanitize=fuzzer -o $@ $< $(LIBRARY) $(LDFLAGS) $(LDLIBS)
fuzzers: $(FUZZERS)

fuzz-build:
	@$(MAKE) --no-print-directory -j$$(nproc) BUILD=build/fuzz CC=clang OPT='-O1 -g' \
		SANITIZE='-fsanitize=fuzzer-no-link,address,undefined' fuzzers

fuzz:
	@tools/packages.sh build test
	@$(MAKE) --no-print-directory fuzz-build
	@for f in $(notdir $(FUZZERS)); do mkdir -p build/fuzz/corpus/$$f; \
		build/fuzz/fuzzers/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
		build/fuzz/corpus/$$f tests/fuzz/corpus/$$f || exit 1; done

# Do the tests named for 50 random statements of MQTT fail without what obeys them? SEED= COUNT= ONLY=
conformance-mutants:
	@tools/packages.sh build test
	@tools/conformance_mutants.py

bench:
	@tools/packages.sh build test
	@$(MAKE) --no-print-directory -j$$(nproc) $(BUILD)/isobar
	@bench/run.sh $(BUILD)/isobar

bench-connections:
	@tools/packages.sh build test
	@$(MAKE) --no-print-directory -j$$(nproc) $(BUILD)/isobar
	@bench/connections.py $(BUILD)/isobar

# What judging one notification costs, beside jansson's parse of it.
$(BUILD)/bench/judge: bench/judge.c $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -o $@ $< $(LIBRARY) $(LDFLAGS) $(LDLIBS)
bench-judge: $(BUILD)/bench/judge
	@bench/judge.sh $(BUILD)/bench/judge

lint:
	@tools/packages.sh build lint
	@tools/lint.sh

format:
	clang-format -i $(wildcard src/*.c src/*/*.c src/*/*.h tests/fuzz/*.c)

install: $(BUILD)/isobar
	install -D -m 755 $(BUILD)/isobar $(DESTDIR)$(PREFIX)/bin/isobar

deb: $(BUILD)/isobar
	@tools/packages.sh deb
	@tools/deb.sh $(BUILD)/isobar $(VERSION) $(BUILD)/deb

# Both need root and a Debian mirror; they start a Docker daemon where none answers (tests/containers).
test-deb: $(BUILD)/isobar
	@tools/packages.sh deb containers
	@tests/run.sh $(BUILD) containers tests/containers/test_package.py

test-docker:
	@tools/packages.sh containers
	@tests/run.sh $(BUILD) containers tests/containers/test_image.py \
		tests/containers/test_compose.py tests/containers/test_kubernetes.py

test-ansible: $(BUILD)/isobar
	@tools/packages.sh containers deb ansible
	@tests/run.sh $(BUILD) containers tests/containers/test_ansible_*.py

# STORY="kill-node kills" SEED= RATE=: see tests/cluster/test_story.py. Some ten minutes, needs root.
CLUSTER_CLOCK := $(BUILD)/tests/cluster/clock.so
$(CLUSTER_CLOCK): tests/cluster/clock.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=c11 $(WARN) -O1 -fPIC -shared -o $@ $<
test-cluster: $(BUILD)/isobar $(CLUSTER_CLOCK)
	@tools/packages.sh build test cluster
	@tests/run.sh $(BUILD) containers tests/cluster

clean:
	rm -rf $(BUILD)
