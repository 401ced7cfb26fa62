# make            build the program: build/<variant>/mole
# make demo       install what is missing, build, make a picture
# make test       install what is missing, build, run every test
# make help       every target
#
# Knobs: CC=clang  DEBUG=1 (arena guards)  SANITIZE=1 (address, undefined)  BUILD=dir  PREFIX=/usr/local

CC        ?= cc
BUILD     ?= build
VARIANT   := $(notdir $(CC))$(if $(DEBUG),-debug)$(if $(SANITIZE),-sanitize)
OUT       := $(BUILD)/$(VARIANT)

PKGS      := openblas libpng jansson libutf8proc libzip
TEST_PKGS := cmocka

WARN   := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
          -Wmissing-prototypes -Wno-sign-conversion
CFLAGS += -std=c11 -O3 -g -ffp-contract=off -fopenmp -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE \
          -Iref $(WARN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm
ifdef DEBUG
CFLAGS += -DMOLE_DEBUG
endif
ifdef SANITIZE
CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
endif

# Every room but cli goes into a library; the same sources build once per number type.
LIB_SRC  := $(filter-out ref/cli/%,$(wildcard ref/*/*.c))
CLI_SRC  := $(wildcard ref/cli/*.c)
TEST_SRC := $(wildcard tests/test_*.c tests/*/test_*.c)
HELP_SRC := $(filter-out $(TEST_SRC),$(wildcard tests/*.c))

f32_DEFS :=
f64_DEFS := -DMOLE_F64

.PHONY: all
all: $(OUT)/mole $(OUT)/mole-f64

define precision
$(OUT)/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$($(1)_DEFS) -MMD -MP -c -o $$@ $$<
$(OUT)/libmole-$(1).a: $(LIB_SRC:%.c=$(OUT)/$(1)/%.o)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(eval $(call precision,f32))
$(eval $(call precision,f64))

$(OUT)/mole: $(CLI_SRC:%.c=$(OUT)/f32/%.o) $(OUT)/libmole-f32.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)
$(OUT)/mole-f64: $(CLI_SRC:%.c=$(OUT)/f64/%.o) $(OUT)/libmole-f64.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# One test program per test_*.c and number type: $(OUT)/f64/tests/ops/test_conv2d
TESTS := $(TEST_SRC:%.c=$(OUT)/f32/%) $(TEST_SRC:%.c=$(OUT)/f64/%)
define test_program
$(OUT)/$(1)/tests/%: $(OUT)/$(1)/tests/%.o $(HELP_SRC:%.c=$(OUT)/$(1)/%.o) $(OUT)/libmole-$(1).a
	$$(CC) $$(CFLAGS) -o $$@ $$^ $$(LDLIBS) $$(shell pkg-config --libs $$(TEST_PKGS))
endef
$(eval $(call test_program,f32))
$(eval $(call test_program,f64))
.PRECIOUS: $(OUT)/%.o
.PHONY: tests
tests: $(TESTS)

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
