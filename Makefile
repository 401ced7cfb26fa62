# MoLE on Stable Diffusion v1.5 in C. `make help` lists what can be made.
#
# Knobs: CC=clang   DEBUG=1 (arena guards)   SANITIZE=1 (address, undefined behaviour, leaks)
#        WERROR=1   CFLAGS="-O2 -g"   BUILD=dir   PREFIX=/usr/local   DESTDIR=   JOBS=n   V=1 (say all)
#        T=text     of `make test`: only the programs with this text in their name (T=f64, T=conv2d)
#        TIMEOUT=seconds of `make test`: a program that takes longer is killed (300)
#        ORIGINAL=dir of `make golden`: a copy of the authors' repository to compare with

CC        ?= cc
CFLAGS    ?= -O3 -g
BUILD     ?= build
PREFIX    ?= /usr/local
JOBS      ?= $(shell nproc 2>/dev/null || echo 2)
PYTHON    ?= python3
TIMEOUT   ?= 300
PKGS      := openblas libpng jansson libutf8proc libzip
TEST_PKGS := cmocka

# Objects of different compilers and modes live side by side: build/cc, build/clang-debug-sanitize ...
on        = $(filter-out 0,$(1))
empty     :=
VARIANT   := $(subst $(empty) $(empty),_,$(notdir $(strip $(CC))))
VARIANT   := $(VARIANT)$(if $(call on,$(DEBUG)),-debug)$(if $(call on,$(SANITIZE)),-sanitize)
OUT       := $(BUILD)/$(VARIANT)

# What the numbers depend on stands after CFLAGS and wins: no contraction into fused operations, and
# none of the licences of fast-math.
WARN  := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
         -Wmissing-prototypes -Wno-sign-conversion $(if $(call on,$(WERROR)),-Werror)
SANITIZER := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS := $(CFLAGS) -std=c11 -fopenmp -fno-fast-math -ffp-contract=off \
         -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE $(CPPFLAGS) -Iref $(WARN) \
         $(if $(call on,$(DEBUG)),-DMOLE_DEBUG) \
         $(if $(call on,$(SANITIZE)),$(SANITIZER)) \
         $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

f32_DEFS :=
f64_DEFS := -DMOLE_F64

# Every room but cli goes into a library; the same sources build once per number type.
LIB_SRC  := $(filter-out ref/cli/%,$(wildcard ref/*/*.c))
CLI_SRC  := $(wildcard ref/cli/*.c)
TEST_SRC := $(wildcard tests/test_*.c tests/*/test_*.c)
HELP_SRC := $(filter-out $(TEST_SRC),$(wildcard tests/*.c tests/*/*.c))
SOURCES  := $(LIB_SRC) $(CLI_SRC) $(TEST_SRC) $(HELP_SRC)
PROGRAMS := $(if $(CLI_SRC),$(OUT)/mole $(OUT)/mole-f64)
TESTS    := $(TEST_SRC:%.c=$(OUT)/f32/%) $(TEST_SRC:%.c=$(OUT)/f64/%)

Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)")
# For a target that makes others: in parallel, unless make was itself called with -j.
PARALLEL = --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

.DELETE_ON_ERROR:

.PHONY: all
all: $(PROGRAMS) $(OUT)/libmole-f32.a $(OUT)/libmole-f64.a ## build the program: build/<compiler>/mole

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

# ---- building ------------------------------------------------------------------------------------

# The command that compiles, rewritten only when it changes; every object depends on it.
$(OUT)/flags: FORCE
	@pkg-config --exists $(PKGS) 2>/dev/null && command -v $(firstword $(CC)) >/dev/null || { \
	    echo "A compiler or a library is missing. Run scripts/setup.sh, which says what and installs" \
	         "it," >&2; echo "or make demo or make test, which run it first." >&2; exit 1; }
	@mkdir -p $(@D)
	@{ echo '$(CC) $(FLAGS) $(LIBS)'; $(CC) --version; } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# The lists of files, likewise: a library must not keep the object of a file that is gone.
$(OUT)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_SRC) $(CLI_SRC) $(HELP_SRC)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

.PHONY: FORCE
FORCE:

