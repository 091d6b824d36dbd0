# gyeol: `make` leaves build/gyeol, `make help` lists the rest. Objects never mix with the sources; what a
# variant builds (asan) has a folder of its own.
VERSION := 0.1.0
BUILD ?= build
PREFIX ?= /usr/local
CC ?= cc
PKGS := sqlite3 jansson libutf8proc nettle libcurl libpcre2-8
OPT ?= -O2 -g
WARN := -Wall -Wextra -Werror
# FP_CONTRACT off: the same sums on every processor, whatever the compiler would fuse.
CFLAGS_ALL := -std=c17 -D_GNU_SOURCE -DGYEOL_VERSION='"$(VERSION)"' $(WARN) $(OPT) -fPIC -fvisibility=hidden \
  -ffp-contract=off -fopenmp -fno-strict-aliasing -Isrc -Iinclude -Itests $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
LDLIBS_ALL := $(shell pkg-config --libs $(PKGS)) -fopenmp -lpthread -lm $(LDLIBS)

SRC := $(filter-out src/cli/% %_mpi.c,$(wildcard src/*/*.c))
CLI := $(wildcard src/cli/*.c)
TESTS := $(wildcard tests/test_*.c)
FUZZ := $(wildcard tests/fuzz/fuzz_*.c)
BENCH := $(wildcard bench/bench_*.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
EMBED := $(BUILD)/obj/embed.o
LIB_OBJ := $(call obj,$(SRC)) $(EMBED)
MODEL := models/linear/linear.gyl
MINI := $(addprefix models/mini/,mini.gguf gyeol.json)
# The judge where nobody names one: linear, or mini. Both are compiled in.
DEFAULT_JUDGE := linear

.SECONDARY:
.PHONY: FORCE all test lint asan fuzz fuzz-short bench install uninstall clean linear-model data-check help format
all: $(BUILD)/gyeol $(BUILD)/libgyeol.a $(BUILD)/libgyeol.so $(if $(MPI),$(BUILD)/mpi/gyeol)

help:
	@echo 'make                 build/gyeol, libgyeol.a, libgyeol.so'
	@echo 'make DEFAULT_JUDGE=mini  models/mini judges where nobody names a judge (default: linear)'
	@echo 'make MPI=1           build/mpi/gyeol as well, whose training runs under mpirun'
	@echo 'make test            every test that this machine can run'
	@echo 'make lint            format, include direction, cppcheck, complexity, file size'
	@echo 'make asan            the tests under AddressSanitizer and UBSan'
	@echo 'make fuzz            fuzz the parsers, FUZZ_SECONDS=600 each (needs clang)'
	@echo 'make bench           speed, as ratios to limits measured in the same run'
	@echo 'make linear-model    train models/linear again, bit for bit'
	@echo 'make install PREFIX=/usr/local DESTDIR='

# One file per instruction set, named by it; nothing else may use what only some processors have. -O3: the loops of
# kernels_element.h become vectors.
KERNEL := -O3 -fno-math-errno
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
AVX2 := -mavx2 -mfma -mf16c
AVX512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16 -mprefer-vector-width=512
endif
$(BUILD)/obj/src/compute/%_portable.o: EXTRA := $(KERNEL)
$(BUILD)/obj/src/train/adamw.o $(BUILD)/obj/src/model/tape_loss.o: EXTRA := $(KERNEL)
$(BUILD)/obj/src/compute/%_avx2.o: EXTRA := $(KERNEL) $(AVX2)
$(BUILD)/obj/src/compute/%_avx512.o: EXTRA := $(KERNEL) $(AVX2) $(AVX512)

# V=1 shows whole command lines.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')
$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(CFLAGS_ALL) $(EXTRA) -MMD -MP -c $< -o $@

# Files that travel inside the binary: NAME_begin .. NAME_end, then a NUL. Text: NAME.
define incbin
printf '.hidden %s_begin\n.hidden %s_end\n.global %s_begin\n.global %s_end\n.balign 64\n%s_begin:\n.incbin "%s"\n%s_end:\n.byte 0\n' \
  $(1) $(1) $(1) $(1) $(1) $(2) $(1)
endef
asciz = printf '.hidden %s\n.global %s\n%s:\n.asciz "%s"\n' $(1) $(1) $(1) "$(2)"
digest = $(call asciz,$(1)_sha256,$$(sha256sum $(2) | cut -c1-64))
# What travels: linear judge, GGUF file and notes of the language model, the default mode.
define embed
@mkdir -p $(@D)
@{ printf '.section .rodata\n'; $(call incbin,sqlite_sql,src/store/sqlite.sql); \
   $(call incbin,linear_model,$(1)); $(call digest,linear_model,$(1)); \
   $(call incbin,mini_model,$(2)); $(call digest,mini_model,$(2)); $(call incbin,mini_notes,$(3)); \
   $(call asciz,default_mode,$(4)); printf '.section .note.GNU-stack,"",%%progbits\n'; } > $@
endef
mode_linear := linear
mode_mini := one-pass
DEFAULT_MODE := $(or $(mode_$(DEFAULT_JUDGE)),$(error DEFAULT_JUDGE=$(DEFAULT_JUDGE): want linear or mini))
# Without a trained model (only while one is being made) an empty file stands in and the judge says so.
or_empty = $(or $(wildcard $(1)),$(BUILD)/obj/empty)
$(BUILD)/obj/empty:
	@mkdir -p $(@D)
	@: > $@
# Changes when the default does.
$(BUILD)/obj/default_mode: FORCE
	@mkdir -p $(@D)
	@echo $(DEFAULT_MODE) | cmp -s - $@ || echo $(DEFAULT_MODE) > $@
$(BUILD)/obj/embed.S: src/store/sqlite.sql $(call or_empty,$(MODEL)) $(foreach f,$(MINI),$(call or_empty,$(f))) \
  $(BUILD)/obj/default_mode Makefile
	$(call embed,$(call or_empty,$(MODEL)),$(call or_empty,$(word 1,$(MINI))),$(call or_empty,$(word 2,$(MINI))),$(DEFAULT_MODE))
$(BUILD)/%.o: $(BUILD)/%.S
	$(Q)$(CC) -c $< -o $@

$(BUILD)/libgyeol.a: $(LIB_OBJ)
	@rm -f $@
	$(call say,AR $@)
	$(Q)ar rcs $@ $^
$(BUILD)/libgyeol.so: $(LIB_OBJ)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) -shared -Wl,-soname,libgyeol.so.0 $^ -o $@ $(LDLIBS_ALL)
$(BUILD)/gyeol: $(call obj,$(CLI)) $(BUILD)/libgyeol.a
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDLIBS_ALL)
$(BUILD)/test_%: $(BUILD)/obj/tests/test_%.o $(BUILD)/libgyeol.a
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ -lcmocka $(LDLIBS_ALL)
$(BUILD)/bench_%: $(BUILD)/obj/bench/bench_%.o $(BUILD)/libgyeol.a
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDLIBS_ALL)

# With world_mpi.o on the command line, nothing asks the library for its world_single.o.
WORLD_MPI := $(BUILD)/obj/src/train/world_mpi.o
$(WORLD_MPI): EXTRA := $(shell pkg-config --silence-errors --cflags-only-I ompi-c | sed 's/-I/-isystem /g')
MPI_LIBS = $(shell pkg-config --libs ompi-c)
$(BUILD)/mpi/gyeol: $(call obj,$(CLI)) $(WORLD_MPI) $(BUILD)/libgyeol.a
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDLIBS_ALL) $(MPI_LIBS)
$(BUILD)/world_check: $(BUILD)/obj/tests/world_check.o $(BUILD)/obj/src/train/world_single.o
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@
$(BUILD)/mpi/world_check: $(BUILD)/obj/tests/world_check.o $(WORLD_MPI)
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(MPI_LIBS)
TEST_MPI := $(if $(shell pkg-config --exists ompi-c && echo yes),$(BUILD)/mpi/gyeol $(BUILD)/mpi/world_check)

# Watches what serving feeds to a model.
$(BUILD)/test_corpus: LDLIBS_ALL += -Wl,--wrap=session_forward
# Dictates and spoils what the loop asks.
$(BUILD)/test_trainer: LDLIBS_ALL += -Wl,--wrap=tape_forward,--wrap=gradient_norm,--wrap=trainer_evaluate,--wrap=trainer_forecast_time

# Models with random weights, for tests/cli/engine.sh and for timing.
$(BUILD)/random_model: $(BUILD)/obj/tests/random_model.o $(BUILD)/libgyeol.a
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDLIBS_ALL)
# A gyeol whose language model compiled in is a random one, and its default: whatever models/mini holds and the
# default is, both ways are tested (tests/cli/mini.sh). Its embed.o comes first, so the library's is not asked for.
STANDIN := $(BUILD)/standin
$(STANDIN)/mini.gguf: $(BUILD)/random_model
	@mkdir -p $(@D)
	$(Q)$< $@ tiny q8_0 3
$(STANDIN)/gyeol.json: $(STANDIN)/mini.gguf $(BUILD)/gyeol data/posts/dev.tsv
	@head -n 121 data/posts/dev.tsv > $(STANDIN)/dev.tsv
	@echo '{"base": "mini.gguf"}' > $@.new
	@mv $@.new $@
	$(Q)$(BUILD)/gyeol train calibrate --model $(STANDIN) --data $(STANDIN)/dev.tsv --budget 0.6 >/dev/null || { rm $@; exit 1; }
$(STANDIN)/embed.S: $(EMBED) $(STANDIN)/gyeol.json
	$(call embed,$(call or_empty,$(MODEL)),$(STANDIN)/mini.gguf,$(STANDIN)/gyeol.json,one-pass)
$(STANDIN)/gyeol: $(call obj,$(CLI)) $(STANDIN)/embed.o $(BUILD)/libgyeol.a
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ $(LDLIBS_ALL)
# A hub to fetch from, for tests/test_net.c and tests/cli/pull.sh; it shares no code with what it tests.
$(BUILD)/hub_server: $(BUILD)/obj/tests/hub_server.o
	$(call say,LD $@)
	$(Q)$(CC) $(CFLAGS_ALL) $^ -o $@ -lmicrohttpd -ljansson

TEST_BIN := $(patsubst tests/%.c,$(BUILD)/%,$(TESTS))
test: all $(TEST_BIN) $(BUILD)/hub_server $(BUILD)/random_model $(STANDIN)/gyeol $(BUILD)/world_check $(TEST_MPI)
	@BUILD=$(BUILD) tests/run.sh $(TEST_BIN) $(filter-out %/tap.sh,$(wildcard tests/cli/*.sh))

# Under sanitizers a process is slow to start and huge, so the kill and speed tests stay with `make test`.
asan:
	$(MAKE) BUILD=build/asan OPT='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all' test

FUZZ_SECONDS ?= 600
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ))
FUZZ_OPT := -O1 -g -fno-sanitize-recover=all -fsanitize=address,undefined
# The library once, watched by the fuzzer; each target is then one file and a link.
.PHONY: fuzz-library
fuzz-library:
	@$(MAKE) BUILD=build/fuzz CC=clang OPT='$(FUZZ_OPT),fuzzer-no-link' build/fuzz/libgyeol.a
build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c fuzz-library
	$(call say,FUZZ $@)
	$(Q)clang $(CFLAGS_ALL) $(FUZZ_OPT),fuzzer $< build/fuzz/libgyeol.a -o $@ $(LDLIBS_ALL)
fuzz: $(FUZZ_BIN)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh $(FUZZ_BIN)
fuzz-short:
	@$(MAKE) fuzz FUZZ_SECONDS=10

bench: all $(patsubst bench/%.c,$(BUILD)/%,$(BENCH))
	@for b in $(filter $(BUILD)/bench_%,$^); do $$b || exit 1; done

lint:
	@tools/lint.sh
format:
	clang-format -i $(wildcard src/*/*.[ch] include/*.h tests/*.[ch] tests/fuzz/*.c bench/*.c)

linear-model: $(BUILD)/gyeol
	$(BUILD)/gyeol train linear --data data/posts/train.tsv --dev data/posts/dev.tsv --out $(MODEL)

AT := "$(DESTDIR)$(PREFIX)"
install: all
	install -d $(AT)/bin $(AT)/lib/pkgconfig $(AT)/include $(AT)/share/man/man1 $(AT)/share/bash-completion/completions
	install -m 755 $(BUILD)/$(if $(MPI),mpi/)gyeol $(AT)/bin/gyeol
	install -m 644 $(BUILD)/libgyeol.a $(AT)/lib/libgyeol.a
	install -m 755 $(BUILD)/libgyeol.so $(AT)/lib/libgyeol.so.$(VERSION)
	ln -sf libgyeol.so.$(VERSION) $(AT)/lib/libgyeol.so.0
	ln -sf libgyeol.so.0 $(AT)/lib/libgyeol.so
	install -m 644 include/gyeol.h $(AT)/include/gyeol.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' tools/gyeol.pc.in > $(AT)/lib/pkgconfig/gyeol.pc
	install -m 644 docs/gyeol.1 $(AT)/share/man/man1/gyeol.1
	install -m 644 tools/gyeol.bash $(AT)/share/bash-completion/completions/gyeol

uninstall:
	rm -f $(AT)/bin/gyeol $(AT)/lib/libgyeol.* $(AT)/include/gyeol.h $(AT)/lib/pkgconfig/gyeol.pc \
	  $(AT)/share/man/man1/gyeol.1 $(AT)/share/bash-completion/completions/gyeol

clean:
	rm -rf build

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
