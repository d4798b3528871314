# postern: one Makefile; everything built goes under $(BUILD).
#
#   make          build/postern            make test     build, run every test, count them
#   make demo     the filter at work       make asan     the same tests under sanitizers
#   make one T=property/rules_test         one test, or of it CASE='...'
#   make deps     install what is missing  make bench    ratios against an accept-all consumer
#   make record   make pcaps/ anew         make soak MINUTES=30
#   make spellings WAYS=1200 SEED=1       ways to write a refused recipient, to real servers
#   make deb, make recipes, make tarball  packages (docs/requirements.md)
#   make format, make tidy, make tidy-all, make install, make clean

BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
SANITIZE ?=
CC       ?= cc
AR       ?= ar
VERSION  := $(file <VERSION)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wcast-qual -Wundef -Wvla -Werror
CFLAGS   ?= -O2 -g
# gcc for x86 sets short structures with string instructions, which take longer to begin than to do the work.
STRINGOP := $(shell $(CC) -mstringop-strategy=libcall -E -x c /dev/null >/dev/null 2>&1 && echo -mstringop-strategy=libcall)
override CPPFLAGS += -Isrc -D_GNU_SOURCE -DPOSTERN_VERSION='"$(VERSION)"'
override CFLAGS   += -std=c17 -fno-strict-aliasing -fno-common -fstack-protector-strong $(STRINGOP) $(WARNINGS) $(SANITIZE)
override LDFLAGS  += $(SANITIZE)

# The core is pure (law 5): these rooms see packets and the time, nothing else.
CORE_ROOMS  := base tcp smtp policy engine
# Everything else touches the world.
OUTER_ROOMS := io report store greylist conf sys cmd