define precision
$(OUT)/$(1)/%.o: %.c $(OUT)/flags
	$$(call say,CC $(1) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(FLAGS) $$($(1)_DEFS) -MMD -MP -c -o $$@ $$<
$(OUT)/libmole-$(1).a: $(LIB_SRC:%.c=$(OUT)/$(1)/%.o) $(OUT)/sources
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$(filter %.o,$$^)
$(TEST_SRC:%.c=$(OUT)/$(1)/%): $(OUT)/$(1)/%: $(OUT)/$(1)/%.o \
        $(HELP_SRC:%.c=$(OUT)/$(1)/%.o) $(OUT)/libmole-$(1).a $(OUT)/sources
	$$(Q)$$(CC) $$(FLAGS) -o $$@ $$(filter %.o %.a,$$^) $$(LIBS) \
	    $$(shell pkg-config --libs $$(TEST_PKGS))
endef
$(eval $(call precision,f32))
$(eval $(call precision,f64))

$(OUT)/mole: $(CLI_SRC:%.c=$(OUT)/f32/%.o) $(OUT)/libmole-f32.a $(OUT)/sources
$(OUT)/mole-f64: $(CLI_SRC:%.c=$(OUT)/f64/%.o) $(OUT)/libmole-f64.a $(OUT)/sources
$(OUT)/mole $(OUT)/mole-f64:
	$(call say,LD $@)
	$(Q)$(CC) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

.SECONDARY: # keep the objects of test programs
-include $(foreach type,f32 f64,$(SOURCES:%.c=$(OUT)/$(type)/%.d))

.PHONY: install uninstall
install: all ## copy the program to PREFIX/bin
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 $(PROGRAMS) "$(DESTDIR)$(PREFIX)/bin"

uninstall: ## remove it from there
	rm -f "$(DESTDIR)$(PREFIX)/bin/mole" "$(DESTDIR)$(PREFIX)/bin/mole-f64"

# Only folders that a build wrote, whatever BUILD says.
.PHONY: clean
clean: ## remove what was built, and the demo's picture
	@for stamp in $(BUILD)/*/flags; do [ ! -f "$$stamp" ] || rm -rf "$${stamp%/flags}"; done
	@rm -rf $(BUILD)/ci
	@rmdir $(BUILD) 2>/dev/null || :
	@rm -f out/demo.png out/demo.txt
	@rm -rf out/docs

# ---- the demo ------------------------------------------------------------------------------------

DEMO_MODEL   := golden/models/sd15-tiny
DEMO_EXPERTS := golden/models/sd15-tiny-mole
DEMO_FILES   := $(DEMO_EXPERTS)/face.safetensors $(DEMO_EXPERTS)/hand.safetensors \
                $(DEMO_EXPERTS)/gates.safetensors
DEMO_PROMPT  := a portrait of a smiling woman waving her hand, soft light

.PHONY: demo
demo: ## install what is missing, build, make a picture: out/demo.png
	@CC='$(CC)' scripts/setup.sh
	@$(MAKE) $(PARALLEL) out/demo.png
	@cat out/demo.txt

out/demo.png: $(OUT)/mole Makefile $(DEMO_FILES) $(wildcard $(DEMO_MODEL)/*.json $(DEMO_MODEL)/*/*)
	@mkdir -p out
	$(Q)$(OUT)/mole generate --model $(DEMO_MODEL) --face $(DEMO_EXPERTS)/face.safetensors \
	    --hand $(DEMO_EXPERTS)/hand.safetensors --gates $(DEMO_EXPERTS)/gates.safetensors \
	    --prompt "$(DEMO_PROMPT)" --seed 1 -o $@ >out/demo.txt.new
	@mv out/demo.txt.new out/demo.txt

# ---- tests and linters ---------------------------------------------------------------------------

.PHONY: test tests run-tests
tests: $(TESTS) ## build the test programs only

test: ## install what is missing, build, run every test (T=conv2d: some)
	@CC='$(CC)' scripts/setup.sh --test
	@$(MAKE) $(PARALLEL) all tests
	@$(MAKE) --no-print-directory run-tests

# The programs find data by paths relative to here, and the command-line program by MOLE, MOLE_F64.
run-tests:
	@MOLE='$(OUT)/mole' MOLE_F64='$(OUT)/mole-f64' UBSAN_OPTIONS=print_stacktrace=1 \
	    scripts/run_tests.sh -j $(JOBS) -t $(TIMEOUT) -o $(OUT) -s $(OUT)/ $(foreach t,$(TESTS),$(if $(T),$(if $(findstring $(T),$(t:$(OUT)/%=%)),$(t)),$(t)))

# What the documentation prints is what the program prints; the tables of operations read test programs.
.PHONY: docs-check
docs-check: ## run every command of README.md and docs/, and compare
	@CC='$(CC)' scripts/setup.sh --test
	@$(MAKE) $(PARALLEL) all tests
	@PATH="$(abspath $(OUT)):$$PATH" MOLE_BUILD='$(OUT)' OMP_WAIT_POLICY=passive scripts/check_docs.sh

.PHONY: lint
lint: ## static analysis, layout of the code, rules of the house
	@scripts/setup.sh --lint
	@$(MAKE) $(PARALLEL) all
	@scripts/lint.sh -j $(JOBS) -l $(OUT)/libmole-f32.a -- $(FLAGS)

.PHONY: format
format: ## lay out the code as the linter wants it
	@scripts/setup.sh --lint
	@scripts/lint.sh -f

# ---- golden data: the only part that needs Python ------------------------------------------------

GOLDEN = .venv/bin/python scripts/golden/make.py --out golden $(if $(ORIGINAL),--original "$(ORIGINAL)")

.PHONY: golden golden-check
golden: .venv/ready ## make the golden data anew with PyTorch
	$(GOLDEN)

golden-check: .venv/ready ## make them anew elsewhere and compare with golden/
	$(GOLDEN) --check

.venv/ready: scripts/requirements.txt
	@scripts/setup.sh --golden
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
