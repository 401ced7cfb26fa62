# MoLE on Stable Diffusion v1.5 in C. `make help` lists what can be made.
#
# Knobs: CC=clang   DEBUG=1 (arena guards)   SANITIZE=1 (address, undefined behaviour, leaks)
#        WERROR=1   CFLAGS="-O2 -g"   BUILD=dir   PREFIX=/usr/local   DESTDIR=   JOBS=n   V=1 (say all)
#        T=text     of `make test`: only the programs with this text in their name (T=f64, T=conv2d)
#        FULL=1 (of `make properties`: every trial, hours)   ONLY="right wrong" (of the same: these kinds)
#        TIMEOUT=seconds of `make test`: a program that takes longer is killed (300; under sanitizers 900)
#        ORIGINAL=dir of `make golden`: a copy of the authors' repository to compare with
#        PEOPLE_STATE=dir of `make people`: checkpoints and drawn data (out/people); PEOPLE_OPTIONS="--minutes 60"

CC        ?= cc
CFLAGS    ?= -O3 -g
BUILD     ?= build
PREFIX    ?= /usr/local
JOBS      ?= $(shell nproc 2>/dev/null || echo 2)
PYTHON    ?= python3
OBJDUMP   ?= objdump
TIMEOUT   ?= $(if $(call on,$(SANITIZE)),900,300)
PKGS      := openblas libpng jansson libutf8proc libzip
TEST_PKGS := cmocka

# Objects of different compilers and modes live side by side: build/cc, build/clang-debug-sanitize ...
on        = $(filter-out 0,$(1))
empty     :=
VARIANT   := $(subst $(empty) $(empty),_,$(notdir $(strip $(CC))))
VARIANT   := $(VARIANT)$(if $(call on,$(DEBUG)),-debug)$(if $(call on,$(SANITIZE)),-sanitize)
OUT       := $(BUILD)/$(VARIANT)

# What the numbers depend on stands after CFLAGS and wins: no contraction into fused operations, and
# none of the licences of fast-math. No flag of the floating-point unit is read anywhere, and a loop with
# `x < low ? a : b` is packed only when the compiler knows that: -fno-trapping-math changes no result.
WARN  := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
         -Wmissing-prototypes -Wno-sign-conversion -Wno-pass-failed $(if $(call on,$(WERROR)),-Werror)
SANITIZER := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
# What makes a mistake with memory end the program rather than be used. No loop is slower for it: only functions
# with arrays on the stack have a guard. FORTIFY needs an optimising compiler, and blinds the sanitizers.
HARDEN := -fstack-protector-strong $(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
HARDEN_LINK := -Wl,-z,relro,-z,now
# Every object can go into the shared library; there only what ref/api/mole.h declares can be seen.
# With -std=c11 gcc computes in a wider type where the processor has one (s390x); clang knows no such thing.
PRECISE := -fno-fast-math -ffp-contract=off -fno-trapping-math \
           $(if $(shell $(CC) -Werror -fexcess-precision=fast -x c -E /dev/null 2>/dev/null),-fexcess-precision=fast)
FLAGS := $(CFLAGS) -fPIC -fvisibility=hidden -std=c11 -fopenmp \
         $(PRECISE) -D_POSIX_C_SOURCE=200809L \
         -D_DEFAULT_SOURCE $(CPPFLAGS) -Iref -I$(OUT)/include $(WARN) \
         $(if $(call on,$(DEBUG)),-DMOLE_DEBUG) \
         $(if $(call on,$(SANITIZE)),$(SANITIZER),$(HARDEN)) \
         $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm $(HARDEN_LINK)

f32_DEFS :=
f64_DEFS := -DMOLE_F64

# Every room but cli goes into a library; the same sources build once per number type.
LIB_SRC  := $(filter-out ref/cli/%,$(wildcard ref/*/*.c))
CLI_SRC  := $(wildcard ref/cli/*.c)
TEST_SRC := $(wildcard tests/test_*.c tests/*/test_*.c)
HELP_SRC := $(filter-out $(TEST_SRC),$(wildcard tests/*.c tests/*/*.c))
SOURCES  := $(LIB_SRC) $(CLI_SRC) $(TEST_SRC) $(HELP_SRC)
PROGRAMS := $(if $(CLI_SRC),$(OUT)/mole $(OUT)/mole-f64)
# Tests that only run the program are run once: it is the same program, in whichever type they are built.
ONCE     := $(wildcard tests/cli/test_*.c) $(patsubst %,tests/compare/test_%.c,batch_row compare_layouts compare_run detect_products own skipped_said)
TESTS    := $(TEST_SRC:%.c=$(OUT)/f32/%) $(patsubst %.c,$(OUT)/f64/%,$(filter-out $(ONCE),$(TEST_SRC)))

Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)")
# For a target that makes others: in parallel, unless make was itself called with -j.
PARALLEL = --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))