CORE_SRC  := $(sort $(foreach room,$(CORE_ROOMS),$(wildcard src/$(room)/*.c)))
OUTER_SRC := $(sort $(foreach room,$(OUTER_ROOMS),$(wildcard src/$(room)/*.c)))
MAIN_SRC  := src/cmd/main.c
LIBS      := -Wl,--as-needed -lnetfilter_queue -lmnl -lpcap -lconfuse -ljansson -lpcre2-8 -lsqlite3 -lhiredis \
             -lcap-ng -lseccomp -lmicrohttpd -lncursesw -lidn2 -lcares -lz -lzstd -pthread

# rediss:// where hiredis brings TLS: Debian 12's (0.14) does not.
ifeq ($(shell pkg-config --exists hiredis_ssl openssl 2>/dev/null && echo yes),yes)
override CPPFLAGS += -DPOSTERN_HIREDIS_SSL
LIBS += -lhiredis_ssl -lssl -lcrypto
endif

CORE_OBJ  := $(CORE_SRC:%.c=$(BUILD)/%.o)
OUTER_OBJ := $(filter-out $(BUILD)/src/cmd/main.o,$(OUTER_SRC:%.c=$(BUILD)/%.o))

# As many compilers at once as there are processors, where nobody said how many.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: man deb recipes tarball all deps demo soak spellings test one test-programs sim population check-core asan bench record format tidy tidy-all install uninstall clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/postern

# What is missing is said once, in one line, before anything is compiled.
$(CORE_OBJ) $(OUTER_OBJ) $(BUILD)/src/cmd/main.o: | $(BUILD)/libraries
$(BUILD)/libraries: dist/missing
	@mkdir -p $(@D)
	@dist/missing $(CC) $(CPPFLAGS)
	@touch $@

$(addprefix $(BUILD)/src/cmd/,main.o metrics.o service.o): VERSION

$(BUILD)/postern: $(BUILD)/src/cmd/main.o $(BUILD)/libouter.a $(BUILD)/libcore.a
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) $(CFLAGS) $(LTO) -o $@ $^ $(LIBS)

# The program, and what measures the core and the greylist, are optimised as one piece where the compiler can: a sixth less time for a packet.
LTO := $(if $(SANITIZE),,$(shell echo 'int main(void) { return 0; }' | $(CC) -Werror -flto=auto -ffat-lto-objects -x c - -o /dev/null \
         2>/dev/null && echo -flto=auto -ffat-lto-objects))

ONE_PIECE := $(addprefix $(BUILD)/tests/bench/,body_main parse_main rules_main greylist_main)

$(BUILD)/libcore.a: $(CORE_OBJ)
	@echo '  AR    $@'
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/libouter.a: $(OUTER_OBJ)
	@echo '  AR    $@'
	@rm -f $@
	@$(AR) rcs $@ $^

# What a record of engine/handover says depends on these: another program must not take it for one of its own.
$(BUILD)/src/engine/handover.o: override CPPFLAGS += \
    -DHANDOVER_LAYOUT=$(shell cat src/smtp/*.h src/policy/*.h src/engine/*.h src/engine/handover.c | cksum | cut -d ' ' -f 1)u

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC    $<'
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LTO) -MMD -MP -c -o $@ $<

# ---- tests -------------------------------------------------------------------------------------
UNIT     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*_test.c tests/property/*_test.c))
TOOLS    := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*_main.c tests/sim/*_main.c \
              tests/fuzz/*_main.c tests/fuzz/*_fuzz.c))
TEST_LIB := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/lib/*.c))

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TEST_LIB) $(BUILD)/libouter.a $(BUILD)/libcore.a
	@echo '  LINK  $@'
	@$(CC) $(LDFLAGS) $(if $(filter %_fuzz,$@),$(FUZZER)) $(if $(filter $(ONE_PIECE),$@),$(CFLAGS) $(LTO),-fno-lto) -o $@ $(filter %.o,$^) $(filter %.a,$^) -lcmocka $(LIBS)

# The simulators: their parts beside their mains.
SIM_PARTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %_main.c tests/sim/population%,$(wildcard tests/sim/*.c)))
$(addprefix $(BUILD)/tests/sim/,sim_main restart_main tarpit_main guard_main): $(SIM_PARTS)
POPULATION_PARTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out %_main.c,$(wildcard tests/sim/population*.c)))
$(BUILD)/tests/sim/population_main: $(POPULATION_PARTS)

population: $(BUILD)/tests/sim/population_main
	$(BUILD)/tests/sim/population_main $(or $(MAILS),20000)

sim: $(BUILD)/tests/sim/sim_main
	$(BUILD)/tests/sim/sim_main 1:$(or $(SEEDS),2000)

# Fuzz targets bring no main: libFuzzer's, or one of our own that needs no clang.
FUZZ_TARGETS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_MAIN    ?= $(BUILD)/tests/fuzz/standalone.o
$(FUZZ_TARGETS): $(FUZZ_MAIN)
.PHONY: fuzz fuzz-programs
fuzz-programs: $(FUZZ_TARGETS) $(BUILD)/tests/fuzz/seeds_main

fuzz: deps
	@tests/deps fuzz && tests/deps fuzz
	@$(MAKE) --no-print-directory $(JOBS) BUILD=$(BUILD)/fuzz CC=clang CFLAGS='-O1 -g' FUZZ_MAIN= \
	    SANITIZE='$(ASAN) -fsanitize=fuzzer-no-link' FUZZER=-fsanitize=fuzzer fuzz-programs
	@tests/fuzz/long $(BUILD)/fuzz $(or $(SECONDS),60)

check-core: $(BUILD)/libcore.a
	@tests/core_symbols $<

ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

test: deps
	@$(MAKE) --no-print-directory $(JOBS) all $(UNIT) $(TOOLS)
	@$(MAKE) --no-print-directory $(JOBS) BUILD=$(BUILD)/asan CFLAGS='-O1 -g' SANITIZE='$(ASAN)' test-programs
	@tests/run $(BUILD)

# One test, or with CASE and ROW some of it: make one T=property/rules_test CASE='case 10' (tests/README.md).
one:
	@MAKE='$(MAKE) --no-print-directory $(JOBS)' tests/one $(BUILD) '$(T)'

# Only the tests that need neither privileges nor time, all of them under sanitizers.
asan: deps
	@$(MAKE) --no-print-directory $(JOBS) BUILD=$(BUILD)/asan CFLAGS='-O1 -g' SANITIZE='$(ASAN)' test-programs
	@tests/run --offline $(BUILD)/asan

test-programs: all $(UNIT) $(TOOLS)

bench: deps
	@$(MAKE) --no-print-directory $(JOBS) all $(TOOLS)
	@tests/bench/run $(BUILD)

demo: deps
	@$(MAKE) --no-print-directory $(JOBS) all
	@tests/live/demo $(BUILD)

spellings: deps
	@$(MAKE) --no-print-directory $(JOBS) all
	@tests/live/spellings_test $(BUILD) $(or $(WAYS),1200) $(or $(SEED),1)

soak: deps
	@$(MAKE) --no-print-directory $(JOBS) all
	@tests/live/soak $(BUILD) $$(($(or $(MINUTES),30) * 60))

record: deps
	@$(MAKE) --no-print-directory $(JOBS) all
	@tests/live/record $(BUILD)

deps:
	@tests/deps

# ---- upkeep ------------------------------------------------------------------------------------
format:
	@tests/formatted --write

tidy:
	@tests/tidy $(BASE)

tidy-all:
	@tests/tidy --all

SBINDIR    := $(PREFIX)/sbin
DATADIR    := $(PREFIX)/share
LIBDIR     := $(PREFIX)/lib
SYSCONFDIR ?= /etc
PUT        := sed -e 's|@SBINDIR@|$(SBINDIR)|g; s|@DATADIR@|$(DATADIR)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g; s|@VERSION@|$(VERSION)|g'
MAN        := $(BUILD)/man/postern.8 $(BUILD)/man/postern.conf.5

man: $(MAN)

# Completion for each shell: what it is called there, and where.
COMPLETION := $(addprefix $(BUILD)/completion/,bash zsh fish)

$(BUILD)/completion/%: dist/commands_to_completion $(BUILD)/postern
	@mkdir -p $(@D)
	@echo '  SHELL $@'
	@dist/commands_to_completion $(BUILD)/postern $* >$@

$(MAN): VERSION

$(BUILD)/man/postern.8: docs/man/postern.8 docs/events.md dist/commands_to_man $(BUILD)/postern
	@mkdir -p $(@D)
	@echo '  MAN   $@'
	@dist/commands_to_man $(BUILD)/postern $< >$@

$(BUILD)/man/postern.conf.5: docs/man/postern.conf.5 docs/keys.md dist/keys_to_man
	@mkdir -p $(@D)
	@echo '  MAN   $@'
	@dist/keys_to_man docs/keys.md >$(BUILD)/man/keys
	@sed -e '/^@KEYS@$$/ { r $(BUILD)/man/keys' -e 'd; }' $< >$@

# What becomes of each file: source and place, then its mode.
install: all man $(COMPLETION)
	install -D -m 755 $(BUILD)/postern $(DESTDIR)$(SBINDIR)/postern
	@$(call put,$(BUILD)/man/postern.8,$(DATADIR)/man/man8/postern.8)
	@$(call put,$(BUILD)/man/postern.conf.5,$(DATADIR)/man/man5/postern.conf.5)
	@$(call put,dist/postern.service,$(LIBDIR)/systemd/system/postern.service)
	@$(call put,dist/postern-rules.service,$(LIBDIR)/systemd/system/postern-rules.service)
	@$(call put,dist/postern-watch.service,$(LIBDIR)/systemd/system/postern-watch.service)
	@$(call put,dist/postern.sysusers,$(LIBDIR)/sysusers.d/postern.conf)
	@$(call put,dist/postern.tmpfiles,$(LIBDIR)/tmpfiles.d/postern.conf)
	@$(call put,$(BUILD)/completion/bash,$(DATADIR)/bash-completion/completions/postern)
	@$(call put,$(BUILD)/completion/zsh,$(DATADIR)/zsh/site-functions/_postern)
	@$(call put,$(BUILD)/completion/fish,$(DATADIR)/fish/vendor_completions.d/postern.fish)
	@$(call put,dist/postern.logrotate,$(SYSCONFDIR)/logrotate.d/postern)
	@$(call put,dist/grafana/postern.json,$(DATADIR)/postern/grafana/postern.json)
	@$(call put,dist/prometheus/postern.rules.yml,$(DATADIR)/postern/prometheus/postern.rules.yml)
	@cd rules && find . -type f | while read -r file; do install -D -m 644 "$$file" "$(DESTDIR)$(DATADIR)/postern/rules/$$file"; done
	@for page in docs/*.md docs/events.schema.json README.md CHANGELOG.md SECURITY.md LICENSE; do install -D -m 644 "$$page" "$(DESTDIR)$(DATADIR)/doc/postern/$${page##*/}"; done
	@[ -e $(DESTDIR)$(SYSCONFDIR)/default/postern ] || install -D -m 644 dist/postern.default $(DESTDIR)$(SYSCONFDIR)/default/postern
	@[ -e $(DESTDIR)$(SYSCONFDIR)/postern.conf ] || install -D -m 640 rules/default.conf $(DESTDIR)$(SYSCONFDIR)/postern.conf

put = echo '  PUT   $(DESTDIR)$2'; install -d $(DESTDIR)$(dir $2) && $(PUT) $1 >$(DESTDIR)$2 && chmod 644 $(DESTDIR)$2

# The rule file and the units' options stay: they are the administrator's.
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/postern $(DESTDIR)$(DATADIR)/man/man8/postern.8 $(DESTDIR)$(DATADIR)/man/man5/postern.conf.5 \
	    $(addprefix $(DESTDIR)$(LIBDIR)/systemd/system/,postern.service postern-rules.service postern-watch.service) \
	    $(DESTDIR)$(LIBDIR)/sysusers.d/postern.conf \
	    $(DESTDIR)$(LIBDIR)/tmpfiles.d/postern.conf $(DESTDIR)$(DATADIR)/bash-completion/completions/postern \
	    $(DESTDIR)$(DATADIR)/zsh/site-functions/_postern $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/postern.fish \
	    $(DESTDIR)$(SYSCONFDIR)/logrotate.d/postern
	rm -rf $(DESTDIR)$(DATADIR)/postern $(DESTDIR)$(DATADIR)/doc/postern

# What other systems build packages by, with the version written into it; and what they build them from.
RECIPES := $(addprefix $(BUILD)/packages/,postern.spec APKBUILD openwrt/Makefile)

recipes: $(RECIPES)
$(BUILD)/packages/postern.spec: dist/rpm/postern.spec VERSION
$(BUILD)/packages/APKBUILD: dist/alpine/APKBUILD VERSION
$(BUILD)/packages/openwrt/Makefile: dist/openwrt/Makefile VERSION
$(RECIPES):
	@mkdir -p $(@D)
	@echo '  PUT   $@'
	@sed 's|@VERSION@|$(VERSION)|g' $< >$@

tarball: $(BUILD)/packages/postern-$(VERSION).tar.gz
$(BUILD)/packages/postern-$(VERSION).tar.gz:
	@mkdir -p $(@D)
	@echo '  TAR   $@'
	@tar -czf $@ --sort=name --owner=0 --group=0 --transform 's|^\.|postern-$(VERSION)|' --exclude=./build --exclude=./.git \
	    --exclude=./pcaps .

# The package appears in $(BUILD)/deb.
deb: all
	@rm -rf $(BUILD)/deb
	@$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(abspath $(BUILD))/deb/stage
	@dist/deb/build $(abspath $(BUILD))/deb/stage $(abspath $(BUILD))/deb $(VERSION)
	@if command -v lintian >/dev/null; then lintian --allow-root --fail-on error,warning $(BUILD)/deb/*.deb; fi

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/src $(BUILD)/tests -type f -name '*.d' 2>/dev/null)