.DELETE_ON_ERROR:

.PHONY: all
all: $(PROGRAMS) libraries ## build the program, build/<compiler>/mole, and the libraries

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
# The pages of the HTML report and of --xray, as C strings; and the code that the latter shows.
$(OUT)/include/%_page.inc: scripts/embed_page.awk ref/%/page
	@mkdir -p $(@D)
	$(Q)awk -v made=$(@D) -f scripts/embed_page.awk ref/$*/page/page.html >$@
$(OUT)/include/report_page.inc: $(wildcard ref/report/page/*) $(OUT)/include/glossary.json
$(OUT)/include/glossary.json: scripts/glossary_words.awk docs/glossary.md
	@mkdir -p $(@D)
	$(Q)awk -f $< docs/glossary.md >$@
$(OUT)/include/xray_page.inc: $(wildcard ref/xray/page/*) ref/report/page/text.js
CODE := ref/xray/page/code.txt
$(OUT)/include/xray_code.inc: scripts/embed_code.sh scripts/fragment.awk $(CODE) $(shell sed '/^\#/d; s/^[^ ]* //; s/ .*//' $(CODE))
	@mkdir -p $(@D)
	$(Q)scripts/embed_code.sh $(CODE) >$@
$(foreach type,f32 f64,$(OUT)/$(type)/ref/report/report_html.o): $(OUT)/include/report_page.inc
$(foreach type,f32 f64,$(OUT)/$(type)/ref/xray/xray.o): $(OUT)/include/xray_page.inc
$(foreach type,f32 f64,$(OUT)/$(type)/ref/xray/kinds.o): $(OUT)/include/xray_code.inc

$(eval $(call precision,f32))
$(eval $(call precision,f64))

$(OUT)/mole: $(CLI_SRC:%.c=$(OUT)/f32/%.o) $(OUT)/libmole-f32.a $(OUT)/sources
$(OUT)/mole-f64: $(CLI_SRC:%.c=$(OUT)/f64/%.o) $(OUT)/libmole-f64.a $(OUT)/sources
$(OUT)/mole $(OUT)/mole-f64:
	$(call say,LD $@)
	$(Q)$(CC) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

# ---- the library as a product: lib/libmole-f32.so and .a, of which only mole.h's names can be seen --

# libmole-f32.a beside the program shows every name to the tests. From it the product takes what the room
# api needs, as one object whose other names are made local: `linear` or `add` would clash with anybody's.
# clang leaves the functions that choose among the clones of ref/core/vectorised.h visible: they go as well.
VERSION   := $(shell sed -n 's/^\#define MOLE_VERSION "\(.*\)"$$/\1/p' ref/api/mole.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))
API_SRC   := $(wildcard ref/api/*.c)
API_PKGS  := openblas jansson libutf8proc
API_LIBS  := $(shell pkg-config --libs $(API_PKGS) 2>/dev/null) -lm
# A sanitizer leaves names of its own open, for the program that loads the library.
CLOSED    := $(if $(call on,$(SANITIZE)),,-Wl,-z,defs)

define library
$(OUT)/lib/mole-$(1).o: $(API_SRC:%.c=$(OUT)/$(1)/%.o) $(OUT)/libmole-$(1).a
	@mkdir -p $$(@D)
	$$(Q)$$(LD) -r -o $$@ $$^
	$$(Q)$$(OBJCOPY) --localize-hidden --wildcard --localize-symbol='*.resolver' $$@
$(OUT)/lib/libmole-$(1).a: $(OUT)/lib/mole-$(1).o
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$<
$(OUT)/lib/libmole-$(1).so.$(VERSION): $(OUT)/lib/mole-$(1).o
	$$(call say,LD $$@)
	$$(Q)$$(CC) $$(FLAGS) -shared -Wl,-soname,libmole-$(1).so.$(SOVERSION) $$(CLOSED) -Wl,-Bsymbolic,--as-needed \
	    -o $$@ $$< $$(API_LIBS) $(HARDEN_LINK)
	@ln -sf libmole-$(1).so.$(VERSION) $(OUT)/lib/libmole-$(1).so.$(SOVERSION)
	@ln -sf libmole-$(1).so.$(SOVERSION) $(OUT)/lib/libmole-$(1).so
endef
$(eval $(call library,f32))
$(eval $(call library,f64))
OBJCOPY ?= objcopy

.PHONY: libraries
libraries: $(foreach type,f32 f64,$(OUT)/lib/libmole-$(type).a $(OUT)/lib/libmole-$(type).so.$(VERSION))

$(OUT)/mole.1: scripts/man.sh ref/api/mole.h $(OUT)/mole
	@scripts/man.sh $(OUT)/mole $(VERSION) >$@

.SECONDARY: # keep the objects of test programs
-include $(foreach type,f32 f64,$(SOURCES:%.c=$(OUT)/$(type)/%.d))

# ---- installing ----------------------------------------------------------------------------------

BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man

# What install makes and uninstall removes.
INSTALLED := $(PROGRAMS:$(OUT)/%=$(BINDIR)/%) $(INCLUDEDIR)/mole.h $(MANDIR)/man1/mole.1 \
             $(foreach type,f32 f64,$(LIBDIR)/pkgconfig/mole-$(type).pc $(LIBDIR)/libmole-$(type).a \
               $(foreach end,so so.$(SOVERSION) so.$(VERSION),$(LIBDIR)/libmole-$(type).$(end)))

# What pkg-config says. A static libmole goes with shared libraries below it, and the OpenMP of the
# compiler that made it.
pc = sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|' \
         -e 's|@TYPE@|$(1)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(API_LIBS)|; s|@DEFS@|$($(1)_DEFS)|' \
         scripts/mole.pc.in >"$(DESTDIR)$(LIBDIR)/pkgconfig/mole-$(1).pc"

.PHONY: install uninstall
install: all $(OUT)/mole.1 ## copy programs, libraries, header and manual to PREFIX
	install -d $(foreach dir,$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR) $(MANDIR)/man1,"$(DESTDIR)$(dir)")
	install -m 755 $(PROGRAMS) "$(DESTDIR)$(BINDIR)"
	install -m 644 ref/api/mole.h "$(DESTDIR)$(INCLUDEDIR)"
	install -m 644 $(OUT)/mole.1 "$(DESTDIR)$(MANDIR)/man1"
	install -m 644 $(foreach type,f32 f64,$(OUT)/lib/libmole-$(type).a) "$(DESTDIR)$(LIBDIR)"
	install -m 755 $(foreach type,f32 f64,$(OUT)/lib/libmole-$(type).so.$(VERSION)) "$(DESTDIR)$(LIBDIR)"
	for type in f32 f64; do \
	    ln -sf libmole-$$type.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/libmole-$$type.so.$(SOVERSION)" && \
	    ln -sf libmole-$$type.so.$(SOVERSION) "$(DESTDIR)$(LIBDIR)/libmole-$$type.so" || exit 1; done
	$(call pc,f32)
	$(call pc,f64)

uninstall: ## remove them from there (folders stay)
	rm -f $(foreach file,$(INSTALLED),"$(DESTDIR)$(file)")

# Only folders that a build wrote, whatever BUILD says.
.PHONY: clean
clean: ## remove what was built, and the demo's picture
	@for stamp in $(BUILD)/*/flags; do [ ! -f "$$stamp" ] || rm -rf "$${stamp%/flags}"; done
	@rm -rf $(BUILD)/ci $(BUILD)/breaks $(BUILD)/bits $(BUILD)/site $(BUILD)/site-shots
	@rmdir $(BUILD) 2>/dev/null || :
	@rm -f out/demo.png out/demo-sheet.png out/demo-xray.html out/demo.txt
	@rm -rf out/docs

# ---- the demo ------------------------------------------------------------------------------------

# The trained model of scripts/people with its experts: 128 x 128 pixels, guidance 4 as it was judged by. Threads that
# wait do not spin: beside other work on the same cores the demo would take minutes for seconds.
DEMO_MODEL   := golden/models/people
DEMO_EXPERTS := --face $(DEMO_MODEL)-mole/face.safetensors --hand $(DEMO_MODEL)-mole/hand.safetensors \
                --gates $(DEMO_MODEL)-mole/gates.safetensors
DEMO_PROMPT  := a smiling woman with long red hair and glasses, wearing a green sweater, showing two fingers in a park

.PHONY: demo
demo: ## install what is missing, build, make a picture: out/demo.png; how: out/demo-sheet.png, out/demo-xray.html
	@CC='$(CC)' scripts/setup.sh
	@$(MAKE) $(PARALLEL) out/demo.png
	@cat out/demo.txt

out/demo.png: $(OUT)/mole Makefile $(wildcard $(DEMO_MODEL)/*.json $(DEMO_MODEL)/*/* $(DEMO_MODEL)-mole/*)
	@mkdir -p out
	$(Q)OMP_WAIT_POLICY=passive $(OUT)/mole generate --model $(DEMO_MODEL) $(DEMO_EXPERTS) --prompt "$(DEMO_PROMPT)" --seed 1 --steps 20 \
	    --scale 4 -o $@ --sheet out/demo-sheet.png --xray out/demo-xray.html >out/demo.txt.new
	@mv out/demo.txt.new out/demo.txt

# ---- tests and linters ---------------------------------------------------------------------------

.PHONY: test tests run-tests
tests: $(TESTS) ## build the test programs only

test: ## install what is missing, build, run every test (T=conv2d: some)
	@CC='$(CC)' scripts/setup.sh --test
	@$(MAKE) $(PARALLEL) all tests
	@$(MAKE) --no-print-directory run-tests

# The programs find data by paths relative to here, the command-line program by MOLE and MOLE_F64, and
# what was installed by MOLE_STAGE, with the compiler to use it by MOLE_CC.
run-tests:
	@$(MAKE) --no-print-directory --silent install DESTDIR= PREFIX='$(abspath $(OUT))/stage'
	@MOLE_STAGE='$(abspath $(OUT))/stage' \
	    MOLE_CC='$(CC) $(if $(call on,$(SANITIZE)),$(SANITIZER))' \
	    MOLE_MAKE='$(MAKE)' MOLE_PYTHON='$(PYTHON)' \
	    MOLE='$(OUT)/mole' MOLE_F64='$(OUT)/mole-f64' UBSAN_OPTIONS=print_stacktrace=1 \
	    scripts/run_tests.sh -j $(JOBS) -t $(TIMEOUT) -o $(OUT) -s $(OUT)/ $(foreach t,$(TESTS),$(if $(T),$(if $(findstring $(T),$(t:$(OUT)/%=%)),$(t)),$(t)))

# A browser is large and not everywhere to be had; without one the test is skipped, and says so.
.PHONY: test-html
test-html: ## the HTML report and the X-ray page in a real browser (installs Chromium)
	@CC='$(CC)' scripts/setup.sh --html || { \
	    echo "SKIP the pages in a browser: Chromium with chromedriver cannot be had here"; \
	    echo "0 passed, 0 failed, 1 skipped"; exit 0; }; \
	$(MAKE) $(PARALLEL) $(PROGRAMS) $(OUT)/f32/tests/report/test_report_html && \
	    python3 tests/html/run.py $(OUT)/mole $(OUT)/f32/tests/report/test_report_html $(OUT)/html

# Static pages from docs/, with MkDocs; nothing of it is committed. The search needs a server, as
# `python3 -m http.server -d build/site` is.
SITE := $(BUILD)/site

.PHONY: site site-check
site: .venv-site/ready out/demo.png ## the pages of docs/ as a site with search: build/site (installs MkDocs in .venv-site)
	@.venv-site/bin/python -m mkdocs build --strict -f scripts/site/mkdocs.yml -d '$(abspath $(SITE))'

site-check: ## make the site and try it in a browser (says SKIP without MkDocs or Chromium)
	@scripts/setup.sh --html || :
	@$(MAKE) --no-print-directory .venv-site/ready || { \
	    echo "SKIP the site: MkDocs cannot be had here"; \
	    echo "0 passed, 0 failed, 1 skipped"; exit 0; }; \
	$(MAKE) --no-print-directory site && tests/site/test_site.py '$(SITE)' '$(SITE)-shots'

# Full-size Stable Diffusion v1.5 with rank-256 experts, made by formula: nothing is downloaded.
.PHONY: test-full
test-full: all ## the full-size model against PyTorch's fingerprints (minutes, 16 GiB)
	@scripts/test_full.sh '$(OUT)'

# Numbers into docs/performance.json, the page from them; BENCH="--only page": options of scripts/bench.sh.
.PHONY: bench
bench: all ## measure, also against PyTorch where it is (half an hour, 24 GiB): docs/performance.md
	@scripts/bench.sh --mole '$(OUT)/mole' $(BENCH)

# The mutants need NumPy; without it the matrix is skipped, and says so.
.PHONY: gallery
gallery: all ## every wrong port of tests/port: is the right layer named? (needs NumPy)
	@scripts/setup.sh --more || :
	@scripts/with_numpy.sh tests/port/gallery.py --mole $(OUT)/mole --check docs/mutants.md --jobs $(JOBS)

.PHONY: gallery-statistics
gallery-statistics: all ## the same by statistics of their traces: what is noticed, and where (NumPy)
	@scripts/setup.sh --more || :
	@scripts/with_numpy.sh tests/port/gallery_statistics.py --mole $(OUT)/mole --check docs/resolution.md --jobs $(JOBS)

.PHONY: properties
properties: all ## random cuts of right and wrong traces: no false alarm, no miss (NumPy; FULL=1, ONLY=kinds)
	@scripts/setup.sh --more || :
	@scripts/with_numpy.sh tests/port/properties.py --mole $(OUT)/mole --jobs $(JOBS) $(if $(call on,$(FULL)),--full) \
	    $(ONLY:%=--only %)

# What the documentation prints is what the program prints; the tables of operations read test programs.
.PHONY: docs-check
docs-check: ## run every command of README.md and docs/, and compare
	@CC='$(CC)' scripts/setup.sh --test
	@$(MAKE) $(PARALLEL) all tests
	@scripts/setup.sh --more || :
	@tests/docs/test_check_docs.sh
	@PATH="$(abspath $(OUT)):$$PATH" tests/docs/test_many_machines.sh
	@if command -v python3 >/dev/null; then \
	    tests/docs/test_performance.py && scripts/performance_page.py --check; \
	else echo "SKIP docs/performance.md: no python3"; fi
	@scripts/with_numpy.sh tests/golden/test_alarms.py
	@PATH="$(abspath $(OUT)):$$PATH" scripts/with_numpy.sh tests/docs/test_port_torch.py
	@PATH="$(abspath $(OUT)):$$PATH" MOLE_BUILD='$(OUT)' OMP_WAIT_POLICY=passive scripts/check_docs.sh

.PHONY: lint
lint: ## static analysis, layout of the code, rules of the house
	@scripts/setup.sh --lint
	@$(MAKE) $(PARALLEL) all
	@scripts/lint.sh -j $(JOBS) -l $(OUT)/libmole-f32.a -- $(filter-out -fexcess-precision=fast,$(FLAGS))

# No other test sees a loop that lost its vectors: the numbers stay the same. Of a cross build too:
# make vectors CC=aarch64-linux-gnu-gcc OBJDUMP=aarch64-linux-gnu-objdump (scripts/setup.sh --cross).
HOT := $(shell scripts/check_vectors.sh -l)
.PHONY: vectors
vectors: $(HOT:%=$(OUT)/f32/%) ## the hot loops are packed: reads the instructions of the built objects
	@OBJDUMP='$(OBJDUMP)' scripts/check_vectors.sh $(OUT)/f32

# The program for one kind of vectors each, where the loader otherwise chooses: x86-64 only.
VECTOR_SRC := $(shell grep -l '^VECTORISED' ref/*/*.c)
CLONES := sse2 avx2 avx512f
define clones
$(OUT)/clones/$(1)/$(2)/%.o: %.c $(OUT)/flags
	$$(call say,CC $(1) $(2) $$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(FLAGS) $$($(2)_DEFS) -DMOLE_VECTORS='"$(1)"' -MMD -MP -c -o $$@ $$<
$(OUT)/clones/$(1)/mole$(3): $(VECTOR_SRC:%.c=$(OUT)/clones/$(1)/$(2)/%.o) $(CLI_SRC:%.c=$(OUT)/$(2)/%.o) $(OUT)/libmole-$(2).a
	$$(call say,LD $$@)
	$$(Q)$$(CC) $$(FLAGS) -o $$@ $$^ $$(LIBS)
endef
$(foreach kind,$(CLONES),$(eval $(call clones,$(kind),f32,))$(eval $(call clones,$(kind),f64,-f64)))

.PHONY: clones
clones: all $(if $(filter x86_64,$(shell uname -m)),$(foreach kind,$(CLONES),$(OUT)/clones/$(kind)/mole $(OUT)/clones/$(kind)/mole-f64)) ## every kind of vectors gives the same bits
	@scripts/check_clones.sh $(OUT)

# Longer than make test. ULP="1000 40503": samples of float64, every so-manieth float.
.PHONY: ulp
ulp: $(OUT)/libmole-f32.a ## the elementary functions against MPFR, all 2^32 floats (half an hour): docs/ulp.txt
	@scripts/setup.sh --ulp
	$(Q)$(CC) $(FLAGS) -o $(OUT)/ulp scripts/ulp.c $< -lmpfr -lgmp $(LIBS)
	@nice $(OUT)/ulp $(ULP) >$(OUT)/ulp.txt || { cat $(OUT)/ulp.txt; exit 1; }
	@[ -n '$(ULP)' ] || cp $(OUT)/ulp.txt docs/ulp.txt
	@cat $(OUT)/ulp.txt

# Longer than make test: builds of its own. Stored bits: golden/bits.
.PHONY: programs bits bits-everywhere
programs: $(PROGRAMS)

bits: ## gcc and clang at -O0, -O2, -O3 on 1, 2 and 3 threads: the stored bits? (a quarter of an hour; LEVELS=-O0: some)
	@CC=clang scripts/setup.sh
	@scripts/bits.sh native $(BUILD)/bits

bits-everywhere: ## aarch64, s390x, ppc64le, armhf, i386 under qemu: the stored bits? (MACHINES="s390x": some)
	@scripts/setup.sh --emulated
	@scripts/bits.sh everywhere $(BUILD)/bits $(MACHINES)

.PHONY: counts
counts: $(OUT)/mole ## instructions of one step by function, against tests/counts.txt (valgrind; COUNTS=--write)
	@scripts/check_counts.py --mole $(OUT)/mole $(COUNTS)

.PHONY: breaks
breaks: ## break the code on purpose and see every break caught (docs/breaks.md)
	@scripts/setup.sh --test
	@CC='$(CC)' scripts/breaks.sh -j $(JOBS) -d $(BUILD)/breaks

.PHONY: format
format: ## lay out the code as the linter wants it
	@scripts/setup.sh --lint
	@scripts/lint.sh -f

# ---- golden data: the only part that needs Python ------------------------------------------------

GOLDEN = .venv/bin/python scripts/golden/make.py --out golden $(if $(ORIGINAL),--original "$(ORIGINAL)")

.PHONY: golden golden-check golden-alarms
golden: .venv/ready ## make the golden data anew with PyTorch
	$(GOLDEN)

golden-check: .venv/ready ## make them anew elsewhere and compare with golden/
	$(GOLDEN) --check

# ALARMS="--quick", or texts of the passes that are wanted: see alarms.py.
golden-alarms: .venv/ready all ## does `mole compare` call PyTorch's own passes wrong? (it should not)
	PYTHON=.venv/bin/python tests/golden/test_alarms.py
	.venv/bin/python scripts/golden/alarms.py --mole $(OUT)/mole --jobs $(JOBS) $(ALARMS)

# ---- the small model that draws people: drawn data, trained with PyTorch ----------------------------

PEOPLE = .venv-people/bin/python scripts/people/train.py --state "$(PEOPLE_STATE)"
PEOPLE_STATE ?= out/people

.PHONY: people people-smoke people-test
people: .venv-people/ready ## draw the data, train the small model (hours on two cores); goes on where it stopped
	$(PEOPLE) $(PEOPLE_OPTIONS)

people-smoke: .venv-people/ready ## all of its stages with networks that learn nothing
	.venv-people/bin/python scripts/people/train.py --state out/people-smoke --smoke

people-test: $(OUT)/mole ## test drawing and training (says SKIP without PyTorch or Cairo)
	@python=$(PYTHON); [ ! -x .venv-people/bin/python ] || python=.venv-people/bin/python; \
	    MOLE='$(OUT)/mole' $$python tests/people/test_people.py

# ---- other people's implementations ----------------------------------------------------------------

.PHONY: ports
ports: all ## independent implementations through mole compare (PORTS="open_clip --light": some)
	@$(PYTHON) scripts/ports/ports.py --mole '$(OUT)/mole' --junit out/ports/junit.xml $(PORTS)

.venv-people/ready: scripts/people/requirements.txt scripts/requirements.txt
	@scripts/setup.sh --people
	$(PYTHON) -m venv .venv-people
	.venv-people/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv-site/ready: scripts/site/requirements.txt
	@scripts/setup.sh --golden
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/ready: scripts/requirements.txt
	@scripts/setup.sh --golden
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
